"""Cancelling, interrupting, forking, many callers: no answer goes to the wrong call."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time

import pytest

from quicsql_client.endpoint import Endpoint
from quicsql_client.options import ClientOptions
from quicsql_client.transports.addresses import interleaved
from quicsql_client.transports.network import SocketStream
from quicsql_client.transports.slots import AsyncSlots, Slots
from quicsql_client.wire.messages import Request
from tests.fix_peers import OK, WAIT_S, AsyncPool, Conversation, PeerFactory, Pool, answering


def write(number: int) -> Request:
    return Request("POST", "/x", (), b"%d" % number)


def deadline() -> float:
    return time.monotonic() + WAIT_S


def echoing(conversation: Conversation) -> None:
    while request := conversation.read_request():
        body = request.partition(b"\r\n\r\n")[2]
        conversation.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))


async def test_cancelled_call_leaves_nothing_for_the_next(open_peer: PeerFactory) -> None:
    asked = threading.Event()

    def script(conversation: Conversation) -> None:
        if conversation.number == 1:
            conversation.read_request()
            asked.set()
            conversation.wait_for_end()
        else:
            echoing(conversation)

    peer = open_peer(script)
    pool = AsyncPool(
        Endpoint.parse(peer.address, transport="h1"), ClientOptions(), max_connections=1
    )
    task = asyncio.ensure_future(pool.send(write(1), deadline=deadline()))
    assert await asyncio.to_thread(asked.wait, WAIT_S)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await pool.send(write(2), deadline=deadline())).body == b"2"
    await pool.aclose()
    assert peer.connections == 2


def test_keyboard_interrupt_leaves_nothing_for_the_next(open_peer: PeerFactory) -> None:
    def script(conversation: Conversation) -> None:
        if conversation.number == 1:
            conversation.read_request()
            os.kill(os.getpid(), signal.SIGINT)
            conversation.wait_for_end()
        else:
            echoing(conversation)

    peer = open_peer(script)
    pool = Pool(Endpoint.parse(peer.address, transport="h1"), ClientOptions(), max_connections=1)
    with pytest.raises(KeyboardInterrupt):
        pool.send(write(1), deadline=deadline())
    assert pool.send(write(2), deadline=deadline()).body == b"2"
    pool.close()
    assert peer.connections == 2


def test_threads_get_their_own_answers(open_peer: PeerFactory) -> None:
    peer = open_peer(echoing)
    pool = Pool(Endpoint.parse(peer.address, transport="h1"), ClientOptions(), max_connections=4)
    wrong: list[object] = []

    def work(start: int) -> None:
        for number in range(start, start + 50):
            body = pool.send(write(number), deadline=deadline()).body
            if body != b"%d" % number:
                wrong.append((number, body))

    threads = [threading.Thread(target=work, args=(n * 1000,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pool.close()
    assert wrong == []
    assert len(peer.requests) == 800
    assert peer.connections <= 4


async def test_tasks_get_their_own_answers(open_peer: PeerFactory) -> None:
    peer = open_peer(echoing)
    pool = AsyncPool(
        Endpoint.parse(peer.address, transport="h1"), ClientOptions(), max_connections=4
    )
    calls = [pool.send(write(number), deadline=deadline()) for number in range(200)]
    answers = await asyncio.gather(*calls)
    await pool.aclose()
    assert [answer.body for answer in answers] == [b"%d" % n for n in range(200)]
    assert peer.connections <= 4


def test_one_pool_in_two_event_loops(open_peer: PeerFactory) -> None:
    peer = open_peer(echoing)
    pool = AsyncPool(Endpoint.parse(peer.address, transport="h1"), ClientOptions())
    bodies = [
        asyncio.run(pool.send(write(number), deadline=deadline())).body for number in range(2)
    ]
    asyncio.run(pool.aclose())
    assert bodies == [b"0", b"1"]
    assert peer.connections == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_child_opens_its_own_connection(open_peer: PeerFactory) -> None:
    peer = open_peer(echoing)
    pool = Pool(Endpoint.parse(peer.address, transport="h1"), ClientOptions())
    pool.send(write(1), deadline=deadline())
    child = os.fork()
    if child == 0:  # nothing of pytest may run here: leave by _exit
        code = 1
        try:
            code = 0 if pool.send(write(2), deadline=deadline()).body == b"2" else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert pool.send(write(3), deadline=deadline()).body == b"3"
    pool.close()
    assert peer.connections == 2


async def test_slot_is_not_lost_with_a_cancelled_waiter() -> None:
    slots = AsyncSlots(1)
    await slots.acquire(None)
    waiting = asyncio.ensure_future(slots.acquire(None))
    await asyncio.sleep(0)
    slots.release()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await slots.acquire(time.monotonic() + 1)
    with pytest.raises(TimeoutError):
        await slots.acquire(time.monotonic() + 0.01)
    slots.release()
    await slots.acquire(time.monotonic() + 1)


def test_slots_of_threads() -> None:
    slots = Slots(1)
    slots.acquire(None)
    with pytest.raises(TimeoutError):
        slots.acquire(time.monotonic() + 0.01)
    slots.release()
    slots.acquire(None)


def test_dead_address_is_passed_over(
    open_peer: PeerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = open_peer(answering(OK))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        dead = closed.getsockname()
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", dead),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", peer.port)),
    ]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)
    stream = SocketStream.connect(Endpoint.parse("db.test:1", transport="h1"), deadline())
    stream.write_from(iter([b"GET / HTTP/1.1\r\n\r\n", b""]).__next__, deadline())
    assert stream.read(deadline()).startswith(b"HTTP/1.1 200")
    stream.close()


def test_families_take_turns() -> None:
    six, four = (socket.AF_INET6, "a"), (socket.AF_INET, "b")
    assert interleaved([six, six, six, four]) == [six, four, six, six]
    assert interleaved([four]) == [four]
