"""HTTP/3: the core on a way that loses datagrams; callers that leave, fork and crowd."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.connection import QuicConnection
from hypothesis import given
from hypothesis import strategies as st

from quicsql_client import AsyncClient, Client
from quicsql_client.endpoint import Endpoint
from quicsql_client.errors import LocalProtocolError, RemoteProtocolError
from quicsql_client.options import ClientOptions, with_root_ca
from quicsql_client.transports.datagrams import AsyncDatagramSocket, DatagramSocket
from quicsql_client.transports.events import BodyPart, RequestNotProcessed, ResponseEnded
from quicsql_client.transports.http3 import HTTP3Core
from quicsql_client.transports.quic_trust import verify_server
from quicsql_client.wire.messages import Request
from tests.fix_peers import PKI, WAIT_S, make_certificate
from tests.fix_quic_peers import (
    AsyncHTTP3Pool,
    HTTP3Pool,
    QUICConversation,
    QUICPeer,
    QUICPeerFactory,
    configuration_for,
)
from tests.fix_server import EveryTransport

READ = Request("GET", "/_health")
CA = make_certificate("test server CA")
LEAF = CA.issue("db", ["localhost"])
OPTIONS = ClientOptions.of([with_root_ca(CA.cert_pem)])
ENDPOINT = Endpoint.parse("localhost:1", transport="h3")
_CLIENT = ("client", 1)


class Link:
    """A core and aioquic's server, with a clock of their own. lose: is asked for each datagram."""

    def __init__(self, lose: Any = lambda: False, twist: Any = lambda data: [data]) -> None:
        self.now = 1000.0
        self.core = HTTP3Core(ENDPOINT, OPTIONS, self.now)
        self._server: QuicConnection | None = None
        self._http: H3Connection | None = None
        self._bodies: dict[int, bytes] = {}
        self._lose = lose
        self._twist = twist

    def turn(self) -> None:
        """Move what is there; let time pass to the next instant when nothing is."""
        outgoing = self.core.datagrams_to_send(self.now)
        for data in outgoing:
            if not self._lose():
                self._serve(data)
        incoming = self._server.datagrams_to_send(self.now) if self._server is not None else []
        for data, _ in incoming:
            if not self._lose():
                for piece in self._twist(data):
                    self.core.receive_datagram(piece, self.now)
        if not outgoing and not incoming:
            self._wait()

    def _wait(self) -> None:
        theirs = self._server.get_timer() if self._server is not None else None
        instants = [at for at in (self.core.next_timer(), theirs) if at is not None]
        self.now = max(self.now, min(instants))
        self.core.handle_timer(self.now)
        if self._server is not None and theirs is not None and theirs <= self.now:
            self._server.handle_timer(self.now)
            self._answer()

    def _serve(self, data: bytes) -> None:
        if self._server is None:
            # RFC 9000, 7.2: the client chose this connection ID, after its length.
            chosen = data[6 : 6 + data[5]]
            self._server = QuicConnection(
                configuration=configuration_for(LEAF), original_destination_connection_id=chosen
            )
            self._http = H3Connection(self._server)
        self._server.receive_datagram(data, _CLIENT, self.now)
        self._answer()

    def _answer(self) -> None:
        assert self._server is not None
        assert self._http is not None
        while (event := self._server.next_event()) is not None:
            for part in self._http.handle_event(event):
                if isinstance(part, HeadersReceived | DataReceived):
                    if isinstance(part, DataReceived):
                        body = self._bodies.get(part.stream_id, b"")
                        self._bodies[part.stream_id] = body + part.data
                    if part.stream_ended:
                        self._http.send_headers(part.stream_id, [(b":status", b"200")])
                        body = self._bodies.pop(part.stream_id, b"none")
                        self._http.send_data(part.stream_id, body, end_stream=True)

    def until_trusted(self) -> None:
        for _ in range(200):
            if self.core.is_trusted or self.core.failure is not None:
                break
            self.turn()

    def ask(self, request: Request) -> bytes:
        """The answer's body. Raises what the core raises."""
        stream = self.core.start_request(request)
        parts: list[bytes] = []
        for _ in range(20_000):
            event = self.core.next_event(stream)
            if isinstance(event, BodyPart):
                parts.append(event.data)
            elif isinstance(event, ResponseEnded):
                return b"".join(parts)
            elif event is None:
                self.turn()
        raise AssertionError("no answer")


@pytest.mark.parametrize("seed", range(5))
def test_datagrams_that_are_lost_and_repeated(seed: int) -> None:
    dice = random.Random(seed)
    link = Link(lambda: dice.random() < 0.15, lambda data: [data] * dice.choice((1, 1, 2)))
    link.until_trusted()
    assert link.core.is_trusted
    body = dice.randbytes(150_000)
    assert link.ask(Request("POST", "/x", (), body)) == body
    assert link.ask(READ) == b"none"
    assert link.core.is_confirmed


