"""Databases by name: opening, failing to open, caps, files."""

from __future__ import annotations

import time
from pathlib import Path

import apsw
import pytest

from quicsql_client.errors import ConfigurationError
from quicsql_client.server.engine import Access, Caps, SQLFailure, UnknownDatabase
from quicsql_client.server.registry import Registry
from quicsql_client.types import Statement
from tests.fix_engine import MEMORY, WAL, Desk, OpenDesk, Pool, Settings


async def test_unknown_database(tmp_path: Path) -> None:
    registry = Registry([WAL], data_dir=str(tmp_path), caps=Caps())
    await registry.open()
    assert registry.names() == ("app",)
    with pytest.raises(UnknownDatabase):
        registry.get("App")
    await registry.close()
    await registry.close()


@pytest.mark.parametrize(
    ("settings", "content", "text"),
    [
        (Settings(mode="rw"), None, "unable to open database file"),
        (Settings(mode="ro"), None, "unable to open database file"),
        (Settings(path="no/such/folder/app.db"), None, "unable to open database file"),
        (WAL, b"prose, and no database at all" * 99, "file is not a database"),
        (Settings(effective_pragmas={"a b": 1}), None, "pragma 'a b' is not an identifier"),
    ],
)
async def test_a_database_that_does_not_open_stops_the_start(
    settings: Settings, content: bytes | None, text: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "app.db").write_bytes(content)
    registry = Registry([MEMORY, settings], data_dir=str(tmp_path), caps=Caps())
    with pytest.raises(ConfigurationError) as failure:
        await registry.open()
    assert failure.value.message == f'open seed databases: registry: warm "app": {text}'


async def test_absolute_and_relative_paths(open_desk: OpenDesk, tmp_path: Path) -> None:
    await open_desk(Settings(path="relative.db", effective_pragmas={"journal_mode": "WAL"}))
    other = tmp_path / "folder"
    other.mkdir()
    desk = await open_desk(Settings(path=str(other / "absolute.db")))
    await desk.run("CREATE TABLE t(x)")
    assert (tmp_path / "relative.db").exists()
    assert (other / "absolute.db").exists()


async def test_a_read_only_file(open_desk: OpenDesk, tmp_path: Path) -> None:
    seed = apsw.Connection(str(tmp_path / "app.db"))
    seed.execute("CREATE TABLE t(x); INSERT INTO t VALUES (1)")
    seed.close()
    desk = await open_desk(Settings(mode="ro", effective_pragmas={"journal_mode": "WAL"}))
    assert await desk.rows("SELECT x FROM t") == [(1,)]
    with pytest.raises(SQLFailure) as failure:
        await desk.run("INSERT INTO t VALUES (2)")
    assert (failure.value.code, failure.value.message) == (
        8,
        "attempt to write a readonly database",
    )


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (WAL, ("wal", 0, 1, 2)),
        (Settings(), ("delete", 0, 0, 2)),
        (
            Settings(
                pool=Pool(busy_timeout_s=0.456),
                effective_pragmas={
                    "busy_timeout": 9,
                    "foreign_keys": False,
                    "synchronous": "NORMAL",
                },
            ),
            ("delete", 456, 0, 1),
        ),
        (Settings(effective_pragmas={"busy_timeout": 5000}), ("delete", 5000, 0, 2)),
        (MEMORY, ("memory", 0, 0, 2)),
    ],
)
async def test_pragmas(
    settings: Settings, expected: tuple[str, int, int, int], open_desk: OpenDesk
) -> None:
    desk = await open_desk(settings)
    names = ("journal_mode", "busy_timeout", "foreign_keys", "synchronous")
    found = [(await desk.rows(f"PRAGMA {name}"))[0][0] for name in names]
    assert tuple(found) == expected
    pinned = await desk.database.pin(Access.READ_WRITE)
    on_stream = [(await pinned.execute(Statement(f"PRAGMA {name}"))).rows[0][0] for name in names]
    assert tuple(on_stream) == expected
    await pinned.release()


async def test_new_caps_hold_for_the_next_statement(tmp_path: Path) -> None:
    registry = Registry([WAL], data_dir=str(tmp_path), caps=Caps())
    await registry.open()
    desk = Desk(registry.get("app"))
    assert len((await desk.run("VALUES (1), (2)")).rows) == 2
    registry.replace_caps(Caps(max_rows=1))
    assert len((await desk.run("VALUES (1), (2)")).rows) == 1
    registry.replace_caps(Caps(max_result_bytes=100 * 1024 * 1024))
    big = "SELECT length(zeroblob(90000000))"
    assert await desk.rows(big) == [(90_000_000,)]
    registry.replace_caps(Caps())
    with pytest.raises(SQLFailure, match="too big"):
        await desk.run(big)
    await registry.close()


async def test_add_and_remove(tmp_path: Path) -> None:
    registry = Registry([], data_dir=str(tmp_path), caps=Caps())
    await registry.open()
    desk = Desk(await registry.add(WAL))
    with pytest.raises(ValueError, match="'app' is already served"):
        await registry.add(WAL)
    await desk.run("CREATE TABLE t(x)")
    await registry.remove("app")
    with pytest.raises(UnknownDatabase):
        registry.get("app")
    assert Desk(await registry.add(WAL)).database is not desk.database
    await registry.close()


async def test_an_acknowledged_commit_is_in_the_file(open_desk: OpenDesk, tmp_path: Path) -> None:
    desk = await open_desk(WAL)
    await desk.batch("CREATE TABLE t(x)", "INSERT INTO t VALUES (1)")
    other = apsw.Connection(str(tmp_path / "app.db"))
    assert other.execute("SELECT x FROM t").fetchall() == [(1,)]
    other.close()
    started = time.monotonic()
    await desk.database.close()
    assert time.monotonic() - started < 5
