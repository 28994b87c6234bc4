"""The life of a handle: opened with its first use, shut when idle, reserved, detached. Odd-cases
128, 190.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from quicsql_client.server.engine import (
    Access,
    CannotOpen,
    Caps,
    DatabaseBusy,
    DatabaseUnavailable,
    SQLFailure,
    StatementTimeout,
    UnknownDatabase,
)
from quicsql_client.server.engine.database import Database
from quicsql_client.server.engine.usage import Usage
from quicsql_client.server.registry import Registry
from tests.fix_engine import WAL, Desk, Settings

MEMORY = Settings(name="mem", backend="memory", path="")


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@contextlib.asynccontextmanager
async def serving(folder: Path, *databases: Settings, **keys: Any) -> AsyncIterator[Registry]:
    registry = Registry(databases, data_dir=str(folder), caps=Caps(), **keys)
    try:
        yield registry
    finally:
        await registry.close()


def opened(*databases: Database) -> list[bool]:
    return [database.is_open for database in databases]


def test_users_and_a_reservation_exclude_each_other() -> None:
    clock = Clock()
    usage = Usage(clock)
    usage.begin()
    usage.begin()
    with pytest.raises(DatabaseBusy):
        usage.reserve()
    clock.now += 5
    assert usage.idle_s == 0
    usage.end()
    usage.end()
    clock.now += 3
    assert (usage.count, usage.idle_s) == (0, 3)
    usage.reserve()
    assert usage.idle_s == 0
    for refused in (usage.reserve, usage.begin):
        with pytest.raises((DatabaseBusy, DatabaseUnavailable)):
            refused()
    usage.free()
    usage.begin()


async def test_a_declared_database_opens_with_its_first_use(tmp_path: Path) -> None:
    async with serving(tmp_path) as registry:
        registry.declare(WAL)
        await registry.open(lazily=frozenset({"app"}))
        database = registry.get("app")
        assert not database.is_open
        assert not os.listdir(tmp_path)
        desk = Desk(database)
        results = await asyncio.gather(*(desk.rows("SELECT 1") for _ in range(10)))
        assert results == [[(1,)]] * 10
        assert database.is_open


async def test_a_stream_opens_a_database_too(tmp_path: Path) -> None:
    async with serving(tmp_path, MEMORY) as registry:
        pinned = await registry.get("mem").pin(Access.READ_WRITE)
        assert registry.get("mem").usage.count == 1
        await pinned.release()
        assert registry.get("mem").usage.count == 0


async def test_a_database_that_does_not_open_is_tried_again(tmp_path: Path) -> None:
    async with serving(tmp_path, Settings(mode="rw")) as registry:
        desk = Desk(registry.get("app"))
        for _ in range(2):
            with pytest.raises(CannotOpen):
                await desk.run("SELECT 1")
            with pytest.raises(CannotOpen):
                await desk.database.pin(Access.READ_ONLY)
            assert not desk.database.is_open
        (tmp_path / "app.db").touch()
        assert await desk.rows("SELECT 1") == [(1,)]


async def test_an_opening_that_takes_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(_database: Database) -> None:
        await asyncio.Event().wait()

    async with serving(tmp_path, WAL) as registry:
        with monkeypatch.context() as patched:
            patched.setattr(Database, "warm", hang)
            with pytest.raises(StatementTimeout):
                await Desk(registry.get("app")).run("SELECT 1", timeout_s=0.05)
        assert await Desk(registry.get("app")).rows("SELECT 1") == [(1,)]


async def test_an_idle_handle_is_shut(tmp_path: Path) -> None:  # 190
    clock = Clock()
    async with serving(tmp_path, WAL, MEMORY, clock=clock, idle_timeout_s=60) as registry:
        await registry.open()
        app, memory = registry.list()
        for database in (app, memory):
            await Desk(database).run("CREATE TABLE t(a)")
        clock.now += 59
        await registry.reap()
        assert opened(app, memory) == [True, True]
        app.usage.begin()
        clock.now += 2
        await registry.reap()
        assert opened(app, memory) == [True, False]
        app.usage.end()
        await registry.reap()
        assert opened(app) == [True]
        clock.now += 60
        await registry.reap()
        assert opened(app) == [False]
        assert os.listdir(tmp_path) == ["app.db"]
        assert await Desk(app).rows("SELECT * FROM t") == []
        with pytest.raises(SQLFailure, match="no such table"):
            await Desk(memory).run("SELECT * FROM t")


async def test_an_open_stream_keeps_its_handle(tmp_path: Path) -> None:
    clock = Clock()
    async with serving(tmp_path, MEMORY, clock=clock, idle_timeout_s=60) as registry:
        await registry.open()
        (database,) = registry.list()
        pinned = await database.pin(Access.READ_WRITE)
        clock.now += 1000
        await registry.reap()
        assert database.is_open
        await pinned.release()
        await registry.reap()
        assert opened(database) == [True]
        clock.now += 60
        await registry.reap()
        assert opened(database) == [False]


async def test_the_reaper_looks_by_itself_and_survives_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock, looked = Clock(), asyncio.Event()
    reap = Registry.reap

    async def fail_once(registry: Registry) -> None:
        if not looked.is_set():
            looked.set()
            raise OSError("a bad disk")
        await reap(registry)

    monkeypatch.setattr(Registry, "reap", fail_once)
    keys = {"clock": clock, "idle_timeout_s": 60, "reap_interval_s": 0.001}
    async with serving(tmp_path, MEMORY, **keys) as registry:
        await registry.open()
        clock.now += 60
        (database,) = registry.list()
        async with asyncio.timeout(30):
            await looked.wait()
            while database.is_open:  # noqa: ASYNC110 - nobody is told
                await asyncio.sleep(0.001)
        assert "a bad disk" in caplog.text


async def test_without_a_timeout_nothing_is_shut(tmp_path: Path) -> None:
    async with serving(tmp_path, WAL) as registry:
        await registry.open()
        assert registry._reaper is None


async def test_shutting_and_using_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path, WAL) as registry:
        desk = Desk(registry.get("app"))
        await desk.run("CREATE TABLE t(a)")

        async def insert() -> None:
            for _ in range(20):
                desk.database.usage.begin()
                await desk.run("INSERT INTO t VALUES(1)")
                await desk.rows("SELECT count(*) FROM t")
                desk.database.usage.end()
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(insert()) for _ in range(4)]
            while not all(task.done() for task in tasks):
                await desk.database.shut_if_idle(0.0)
                await asyncio.sleep(0)
        assert await desk.rows("SELECT count(*) FROM t") == [(80,)]


async def test_offline_is_alone(tmp_path: Path) -> None:
    async with serving(tmp_path, WAL, MEMORY) as registry:
        await registry.open()
        app, memory = registry.list()
        await Desk(app).run("CREATE TABLE t(a)")
        async with registry.offline("app") as found:
            assert found is app
            assert opened(app, memory) == [False, True]
            assert os.listdir(tmp_path) == ["app.db"]
            with pytest.raises(DatabaseUnavailable):
                app.usage.begin()
            with pytest.raises(DatabaseBusy):
                await registry.detach("app")
            with pytest.raises(DatabaseBusy):
                async with registry.offline("app"):
                    pass
        assert await Desk(app).rows("SELECT * FROM t") == []
        app.usage.begin()
        with pytest.raises(DatabaseBusy):
            async with registry.offline("app"):
                pass
        app.usage.end()
        async with registry.offline("mem"):
            assert opened(memory) == [False]
        with pytest.raises(UnknownDatabase):
            async with registry.offline("nope"):
                pass


async def test_a_detached_database_is_closed_for_good(tmp_path: Path) -> None:
    async with serving(tmp_path, WAL) as registry:
        await registry.open()
        database = registry.get("app")
        database.usage.begin()
        with pytest.raises(DatabaseBusy):
            await registry.detach("app")
        database.usage.end()
        await registry.detach("app")
        assert registry.names() == ()
        with pytest.raises(DatabaseUnavailable):
            await Desk(database).run("SELECT 1")
        with pytest.raises(UnknownDatabase):
            await registry.detach("app")


async def test_the_same_name_twice_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as registry:
        added = await asyncio.gather(*(registry.add(WAL) for _ in range(2)), return_exceptions=True)
        assert sorted(type(one).__name__ for one in added) == ["Database", "ValueError"]
        assert await Desk(registry.get("app")).rows("SELECT 1") == [(1,)]


async def test_a_cancelled_opening_leaves_the_next_one_well(tmp_path: Path) -> None:
    async with serving(tmp_path, WAL) as registry:
        database = registry.get("app")
        opening = asyncio.create_task(database.warm())
        await asyncio.sleep(0)
        opening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await opening
        started = time.monotonic()
        assert await Desk(database).rows("SELECT 1") == [(1,)]
        assert time.monotonic() - started < 30