@pytest.mark.parametrize("seed", range(40))
def test_datagrams_that_are_changed_on_the_way_change_no_answer(seed: int) -> None:
    """Each is sealed: what is changed is dropped and sent again, or the connection ends."""
    dice = random.Random(seed)

    def twist(datagram: bytes) -> list[bytes]:
        if dice.random() < 0.6:
            return [datagram]
        changed = bytearray(datagram)
        changed[dice.randrange(len(datagram))] ^= dice.randrange(1, 256)
        return [bytes(changed)[: dice.randrange(1, 2 * len(datagram))]]

    link = Link(twist=twist)
    link.until_trusted()
    if link.core.is_trusted:
        try:
            assert link.ask(Request("POST", "/x", (), b"body")) == b"body"
        except (RemoteProtocolError, OSError):
            assert link.core.failure is not None


@given(st.lists(st.binary(max_size=1500), max_size=20))
def test_noise_raises_nothing(noise: list[bytes]) -> None:
    core = HTTP3Core(ENDPOINT, OPTIONS, 0.0)
    core.datagrams_to_send(0.0)
    for data in noise:
        core.receive_datagram(data, 0.0)
    assert not core.is_trusted
    assert core.max_streams == 0


def test_probe_that_is_answered_and_one_that_is_not() -> None:
    is_dead = False
    link = Link(lambda: is_dead)
    link.until_trusted()
    link.ask(READ)
    for expected in (True, False):
        is_dead = not expected
        link.core.start_probe(link.now)
        while (result := link.core.probe_result(link.now)) is None:
            link.turn()
        assert result is expected


def test_silence_while_an_answer_is_waited_for_ends_the_connection() -> None:
    """Both sides are asked for a sign before that: the server's answer may take its time."""
    is_dead = False
    link = Link(lambda: is_dead)
    link.until_trusted()
    link.ask(READ)
    is_dead = True
    with pytest.raises(ConnectionAbortedError, match="silent"):
        link.ask(READ)
    assert link.core.max_streams == 0


def test_a_second_exchange_and_a_closed_connection_are_refused() -> None:
    link = Link()
    with pytest.raises(RequestNotProcessed):
        link.core.start_request(READ)
    link.until_trusted()
    link.core.start_request(READ)
    with pytest.raises(RequestNotProcessed):
        link.core.start_request(READ)
    link.core.close()
    with pytest.raises(RequestNotProcessed):
        link.core.start_request(READ)
    with pytest.raises(LocalProtocolError):
        link.core.next_event(0)


# Sockets


async def test_what_came_before_the_server_went_is_read() -> None:
    for kind in (DatagramSocket, AsyncDatagramSocket):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 0))
            ours = kind((socket.AF_INET, server.getsockname()))
            ours.send(b"question")
            place = server.recvfrom(100)[1]
            for part in (b"an", b"swer"):
                server.sendto(part, place)
        ours.send(b"acknowledged")  # to nobody: the system says so before it gives what came
        assert ours.receive_available() == [b"an", b"swer"]
        assert ours.receive_available() == []
        ours.send(b"anybody?")
        with pytest.raises(ConnectionRefusedError):
            ours.send(b"anybody?")
        assert ours.sent == 3
        ours.close()
        ours.close()


async def test_waiting_ends_at_its_instant(silent_port: int) -> None:
    address = socket.AF_INET, ("127.0.0.1", silent_port)
    past = time.monotonic()
    sync, other = DatagramSocket(address), AsyncDatagramSocket(address)
    assert sync.receive(past) == []
    assert await other.receive(past) == []
    assert sync.receive(time.monotonic() + 0.01) == []
    assert await other.receive(time.monotonic() + 0.01) == []
    sync.close()
    other.close()


def test_name_that_is_not_ascii() -> None:
    leaf = CA.issue("db", ["xn--mnchen-3ya.example"])
    endpoint = Endpoint.parse("m\u00fcnchen.example:1", transport="h3")
    verify_server(leaf.certificate, [], OPTIONS, endpoint)
    assert HTTP3Core(endpoint, OPTIONS, 0.0).datagrams_to_send(0.0)


# Callers


def pool_of(kind: type[Any], peer: QUICPeer, pki: PKI, max_connections: int = 1) -> Any:
    endpoint = Endpoint.parse(peer.address, transport="h3")
    options = ClientOptions.of([with_root_ca(pki.server_ca.cert_pem)], endpoint)
    return kind(endpoint, options, max_connections=max_connections)


def deadline() -> float:
    return time.monotonic() + WAIT_S


def write(number: int) -> Request:
    return Request("POST", "/x", (), b"%d" % number)


def echoing(conversation: QUICConversation, stream: int) -> None:
    conversation.answer(stream, conversation.bodies[stream])


