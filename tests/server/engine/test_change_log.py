"""The log of commits: order by ticket, whichever thread settles first."""

from __future__ import annotations

import asyncio
import threading

from quicsql_client.server.engine.change_log import (
    MAX_WAITING_ROWS,
    ChangeLog,
    Changes,
    RowChange,
)

A, B, C = (RowChange("t", "insert", rowid) for rowid in (1, 2, 3))


class Told:
    """A log and what it has told, by call."""

    def __init__(self) -> None:
        self.calls: list[list[Changes]] = []
        self.log = ChangeLog(self.calls.append)


async def test_commits_are_told_in_the_order_of_their_tickets() -> None:
    told = Told()
    first, second, third = (told.log.take_ticket() for _ in range(3))
    told.log.settle(third, (C,))
    told.log.settle(second, None)
    await asyncio.sleep(0)
    assert told.calls == []
    told.log.settle(first, (A, B))
    await asyncio.sleep(0)
    assert told.calls == [[(A, B), None, (C,)]]


async def test_a_commit_that_failed_is_not_told_and_holds_nobody_up() -> None:
    told = Told()
    first, second = told.log.take_ticket(), told.log.take_ticket()
    told.log.settle(second, (B,))
    told.log.settle(first, ())
    await asyncio.sleep(0)
    assert told.calls == [[(B,)]]


async def test_it_is_settled_from_any_thread_and_told_in_the_loop() -> None:
    done = asyncio.Event()
    heard: list[tuple[list[Changes], int]] = []

    def hear(commits: list[Changes]) -> None:
        heard.append((commits, threading.get_ident()))
        done.set()

    log = ChangeLog(hear)

    def work() -> None:
        log.settle(log.take_ticket(), (A,))

    threading.Thread(target=work).start()
    await done.wait()
    assert heard == [([(A,)], threading.get_ident())]


async def test_rows_that_wait_are_bounded() -> None:
    told = Told()
    blocking = told.log.take_ticket()
    for _ in range(3):
        told.log.settle(told.log.take_ticket(), (A,) * (MAX_WAITING_ROWS // 2))
    told.log.settle(blocking, (B,))
    await asyncio.sleep(0)
    half = (A,) * (MAX_WAITING_ROWS // 2)
    assert told.calls == [[None, half, half, None]]
    told.log.settle(told.log.take_ticket(), (C,))
    await asyncio.sleep(0)
    assert told.calls[1:] == [[(C,)]]


def test_a_loop_that_is_gone_hears_nothing() -> None:
    async def make() -> Told:
        return Told()

    told = asyncio.run(make())
    told.log.settle(told.log.take_ticket(), (A,))
    assert told.calls == []
