"""Which connection a call gets, for threads and for tasks: the same decisions, and nobody lost."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass

import pytest

from quicsql_client.errors import LocalProtocolError
from quicsql_client.transports.shelves import AsyncShelf, Shelf
from tests.fix_peers import WAIT_S


@dataclass(eq=False)
class Connection:
    capacity: int = 1
    calls: int = 0
    was_used: bool = False
    is_closed: bool = False

    def close(self) -> None:
        self.is_closed = True


def soon(seconds: float = WAIT_S) -> float:
    return time.monotonic() + seconds


async def opened(shelf: AsyncShelf[Connection], capacity: int = 1) -> Connection:
    assert await shelf.take(soon(), is_fresh=False) is None
    connection = Connection(capacity)
    shelf.add(connection)
    return connection


async def is_waiting(task: asyncio.Future[Connection | None]) -> bool:
    await asyncio.sleep(0)
    return not task.done()


def taking(
    shelf: AsyncShelf[Connection], *, is_fresh: bool = False
) -> asyncio.Future[Connection | None]:
    return asyncio.ensure_future(shelf.take(soon(), is_fresh=is_fresh))


async def test_idle_connection_is_taken_before_a_new_one() -> None:
    shelf = AsyncShelf[Connection](2, is_shared=False)
    first = await opened(shelf)
    second = await opened(shelf)
    waiting = taking(shelf)
    assert await is_waiting(waiting)
    shelf.give_back(second)
    assert await waiting is second
    shelf.give_back(first)
    assert shelf.idle == [first]
    assert await shelf.take(None, is_fresh=False) is first


async def test_calls_that_wait_come_in_order_and_before_new_ones() -> None:
    shelf = AsyncShelf[Connection](1, is_shared=False)
    connection = await opened(shelf)
    first, second = taking(shelf), taking(shelf)
    assert await is_waiting(second)
    shelf.give_back(connection)
    third = taking(shelf)
    assert await first is connection
    assert await is_waiting(second)
    shelf.give_back(connection)
    assert await second is connection
    assert await is_waiting(third)
    shelf.give_back(connection)
    assert await third is connection


async def test_connection_of_no_more_use_is_closed_and_its_place_free() -> None:
    shelf = AsyncShelf[Connection](1, is_shared=False)
    connection = await opened(shelf)
    waiting = taking(shelf)
    assert await is_waiting(waiting)
    connection.capacity = 0
    shelf.give_back(connection)
    assert connection.is_closed
    assert await waiting is None
    shelf.add(None)
    assert await shelf.take(None, is_fresh=False) is None


async def test_shared_connection_takes_as_many_as_it_can() -> None:
    shelf = AsyncShelf[Connection](9, is_shared=True)
    assert await shelf.take(None, is_fresh=False) is None
    waiting = [taking(shelf) for _ in range(4)]
    assert await is_waiting(waiting[0])
    connection = Connection(3)
    shelf.add(connection)
    assert await waiting[0] is connection
    assert await waiting[1] is connection
    assert await is_waiting(waiting[2])
    assert connection.calls == 3
    connection.capacity = 4
    shelf.give_back(connection)
    assert await waiting[2] is connection
    assert await waiting[3] is connection
    assert connection.calls == 4


async def test_shared_connection_that_closes_is_replaced_and_ends_what_it_has() -> None:
    shelf = AsyncShelf[Connection](1, is_shared=True)
    old = await opened(shelf, 5)
    assert await shelf.take(None, is_fresh=False) is old
    old.capacity = 0
    new = await opened(shelf, 5)
    was_closed = []
    for _ in range(2):
        shelf.give_back(old)
        was_closed.append(old.is_closed)
    assert was_closed == [False, True]
    assert await shelf.take(None, is_fresh=False) is new


async def test_those_who_wait_for_an_opening_that_fails_try_for_themselves() -> None:
    shelf = AsyncShelf[Connection](3, is_shared=True)
    assert await shelf.take(None, is_fresh=False) is None
    waiting = [taking(shelf) for _ in range(4)]
    assert await is_waiting(waiting[0])
    shelf.add(None)
    assert [await task for task in waiting[:3]] == [None] * 3
    assert await is_waiting(waiting[3])
    for _ in range(3):
        shelf.add(None)
    assert await waiting[3] is None
    shelf.add(Connection(2))
    assert await shelf.take(None, is_fresh=False) is not None


async def test_fallback_to_one_call_each_opens_more() -> None:
    shelf = AsyncShelf[Connection](3, is_shared=True)
    assert await shelf.take(None, is_fresh=False) is None
    waiting = [taking(shelf) for _ in range(3)]
    assert await is_waiting(waiting[0])
    shelf.add(Connection(1))
    assert await waiting[0] is None
    assert await waiting[1] is None
    assert await is_waiting(waiting[2])


async def test_fresh_is_not_one_that_was_idle() -> None:
    shelf = AsyncShelf[Connection](2, is_shared=False)
    first, second = await opened(shelf), await opened(shelf)
    first.was_used = second.was_used = True
    shelf.give_back(first)
    shelf.give_back(second)
    assert await shelf.take(None, is_fresh=True) is None  # at the cost of an idle one
    assert [first.is_closed, second.is_closed].count(True) == 1
    shelf.add(None)
    shared = AsyncShelf[Connection](2, is_shared=True)
    only = await opened(shared, 2)
    only.was_used = True
    shared.give_back(only)
    assert await shared.take(None, is_fresh=True) is only


async def test_deadline_and_cancelling_leave_no_trace() -> None:
    shelf = AsyncShelf[Connection](1, is_shared=False)
    connection = await opened(shelf)
    with pytest.raises(TimeoutError):
        await shelf.take(soon(0.01), is_fresh=False)
    first, second = taking(shelf), taking(shelf)
    assert await is_waiting(second)
    first.cancel()
    shelf.give_back(connection)
    assert await second is connection
    third, fourth = taking(shelf), taking(shelf)
    assert await is_waiting(fourth)
    shelf.give_back(connection)
    third.cancel()  # in the moment in which it got what it waited for
    assert await fourth is connection
    fifth = taking(shelf)
    connection.capacity = 0
    assert await is_waiting(fifth)
    shelf.give_back(connection)
    fifth.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fifth
    assert await shelf.take(None, is_fresh=False) is None


async def test_closed_shelf_closes_what_comes_back() -> None:
    shelf = AsyncShelf[Connection](2, is_shared=False)
    first, second = await opened(shelf), await opened(shelf)
    shelf.give_back(second)
    shelf.close()
    assert second.is_closed
    assert not first.is_closed
    shelf.give_back(first)
    assert first.is_closed


def test_one_event_loop_at_a_time() -> None:
    shelf = AsyncShelf[Connection](2, is_shared=True)
    kept = asyncio.run(opened(shelf, 2))
    shelf.give_back(kept)

    async def elsewhere() -> None:
        with pytest.raises(LocalProtocolError, match="another event loop"):
            await shelf.take(None, is_fresh=False)

    async def here() -> Connection | None:
        taken = await shelf.take(None, is_fresh=False)
        await asyncio.to_thread(asyncio.run, elsewhere())
        return taken

    assert asyncio.run(here()) is kept
    # That loop is closed, and its call never gave back what it had.
    assert asyncio.run(shelf.take(None, is_fresh=False)) is None
    assert kept.is_closed
    shelf.give_back(kept)


# Threads


def test_threads_wait_for_a_place() -> None:
    shelf = Shelf[Connection](1, is_shared=False)
    assert shelf.take(None, is_fresh=False) is None
    with pytest.raises(TimeoutError):
        shelf.take(soon(0.01), is_fresh=False)
    connection = Connection()
    shelf.add(connection)
    got: list[Connection | None] = []
    thread = threading.Thread(target=lambda: got.append(shelf.take(soon(), is_fresh=False)))
    thread.start()
    shelf.give_back(connection)
    thread.join(WAIT_S)
    assert got == [connection]
    shelf.close()
    shelf.give_back(connection)
    assert connection.is_closed


def test_many_threads_never_share() -> None:
    shelf = Shelf[Connection](3, is_shared=False)
    most, wrong = [0], []

    def work() -> None:
        for _ in range(300):
            connection = shelf.take(soon(), is_fresh=False)
            if connection is None:
                connection = Connection()
                shelf.add(connection)
            if connection.calls != 1 or connection.was_used:
                wrong.append(connection)
            connection.was_used = True
            most[0] = max(most[0], len(shelf.all))
            connection.was_used = False
            shelf.give_back(connection)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert not wrong
    assert most[0] <= 3
    assert len(shelf.idle) == len(shelf.all)
