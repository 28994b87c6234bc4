"""Statements, scripts and batches: rows, counters, arguments and errors.

Odd-cases 36, 43-47, 51, 52, 54, 60, 70, 154-156, 159-161.
"""

from __future__ import annotations

import math
import time

import pytest

from quicsql_client.server.engine import (
    Access,
    BatchFailure,
    Caps,
    MaskedFailure,
    PolicyDenied,
    SQLFailure,
    StatementTimeout,
)
from quicsql_client.types import Statement, Value
from tests.fix_engine import EVERY_KIND, MEMORY, WAL, OpenDesk, Settings

ENDLESS = "WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r) SELECT count(*) FROM r"


@pytest.mark.parametrize(
    ("sql", "columns", "rows"),
    [
        ("SELECT 1 AS a, 2 AS a", ("a", "a"), ((1, 2),)),
        ("SELECT 1 WHERE 0", ("1",), ()),
        ("/* hint */ SELECT 1", ("1",), ((1,),)),
        ("SELECT 1;;-- x", ("1",), ((1,),)),
        ("SELECT 1; SELECT 2 AS b", ("b",), ((2,),)),
        ("SELECT 1; CREATE TABLE made(x)", ("1",), ((1,),)),
        ("VALUES (1), (2)", ("column1",), ((1,), (2,))),
        ("SELECT/**/1", (), ()),
        (";;SELECT 1", (), ()),
        ("", (), ()),
        (" ; -- nothing", (), ()),
        ("SELECT 9223372036854775807, -0.0", ("9223372036854775807", "-0.0"), ((2**63 - 1, -0.0),)),
        ("SELECT x'', NULL, 'é'", ("x''", "NULL", "'é'"), ((b"", None, "é"),)),
        ("SELECT 1e308 * 10", ("1e308 * 10",), ((math.inf,),)),
        ("SELECT CAST(x'ff41' AS TEXT) AS v;", ("v",), (("\ufffdA",),)),
        ("VALUES ('a'), (CAST(x'c3' AS TEXT)) -- c", ("column1",), (("a",), ("\ufffd",))),
    ],
)
async def test_rows(
    sql: str, columns: tuple[str, ...], rows: tuple[tuple[Value, ...], ...], open_desk: OpenDesk
) -> None:
    desk = await open_desk(MEMORY)
    result = await desk.run(sql)
    assert (result.columns, result.rows) == (columns, rows)
    assert (result.rows_affected, result.last_insert_id) == (0, 0)


@pytest.mark.parametrize(
    ("sql", "counters"),
    [
        ("INSERT INTO t(v) VALUES ('n')", (1, 3)),
        ("INSERT INTO t(v) VALUES ('n') RETURNING id", (1, 3)),
        ("INSERT INTO t(v) VALUES ('not returning')", (1, 3)),
        ("WITH x AS (SELECT 'n') INSERT INTO t(v) SELECT * FROM x", (1, 3)),
        ("REPLACE INTO t(id, v) VALUES (1, 'n')", (1, 1)),
        ("INSERT OR IGNORE INTO t(v) VALUES ('a')", (0, 0)),
        ("INSERT INTO t(v) VALUES ('a') ON CONFLICT DO UPDATE SET v = 'n'", (1, 0)),
        ("UPDATE t SET v = v || 'x'", (2, 0)),
        ("WITH x AS (SELECT 1) DELETE FROM t", (2, 0)),
        ("DELETE FROM t WHERE 0", (0, 0)),
        ("CREATE TABLE u AS SELECT * FROM t", (0, 0)),
        ("DROP TABLE t", (0, 0)),
        ("ALTER TABLE t ADD COLUMN w", (0, 0)),
        ("EXPLAIN INSERT INTO t(v) VALUES ('n')", (0, 0)),
        ("INSERT INTO t(v) VALUES ('n'); UPDATE t SET v = v || 'x'", (3, 0)),
        ("SELECT 1; INSERT INTO t(v) VALUES ('n')", (0, 0)),
        ("INSERT INTO t(v) VALUES (last_insert_rowid())", (1, 3)),
    ],
)
async def test_true_counters(sql: str, counters: tuple[int, int], open_desk: OpenDesk) -> None:
    desk = await open_desk(WAL)
    await desk.run("CREATE TABLE t(id INTEGER PRIMARY KEY, v UNIQUE)")
    await desk.run("INSERT INTO t(v) VALUES ('a'), ('b')")
    result = await desk.run(sql)
    assert (result.rows_affected, result.last_insert_id) == counters


