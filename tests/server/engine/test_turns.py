"""Who may write next, between the connections of one database."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import apsw
import pytest

from quicsql_client.server.engine import Access, SQLFailure, StatementTimeout
from quicsql_client.server.engine.turns import SHARE_S, WriteTurns
from quicsql_client.server.engine.waiting import Stopwatch
from quicsql_client.types import Statement
from tests.fix_engine import LONG_S, ROLLBACK, WAL, Desk, OpenDesk, Pool, Settings

WAIT_S = 10.0
PATIENT = Settings(effective_pragmas={"journal_mode": "WAL", "busy_timeout": 60_000})


class Queue:
    """Connections that ask for their turn in threads of their own; order: in which they got it."""

    def __init__(self) -> None:
        self.turns = WriteTurns()
        self.order: list[str] = []
        self.watches: dict[str, Stopwatch] = {}
        self.threads: list[threading.Thread] = []

    def ask(self, name: str, *, busy_timeout_s: float = WAIT_S) -> None:
        """Asks and is let in or left waiting, before this returns."""
        watch = self.watches[name] = Stopwatch(busy_timeout_s)
        watch.start(time.monotonic() + WAIT_S)

        def take() -> None:
            self.turns.take(watch, is_stateless=name.startswith("stateless"))
            self.order.append(name)

        thread = threading.Thread(target=take)
        self.threads.append(thread)
        thread.start()
        settled(lambda: name in self.order or watch in self.waiting)

    @property
    def waiting(self) -> list[Stopwatch]:
        return [*self.turns._streams, *self.turns._stateless]

    def give_back(self, name: str, *, needs_more: bool = False) -> None:
        """Gives its turn back, and waits until the next one knows."""
        served = len(self.order) + bool(self.waiting and not needs_more)
        self.turns.give_back(self.watches[name], needs_more=needs_more)
        settled(lambda: len(self.order) >= served)

    def end(self) -> None:
        for watch in self.watches.values():
            watch.stop()
        for thread in self.threads:
            thread.join(WAIT_S)


def settled(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline
        threading.Event().wait(0.001)


@pytest.fixture
def queue() -> Queue:
    return Queue()


def test_first_come_first_served(queue: Queue) -> None:
    for name in ("a", "b", "c"):
        queue.ask(name)
    assert queue.order == ["a"]
    queue.turns.give_back(queue.watches["b"])  # not its turn
    assert len(queue.waiting) == 2
    queue.give_back("a")
    queue.give_back("b")
    assert queue.order == ["a", "b", "c"]
    queue.give_back("c")
    queue.ask("d")
    assert queue.order[-1] == "d"
    queue.end()


def test_stateless_requests_and_streams_take_turns(queue: Queue) -> None:
    for name in ("a", "b", "c", "stateless 1", "stateless 2"):
        queue.ask(name)
    for name in ("a", "stateless 1", "b", "stateless 2"):
        queue.give_back(name)
    assert queue.order == ["a", "stateless 1", "b", "stateless 2", "c"]
    queue.end()


def test_a_turn_is_kept_for_a_share_of_time_at_most(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("quicsql_client.server.engine.turns.time.monotonic", lambda: now[0])
    queue.turns.take(watch := Stopwatch(WAIT_S), is_stateless=True)
    now[0] += SHARE_S / 2
    queue.turns.give_back(watch, needs_more=True)
    assert queue.turns._holder is watch
    now[0] += SHARE_S
    queue.turns.give_back(watch, needs_more=True)
    assert queue.turns._holder is None


def test_whoever_gives_up_waits_no_more(queue: Queue) -> None:
    queue.ask("a")
    queue.ask("hasty", busy_timeout_s=0.01)
    settled(lambda: "hasty" in queue.order)  # without its turn: SQLite will refuse it
    queue.ask("b")
    queue.ask("stopped")
    queue.watches["stopped"].stop()
    settled(lambda: "stopped" in queue.order)
    assert queue.waiting == [queue.watches["b"]]
    queue.give_back("a")
    assert queue.order == ["a", "hasty", "stopped", "b"]
    queue.end()


INSERT = "INSERT INTO t VALUES ('stateless')"


async def _insert(desk: Desk) -> None:
    await desk.run(INSERT)


async def _batch(desk: Desk) -> None:
    await desk.batch(INSERT, "SELECT 1")


async def _call(desk: Desk) -> None:
    def work(connection: apsw.Connection) -> None:
        connection.execute(INSERT)

    await desk.database.call(work, Access.READ_WRITE, time.monotonic() + LONG_S)


@pytest.mark.parametrize("lock", ["", "immediate"])
@pytest.mark.parametrize("write_once", [_insert, _batch, _call])
async def test_streams_do_not_starve_stateless_writes_nor_each_other(
    write_once: Callable[[Desk], Awaitable[None]], lock: str, open_desk: OpenDesk
) -> None:
    pragmas: dict[str, bool | int | float | str] = {"journal_mode": "WAL", "busy_timeout": 60_000}
    desk = await open_desk(Settings(effective_pragmas=pragmas, pool=Pool(tx_lock=lock)))
    await desk.run("CREATE TABLE t(who)")
    committed: Counter[int] = Counter()
    is_over, are_many = asyncio.Event(), asyncio.Event()

    async def write(number: int) -> None:
        pinned = await desk.database.pin(Access.READ_WRITE)
        while not is_over.is_set():
            for sql in ("BEGIN IMMEDIATE", f"INSERT INTO t VALUES ({number})", "COMMIT"):
                await pinned.execute(Statement(sql))
            committed[number] += 1
            if committed.total() >= 200:
                are_many.set()
        await pinned.release()

    writers = [asyncio.create_task(write(number)) for number in range(10)]
    waits = []
    for _ in range(20):
        before = committed.total()
        await write_once(desk)
        waits.append(committed.total() - before)
    await are_many.wait()
    is_over.set()
    await asyncio.gather(*writers)
    assert max(waits) < 10, waits
    assert max(committed.values()) < 2 * min(committed.values()), committed


@pytest.mark.parametrize("begin", ["BEGIN", "BEGIN IMMEDIATE", "SAVEPOINT s"])
async def test_a_turn_lasts_as_long_as_the_transaction(begin: str, open_desk: OpenDesk) -> None:
    desk = await open_desk(PATIENT)
    await desk.run("CREATE TABLE t(x)")
    first, second = [await desk.database.pin(Access.READ_WRITE) for _ in range(2)]
    await first.execute(Statement(begin))
    await first.execute(Statement("INSERT INTO t VALUES (1)"))
    waiting = asyncio.create_task(second.execute(Statement("INSERT INTO t VALUES (2)")))
    with pytest.raises(StatementTimeout):
        await desk.run("INSERT INTO t VALUES (3)", timeout_s=0.1)
    assert not waiting.done()
    await first.execute(Statement("ROLLBACK"))
    assert (await waiting).rows_affected == 1
    assert await desk.rows("SELECT x FROM t") == [(2,)]
    for pinned in (first, second):
        await pinned.release()


@pytest.mark.parametrize("settings", [WAL, ROLLBACK])
@pytest.mark.parametrize(
    "failing", ["INSERT INTO t VALUES (1)", "INSERT INTO nowhere VALUES (1)", "COMMIT"]
)
async def test_a_failure_gives_the_turn_back(
    failing: str, settings: Settings, open_desk: OpenDesk
) -> None:
    desk = await open_desk(settings)
    await desk.run("CREATE TABLE t(x UNIQUE)")
    await desk.run("INSERT INTO t VALUES (1)")
    pinned = await desk.database.pin(Access.READ_WRITE)
    for _ in range(3):
        with pytest.raises(SQLFailure):
            await pinned.execute(Statement(failing))
        await desk.run("UPDATE t SET x = x")
        assert (await pinned.execute(Statement("UPDATE t SET x = x"))).rows_affected == 1
    await pinned.release()


async def test_the_busy_timeout_counts_from_the_first_wait(open_desk: OpenDesk) -> None:
    desk = await open_desk(Settings(pool=Pool(busy_timeout_s=0.2)))
    await desk.run("CREATE TABLE t(x)")
    first, second = [await desk.database.pin(Access.READ_WRITE) for _ in range(2)]
    await first.execute(Statement("BEGIN IMMEDIATE"))
    waiting = asyncio.create_task(second.execute(Statement("INSERT INTO t VALUES (1)")))
    with pytest.raises(SQLFailure) as failure:
        await waiting
    assert failure.value.code == 5
    await first.release()  # its transaction is rolled back, and its turn is over
    assert (await second.execute(Statement("INSERT INTO t VALUES (1)"))).rows_affected == 1
    await second.release()


async def test_who_reads_in_a_transaction_does_not_wait_for_a_turn(open_desk: OpenDesk) -> None:
    """In rollback mode the writer waits for readers: a reader that waited for it would not end."""
    desk = await open_desk(Settings(effective_pragmas={"busy_timeout": 60_000}))
    await desk.run("CREATE TABLE t(x)")
    reader, writer = [await desk.database.pin(Access.READ_WRITE) for _ in range(2)]
    await reader.execute(Statement("BEGIN"))
    await reader.execute(Statement("SELECT * FROM t"))
    await writer.execute(Statement("BEGIN IMMEDIATE"))
    await writer.execute(Statement("INSERT INTO t VALUES (1)"))
    committing = asyncio.create_task(writer.execute(Statement("COMMIT")))
    with pytest.raises(SQLFailure) as failure:
        await reader.execute(Statement("INSERT INTO t VALUES (2)"))
    assert failure.value.code == 5
    await reader.execute(Statement("ROLLBACK"))
    await committing
    for pinned in (reader, writer):
        await pinned.release()
