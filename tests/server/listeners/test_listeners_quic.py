"""QUIC on the wire: who is let in, handshakes, floods, garbage, reload, drain."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aioquic.buffer import encode_uint_var
from aioquic.h3.connection import H3Connection
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicErrorCode, QuicPacketType, QuicProtocolVersion
from aioquic.tls import Epoch
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from quicsql_client.errors import ConfigurationError
from quicsql_client.server.listeners import (
    ClientAuth,
    HTTPTimeouts,
    Listener,
    QUICContext,
    open_listener,
    quic_context,
    self_signed_quic_context,
)
from quicsql_client.server.listeners.client_chain import Alert
from quicsql_client.server.listeners.endpoint import Endpoint
from quicsql_client.server.listeners.quic import QUICSocket
from quicsql_client.server.listeners.settings import (
    DEFAULT_TIMEOUTS,
    RETRY_ABOVE_HANDSHAKES,
)

from .applications import Gate, answer, echo
from .certificates import PKI
from .clients import HTTP2Client
from .conftest import Open
from .http3_client import TIMEOUT_S, NeverReading, Refused, client_configuration, connected
from .made_certificates import CLIENT, SERVER, Made, make
from .quic_pair import CLIENT_ADDRESS, SERVER_ADDRESS

CA = make("client CA", is_ca=True)
MIDDLE = CA.issue("middle", is_ca=True)
ANALYST = CA.issue(uses=[CLIENT])
QUIC = "quicsql_client.server.listeners.quic"
OpenQUIC = Callable[..., Awaitable[Listener]]


@pytest.fixture
def open_quic(open_one: Open, pki: PKI) -> OpenQUIC:
    """Opens an h3 listener that asks for certificates of CA as it is told."""

    async def open_it(auth: ClientAuth = ClientAuth.NONE, app: Any = echo, **options: Any) -> Any:
        return await open_one(app, "h3", context=context_for(pki, auth), **options)

    return open_it


def context_for(pki: PKI, auth: ClientAuth, *client_cas: Made) -> QUICContext:
    anchors = client_cas or (CA,)
    return dataclasses.replace(
        pki.quic_context(auth),
        client_cas=() if auth is ClientAuth.NONE else tuple(one.certificate for one in anchors),
    )


class Clients:
    """Configurations of clients that trust the server."""

    def __init__(self, pki: PKI, folder: Path) -> None:
        self._root = pki.server_ca.cert_pem.bytes()
        self._folder = folder

    def __call__(self, identity: Made | None = None, *more: Made, **options: Any) -> Any:
        files = identity.write(self._folder, *more) if identity else None
        return client_configuration(self._root, files, **options)


@pytest.fixture
def clients(pki: PKI, tmp_path: Path) -> Clients:
    return Clients(pki, tmp_path)


async def refusal(listener: Listener, configuration: Any) -> Refused:
    """How a client is turned away that asks for something at once."""
    with pytest.raises(Refused) as refused:
        async with connected(listener.address, configuration) as client:
            await client.ask()
    return refused.value


# --- who is let in


async def test_identity_is_in_every_scope(open_quic: OpenQUIC, clients: Clients) -> None:
    listener = await open_quic(ClientAuth.REQUIRED)
    leaf = MIDDLE.issue()
    async with connected(listener.address, clients(leaf, MIDDLE)) as client:
        for _ in range(3):
            seen = json.loads((await client.ask())[2])
            assert seen["extensions"] == {
                "tls": {
                    "server_cert": None,
                    "client_cert_chain": [leaf.pem.decode()],
                    "client_cert_name": "CN=analyst",
                    "client_cert_error": None,
                    "tls_version": 0x0304,
                    "cipher_suite": None,
                }
            }
            assert seen["version"] == "3"
            assert seen["scheme"] == "https"


@pytest.mark.parametrize("auth", [ClientAuth.REQUIRED, ClientAuth.OPTIONAL])
@pytest.mark.parametrize(
    ("leaf", "alert"),
    [
        (make("foreign CA", is_ca=True).issue(), Alert.UNKNOWN_CA),
        (make("analyst"), Alert.UNKNOWN_CA),
        (MIDDLE.issue(), Alert.UNKNOWN_CA),  # the client forgot to send what is between
        (CA.issue(days=(-3, -1)), Alert.CERTIFICATE_EXPIRED),
        (CA.issue(days=(1, 3)), Alert.BAD_CERTIFICATE),
        (CA.issue(uses=[SERVER]), Alert.UNSUPPORTED_CERTIFICATE),
    ],
    ids=["foreign", "self-signed", "incomplete", "expired", "not yet", "server"],
)
async def test_certificates_that_are_refused(
    open_quic: OpenQUIC, clients: Clients, auth: ClientAuth, leaf: Made, alert: Alert
) -> None:
    gate = Gate()
    listener = await open_quic(auth, gate)
    refused = await refusal(listener, clients(leaf))
    assert refused.code == QuicErrorCode.CRYPTO_ERROR + alert
    assert refused.reason == alert.text  # and no more than TLS would say
    assert not gate.entered.is_set()


async def test_without_a_certificate_where_one_is_required(
    open_quic: OpenQUIC, clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    """The listener's one lock: aioquic itself would let everybody in."""
    caplog.set_level(logging.INFO, "quicsql.server")
    gate = Gate()
    listener = await open_quic(ClientAuth.REQUIRED, gate, name="front")
    refused = await refusal(listener, clients())
    assert (refused.code, refused.reason) == (0x174, "certificate required")
    assert not gate.entered.is_set()
    (record,) = [entry for entry in caplog.records if entry.levelno == logging.INFO]
    assert "listener front: TLS handshake with ('127.0.0.1', " in record.getMessage()
    assert record.getMessage().endswith(" failed: certificate required")


