"""Connections of one database: streams beside stateless calls, locks, deadlines, cancellation."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path

import apsw
import pytest

from quicsql_client.server.engine import (
    Access,
    BatchFailure,
    DatabaseUnavailable,
    SQLFailure,
    StatementTimeout,
)
from quicsql_client.server.registry import PinnedConnection
from quicsql_client.types import Statement, Value
from tests.fix_engine import (
    EVERY_KIND,
    LONG_S,
    MEMORY,
    ONE,
    ROLLBACK,
    WAL,
    Desk,
    OpenDesk,
    Pool,
    Settings,
)

ENDLESS = "WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r) SELECT count(*) FROM r"
shared = pytest.mark.parametrize("settings", [MEMORY, ONE], ids=["memory", "one"])


async def _on(pinned: PinnedConnection, sql: str) -> tuple[tuple[Value, ...], ...]:
    return (await pinned.execute(Statement(sql))).rows


async def _pin(desk: Desk, access: Access = Access.READ_WRITE) -> PinnedConnection:
    return await desk.database.pin(access)


@pytest.mark.parametrize("kind", ["wal", "rollback"])
async def test_others_see_a_transaction_only_after_its_commit(
    kind: str, open_desk: OpenDesk
) -> None:
    desk = await open_desk(EVERY_KIND[kind])
    await desk.run("CREATE TABLE t(x)")
    writer, reader = await _pin(desk), await _pin(desk)
    await _on(writer, "BEGIN")
    assert await writer.is_autocommit() is False
    await _on(writer, "INSERT INTO t VALUES (1), (2)")
    assert await desk.rows("SELECT count(*) FROM t") == [(0,)]
    assert await _on(reader, "SELECT count(*) FROM t") == ((0,),)
    await _on(writer, "COMMIT")
    assert await writer.is_autocommit() is True
    assert await desk.rows("SELECT count(*) FROM t") == [(2,)]
    assert await _on(reader, "SELECT count(*) FROM t") == ((2,),)
    await writer.release()
    await reader.release()


async def test_a_savepoint_keeps_what_was_before_it(open_desk: OpenDesk) -> None:
    desk = await open_desk(WAL)
    await desk.run("CREATE TABLE t(x)")
    pinned = await _pin(desk)
    for sql in (
        "BEGIN",
        "INSERT INTO t VALUES (1)",
        "SAVEPOINT a",
        "INSERT INTO t VALUES (2)",
        "ROLLBACK TO a",
        "COMMIT",
    ):
        await _on(pinned, sql)
    assert await desk.rows("SELECT x FROM t") == [(1,)]
    await pinned.release()


async def test_busy_after_the_busy_timeout(open_desk: OpenDesk) -> None:
    desk = await open_desk(Settings(pool=Pool(busy_timeout_s=0.15), effective_pragmas={}))
    first, second = await _pin(desk), await _pin(desk)
    assert await _on(second, "PRAGMA busy_timeout") == ((150,),)
    await _on(first, "BEGIN IMMEDIATE")
    started = time.monotonic()
    with pytest.raises(SQLFailure) as failure:
        await _on(second, "BEGIN IMMEDIATE")
    assert (failure.value.code, failure.value.message) == (5, "database is locked")
    assert 0.1 < time.monotonic() - started < 5
    await first.release()
    assert await _on(second, "BEGIN IMMEDIATE") == ()
    await second.release()


async def test_waiting_for_a_lock_ends_at_the_deadline(open_desk: OpenDesk) -> None:
    desk = await open_desk(
        Settings(effective_pragmas={"journal_mode": "WAL", "busy_timeout": 60_000})
    )
    await desk.run("CREATE TABLE t(x)")
    pinned = await _pin(desk)
    await _on(pinned, "BEGIN IMMEDIATE")
    started = time.monotonic()
    with pytest.raises(StatementTimeout):
        await desk.run("INSERT INTO t VALUES (1)", timeout_s=0.1)
    with pytest.raises(BatchFailure):
        await desk.database.batch(
            [Statement("INSERT INTO t VALUES (1)")], Access.READ_WRITE, time.monotonic() + 0.1
        )
    assert time.monotonic() - started < 5
    await _on(pinned, "COMMIT")
    assert (await desk.run("INSERT INTO t VALUES (1)")).rows_affected == 1
    await pinned.release()


@pytest.mark.parametrize("waits_for", ["lock", "result"])
async def test_a_cancelled_call_is_interrupted_at_once(waits_for: str, open_desk: OpenDesk) -> None:
    desk = await open_desk(
        Settings(effective_pragmas={"journal_mode": "WAL", "busy_timeout": 60_000})
    )
    await desk.run("CREATE TABLE t(x)")
    pinned = await _pin(desk)
    await _on(pinned, "BEGIN IMMEDIATE" if waits_for == "lock" else "SELECT 1")
    sql = "INSERT INTO t VALUES (1)" if waits_for == "lock" else f"INSERT INTO t {ENDLESS}"
    call = asyncio.create_task(desk.run(sql, timeout_s=300))
    await _running(desk)
    started = time.monotonic()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    # The writer is free again, although neither the lock nor the result ever came.
    assert await desk.rows("PRAGMA user_version") == [(0,)]
    assert time.monotonic() - started < 5
    await pinned.release()
    assert await desk.rows("SELECT count(*) FROM t") == [(0,)]


async def _running(desk: Desk) -> None:
    """Returns when the writer has begun with something."""
    main = desk.database._main
    assert main is not None
    deadline = time.monotonic() + LONG_S
    while main._running is None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0)


async def test_a_cancelled_statement_keeps_the_stream_and_its_transaction(
    open_desk: OpenDesk,
) -> None:
    desk = await open_desk(WAL)
    await desk.run("CREATE TABLE t(x)")
    pinned = await _pin(desk)
    await _on(pinned, "BEGIN")
    await _on(pinned, "INSERT INTO t VALUES (1)")
    call = asyncio.create_task(pinned.execute(Statement(ENDLESS)))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await pinned.is_autocommit() is False
    await _on(pinned, "COMMIT")
    await pinned.release()
    assert await desk.rows("SELECT count(*) FROM t") == [(1,)]


async def test_interrupt_ends_what_runs(open_desk: OpenDesk) -> None:
    desk = await open_desk(WAL)
    pinned = await _pin(desk)
    call = asyncio.create_task(pinned.execute(Statement(ENDLESS)))
    while not call.done():
        await asyncio.sleep(0)
        pinned.interrupt()
    with pytest.raises(StatementTimeout):
        await call
    assert await _on(pinned, "SELECT 1") == ((1,),)
    await pinned.release()


async def test_release_rolls_back_and_resets(open_desk: OpenDesk) -> None:
    desk = await open_desk(WAL)
    await desk.run("CREATE TABLE t(x)")
    pinned = await _pin(desk)
    for sql in (
        "BEGIN",
        "INSERT INTO t VALUES (1)",
        "CREATE TEMP TABLE mine(x)",
        "PRAGMA cache_size = 5",
    ):
        await _on(pinned, sql)
    await pinned.release()
    await pinned.release()
    with pytest.raises(StatementTimeout):
        await _on(pinned, "SELECT 1")
    again = await _pin(desk)
    assert await _on(again, "SELECT count(*) FROM t") == ((0,),)
    assert await _on(again, "SELECT count(*) FROM temp.sqlite_schema") == ((0,),)
    assert await _on(again, "PRAGMA cache_size") != ((5,),)
    assert await _on(again, "SELECT changes(), total_changes(), last_insert_rowid()") == (
        (0, 0, 0),
    )
    await again.release()


@shared
async def test_a_stream_on_the_only_connection_makes_others_wait(
    settings: Settings, open_desk: OpenDesk
) -> None:
    desk = await open_desk(settings)
    await desk.run("CREATE TABLE t(x)")
    pinned = await _pin(desk)
    await _on(pinned, "BEGIN")
    await _on(pinned, "INSERT INTO t VALUES (1)")
    with pytest.raises(StatementTimeout):
        await desk.run("SELECT 1", timeout_s=0.05)
    with pytest.raises(BatchFailure) as failure:
        await desk.database.batch([Statement("SELECT 1")], Access.READ_WRITE, time.monotonic())
    assert isinstance(failure.value.error, StatementTimeout)
    second = asyncio.create_task(_pin(desk))
    waiting = asyncio.create_task(desk.run("SELECT count(*) FROM t"))
    await asyncio.sleep(0)
    assert not second.done()
    assert not waiting.done()
    await pinned.release()
    stream = await second
    assert not waiting.done()
    assert await _on(stream, "SELECT count(*) FROM t") == ((0,),)
    await stream.release()
    assert (await waiting).rows == ((0,),)


@shared
async def test_a_cancelled_wait_for_a_stream_lets_others_in(
    settings: Settings, open_desk: OpenDesk
) -> None:
    desk = await open_desk(settings)
    pinned = await _pin(desk)
    gone = asyncio.create_task(_pin(desk))
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    await pinned.release()
    assert await desk.rows("SELECT 1") == [(1,)]
    assert desk.database.pinned_count == 0


async def test_a_bounded_pool_makes_streams_wait(open_desk: OpenDesk) -> None:
    desk = await open_desk(Settings(pool=Pool(max_open=2)))
    first = await _pin(desk)
    second = asyncio.create_task(_pin(desk))
    await asyncio.sleep(0)
    assert not second.done()
    assert await desk.rows("SELECT 1") == [(1,)]
    await first.release()
    await (await second).release()


@pytest.mark.parametrize("kind", EVERY_KIND)
async def test_many_calls_at_once(kind: str, open_desk: OpenDesk) -> None:
    desk = await open_desk(EVERY_KIND[kind])
    await desk.run("CREATE TABLE t(x)")
    await asyncio.gather(*(desk.run("INSERT INTO t VALUES (?)", (n,)) for n in range(50)))
    counts = await asyncio.gather(*(desk.rows("SELECT count(*), sum(x) FROM t") for _ in range(20)))
    assert counts == [[(50, 1225)]] * 20


async def test_attach_only_on_a_stream_that_may(open_desk: OpenDesk, tmp_path: Path) -> None:
    desk = await open_desk(ROLLBACK)
    attach = f"ATTACH '{tmp_path / 'other.db'}' AS other"
    pinned = await desk.database.pin(Access.READ_WRITE, attach_rule=lambda _: None)
    await _on(pinned, attach)
    await _on(pinned, "CREATE TABLE other.t(x)")
    await _on(pinned, "VACUUM")
    await pinned.release()
    again = await desk.database.pin(Access.READ_WRITE)
    assert len(await _on(again, "PRAGMA database_list")) == 1
    with pytest.raises(SQLFailure) as failure:
        await again.sequence(f"SELECT 1; {attach}")
    assert failure.value.code == 23
    with pytest.raises(SQLFailure):
        await _on(again, "VACUUM")
    await again.release()


async def test_call_leaves_nothing_behind(open_desk: OpenDesk) -> None:
    desk = await open_desk(WAL)
    await desk.run("CREATE TABLE t(x)")

    def work(connection: apsw.Connection) -> bytes:
        connection.execute("BEGIN; CREATE TEMP TABLE mine(x); INSERT INTO t VALUES (1)")
        return connection.serialize("main")

    image = await desk.database.call(work, Access.READ_WRITE, time.monotonic() + LONG_S)
    assert image.startswith(b"SQLite format 3\0")
    assert await desk.rows("SELECT count(*) FROM t") == [(0,)]
    with pytest.raises(SQLFailure, match="no such table"):
        await desk.run("INSERT INTO mine VALUES (1)")


async def test_close_leaves_no_thread_and_no_log(open_desk: OpenDesk, tmp_path: Path) -> None:
    before = set(threading.enumerate())
    desk = await open_desk(WAL)
    await desk.run("CREATE TABLE t(x)")
    await asyncio.gather(*(desk.rows("SELECT 1") for _ in range(9)))
    pinned = await _pin(desk)
    await _on(pinned, "BEGIN")
    await _on(pinned, "INSERT INTO t VALUES (1)")
    running = asyncio.create_task(pinned.execute(Statement(ENDLESS)))
    await asyncio.sleep(0)
    assert set(threading.enumerate()) - before
    await desk.database.close()
    with pytest.raises(StatementTimeout):
        await running
    assert set(threading.enumerate()) <= before
    assert os.listdir(tmp_path) == ["app.db"]
    with pytest.raises(DatabaseUnavailable):
        await desk.run("SELECT 1")
    with pytest.raises(DatabaseUnavailable):
        await _pin(desk)
