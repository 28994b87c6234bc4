"""The asynchronous stream, and turns of those who share it: no byte lost, nobody forgotten."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from quicsql_client.transports.network import end_of
from quicsql_client.transports.network_async import AsyncSocketStream
from quicsql_client.transports.turns import AsyncTurn
from tests.fix_peers import PKI, WAIT_S

Pair = tuple[AsyncSocketStream, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    stream = AsyncSocketStream(ours)
    theirs.settimeout(WAIT_S)
    yield stream, theirs
    theirs.close()
    stream.close()


def soon(seconds: float = WAIT_S) -> float:
    return time.monotonic() + seconds


def source_of(*pieces: bytes) -> Callable[[], bytes]:
    left = list(pieces)
    return lambda: left.pop(0) if left else b""


def receive(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := sock.recv(65536)):
        data += piece
    return data


async def test_cancelled_reading_loses_nothing(pair: Pair) -> None:
    """Not even when the data has come in the moment of cancelling."""
    stream, theirs = pair
    for number in range(20):
        reading = asyncio.create_task(stream.read(soon()))
        await asyncio.sleep(0)
        theirs.sendall(b"%d" % number)
        for _ in range(number % 3):
            await asyncio.sleep(0)
        if reading.done():
            assert await reading == b"%d" % number
            continue
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert await stream.read(soon()) == b"%d" % number


async def test_deadline_of_reading(pair: Pair) -> None:
    stream, theirs = pair
    with pytest.raises(TimeoutError):
        await stream.read(soon(0.01))
    with pytest.raises(TimeoutError):
        await stream.read(soon(-1))
    theirs.sendall(b"x")
    assert await stream.read(soon()) == b"x"
    assert stream.read_available() is None
    theirs.close()
    assert await stream.read(None) == b""
    assert stream.read_available() == b""


async def test_writing_waits_for_nobody_and_keeps_the_order(pair: Pair) -> None:
    stream, theirs = pair
    first, second = os.urandom(3_000_000), os.urandom(1000)
    await stream.write_from(source_of(first), soon())
    assert 0 < stream.bytes_written < len(first)
    await stream.write_from(source_of(second), soon())
    found = await asyncio.to_thread(receive, theirs, len(first) + len(second))
    assert found == first + second
    assert (stream.bytes_written, stream.is_congested) == (len(found), False)


async def test_what_many_write_at_once_leaves_as_one(pair: Pair) -> None:
    stream, theirs = pair
    pieces = [b"a", b"b", b"c"]
    for _ in pieces:
        stream.write_soon(lambda: pieces.pop(0) if pieces else b"")
    assert stream.bytes_written == 0
    await asyncio.sleep(0)
    assert receive(theirs, 3) == b"abc"


async def test_failed_write_is_told_after_what_the_peer_said(pair: Pair) -> None:
    stream, theirs = pair
    theirs.sendall(b"last words")
    theirs.shutdown(socket.SHUT_RD)
    await stream.write_from(source_of(b"x"), soon())
    assert await stream.read(soon()) == b"last words"
    with pytest.raises(BrokenPipeError):
        await stream.read(soon())


async def test_write_that_fails_while_somebody_reads(pair: Pair) -> None:
    stream, theirs = pair
    reading = asyncio.create_task(stream.read(None))
    await asyncio.sleep(0)
    theirs.shutdown(socket.SHUT_RD)
    await stream.write_from(source_of(b"x"), soon())
    with pytest.raises(BrokenPipeError):
        await reading


def test_why_nothing_came_in_time() -> None:
    deadline, broken = TimeoutError("the deadline has passed"), BrokenPipeError()
    assert end_of(deadline, None) is deadline
    assert end_of(deadline, broken) is broken
    found = end_of(TimeoutError(errno.ETIMEDOUT, "timed out"), None)
    assert not isinstance(found, TimeoutError)


async def test_tls_in_both_directions(peer_pki: PKI) -> None:
    ours, theirs = socket.socketpair()
    theirs.settimeout(WAIT_S)
    up, down = os.urandom(2_000_000), os.urandom(500_000)
    got: list[bytes] = []

    def serve() -> None:
        with peer_pki.context().wrap_socket(theirs, server_side=True) as sock:
            sock.sendall(down)
            got.append(receive(sock, len(up)))

    thread = threading.Thread(target=serve)
    thread.start()
    stream = AsyncSocketStream(ours)
    context = ssl.create_default_context(cadata=peer_pki.server_ca.cert_pem.decode())
    await stream.start_tls(context, "localhost", soon())
    assert stream.bytes_written == 0
    assert stream.tls_version in ("TLSv1.3", "TLSv1.2")
    await stream.write_from(source_of(up[:1000], up[1000:]), soon())
    data = b""
    while len(data) < len(down):
        data += await stream.read(soon())
    await asyncio.to_thread(thread.join, WAIT_S)
    assert data == down
    assert got == [up]
    assert stream.bytes_written == len(up)
    assert await stream.read(soon()) == b""
    stream.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
async def test_closing_in_a_child_does_not_stop_the_parents_writing(pair: Pair) -> None:
    stream, theirs = pair
    data = os.urandom(2_000_000)
    await stream.write_from(source_of(data), soon())
    assert stream.is_congested
    child = os.fork()
    if child == 0:  # nothing of pytest may run here: leave by _exit
        stream.close()
        os._exit(0)
    await asyncio.to_thread(os.waitpid, child, 0)
    assert await asyncio.to_thread(receive, theirs, len(data)) == data


# Turns


async def test_the_one_who_reads_tells_the_others_and_leaves_it_to_them() -> None:
    turn = AsyncTurn()
    assert await turn.take(1, None)
    second, third = (asyncio.create_task(turn.take(number, None)) for number in (3, 5))
    await asyncio.sleep(0)
    turn.tell({3, 7})
    assert await second is False
    assert not third.done()
    turn.give(is_last=False)
    assert await third is True
    assert turn.is_taken
    turn.give(is_last=False)
    assert await turn.take(3, None)


async def test_turn_of_one_who_leaves_goes_to_the_next() -> None:
    turn = AsyncTurn()
    assert await turn.take(1, None)
    second, third = (asyncio.create_task(turn.take(number, None)) for number in (3, 5))
    await asyncio.sleep(0)
    turn.give(is_last=False)
    second.cancel()  # in the moment in which it got it
    assert await third is True
    fourth = asyncio.create_task(turn.take(7, None))
    await asyncio.sleep(0)
    fourth.cancel()
    turn.give(is_last=False)
    with pytest.raises(asyncio.CancelledError):
        await fourth
    assert not turn.is_taken


async def test_at_the_end_everybody_is_told() -> None:
    turn = AsyncTurn()
    assert await turn.take(1, None)
    others = [asyncio.create_task(turn.take(number, None)) for number in (3, 5)]
    await asyncio.sleep(0)
    turn.give(is_last=True)
    assert await asyncio.gather(*others) == [False, False]


async def test_turns_have_a_deadline() -> None:
    turn = AsyncTurn()
    assert await turn.take(1, None)
    with pytest.raises(TimeoutError):
        await turn.take(3, soon(0.01))
    with pytest.raises(TimeoutError):
        await turn.take(3, soon(-1))
    turn.give(is_last=False)
    assert not turn.is_taken