class Hasty(QuicConnection):
    """A client that says its request in the same datagrams as it ends its handshake."""

    def datagrams_to_send(self, now: float) -> Any:
        if self._handshake_complete and not self._local_next_stream_id_bidi:
            http = H3Connection(self)
            fields = {":method": "GET", ":scheme": "https", ":authority": "l", ":path": "/"}
            encoded = [(name.encode(), value.encode()) for name, value in fields.items()]
            http.send_headers(0, encoded, end_stream=True)
        return super().datagrams_to_send(now)


async def test_a_request_that_comes_with_the_handshake_waits_for_the_verdict(
    pki: PKI, clients: Clients
) -> None:
    for identity, is_served in ((None, False), (make("analyst"), False), (ANALYST, True)):
        gate = Gate()
        taken = QUICSocketInMemory(context_for(pki, ClientAuth.REQUIRED), app=gate)
        client, now = Hasty(configuration=clients(identity)), asyncio.get_running_loop().time
        client.connect(SERVER_ADDRESS, now())
        for _ in range(10):
            for data, _ in client.datagrams_to_send(now()):
                taken.datagram_received(data, CLIENT_ADDRESS)
            while taken.sent:
                client.receive_datagram(taken.sent.pop(0), SERVER_ADDRESS, now())
            await asyncio.sleep(0)  # a task that was made would begin now
        assert client._handshake_complete
        assert gate.entered.is_set() == is_served
        taken.drop_everything()
        await asyncio.sleep(0)


async def test_optional_without_a_certificate(open_quic: OpenQUIC, clients: Clients) -> None:
    listener = await open_quic(ClientAuth.OPTIONAL)
    async with connected(listener.address, clients()) as client:
        tls = json.loads((await client.ask())[2])["extensions"]["tls"]
    assert (tls["client_cert_chain"], tls["client_cert_name"]) == ([], None)
    assert tls["tls_version"] == 0x0304


async def test_a_certificate_is_not_asked_for_without_client_auth(
    open_quic: OpenQUIC, clients: Clients
) -> None:
    listener = await open_quic(ClientAuth.NONE)
    async with connected(listener.address, clients(make("nobody"))) as client:
        tls = json.loads((await client.ask())[2])["extensions"]["tls"]
    assert tls["client_cert_chain"] == []


