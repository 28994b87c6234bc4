"""Many calls on one HTTP/2 connection of asyncio: each with its own answer, its own error.

The peers are threads with h2's server side, or with frames written by hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import Callable

import h2.events
import h2.settings
import pytest

from quicsql_client._async import connection as connection_module
from quicsql_client.endpoint import Endpoint
from quicsql_client.errors import (
    ConnectError,
    ReadTimeout,
    RemoteProtocolError,
    ResponseTooLarge,
    TLSError,
    TransportError,
)
from quicsql_client.options import ClientOptions, with_max_response, with_root_ca
from quicsql_client.transports.events import RequestNotProcessed
from quicsql_client.wire.messages import Request, Response
from tests.fix_peers import (
    OK,
    PKI,
    WAIT_S,
    AsyncPool,
    Conversation,
    H2Conversation,
    Peer,
    PeerFactory,
    answering,
    speaking_h2,
)

from .http2.fix_frames import RST_STREAM, frame


def write(number: int, size: int = 0) -> Request:
    return Request("POST", "/x", (), b"%d" % number + bytes(size))


def read(number: int) -> Request:
    return Request("GET", f"/{number}")


def soon(seconds: float = WAIT_S) -> float:
    return time.monotonic() + seconds


def pool_for(peer: Peer, options: ClientOptions | None = None) -> AsyncPool:
    endpoint = Endpoint.parse(peer.address, transport="h2c")
    return AsyncPool(endpoint, options or ClientOptions())


def sending(
    pool: AsyncPool, *requests: Request, seconds: float = WAIT_S
) -> list[asyncio.Task[Response]]:
    return [asyncio.create_task(pool.send(each, deadline=soon(seconds))) for each in requests]


async def outcomes(tasks: list[asyncio.Task[Response]]) -> list[bytes | BaseException]:
    found = await asyncio.gather(*tasks, return_exceptions=True)
    return [each.body if isinstance(each, Response) else each for each in found]


async def until(is_so: Callable[[], bool]) -> None:
    """For states that the connection tells nobody of."""
    async with asyncio.timeout(WAIT_S):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def echoing(count: int = 1) -> Callable[[H2Conversation], None]:
    """Answers with the request's body, `count` requests together and the last one first."""

    def script(conversation: H2Conversation) -> None:
        streams: list[int] = []
        while stream := conversation.read_request():
            streams.append(stream)
            if len(streams) == count:
                for each in reversed(streams):
                    conversation.answer(each, conversation.bodies.get(each, b"none"))
                streams.clear()

    return script


async def test_calls_share_one_connection(open_peer: PeerFactory) -> None:
    peer = open_peer(speaking_h2(echoing(50)))
    pool = pool_for(peer)
    for _ in range(2):
        found = await outcomes(sending(pool, *(write(number) for number in range(50))))
        assert found == [b"%d" % number for number in range(50)]
    await pool.aclose()
    assert peer.connections == 1


async def test_over_tls_too(open_peer: PeerFactory, peer_pki: PKI) -> None:
    peer = open_peer(speaking_h2(echoing(20)), peer_pki.context(alpn=["h2"]))
    options = ClientOptions.of([with_root_ca(peer_pki.server_ca.cert_pem)])
    pool = AsyncPool(Endpoint.parse(peer.address, transport="h2"), options)
    found = await outcomes(sending(pool, *(write(number, 50_000) for number in range(20))))
    await pool.aclose()
    assert found == [write(number, 50_000).body for number in range(20)]
    assert peer.connections == 1


async def test_without_http2_each_call_has_a_connection(
    open_peer: PeerFactory, peer_pki: PKI
) -> None:
    both = threading.Barrier(3, timeout=WAIT_S)

    def script(conversation: Conversation) -> None:
        conversation.read_request()
        both.wait()
        conversation.send(OK)
        conversation.wait_for_end()

    peer = open_peer(script, peer_pki.context(alpn=()))
    options = ClientOptions.of([with_root_ca(peer_pki.server_ca.cert_pem)])
    pool = AsyncPool(Endpoint.parse(peer.address, transport="h2"), options)
    assert await outcomes(sending(pool, *(write(n) for n in range(3)))) == [b"ok"] * 3
    await pool.aclose()
    assert peer.connections == 3