async def test_cancelled_call_leaves_nothing_for_the_next(
    open_quic_peer: QUICPeerFactory, peer_pki: PKI
) -> None:
    asked = threading.Event()

    def script(conversation: QUICConversation, stream: int) -> None:
        if conversation.number > 1:
            echoing(conversation, stream)
        asked.set()

    peer = open_quic_peer(script)
    pool: AsyncHTTP3Pool = pool_of(AsyncHTTP3Pool, peer, peer_pki)
    task = asyncio.ensure_future(pool.send(write(1), deadline=deadline()))
    assert await asyncio.to_thread(asked.wait, WAIT_S)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(peer.wait_ended)
    assert (await pool.send(write(2), deadline=deadline())).body == b"2"
    await pool.aclose()
    assert peer.connections == 2


async def test_cancelled_in_the_handshake(silent_port: int) -> None:
    pool = AsyncHTTP3Pool(
        Endpoint.parse(f"127.0.0.1:{silent_port}", transport="h3"),
        ClientOptions(),
        max_connections=1,
    )
    for _ in range(2):
        task = asyncio.ensure_future(pool.send(write(1), deadline=deadline()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await pool.aclose()


def test_keyboard_interrupt_leaves_nothing_for_the_next(
    open_quic_peer: QUICPeerFactory, peer_pki: PKI
) -> None:
    def script(conversation: QUICConversation, stream: int) -> None:
        if conversation.number == 1:
            os.kill(os.getpid(), signal.SIGINT)
        else:
            echoing(conversation, stream)

    peer = open_quic_peer(script)
    pool: HTTP3Pool = pool_of(HTTP3Pool, peer, peer_pki)
    with pytest.raises(KeyboardInterrupt):
        pool.send(write(1), deadline=deadline())
    assert pool.send(write(2), deadline=deadline()).body == b"2"
    pool.close()
    assert peer.connections == 2


def test_closed_while_a_call_is_going_on(open_quic_peer: QUICPeerFactory, peer_pki: PKI) -> None:
    """The call ends well, and its connection with it."""
    pool: HTTP3Pool

    def script(conversation: QUICConversation, stream: int) -> None:
        pool.close()
        echoing(conversation, stream)

    peer = open_quic_peer(script)
    pool = pool_of(HTTP3Pool, peer, peer_pki)
    assert pool.send(write(1), deadline=deadline()).body == b"1"
    peer.wait_ended()
    with pytest.raises(LocalProtocolError, match="closed"):
        pool.send(write(2), deadline=deadline())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_child_process_makes_its_own_connection(
    open_quic_peer: QUICPeerFactory, peer_pki: PKI
) -> None:
    peer = open_quic_peer(echoing)
    pool: HTTP3Pool = pool_of(HTTP3Pool, peer, peer_pki)
    assert pool.send(write(1), deadline=deadline()).body == b"1"
    child = os.fork()
    if child == 0:  # nothing of pytest may run here: leave by _exit
        code = 1
        try:
            code = 0 if pool.send(write(2), deadline=deadline()).body == b"2" else 2
            pool.close()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert pool.send(write(3), deadline=deadline()).body == b"3"
    pool.close()
    assert peer.connections == 2


def test_no_thread_stays(open_quic_peer: QUICPeerFactory, peer_pki: PKI) -> None:
    peer = open_quic_peer(echoing)
    before = set(threading.enumerate())
    pool: HTTP3Pool = pool_of(HTTP3Pool, peer, peer_pki)
    pool.send(write(1), deadline=deadline())
    assert set(threading.enumerate()) == before
    pool.close()


def test_threads_get_their_own_answers(every_transport: EveryTransport) -> None:
    endpoint, options = every_transport.way("h3")
    with Client(endpoint, *options) as client, ThreadPoolExecutor(16) as threads:

        def ask(number: int) -> bool:
            got = [client.query("h3-Client", "SELECT ?", [number * 100 + n]) for n in range(8)]
            return [one.scalar() for one in got] == [number * 100 + n for n in range(8)]

        assert all(threads.map(ask, range(16)))


async def test_tasks_get_their_own_answers(every_transport: EveryTransport) -> None:
    endpoint, options = every_transport.way("h3")
    async with AsyncClient(endpoint, *options) as client:

        async def ask(number: int) -> bool:
            got = [
                await client.query("h3-AsyncClient", "SELECT ?", [number * 100 + n])
                for n in range(4)
            ]
            return [one.scalar() for one in got] == [number * 100 + n for n in range(4)]

        assert all(await asyncio.gather(*(ask(number) for number in range(64))))


def test_large_values_both_ways(every_transport: EveryTransport) -> None:
    endpoint, options = every_transport.way("h3")
    value = os.urandom(2_000_000)
    with Client(endpoint, *options) as client:
        assert client.query("h3-Client", "SELECT ?", [value]).scalar() == value