async def test_nothing_is_left_to_resume_with(open_quic: OpenQUIC, clients: Clients) -> None:
    listener = await open_quic(ClientAuth.REQUIRED)
    tickets: list[Any] = []

    class Collecting(QuicConnection):
        def __init__(self, **keys: Any) -> None:
            super().__init__(session_ticket_handler=tickets.append, **keys)

    async with connected(listener.address, clients(ANALYST), Collecting) as client:
        assert (await client.ask())[0] == 200
    assert tickets == []


async def test_no_common_application_protocol(open_quic: OpenQUIC, clients: Clients) -> None:
    listener = await open_quic()
    refused = await refusal(listener, clients(alpn="hq-interop"))
    assert refused.code == QuicErrorCode.CRYPTO_ERROR + 120


async def test_other_versions_are_told_ours(open_quic: OpenQUIC, clients: Clients) -> None:
    listener = await open_quic()
    both = [QuicProtocolVersion.VERSION_2, QuicProtocolVersion.VERSION_1]
    async with connected(listener.address, clients(supported_versions=both)) as client:
        assert (await client.ask())[0] == 200
        assert client.quic._version == QuicProtocolVersion.VERSION_1


# --- contexts


async def test_self_signed(open_one: Open) -> None:
    context = self_signed_quic_context(
        hosts=["localhost"], client_ca=None, client_auth=ClientAuth.NONE
    )
    listener = await open_one(transport="h3", context=context)
    trust = client_configuration(context.certificate.public_bytes(Encoding.PEM))
    async with connected(listener.address, trust) as client:
        assert (await client.ask())[0] == 200