async def test_no_more_at_a_time_than_the_server_allows(open_peer: PeerFactory) -> None:
    most = [0]

    def script(conversation: H2Conversation) -> None:
        conversation.h2.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 3})
        conversation.flush()
        while stream := conversation.read_request():
            most[0] = max(most[0], conversation.h2.open_inbound_streams)
            conversation.answer(stream, conversation.bodies[stream])

    peer = open_peer(speaking_h2(script))
    pool = pool_for(peer)
    assert await outcomes(sending(pool, write(0))) == [b"0"]
    found = await outcomes(sending(pool, *(write(number) for number in range(30))))
    await pool.aclose()
    assert found == [b"%d" % number for number in range(30)]
    assert most[0] <= 3
    assert peer.connections == 1


@pytest.mark.parametrize("who", [0, 1])
async def test_cancelled_call_resets_its_stream_only(open_peer: PeerFactory, who: int) -> None:
    """The first call reads for both; when it is the one that goes, the other takes over."""
    resets: list[int] = []
    asked = threading.Event()

    def script(conversation: H2Conversation) -> None:
        streams: list[int] = []
        while data := conversation.sock.recv(65536):
            for event in conversation.h2.receive_data(data):
                if isinstance(event, h2.events.StreamEnded):
                    streams.append(event.stream_id)
                elif isinstance(event, h2.events.StreamReset):
                    resets.append(event.stream_id)
                    conversation.answer(streams[1 - who], b"other")
            if len(streams) == 2:
                asked.set()
            elif len(streams) == 3:
                conversation.answer(streams[2], b"third")
            conversation.flush()

    peer = open_peer(speaking_h2(script))
    pool = pool_for(peer)
    tasks = sending(pool, write(0), write(1))
    assert await asyncio.to_thread(asked.wait, WAIT_S)
    tasks[who].cancel()
    assert (await tasks[1 - who]).body == b"other"
    with pytest.raises(asyncio.CancelledError):
        await tasks[who]
    assert (await pool.send(write(2), deadline=soon())).body == b"third"
    await pool.aclose()
    assert resets == [(1, 3)[who]]
    assert peer.connections == 1


async def test_deadline_of_one_call_leaves_the_others(open_peer: PeerFactory) -> None:
    def script(conversation: H2Conversation) -> None:
        first = conversation.read_request()
        while stream := conversation.read_request():
            conversation.answer(stream, conversation.bodies[stream])
        assert first

    peer = open_peer(speaking_h2(script))
    pool = pool_for(peer)
    (hanging,) = sending(pool, write(0), seconds=0.2)
    (other,) = sending(pool, write(1))
    assert (await other).body == b"1"
    with pytest.raises(ReadTimeout) as caught:
        await hanging
    assert caught.value.may_have_run
    assert (await pool.send(write(2), deadline=soon())).body == b"2"
    await pool.aclose()
    assert peer.connections == 1


async def test_silent_connection_gets_no_new_calls(
    open_peer: PeerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "_MAX_SILENCE_S", 0.1)

    def script(conversation: H2Conversation) -> None:
        while stream := conversation.read_request():
            if conversation.number > 1:
                conversation.answer(stream)

    peer = open_peer(speaking_h2(script))
    pool = pool_for(peer)
    with pytest.raises(ReadTimeout):
        await pool.send(write(0), deadline=soon(0.2))
    assert (await pool.send(write(1), deadline=soon())).body == b"ok"
    await pool.aclose()
    assert peer.connections == 2


