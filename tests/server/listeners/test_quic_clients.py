"""QUIC on the wire: who is let in, with which certificates, and where."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from aioquic.h3.connection import H3Connection
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicErrorCode, QuicProtocolVersion
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from quicsql_client.errors import ConfigurationError
from quicsql_client.server import listeners
from quicsql_client.server.listeners import (
    ClientAuth,
    http3,
    open_listener,
    quic,
    quic_context,
    self_signed_quic_context,
)
from quicsql_client.server.listeners.client_chain import Alert

from .applications import Gate, echo
from .certificates import PKI
from .clients import HTTP2Client
from .conftest import Open
from .http3_client import client_configuration, connected
from .made_certificates import SERVER, Made, make
from .quic_pair import CLIENT_ADDRESS, SERVER_ADDRESS
from .quic_server import (
    ANALYST,
    CA,
    MIDDLE,
    QUIC,
    Clients,
    OpenQUIC,
    QUICSocketInMemory,
    context_for,
    refusal,
)

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
    # An import binds the module to its package, too: the old bindings come back with the modules.
    for module in (quic, http3):
        monkeypatch.setattr(listeners, module.__name__.rpartition(".")[2], module)
    for name in [*sys.modules]:
        if name in (QUIC, "quicsql_client.server.listeners.http3") or name.startswith("aioquic"):
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