def test_files_that_cannot_work(pki: PKI, tmp_path: Path) -> None:
    curve = Made(ANALYST.certificate, ec.generate_private_key(ec.SECP521R1()))
    odd = make("localhost", key=curve.key).write(tmp_path)
    files: dict[str, Any] = {
        "cert": pki.path("server.pem"),
        "key": pki.path("server.key"),
        "client_ca": pki.path("client-ca.pem"),
    }
    for changed, text in (
        ({"cert": str(tmp_path / "none")}, "tls files: open "),
        ({"key": str(odd[1])}, "is not the private key of"),
        ({"client_ca": str(tmp_path / "none")}, "tls client_ca: open "),
        ({"client_ca": pki.path("server.key")}, "no certificates found"),
        ({"cert": str(odd[0]), "key": str(odd[1])}, "this kind of key cannot be used over HTTP/3"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            quic_context(**files | changed, client_auth=ClientAuth.REQUIRED)
        assert text in str(caught.value)
    with pytest.raises(ConfigurationError, match="tls client_ca: open "):
        self_signed_quic_context(
            hosts=[], client_ca=str(tmp_path / "none"), client_auth=ClientAuth.OPTIONAL
        )


def test_a_pair_as_openssl_writes_it(pki: PKI, tmp_path: Path) -> None:
    """Key and certificate in one file, behind parameters and text."""
    key = pki.text("server.key")
    text = "subject=CN = x\n-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n"
    text += "-----END EC PARAMETERS-----\n" + key + pki.text("server.pem")
    path = tmp_path / "both.pem"
    path.write_text(text)
    context = quic_context(
        cert=str(path), key=str(path), client_ca=None, client_auth=ClientAuth.NONE
    )
    assert context.key.public_key() == context.certificate.public_key()


async def test_a_replaced_context_is_for_new_handshakes_only(
    open_quic: OpenQUIC, clients: Clients, pki: PKI
) -> None:
    listener = await open_quic(ClientAuth.REQUIRED)
    async with connected(listener.address, clients(ANALYST)) as old:
        first = await old.ask()
        before = old.quic.tls._peer_certificate
        pki.write_server_pair("second")
        new_ca = make("client CA", is_ca=True)
        fresh = context_for(pki, ClientAuth.REQUIRED, new_ca)
        listener.replace_context(
            dataclasses.replace(
                fresh,
                certificate=pki.quic_context(pair="second").certificate,
                key=pki.quic_context(pair="second").key,
            )
        )
        assert (await old.ask())[0] == first[0] == 200
        assert (await refusal(listener, clients(ANALYST))).code == 0x130
        async with connected(listener.address, clients(new_ca.issue())) as new:
            assert (await new.ask())[0] == 200
            assert new.quic.tls._peer_certificate != before
        assert (await old.ask())[0] == 200


async def test_replace_context_takes_the_right_kind(
    open_quic: OpenQUIC, open_one: Open, pki: PKI
) -> None:
    with pytest.raises(ConfigurationError, match="transport h3 takes a QUIC context"):
        (await open_quic()).replace_context(pki.context())
    tcp = await open_one(transport="h2", context=pki.context())
    with pytest.raises(ConfigurationError):
        tcp.replace_context(pki.quic_context())


async def test_without_the_extra(pki: PKI, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*sys.modules]:
        if name.startswith(("quicsql_client.server.listeners.", "aioquic")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "aioquic", None)
    with pytest.raises(ConfigurationError) as caught:
        await open_listener(
            name="front",
            transport="h3",
            address="127.0.0.1:0",
            app=echo,
            context=pki.quic_context(),
        )
    assert str(caught.value) == (
        'listener front: transport h3 needs aioquic: pip install "quicsql-client[server,h3]"'
    )


# --- addresses


@pytest.mark.parametrize("address", ["", ":0", "0.0.0.0:0", "localhost:0", "127.0.0.1:0"])
async def test_addresses_that_ipv4_clients_reach(
    open_quic: OpenQUIC, clients: Clients, address: str
) -> None:
    listener = await open_quic(address=address)
    port = int(listener.address.rpartition(":")[2])
    async with connected(f"127.0.0.1:{port}", clients()) as client:
        seen = json.loads((await client.ask())[2])
    assert seen["client"][0] == "127.0.0.1"  # also behind a dual-stack socket
    assert seen["server"][1] == port


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 on this machine")
async def test_ipv6_address(open_quic: OpenQUIC, clients: Clients) -> None:
    listener = await open_quic(address="[::1]:0")
    async with connected(listener.address, clients()) as client:
        assert json.loads((await client.ask())[2])["client"][0] == "::1"


async def test_one_port_for_both(open_quic: OpenQUIC, open_one: Open, pki: PKI) -> None:
    over_tcp = await open_one(transport="h2", context=pki.context())
    over_udp = await open_quic(address=over_tcp.address)
    assert over_udp.address == over_tcp.address
    client = await HTTP2Client.open(over_tcp.address, pki.client(alpn=("h2",)))
    assert (await client.answer(client.request()))[0] == 200
    await client.close()


async def test_address_in_use(open_quic: OpenQUIC) -> None:
    first = await open_quic()
    with pytest.raises(ConfigurationError) as caught:
        await open_quic(name="second", address=first.address)
    assert str(caught.value) == (
        f"listener second: listen udp {first.address}: bind: address already in use"
    )


# --- newcomers


async def test_under_load_newcomers_prove_their_address(
    open_quic: OpenQUIC, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{QUIC}.RETRY_ABOVE_HANDSHAKES", 0)
    listener = await open_quic(ClientAuth.REQUIRED)
    async with connected(listener.address, clients(ANALYST)) as client:
        assert client.quic._retry_count == 1
        assert (await client.ask())[0] == 200
    # A token of another server, which a client may have kept, is worth nothing and does no harm.
    async with connected(listener.address, clients(ANALYST, token=b"x" * 60)) as client:
        assert (await client.ask())[0] == 200


async def test_below_that_nobody_pays_for_it(open_quic: OpenQUIC, clients: Clients) -> None:
    listener = await open_quic()
    for token in (b"", b"x" * 60):
        async with connected(listener.address, clients(token=token)) as client:
            assert client.quic._retry_count == 0


class QUICSocketInMemory(QUICSocket):
    """The server's end, without a socket. sent: what would have gone out."""

    def __init__(
        self, context: QUICContext, timeouts: HTTPTimeouts = DEFAULT_TIMEOUTS, app: Any = echo
    ) -> None:
        endpoint = Endpoint(name="l", kind="h3", app=app, timeouts=timeouts, server=SERVER_ADDRESS)
        super().__init__(endpoint, context)
        self.sent: list[bytes] = []
        self.forgotten = asyncio.Event()

    def forget(self, connection: Any) -> None:
        super().forget(connection)
        self.forgotten.set()

    def send(self, data: bytes, address: Any) -> None:
        self.sent.append(data)

    @property
    def handshakes(self) -> Any:
        return self._handshakes

    @property
    def connections(self) -> Any:
        return self._connections

    def drop_everything(self) -> None:
        for connection in set(self._connections.values()):
            connection.drop()


def first_datagram(configuration: Any) -> bytes:
    client = QuicConnection(configuration=configuration)
    client.connect(SERVER_ADDRESS, 0.0)
    return client.datagrams_to_send(0.0)[0][0]


async def test_a_handshake_that_is_not_done_in_time_is_forgotten(
    pki: PKI, clients: Clients
) -> None:
    taken = QUICSocketInMemory(pki.quic_context(), HTTPTimeouts(handshake_s=0.05))
    taken.datagram_received(first_datagram(clients()), CLIENT_ADDRESS)
    assert len(taken.handshakes) == 1
    async with asyncio.timeout(TIMEOUT_S):
        await taken.forgotten.wait()
    assert not taken.handshakes
    assert not taken.connections


async def test_floods_of_newcomers_are_bounded(pki: PKI, clients: Clients) -> None:
    taken = QUICSocketInMemory(pki.quic_context())
    configuration = clients()
    for number in range(300):
        address = (f"198.51.100.{number % 200}", 1000 + number)
        taken.datagram_received(first_datagram(configuration), address)
    assert len(taken.handshakes) == RETRY_ABOVE_HANDSHAKES
    assert len(taken.connections) == 2 * RETRY_ABOVE_HANDSHAKES
    retries = [data for data in taken.sent if data[0] & 0xF0 == 0xF0]
    assert len(retries) == 300 - RETRY_ABOVE_HANDSHAKES
    assert max(map(len, retries)) < 200  # nobody is flooded with answers to what others sent
    taken.drop_everything()


async def test_newcomers_with_an_address_are_bounded_too(
    pki: PKI, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{QUIC}.RETRY_ABOVE_HANDSHAKES", 0)
    monkeypatch.setattr(f"{QUIC}.MAX_HANDSHAKES", 3)
    taken = QUICSocketInMemory(pki.quic_context())
    for _ in range(10):
        client = QuicConnection(configuration=clients())
        client.connect(SERVER_ADDRESS, 0.0)
        taken.datagram_received(client.datagrams_to_send(0.0)[0][0], CLIENT_ADDRESS)
        client.receive_datagram(taken.sent.pop(), SERVER_ADDRESS, 0.0)
        assert client._retry_count == 1
        again = client.datagrams_to_send(0.0)[0][0]
        sent = len(taken.sent)
        taken.datagram_received(again, ("203.0.113.9", 1))  # the token is for another address
        taken.sent = taken.sent[:sent]
        taken.datagram_received(again, CLIENT_ADDRESS)
        taken.sent.clear()
    assert len(taken.handshakes) == 3
    taken.drop_everything()


# --- garbage


LONG = st.binary(min_size=1200, max_size=1400)
HEADED = st.builds(
    lambda first, version, rest: bytes([first | 0xC0]) + version + rest,
    st.integers(0, 63),
    st.sampled_from([b"\0\0\0\x01", b"\0\0\0\0", b"\x6b\x33\x43\xcf", b"\xff\0\0\x1d"]),
    st.one_of(st.binary(max_size=60), LONG),
)


@pytest.fixture(scope="module")
def plain_context(pki: PKI) -> QUICContext:
    return pki.quic_context()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=60), LONG, HEADED), max_size=10))