async def test_what_is_wrong_with_one_answer_is_that_calls_error(open_peer: PeerFactory) -> None:
    def script(conversation: H2Conversation) -> None:
        if conversation.number > 1:
            conversation.answer(conversation.read_request(), b"again")
            conversation.read_request()
            return
        streams = [conversation.read_request() for _ in range(5)]
        large, reset, no_status, refused, right = streams
        conversation.answer(large, bytes(1000))
        conversation.h2.reset_stream(reset, 2)
        conversation.flush()
        raw = b"\0\0\1\1\5" + no_status.to_bytes(4, "big") + b"\x90"
        conversation.sock.sendall(raw + frame(RST_STREAM, 0, refused, b"\0\0\0\x07"))
        conversation.answer(right, b"right")
        conversation.read_request()

    peer = open_peer(speaking_h2(script))
    pool = pool_for(peer, ClientOptions.of([with_max_response(500)]))
    found = await outcomes(sending(pool, *(write(number) for number in range(5))))
    await pool.aclose()
    assert isinstance(found[0], ResponseTooLarge)
    assert isinstance(found[1], RemoteProtocolError)
    assert isinstance(found[2], RemoteProtocolError)
    assert found[3:] == [b"again", b"right"]
    assert peer.connections == 2  # a server that refuses is left alone


async def test_broken_connection_fails_each_call_with_its_own_error(
    open_peer: PeerFactory,
) -> None:
    def script(conversation: H2Conversation) -> None:
        if conversation.number > 1:
            echoing()(conversation)
            return
        stream = conversation.read_request()
        conversation.answer(stream)
        streams = sorted(conversation.read_request() for _ in range(4))
        conversation.answer(streams[0], b"whole")
        conversation.h2.send_headers(streams[1], [(":status", "200")])
        conversation.h2.send_data(streams[1], b"cut")
        conversation.flush()

    peer = open_peer(speaking_h2(script))
    pool = pool_for(peer)
    await pool.send(write(9), deadline=soon())
    found = await outcomes(sending(pool, write(0), write(1), write(2), read(3)))
    await pool.aclose()
    assert found[0] == b"whole"
    for number in (1, 2):
        error = found[number]
        assert isinstance(error, TransportError)
        assert error.may_have_run
        assert error.answer_began is (number == 1)
        assert error.request == "POST /x"
    assert found[1] is not found[2]
    assert found[3] == b"none"  # a read without any answer is sent again
    assert peer.connections == 2


async def test_breach_of_the_connection_fails_all_and_says_goodbye(open_peer: PeerFactory) -> None:
    goodbye = threading.Event()

    def script(conversation: H2Conversation) -> None:
        for _ in range(3):
            conversation.read_request()
        conversation.sock.sendall(frame(0, 0, 99, b"x"))
        while data := conversation.sock.recv(65536):
            events = conversation.h2.receive_data(data)
            if any(isinstance(event, h2.events.ConnectionTerminated) for event in events):
                goodbye.set()

    peer = open_peer(speaking_h2(script))
    pool = pool_for(peer)
    found = await outcomes(sending(pool, *(write(number) for number in range(3))))
    assert all(isinstance(each, RemoteProtocolError) for each in found)
    assert len({id(each) for each in found}) == 3
    assert await asyncio.to_thread(goodbye.wait, WAIT_S)
    await pool.aclose()


