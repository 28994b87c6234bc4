"""The life of streams between requests, with a clock of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from quicsql_client.server.engine import Access, StatementTimeout
from quicsql_client.server.sessions import (
    ForeignBaton,
    InvalidBaton,
    Session,
    Sessions,
    TooManySessions,
)
from quicsql_client.types import Statement
from tests.fix_engine import MEMORY, WAL, Desk, OpenDesk, Settings

ENDLESS = "WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r) SELECT count(*) FROM r"


@dataclass
class Clock:
    """Seconds that pass when the test says so."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Stage:
    """Sessions on a database with a table t, and their clock."""

    sessions: Sessions
    desk: Desk
    clock: Clock

    async def open(self, principal: str = "ann") -> Session:
        return await self.sessions.open(self.desk.database, principal, Access.READ_WRITE)

    async def resume(self, baton: str, principal: str = "ann", database: str = "app") -> Session:
        return await self.sessions.resume(baton, database, principal)


@pytest_asyncio.fixture
async def stage(open_desk: OpenDesk) -> AsyncIterator[Stage]:
    desk = await open_desk(WAL)
    await desk.run("CREATE TABLE t(x)")
    clock = Clock()
    sessions = Sessions(
        tx_idle_timeout_s=30, max_tx_lifetime_s=100, max_sessions_per_db=2, clock=clock
    )
    yield Stage(sessions, desk, clock)
    await sessions.close()


async def _begun(session: Session) -> Session:
    for sql in ("BEGIN IMMEDIATE", "INSERT INTO t VALUES (1)"):
        await session.connection.execute(Statement(sql))
    return session


async def test_a_baton_is_spent_by_its_use(stage: Stage) -> None:
    session = await _begun(await stage.open())
    first = stage.sessions.suspend(session)
    assert await stage.resume(first) is session
    assert await session.connection.is_autocommit() is False
    second = stage.sessions.suspend(session)
    assert second != first
    for _ in range(2):
        with pytest.raises(InvalidBaton, match="invalid or expired baton"):
            await stage.resume(first)
    assert await stage.resume(second) is session


async def test_a_busy_stream_is_not_resumed_and_its_baton_not_spent(stage: Stage) -> None:
    session = await stage.open()
    coming = stage.sessions.baton(session)
    with pytest.raises(InvalidBaton):
        await stage.resume(coming)
    assert stage.sessions.suspend(session) == coming
    outcomes = await asyncio.gather(
        stage.resume(coming), stage.resume(coming), return_exceptions=True
    )
    assert [type(one) for one in outcomes] == [Session, InvalidBaton]


async def test_a_baton_of_another_database_or_principal_is_not_spent(stage: Stage) -> None:
    session = await stage.open()
    baton = stage.sessions.suspend(session)
    with pytest.raises(InvalidBaton):
        await stage.resume(baton, database="other")
    with pytest.raises(InvalidBaton):
        await stage.resume(baton, principal="bob", database="other")
    with pytest.raises(ForeignBaton, match="baton belongs to a different principal"):
        await stage.resume(baton, principal="bob")
    assert await stage.resume(baton) is session


@pytest.mark.parametrize("text", ["", "forged.baton.value", "A" * 75])
async def test_forged_batons(stage: Stage, text: str) -> None:
    with pytest.raises(InvalidBaton):
        await stage.resume(text)


async def test_a_baton_of_an_ended_stream(stage: Stage) -> None:
    session = await _begun(await stage.open())
    baton = stage.sessions.suspend(session)
    await stage.sessions.end(await stage.resume(baton))
    for one in (baton, stage.sessions.baton(session)):
        with pytest.raises(InvalidBaton):
            await stage.resume(one)
    assert await stage.desk.rows("SELECT count(*) FROM t") == [(0,)]
    await stage.sessions.end(session)
    assert stage.sessions.list() == ()


async def test_idle_expiry_is_noticed_at_once_and_rolls_back(stage: Stage) -> None:
    session = await _begun(await stage.open())
    baton = stage.sessions.suspend(session)
    stage.clock.now += 30
    baton = stage.sessions.suspend(await stage.resume(baton))
    stage.clock.now += 30.1
    with pytest.raises(InvalidBaton):
        await stage.resume(baton)
    assert stage.sessions.list() == ()
    assert (await stage.desk.run("INSERT INTO t VALUES (2)")).rows_affected == 1
    assert await stage.desk.rows("SELECT x FROM t") == [(2,)]


