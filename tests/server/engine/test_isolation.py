"""A stateless request leaves nothing behind for the next one, on every kind of database.

Odd-case 158.
"""

from __future__ import annotations

import contextlib

import pytest

from quicsql_client.server.engine import BatchFailure, PolicyDenied, SQLFailure
from tests.fix_engine import EVERY_KIND, OpenDesk

kinds = pytest.mark.parametrize("kind", EVERY_KIND)


@kinds
async def test_temp_objects_are_gone(kind: str, open_desk: OpenDesk) -> None:
    desk = await open_desk(EVERY_KIND[kind])
    await desk.run("CREATE TABLE t(x)")
    await desk.run("INSERT INTO t VALUES ('true')")
    await desk.run("CREATE TEMP TABLE t(x); INSERT INTO temp.t VALUES ('forged')")
    assert await desk.rows("SELECT x FROM t") == [("true",)]
    await desk.run("CREATE TEMP VIEW t AS SELECT 'forged' AS x")
    assert await desk.rows("SELECT x FROM t") == [("true",)]
    await desk.run("CREATE TEMP TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM t; END")
    await desk.run("INSERT INTO t VALUES ('second')")
    assert await desk.rows("SELECT count(*) FROM t") == [(2,)]
    await desk.batch("CREATE TEMP TABLE only_here(x)")
    with pytest.raises(SQLFailure, match="no such table"):
        await desk.run("SELECT * FROM only_here")


@kinds
@pytest.mark.parametrize(
    ("setter", "probe"),
    [
        ("PRAGMA foreign_keys = 1 - (SELECT 0)", "PRAGMA foreign_keys"),
        ("PRAGMA foreign_keys = ON", "PRAGMA foreign_keys"),
        ("PRAGMA foreign_keys = OFF", "PRAGMA foreign_keys"),
        ("PRAGMA query_only = ON", "PRAGMA query_only"),
        ("PRAGMA case_sensitive_like = 1", "SELECT 'a' LIKE 'A'"),
        ("PRAGMA cache_size = 77", "PRAGMA cache_size"),
        ("PRAGMA busy_timeout = 777", "PRAGMA busy_timeout"),
        ("PRAGMA recursive_triggers = 1", "PRAGMA recursive_triggers"),
        ("PRAGMA trusted_schema = 1", "PRAGMA trusted_schema"),
        ("SELECT 1; PRAGMA cache_size = 78", "PRAGMA cache_size"),
    ],
)
async def test_pragmas_are_undone(kind: str, setter: str, probe: str, open_desk: OpenDesk) -> None:
    desk = await open_desk(EVERY_KIND[kind])
    before = await desk.rows(probe)
    with contextlib.suppress(SQLFailure):  # one of them sets, and then fails to prepare
        await desk.run(setter)
    assert await desk.rows(probe) == before


@kinds
@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("COMMIT", "cannot commit - no transaction is active"),
        ("END", "cannot commit - no transaction is active"),
        ("ROLLBACK", "cannot rollback - no transaction is active"),
        ("RELEASE a", "no such savepoint: a"),
        ("ROLLBACK TO a", "no such savepoint: a"),
    ],
)
async def test_no_transaction_is_open_to_be_ended(
    kind: str, sql: str, text: str, open_desk: OpenDesk
) -> None:
    desk = await open_desk(EVERY_KIND[kind])
    with pytest.raises(SQLFailure, match=text):
        await desk.run(sql)


@kinds
@pytest.mark.parametrize("sql", ["BEGIN", "begin immediate", "SAVEPOINT a", "BEGIN; COMMIT"])
async def test_transaction_control_is_refused(kind: str, sql: str, open_desk: OpenDesk) -> None:
    desk = await open_desk(EVERY_KIND[kind])
    await desk.run("CREATE TABLE t(x)")
    for _ in range(2):
        with pytest.raises(PolicyDenied, match="transaction control on /query; use a batch"):
            await desk.run(sql)
        with pytest.raises(PolicyDenied):
            await desk.run(f"INSERT INTO t VALUES (1); {sql}")
    assert await desk.rows("SELECT count(*) FROM t") == [(2,)]


@kinds
async def test_counters_of_others_do_not_show(kind: str, open_desk: OpenDesk) -> None:
    desk = await open_desk(EVERY_KIND[kind])
    await desk.run("CREATE TABLE t(id INTEGER PRIMARY KEY, x)")
    await desk.run("INSERT INTO t(x) VALUES (1), (2), (3)")
    probe = "PRAGMA user_version; SELECT last_insert_rowid(), changes(), total_changes()"
    assert await desk.rows(probe) == [(0, 0, 0)]
    created = await desk.run("CREATE TABLE u(x)")
    assert (created.rows_affected, created.last_insert_id) == (0, 0)


@kinds
async def test_a_failed_batch_leaves_no_transaction(kind: str, open_desk: OpenDesk) -> None:
    desk = await open_desk(EVERY_KIND[kind])
    await desk.run("CREATE TABLE t(x UNIQUE)")
    for texts in (
        ("INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (1)"),
        ("INSERT INTO t VALUES (1)", "ROLLBACK"),
        ("INSERT INTO t VALUES (1)", "ROLLBACK", "BEGIN", "INSERT INTO t VALUES (1)", "nonsense"),
    ):
        with pytest.raises(BatchFailure):
            await desk.batch(*texts)
        assert await desk.rows("SELECT count(*) FROM t") == [(0,)]
    await desk.run("INSERT INTO t VALUES (5)")
    assert await desk.rows("SELECT x FROM t") == [(5,)]


async def test_rows_of_a_memory_database_survive_a_replaced_connection(
    open_desk: OpenDesk,
) -> None:
    desk = await open_desk(EVERY_KIND["memory"])
    await desk.run("CREATE TABLE t(x)")
    for number in range(3):
        await desk.run("INSERT INTO t VALUES (?)", (number,))
        await desk.run("PRAGMA cache_size = 50")
    assert await desk.rows("SELECT x FROM t") == [(0,), (1,), (2,)]


async def test_two_memory_databases_share_nothing(open_desk: OpenDesk) -> None:
    first, second = await open_desk(EVERY_KIND["memory"]), await open_desk(EVERY_KIND["memory"])
    await first.run("CREATE TABLE t(x)")
    with pytest.raises(SQLFailure, match="no such table: t"):
        await second.run("SELECT * FROM t")
