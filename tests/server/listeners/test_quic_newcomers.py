"""QUIC on the wire: newcomers, floods of them, and garbage."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aioquic.buffer import encode_uint_var
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicPacketType
from aioquic.tls import Epoch
from hypothesis import given, settings
from hypothesis import strategies as st

from quicsql_client.server.listeners import (
    ClientAuth,
    HTTPTimeouts,
    QUICContext,
)
from quicsql_client.server.listeners.settings import (
    RETRY_ABOVE_HANDSHAKES,
)

from .applications import Gate
from .certificates import PKI
from .http3_client import TIMEOUT_S, client_configuration, connected
from .quic_pair import CLIENT_ADDRESS, SERVER_ADDRESS
from .quic_server import (
    ANALYST,
    QUIC,
    Clients,
    OpenQUIC,
    QUICSocketInMemory,
    first_datagram,
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
        patch.setattr(f"{QUIC}_connection.QUICConnection._drive", _drive_and_raise)
        asyncio.run(throw())


def _drive_and_raise(connection: Any, step: Callable[[], None]) -> None:
    """Without the border."""
    step()
    connection._advance()


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