def test_garbage_raises_nothing_and_leaves_little(
    plain_context: QUICContext, datagrams: list[bytes]
) -> None:
    async def throw() -> None:
        taken = QUICSocketInMemory(plain_context)
        for data in datagrams:
            before = len(taken.sent)
            taken.datagram_received(data, CLIENT_ADDRESS)
            assert sum(map(len, taken.sent[before:])) <= 3 * len(data)
        assert len(taken.connections) <= 2 * len(datagrams)
        taken.drop_everything()
        assert not taken.connections

    asyncio.run(throw())


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_broken_first_datagram_raises_nothing(
    plain_context: QUICContext, clients_of_module: Any, data: st.DataObject
) -> None:
    async def throw() -> None:
        taken = QUICSocketInMemory(plain_context)
        broken = bytearray(first_datagram(clients_of_module))
        for at in data.draw(st.lists(st.integers(0, len(broken) - 1), min_size=1, max_size=5)):
            broken[at] ^= data.draw(st.integers(1, 255))
        taken.datagram_received(bytes(broken), CLIENT_ADDRESS)
        assert len(taken.handshakes) <= 1
        taken.drop_everything()

    asyncio.run(throw())


@pytest.fixture(scope="module")
def clients_of_module(pki: PKI) -> Any:
    return client_configuration(pki.server_ca.cert_pem.bytes())