async def test_request_that_never_left_has_not_run(open_peer: PeerFactory) -> None:
    """The server takes nothing, so what is behind a large body stays here, and it ends."""
    go_on, begun = threading.Event(), threading.Event()

    def script(conversation: Conversation) -> None:
        conversation.sock.setsockopt(1, 8, 4096)  # SO_RCVBUF
        opening = b"\0\0\6\4\0\0\0\0\0\0\4\x7f\xff\xff\xff"
        conversation.send(opening + b"\0\0\4\x08\0\0\0\0\0\x7f\0\0\0")
        conversation.sock.recv(100)
        begun.set()
        assert go_on.wait(WAIT_S)
        conversation.reset()

    peer = open_peer(script)
    pool = pool_for(peer)
    (large,) = sending(pool, write(0, 20_000_000))
    assert await asyncio.to_thread(begun.wait, WAIT_S)
    (connection,) = pool._shelf.all
    await until(lambda: connection._link.stream.is_congested)
    (late,) = sending(pool, write(1))
    await asyncio.sleep(0)
    go_on.set()
    found = await outcomes([large, late])
    await pool.aclose()
    assert isinstance(found[0], TransportError)
    assert isinstance(found[1], TransportError)
    assert found[0].may_have_run
    assert not found[1].may_have_run


async def test_goaway_drains_and_new_calls_go_elsewhere(open_peer: PeerFactory) -> None:
    go_on = threading.Event()

    def script(conversation: H2Conversation) -> None:
        if conversation.number > 1:
            echoing()(conversation)
            return
        streams = [conversation.read_request() for _ in range(3)]
        conversation.send_goaway(streams[1])
        assert go_on.wait(WAIT_S)
        conversation.answer(streams[0], b"first")
        conversation.answer(streams[1], b"second")
        assert not conversation.read_request()  # drained, and closed by the client

    peer = open_peer(speaking_h2(script))
    pool = pool_for(peer)
    tasks = sending(pool, *(write(number) for number in range(3)))
    assert (await tasks[2]).body == b"2"  # not processed there, so sent again
    assert (await pool.send(write(3), deadline=soon())).body == b"3"
    assert not tasks[0].done()
    go_on.set()
    assert await outcomes(tasks[:2]) == [b"first", b"second"]
    await asyncio.to_thread(peer.wait_ended)
    await pool.aclose()
    assert peer.connections == 2


async def test_closed_pool_lets_its_calls_end(open_peer: PeerFactory) -> None:
    go_on = threading.Event()

    def script(conversation: H2Conversation) -> None:
        streams = [conversation.read_request() for _ in range(2)]
        assert go_on.wait(WAIT_S)
        for stream in streams:
            conversation.answer(stream)
        assert not conversation.read_request()

    peer = open_peer(speaking_h2(script))
    pool = pool_for(peer)
    tasks = sending(pool, write(0), write(1))
    await until(lambda: bool(pool._shelf.all) and pool._shelf.all[0].calls == 2)
    await pool.aclose()
    go_on.set()
    assert await outcomes(tasks) == [b"ok"] * 2
    await asyncio.to_thread(peer.wait_ended)


async def test_every_call_not_processed_is_sent_again_once(open_peer: PeerFactory) -> None:
    def script(conversation: H2Conversation) -> None:
        if conversation.number > 1:
            echoing()(conversation)
            return
        for _ in range(20):
            conversation.read_request()
        conversation.send_goaway(0)
        conversation.read_request()

    peer = open_peer(speaking_h2(script))
    pool = pool_for(peer)
    found = await outcomes(sending(pool, *(write(number) for number in range(20))))
    await pool.aclose()
    assert found == [b"%d" % number for number in range(20)]
    assert peer.connections == 2


async def test_refused_again_and_again_ends(open_peer: PeerFactory) -> None:
    def script(conversation: H2Conversation) -> None:
        while stream := conversation.read_request():
            conversation.h2.reset_stream(stream, 7)
            conversation.flush()

    peer = open_peer(speaking_h2(script))
    pool = pool_for(peer)
    found = await outcomes(sending(pool, *(write(number) for number in range(10))))
    await pool.aclose()
    assert all(isinstance(each, RequestNotProcessed) for each in found)
    assert not any(isinstance(each, TransportError) and each.may_have_run for each in found)