async def test_a_stream_keeps_its_last_row_id(open_desk: OpenDesk) -> None:
    desk = await open_desk(WAL)
    await desk.run("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
    pinned = await desk.database.pin(Access.READ_WRITE)
    await pinned.execute(Statement("INSERT INTO t(id) VALUES (41)"))
    assert (await pinned.execute(Statement("UPDATE t SET v = 1"))).last_insert_id == 0
    told = await pinned.execute(Statement("SELECT last_insert_rowid(), changes()"))
    assert told.rows == ((41, 1),)
    copied = await pinned.execute(Statement("INSERT INTO t(v) VALUES (last_insert_rowid())"))
    assert copied.last_insert_id == 42
    assert (await pinned.execute(Statement("SELECT v FROM t WHERE id = 42"))).rows == ((41,),)
    await pinned.release()


@pytest.mark.parametrize(
    ("sql", "args", "row"),
    [
        ("SELECT ?, ?", (1, "a"), (1, "a")),
        ("SELECT ?", (1, 2, 3), (1,)),
        ("SELECT ?3, ?", (1, 2, 3, 4), (3, 4)),
        ("SELECT :x, @x, $x", {"x": 7}, (7, 7, 7)),
        ("SELECT :x, @y, $z", {":x": 1, "@y": 2, "$z": 3}, (1, 2, 3)),
        ("SELECT ?, :b", {"a": 1, "b": 2}, (1, 2)),
        ("SELECT :x", (5,), (5,)),
        ("SELECT ?", (2**63 - 1,), (2**63 - 1,)),
        ("SELECT ?", (-(2**63),), (-(2**63),)),
        ("SELECT length(CAST(? AS BLOB)), typeof(?)", ("a\0b", b""), (3, "blob")),
        ("SELECT ?; SELECT ?, ?", (1, 2, 3), (2, 3)),
        ("SELECT :x; SELECT :x", {"x": 4}, (4,)),
        ("SELECT typeof(?)", (1.0,), ("real",)),
    ],
)
async def test_arguments(
    sql: str,
    args: tuple[Value, ...] | dict[str, Value],
    row: tuple[Value, ...],
    open_desk: OpenDesk,
) -> None:
    desk = await open_desk(MEMORY)
    assert (await desk.run(sql, args)).rows == (row,)


@pytest.mark.parametrize(
    ("sql", "args"),
    [
        ("SELECT ?", ()),
        ("SELECT ?, ?", (1,)),
        ("SELECT ?5", (1, 2)),
        ("SELECT :x", {"y": 1}),
        ("SELECT :x", {}),
        ("SELECT ?; SELECT ?", (1,)),
        ("SELECT ?", ("\ud800",)),
    ],
)
async def test_missing_arguments_are_masked(
    sql: str, args: tuple[Value, ...] | dict[str, Value], open_desk: OpenDesk
) -> None:
    desk = await open_desk(MEMORY)
    with pytest.raises(MaskedFailure, match="internal error"):
        await desk.run(sql, args)
    with pytest.raises(BatchFailure) as failure:
        await desk.database.batch(
            [Statement("SELECT 1"), Statement(sql, args)],
            Access.READ_WRITE,
            time.monotonic() + 20,
        )
    assert failure.value.index == 1
    assert isinstance(failure.value.error, MaskedFailure)


@pytest.mark.parametrize(
    ("sql", "message", "codes"),
    [
        ("SELECT * FROM nowhere", "no such table: nowhere", (1, 1)),
        ("selec", 'near "selec": syntax error', (1, 1)),
        ("(SELECT 1)", 'near "(": syntax error', (1, 1)),
        ("INSERT INTO t VALUES (1, 'k')", "UNIQUE constraint failed: t.v", (19, 2067)),
        ("INSERT INTO t VALUES (2, NULL)", "NOT NULL constraint failed: t.v", (19, 1299)),
        ("INSERT INTO t VALUES (0, 'n')", "CHECK constraint failed: id > 0", (19, 275)),
        ("INSERT INTO c VALUES (99)", "FOREIGN KEY constraint failed", (19, 787)),
        ("SELECT load_extension('x')", "not authorized", (1, 1)),
        ("SELECT zeroblob(999000000)", "string or blob too big", (18, 18)),
        ("SELECT 1; ATTACH 'x' AS y", "not authorized", (23, 23)),
        ("VACUUM", "authorization denied", (23, 23)),
        ("SELECT 1\0", 'unrecognized token: "\\0"', (1, 1)),
        ("UPDATE sqlite_schema SET sql = ''", "table sqlite_master may not be modified", (1, 1)),
    ],
)
async def test_errors(sql: str, message: str, codes: tuple[int, int], open_desk: OpenDesk) -> None:
    desk = await open_desk(WAL)
    await desk.run("CREATE TABLE t(id INTEGER CHECK (id > 0), v TEXT UNIQUE NOT NULL)")
    await desk.run("CREATE TABLE p(id INTEGER PRIMARY KEY)")
    await desk.run("CREATE TABLE c(p REFERENCES p(id))")
    await desk.run("INSERT INTO t VALUES (5, 'k')")
    with pytest.raises(SQLFailure) as failure:
        await desk.run(sql)
    error = failure.value
    assert (error.message, (error.code, error.extended_code)) == (message, codes)


async def test_the_schema_table_stays_closed(open_desk: OpenDesk) -> None:
    desk = await open_desk(WAL)
    await desk.run("CREATE TABLE t(x)")
    assert (await desk.run("PRAGMA writable_schema = ON")).rows == ()
    with pytest.raises(SQLFailure, match="may not be modified"):
        await desk.run("PRAGMA writable_schema = ON; DELETE FROM sqlite_schema")
    assert await desk.rows("SELECT count(*) FROM sqlite_schema") == [(1,)]


@pytest.mark.parametrize(
    "sql", ["ATTACH 'x' AS y", "  detach database y", "/* c */ATTACH 'x' AS y"]
)
async def test_attach_is_refused_by_policy(sql: str, open_desk: OpenDesk) -> None:
    desk = await open_desk(WAL)
    text = "statement not permitted by server policy: ATTACH/DETACH is disabled"
    with pytest.raises(PolicyDenied) as failure:
        await desk.run(sql)
    assert failure.value.message == text
    await desk.run("CREATE TABLE t(x)")
    with pytest.raises(BatchFailure) as batch:
        await desk.batch("INSERT INTO t VALUES (1)", sql)
    assert (batch.value.index, batch.value.error.message) == (1, text)
    assert await desk.rows("SELECT count(*) FROM t") == [(0,)]


async def test_what_ran_before_a_hidden_attach_stays(open_desk: OpenDesk) -> None:
    desk = await open_desk(WAL)
    await desk.run("CREATE TABLE t(x)")
    with pytest.raises(SQLFailure):
        await desk.run("INSERT INTO t VALUES (1); ATTACH 'x' AS y")
    assert await desk.rows("SELECT count(*) FROM t") == [(1,)]


@pytest.mark.parametrize(
    ("caps", "sql", "count", "truncated"),
    [
        (Caps(max_rows=3), "VALUES (1), (2), (3), (4)", 3, True),
        (Caps(max_rows=3), "VALUES (1), (2), (3)", 3, False),
        (Caps(max_result_bytes=10), "VALUES (1), (2), (3)", 2, True),
        (Caps(max_result_bytes=16), "VALUES (1), (2)", 2, True),
        (Caps(max_result_bytes=17), "VALUES (1), (2)", 2, False),
        (Caps(max_result_bytes=4), "VALUES ('éé'), (1)", 1, True),
        (Caps(max_result_bytes=5), "VALUES ('abc'), (x'0102'), (1)", 2, True),
    ],
)
async def test_caps(caps: Caps, sql: str, count: int, truncated: bool, open_desk: OpenDesk) -> None:
    desk = await open_desk(WAL, caps)
    result = await desk.run(sql)
    assert (len(result.rows), result.truncated) == (count, truncated)


async def test_times_and_declared_types(open_desk: OpenDesk) -> None:
    desk = await open_desk(WAL)
    await desk.run("CREATE TABLE t(d DATE, m DATETIME(3), n datetime, b)")
    await desk.run("INSERT INTO t VALUES ('2024-01-02', '2024-01-02', 12, '2024-01-02')")
    result = await desk.run("SELECT *, max(d) FROM t")
    assert result.decltypes == ("DATE", "DATETIME(3)", "datetime", None, None)
    assert result.rows == (("2024-01-02T00:00:00Z", "2024-01-02", 12, "2024-01-02", "2024-01-02"),)


@pytest.mark.parametrize("kind", EVERY_KIND)
async def test_batches(kind: str, open_desk: OpenDesk) -> None:
    desk = await open_desk(EVERY_KIND[kind])
    await desk.run("CREATE TABLE t(x INTEGER PRIMARY KEY)")
    results = await desk.batch("INSERT INTO t VALUES (5)", "SELECT x FROM t", "-- nothing")
    assert [(one.rows, one.rows_affected) for one in results] == [((), 1), (((5,),), 0), ((), 0)]
    with pytest.raises(BatchFailure) as failure:
        await desk.batch("INSERT INTO t VALUES (6)", "INSERT INTO t VALUES (5)")
    assert failure.value.index == 1
    assert isinstance(failure.value.error, SQLFailure)
    assert failure.value.error.extended_code == 1555
    assert await desk.rows("SELECT x FROM t") == [(5,)]


@pytest.mark.parametrize(
    ("texts", "index", "message", "code", "left"),
    [
        (("nonsense",), 0, 'near "nonsense": syntax error', 1, 0),
        (("BEGIN",), 0, "cannot start a transaction within a transaction", 1, 0),
        (("INSERT INTO t VALUES (1)", "COMMIT"), None, "no transaction is active", 1, 1),
        (("INSERT INTO t VALUES (1)", "ROLLBACK"), None, "no transaction is active", 1, 0),
        (("INSERT INTO c VALUES (9)",), None, "FOREIGN KEY constraint failed", 19, 0),
        (("INSERT INTO t VALUES (1)", "VACUUM"), 1, "transaction", 1, 0),
    ],
)
async def test_batch_failures(
    texts: tuple[str, ...],
    index: int | None,
    message: str,
    code: int,
    left: int,
    open_desk: OpenDesk,
) -> None:
    desk = await open_desk(WAL)
    await desk.run("CREATE TABLE t(x INTEGER PRIMARY KEY)")
    await desk.run("CREATE TABLE c(x REFERENCES t(x) DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(BatchFailure) as failure:
        await desk.batch(*texts)
    error = failure.value.error
    assert isinstance(error, SQLFailure)
    assert failure.value.index == index
    assert message in error.message
    assert error.code == code
    assert await desk.rows("SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM c)") == [
        (left, 0)
    ]


@pytest.mark.parametrize("kind", EVERY_KIND)
async def test_the_deadline_ends_a_statement_and_a_batch(kind: str, open_desk: OpenDesk) -> None:
    desk = await open_desk(EVERY_KIND[kind])
    await desk.run("CREATE TABLE t(x)")
    started = time.monotonic()
    with pytest.raises(StatementTimeout):
        await desk.run(ENDLESS, timeout_s=0.1)
    with pytest.raises(BatchFailure) as failure:
        await desk.database.batch(
            [Statement("INSERT INTO t VALUES (1)"), Statement(ENDLESS)],
            Access.READ_WRITE,
            time.monotonic() + 0.1,
        )
    assert failure.value.index == 1
    assert isinstance(failure.value.error, StatementTimeout)
    assert time.monotonic() - started < 5
    assert await desk.rows("SELECT count(*) FROM t") == [(0,)]


async def test_a_stale_schema_is_healed(open_desk: OpenDesk) -> None:
    """Another connection widens the table: the number of its columns is no reason for SQLite to
    look again.
    """
    desk = await open_desk(WAL)
    other = await open_desk(WAL)
    await desk.run("CREATE TABLE t(a)")
    await other.run("INSERT INTO t VALUES (1)")
    await other.run("SELECT a FROM t")
    await desk.run("DROP TABLE t")
    await desk.run("CREATE TABLE t(a, b)")
    assert (await other.run("INSERT INTO t VALUES (1, 2)")).rows_affected == 1
    await desk.run("ALTER TABLE t ADD COLUMN c")
    assert await other.rows("SELECT * FROM t") == [(1, 2, None)]
    await desk.run("ALTER TABLE t RENAME COLUMN c TO d")
    assert (await other.run("SELECT * FROM t")).columns == ("a", "b", "d")


async def test_text_that_is_not_utf_8_in_a_utf_16_database(open_desk: OpenDesk) -> None:
    desk = await open_desk(Settings(effective_pragmas={"encoding": "UTF-16le"}))
    await desk.run("CREATE TABLE t(x)")
    await desk.run("INSERT INTO t VALUES ('plain'), (CAST(x'00d84100' AS TEXT))")
    rows = await desk.rows("SELECT x FROM t ORDER BY rowid")
    assert rows[0] == ("plain",)
    assert isinstance(rows[1][0], str)


async def test_pragmas_of_a_stream_take_effect_every_time(open_desk: OpenDesk) -> None:
    desk = await open_desk(WAL)
    pinned = await desk.database.pin(Access.READ_WRITE)
    for value in (0, 1, 0, 1):
        await pinned.execute(Statement(f"PRAGMA foreign_keys = {value}"))
        told = await pinned.execute(Statement("PRAGMA foreign_keys"))
        assert told.rows == ((value,),)
    for value in (150, 0, 150):
        await pinned.execute(Statement(f"PRAGMA busy_timeout = {value}"))
        told = await pinned.execute(Statement("PRAGMA busy_timeout"))
        assert told.rows == ((value,),)
    await pinned.release()