class Babbler(QuicConnection):
    """A client that knows its keys and says frames of any kind."""

    frames: tuple[tuple[int, bytes], ...] = ()

    def _write_application(self, builder: Any, network_path: Any, now: float) -> None:
        if not self._handshake_complete:
            super()._write_application(builder, network_path, now)
            return
        for kind, content in self.frames:
            builder.start_packet(QuicPacketType.ONE_RTT, self._cryptos[Epoch.ONE_RTT])
            builder.start_frame(kind, capacity=len(content)).push_bytes(content)
        self.frames = ()


FRAMES = st.tuples(st.integers(0, 0x32), st.binary(max_size=40))


@settings(max_examples=200, deadline=None)
@given(st.lists(FRAMES, max_size=8), st.binary(max_size=80))
def test_frames_of_a_client_that_knows_its_keys_raise_nothing(
    plain_context: QUICContext,
    clients_of_module: Any,
    frames: list[tuple[int, bytes]],
    stream: bytes,
) -> None:
    """Whatever it says, the worst is the end of its own connection, and never by accident."""
    frames += [(0x0B, b"\x00" + stream), (0x0A, b"\x02" + encode_uint_var(len(stream)) + stream)]

    async def throw() -> None:
        taken = QUICSocketInMemory(plain_context)
        client, now = Babbler(configuration=clients_of_module), asyncio.get_running_loop().time
        client.connect(SERVER_ADDRESS, now())
        for _ in range(6):
            if client._handshake_complete and not taken.handshakes and not client.frames:
                client.frames = tuple(frames)
            for data, _ in client.datagrams_to_send(now()):
                taken.datagram_received(data, CLIENT_ADDRESS)
            while taken.sent:
                client.receive_datagram(taken.sent.pop(0), SERVER_ADDRESS, now())
            await asyncio.sleep(0)
        taken.drop_everything()
        assert not taken.connections

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{QUIC}_connection.QUICConnection._fail", _raise_what_is_handled)
        asyncio.run(throw())


def _raise_what_is_handled(connection: Any) -> None:
    raise