async def test_nobody_listens(open_peer: PeerFactory) -> None:
    peer = open_peer(answering(OK))
    peer.close()
    pool = pool_for(peer)
    found = await outcomes(sending(pool, *(write(number) for number in range(10))))
    await pool.aclose()
    assert all(isinstance(each, ConnectError) for each in found)
    assert len({id(each) for each in found}) == 10
    assert pool._shelf.all == []


async def test_refused_certificate_is_told_to_each_call(
    open_peer: PeerFactory, peer_pki: PKI
) -> None:
    peer = open_peer(speaking_h2(echoing()), peer_pki.context(alpn=["h2"], client_auth=True))
    options = ClientOptions.of([with_root_ca(peer_pki.server_ca.cert_pem)])
    pool = AsyncPool(Endpoint.parse(peer.address, transport="h2"), options)
    found = await outcomes(sending(pool, *(write(number) for number in range(5))))
    await pool.aclose()
    assert all(isinstance(each, TLSError) for each in found)
    assert {each.reason for each in found if isinstance(each, TLSError)} == {
        "client_certificate_required"
    }


async def test_large_bodies_in_both_directions_at_once(open_peer: PeerFactory) -> None:
    """A server that reads no more before we read, and we have much to send, is no deadlock."""

    def script(conversation: H2Conversation) -> None:
        stream = conversation.read_request()
        other = conversation.read_request()
        for each in (stream, other):
            conversation.h2.send_headers(each, [(":status", "200")])
        left = {stream: 8_000_000, other: 8_000_000}
        while any(left.values()):
            for each in left:
                window = conversation.h2.local_flow_control_window(each)
                size = min(window, 16384, left[each])
                if size:
                    conversation.h2.send_data(each, bytes(size))
                    left[each] -= size
            conversation.sock.settimeout(WAIT_S)
            conversation.flush()
            conversation.sock.settimeout(0.001)
            with contextlib.suppress(TimeoutError):
                for event in conversation.h2.receive_data(conversation.sock.recv(65536)):
                    conversation.see(event)
        conversation.sock.settimeout(WAIT_S)
        for each in left:
            conversation.h2.end_stream(each)
        conversation.flush()
        echoing()(conversation)

    peer = open_peer(speaking_h2(script))
    pool = pool_for(peer)
    tasks = sending(pool, write(0), write(1))
    bodies = sending(pool, *(write(number, 500_000) for number in range(2, 6)))
    assert [len((await task).body) for task in tasks] == [8_000_000] * 2
    assert await outcomes(bodies) == [write(number, 500_000).body for number in range(2, 6)]
    await pool.aclose()
    assert peer.connections == 1


@pytest.mark.parametrize("seed", range(5))
async def test_cancelling_at_random_leaves_right_answers_and_nothing_behind(
    open_peer: PeerFactory, seed: int
) -> None:
    chance = random.Random(seed)
    peer = open_peer(speaking_h2(echoing()))
    pool = pool_for(peer)
    wrong: list[object] = []

    async def call(number: int) -> None:
        request = write(number, chance.choice([0, 0, 100, 100_000]))
        task = asyncio.create_task(pool.send(request, deadline=soon()))
        for _ in range(chance.choice([0, 1, 2, 3, 5, 8, 13])):
            await asyncio.sleep(0)
        if chance.random() < 0.4:
            task.cancel()
        try:
            if (await task).body != request.body:
                wrong.append(number)
        except asyncio.CancelledError:
            pass

    async def many(start: int) -> None:
        for number in range(start, start + 20):
            await call(number)

    await asyncio.gather(*(many(start * 1000) for start in range(15)))
    assert (await pool.send(write(7), deadline=soon())).body == b"7"
    for connection in pool._shelf.all:
        assert connection.calls == 0
        core = connection._link.core
        assert core._streams == {}  # type: ignore[attr-defined]
        assert core._open_count == 0  # type: ignore[attr-defined]
        assert not connection._link._turn.is_taken
        assert connection._link._turn._waiting == {}
    await pool.aclose()
    assert wrong == []
