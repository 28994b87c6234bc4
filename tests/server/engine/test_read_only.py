"""What a read-only right may do, on every kind of database.

Odd-cases 57, 59-61, 153, 157.
"""

from __future__ import annotations

import pytest

from quicsql_client.server.engine import Access, BatchFailure, SQLFailure
from quicsql_client.types import Statement
from tests.fix_engine import EVERY_KIND, ROLLBACK, WAL, OpenDesk, Pool, Settings

DENIED = [
    "INSERT INTO t VALUES (9)",
    "UPDATE t SET x = 2",
    "DELETE FROM t",
    "REPLACE INTO t VALUES (9)",
    "WITH y AS (SELECT 9) INSERT INTO t SELECT * FROM y",
    "INSERT INTO t VALUES (9) RETURNING x",
    "EXPLAIN INSERT INTO t VALUES (9)",
    "EXPLAIN QUERY PLAN DELETE FROM t",
    "SELECT 1; INSERT INTO t VALUES (9)",
    "CREATE TABLE u(x)",
    "CREATE TEMP TABLE u(x)",
    "CREATE INDEX i ON t(x)",
    "CREATE VIEW w AS SELECT 1",
    "CREATE TEMP VIEW w AS SELECT 1",
    "CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; END",
    "CREATE TEMP TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; END",
    "CREATE VIRTUAL TABLE f USING fts5(x)",
    "DROP TABLE t",
    "ALTER TABLE t ADD COLUMN y",
    "ALTER TABLE t RENAME TO u",
    "REINDEX",
    "ANALYZE",
    "VACUUM",
    "VACUUM INTO 'copy.db'",
    "SELECT 1; ATTACH 'x.db' AS y",
    "PRAGMA query_only = OFF",
    "PRAGMA query_only = 0",
    "PRAGMA query_only = no",
    "PRAGMA query_only(false)",
    "PRAGMA query_only = '0'",
    "PRAGMA query_only = 256",
    "PRAGMA query_only = 99999999999",
    "PRAGMA query_only = nonsense",
    "PRAGMA main.query_only = off",
    "PRAGMA user_version = 5",
    "PRAGMA application_id = 5",
    "PRAGMA schema_version = 5",
    "PRAGMA journal_mode = delete",
    "PRAGMA auto_vacuum = 1",
    "PRAGMA secure_delete = 1",
    "PRAGMA wal_autocheckpoint = 1",
    "PRAGMA wal_checkpoint",
    "PRAGMA wal_checkpoint(TRUNCATE)",
    "PRAGMA incremental_vacuum",
    "PRAGMA optimize",
]
ALLOWED = [
    "SELECT * FROM t",
    "EXPLAIN SELECT * FROM t",
    "WITH y AS (SELECT 9) SELECT * FROM y",
    "PRAGMA query_only",
    "PRAGMA query_only = 1",
    "PRAGMA query_only = ON",
    "PRAGMA user_version",
    "PRAGMA journal_mode",
    "PRAGMA table_info(t)",
    "PRAGMA cache_size = 100",
    "PRAGMA foreign_keys = off",
]


@pytest.mark.parametrize("kind", EVERY_KIND)
async def test_denied_with_code_23(kind: str, open_desk: OpenDesk) -> None:
    desk = await open_desk(EVERY_KIND[kind])
    await desk.run("CREATE TABLE t(x)")
    await desk.run("INSERT INTO t VALUES (1)")
    await desk.run("CREATE INDEX j ON t(x)")
    for sql in DENIED:
        with pytest.raises(SQLFailure) as failure:
            await desk.run(sql, access=Access.READ_ONLY)
        assert (sql, failure.value.code) == (sql, 23)
    assert await desk.rows("SELECT x FROM t") == [(1,)]


@pytest.mark.parametrize("kind", EVERY_KIND)
async def test_allowed(kind: str, open_desk: OpenDesk) -> None:
    desk = await open_desk(EVERY_KIND[kind])
    await desk.run("CREATE TABLE t(x)")
    for sql in ALLOWED:
        await desk.run(sql, access=Access.READ_ONLY)
    query_only = await desk.run("PRAGMA query_only", access=Access.READ_ONLY)
    assert query_only.rows == ((1,),)


@pytest.mark.parametrize("kind", EVERY_KIND)
async def test_no_right_leaks_through_cached_statements(kind: str, open_desk: OpenDesk) -> None:
    desk = await open_desk(EVERY_KIND[kind])
    await desk.run("CREATE TABLE t(x)")
    insert = "INSERT INTO t VALUES (7)"
    for _ in range(3):
        await desk.run(insert)
        with pytest.raises(SQLFailure) as failure:
            await desk.run(insert, access=Access.READ_ONLY)
        assert failure.value.code == 23
        with pytest.raises(SQLFailure):
            await desk.run(f"EXPLAIN {insert}", access=Access.READ_ONLY)
    assert await desk.rows("SELECT count(*) FROM t") == [(3,)]
    assert await desk.rows("PRAGMA query_only") == [(0,)]


@pytest.mark.parametrize("settings", [WAL, ROLLBACK])
async def test_a_write_in_a_batch_is_denied_and_nothing_stays(
    settings: Settings, open_desk: OpenDesk
) -> None:
    desk = await open_desk(settings)
    await desk.run("CREATE TABLE t(x)")
    with pytest.raises(BatchFailure) as failure:
        await desk.batch("SELECT 1", "INSERT INTO t VALUES (1)", access=Access.READ_ONLY)
    assert failure.value.index == 1
    assert isinstance(failure.value.error, SQLFailure)
    assert failure.value.error.code == 23
    assert await desk.rows("SELECT count(*) FROM t") == [(0,)]


async def test_a_batch_with_a_lock_fails_at_its_begin(open_desk: OpenDesk) -> None:
    desk = await open_desk(Settings(pool=Pool(tx_lock="immediate")))
    with pytest.raises(BatchFailure) as failure:
        await desk.batch("SELECT 1", access=Access.READ_ONLY)
    assert failure.value.index is None
    assert isinstance(failure.value.error, SQLFailure)
    assert failure.value.error.code == 8
    assert failure.value.error.message == "attempt to write a readonly database"


async def test_a_stream_is_read_only_for_life(open_desk: OpenDesk) -> None:
    desk = await open_desk(WAL)
    await desk.run("CREATE TABLE t(x)")
    pinned = await desk.database.pin(Access.READ_ONLY)
    for _ in range(2):
        with pytest.raises(SQLFailure) as failure:
            await pinned.execute(Statement("INSERT INTO t VALUES (1)"))
        assert failure.value.code == 23
    await pinned.execute(Statement("BEGIN"))
    assert await pinned.is_autocommit() is False
    await pinned.execute(Statement("COMMIT"))
    with pytest.raises(SQLFailure) as failure:
        await pinned.execute(Statement("BEGIN IMMEDIATE"))
    assert failure.value.code == 8
    await pinned.release()
    again = await desk.database.pin(Access.READ_WRITE)
    assert (await again.execute(Statement("INSERT INTO t VALUES (1)"))).rows_affected == 1
    await again.release()