async def test_an_accident_in_one_connection_is_its_own(
    open_quic: OpenQUIC,
    clients: Clients,
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = Gate()
    listener = await open_quic(app=gate, name="front")
    async with (
        connected(listener.address, clients()) as unlucky,
        connected(listener.address, clients()) as other,
    ):
        unlucky.request()
        await gate.entered.wait()

        def fail() -> None:
            raise KeyError("an accident")

        endpoint = listener._endpoint  # type: ignore[attr-defined]
        (connection,) = (one for one in endpoint.connections if one._streams)
        connection._quic.next_event = fail
        unlucky.quic.send_ping(1)
        unlucky.transmit()
        async with asyncio.timeout(TIMEOUT_S):
            await gate.cancelled.wait()
        gate.released.set()
        assert (await other.ask())[2] == b"late"
    (record,) = [entry for entry in caplog.records if entry.exc_info]
    assert "listener front: a QUIC connection failed, peer ('127.0.0.1', " in record.getMessage()


# --- drain


async def test_drain_says_goaway_and_finishes(open_quic: OpenQUIC, clients: Clients) -> None:
    gate = Gate()
    listener = await open_quic(app=gate)
    async with (
        connected(listener.address, clients()) as idle,
        connected(listener.address, clients()) as busy,
    ):
        first, second = busy.request(), busy.request()
        await gate.entered.wait()
        await idle.until(lambda: idle.http.received_settings)
        draining = asyncio.create_task(listener.drain(10))
        assert (await idle.until_closed()).code == 0x100  # at once, before the busy one is done
        assert idle.goaways == [0]
        assert await busy.until(lambda: busy.goaways) == [second + 4]
        late = busy.request()
        with pytest.raises(Refused) as rejected:
            await busy.answer(late)
        assert rejected.value.code == 0x10B  # H3_REQUEST_REJECTED: it may be sent elsewhere
        assert not draining.done()
        gate.released.set()
        for stream in (first, second):
            assert (await busy.answer(stream))[2] == b"late"
        assert (await busy.until_closed()).code == 0x100
    assert await draining == 0


async def test_drain_waits_until_answers_have_arrived(
    open_quic: OpenQUIC, clients: Clients
) -> None:
    """The application is done long before its client has read what it said."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, bytes(200_000))

    listener = await open_quic(app=app)
    async with connected(listener.address, clients(max_stream_data=20_000)) as client:
        stream = client.request()
        await client.head(stream)
        draining = asyncio.create_task(listener.drain(10))
        assert len((await client.answer(stream))[2]) == 200_000
        assert (await client.until_closed()).code == 0x100
    assert await draining == 0


async def test_drain_aborts_what_does_not_end(open_quic: OpenQUIC, clients: Clients) -> None:
    gate = Gate()
    listener = await open_quic(app=gate)
    async with connected(listener.address, clients()) as client:
        client.request()
        await gate.entered.wait()
        assert await listener.drain(0.1) == 1
        assert gate.cancelled.is_set()
        assert await listener.drain(0.1) == 0
        assert (await client.until_closed()).code == 0x100


async def test_drain_does_not_wait_for_a_client_that_has_gone(
    open_quic: OpenQUIC, clients: Clients
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, bytes(100_000))

    listener = await open_quic(app=app)
    async with connected(listener.address, clients(max_stream_data=20_000), NeverReading) as one:
        await one.head(one.request())
        assert await listener.drain(0.1) == 0  # its answer was given


async def test_after_a_drain_the_port_is_free(open_quic: OpenQUIC, clients: Clients) -> None:
    listener = await open_quic()
    for _ in range(3):
        address = listener.address
        async with connected(address, clients()) as client:
            assert (await client.ask())[0] == 200
            assert await listener.drain(5) == 0
        listener = await open_quic(address=address)


async def test_newcomers_are_not_heard_while_it_drains(
    open_quic: OpenQUIC, clients: Clients
) -> None:
    gate = Gate()
    listener = await open_quic(app=gate)
    async with connected(listener.address, clients()) as busy:
        stream = busy.request()
        await gate.entered.wait()
        draining = asyncio.create_task(listener.drain(10))
        await busy.until(lambda: busy.goaways)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3), connected(listener.address, clients()):
                pass
        gate.released.set()
        assert (await busy.answer(stream))[0] == 200
    assert await draining == 0