async def test_lifetime_ends_a_lively_stream(stage: Stage) -> None:
    baton = stage.sessions.suspend(await stage.open())
    for _ in range(4):
        stage.clock.now += 25
        baton = stage.sessions.suspend(await stage.resume(baton))
    stage.clock.now += 0.1
    with pytest.raises(InvalidBaton):
        await stage.resume(baton)


async def test_the_reaper_spares_what_is_busy(stage: Stage) -> None:
    busy, idle = await stage.open(), await _begun(await stage.open("bob"))
    stage.sessions.suspend(idle)
    stage.clock.now += 1000
    await stage.sessions.reap()
    assert stage.sessions.list() == (busy,)
    assert await stage.desk.rows("SELECT count(*) FROM t") == [(0,)]
    stage.sessions.suspend(busy)
    await stage.sessions.reap()
    assert stage.sessions.list() == ()


async def test_the_cap_heals(stage: Stage) -> None:
    first, _second = await stage.open(), await stage.open()
    with pytest.raises(TooManySessions, match="too many open sessions"):
        await stage.open()
    await stage.sessions.end(first)
    assert isinstance(await stage.open(), Session)


async def test_a_slot_is_reserved_while_waiting_and_freed_when_cancelled(
    open_desk: OpenDesk,
) -> None:
    desk = await open_desk(MEMORY)
    sessions = Sessions(max_sessions_per_db=2)
    await sessions.open(desk.database, "ann", Access.READ_WRITE)
    waiting = asyncio.create_task(sessions.open(desk.database, "bob", Access.READ_WRITE))
    await asyncio.sleep(0)
    with pytest.raises(TooManySessions):
        await sessions.open(desk.database, "cid", Access.READ_WRITE)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    again = asyncio.create_task(sessions.open(desk.database, "bob", Access.READ_WRITE))
    await asyncio.sleep(0)
    await sessions.end(sessions.list()[0])
    assert (await again).principal == "bob"
    await sessions.close()


async def test_the_kill_switch_ends_streams_of_principals(stage: Stage) -> None:
    gone, stays = await _begun(await stage.open("ann")), await stage.open("bob")
    running = asyncio.create_task(gone.connection.execute(Statement(ENDLESS)))
    await asyncio.sleep(0)
    await stage.sessions.end_of_principals({"ann", "nobody"})
    with pytest.raises(StatementTimeout):
        await running
    assert stage.sessions.list() == (stays,)
    with pytest.raises(InvalidBaton):
        await stage.resume(stage.sessions.suspend(gone))
    assert await stage.desk.rows("SELECT count(*) FROM t") == [(0,)]
    assert await stage.resume(stage.sessions.suspend(stays), "bob") is stays


async def test_kill(stage: Stage) -> None:
    session = await stage.open()
    assert await stage.sessions.kill(session.id) is False
    stage.sessions.suspend(session)
    assert await stage.sessions.kill(session.id) is True
    with pytest.raises(KeyError):
        await stage.sessions.kill(session.id)


async def test_close_ends_all_and_opens_no_more(stage: Stage) -> None:
    session = await _begun(await stage.open())
    running = asyncio.create_task(session.connection.execute(Statement(ENDLESS)))
    await asyncio.sleep(0)
    await stage.sessions.close()
    with pytest.raises(StatementTimeout):
        await running
    with pytest.raises(TooManySessions):
        await stage.open()
    assert await stage.desk.rows("SELECT count(*) FROM t") == [(0,)]


async def test_a_database_that_does_not_open_takes_no_slot(open_desk: OpenDesk) -> None:
    desk = await open_desk(Settings())
    await desk.database.close()
    sessions = Sessions(max_sessions_per_db=1)
    for _ in range(3):
        with pytest.raises(Exception, match="is not open"):
            await sessions.open(desk.database, "ann", Access.READ_WRITE)
    await sessions.close()
