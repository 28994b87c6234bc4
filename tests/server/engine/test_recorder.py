"""Which rows are told, and when: every kind of write, of rollback and of connection.

Odd-cases 122, 123, 182 and 191.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest
import pytest_asyncio

from quicsql_client.server.engine import Access, Caps, EngineError, SQLFailure, StatementTimeout
from quicsql_client.server.engine.change_log import ChangeLog, Changes
from quicsql_client.server.engine.changesets import OnConflict, apply_changeset
from quicsql_client.server.engine.link import Link
from quicsql_client.server.engine.recorder import MAX_NAME_LENGTH, MAX_ROWS
from quicsql_client.server.registry import Database, PinnedConnection
from quicsql_client.types import Statement
from tests.fix_engine import LONG_S, ROLLBACK, WAL, Desk, Pool, Settings

MANY = (
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < {})"
    " SELECT x, x FROM c"
)


class Recorded(Desk):
    """A database and the transactions that it has told. heard: set when it tells some."""

    def __init__(self, database: Database, commits: list[Changes], heard: asyncio.Event) -> None:
        super().__init__(database)
        self._commits = commits
        self.heard = heard

    def told(self) -> list[Any]:
        """What was told since it was last asked: for each transaction its rows as "table op rowid",
        or None.
        """
        commits = [
            None if commit is None else [f"{row.table} {row.op} {row.rowid}" for row in commit]
            for commit in self._commits
        ]
        self._commits.clear()
        return commits

    async def stream(self) -> PinnedConnection:
        return await self.database.pin(Access.READ_WRITE)

    async def call(self, work: Callable[[apsw.Connection], Any]) -> Any:
        deadline = time.monotonic() + LONG_S
        return await self.database.call(work, Access.READ_WRITE, deadline)


Record = Callable[..., Awaitable[Recorded]]


@pytest_asyncio.fixture
async def record(tmp_path: Path) -> AsyncIterator[Record]:
    """Opens a database whose changes are recorded; all are closed after the test."""
    opened: list[Database] = []

    async def open_one(settings: Settings = WAL) -> Recorded:
        commits: list[Changes] = []
        heard = asyncio.Event()

        def hear(new: list[Changes]) -> None:
            commits.extend(new)
            heard.set()

        database = Database(settings, str(tmp_path), Caps(), changes=ChangeLog(hear))
        opened.append(database)
        await database.warm()
        return Recorded(database, commits, heard)

    yield open_one
    for database in opened:
        await database.close()


@pytest_asyncio.fixture(params=["wal", "rollback"])
async def desk(record: Record, request: pytest.FixtureRequest) -> Recorded:
    """A database with a table t(id, v) that has the rows 1 and 2."""
    recorded = await record({"wal": WAL, "rollback": ROLLBACK}[request.param])
    await recorded.run("CREATE TABLE t(id INTEGER PRIMARY KEY, v UNIQUE)")
    await recorded.run("INSERT INTO t VALUES(1, 'a'), (2, 'b')")
    assert recorded.told() == [["t insert 1", "t insert 2"]]
    return recorded


async def run(stream: PinnedConnection, *texts: str) -> None:
    for text in texts:
        await stream.execute(Statement(text))


# What is a change.

WRITES: list[tuple[str, list[str]]] = [
    ("INSERT INTO t VALUES(7, 'c'), (8, 'd')", ["t insert 7", "t insert 8"]),
    ("INSERT INTO t(v) VALUES('c') RETURNING id", ["t insert 3"]),
    ("UPDATE t SET v = v || 'x'", ["t update 1", "t update 2"]),
    ("UPDATE t SET id = 77 WHERE id = 1", ["t update 77"]),  # 182
    ("DELETE FROM t WHERE id = 2", ["t delete 2"]),
    ("DELETE FROM t", ["t delete 1", "t delete 2"]),
    ("INSERT OR REPLACE INTO t VALUES(1, 'c')", ["t delete 1", "t insert 1"]),  # 182
    ("REPLACE INTO t VALUES(9, 'b')", ["t delete 2", "t insert 9"]),
    ("UPDATE OR REPLACE t SET id = 2 WHERE id = 1", ["t delete 2", "t update 2"]),
    ("INSERT INTO t VALUES(1, 'z') ON CONFLICT DO UPDATE SET v = 'z'", ["t update 1"]),
    ("WITH c AS (SELECT 5) INSERT INTO t SELECT *, 'q' FROM c", ["t insert 5"]),
    ("INSERT INTO t VALUES(0, 'zero')", ["t insert 0"]),
    ("INSERT INTO t VALUES(-9223372036854775808, 'least')", ["t insert -9223372036854775808"]),
]


@pytest.mark.parametrize(("sql", "rows"), WRITES)
async def test_a_statement_of_its_own(desk: Recorded, sql: str, rows: list[str]) -> None:
    await desk.run(sql)
    assert desk.told() == [rows]


NOT_TOLD = [
    "SELECT * FROM t",
    "UPDATE t SET v = 1 WHERE id = 99",
    "CREATE TABLE u AS SELECT * FROM t",
    "ALTER TABLE t ADD COLUMN w DEFAULT 5",
    "CREATE INDEX i ON t(v)",
    "ANALYZE",
    "DROP TABLE t",
    "PRAGMA user_version = 5",
    "CREATE TABLE w(a PRIMARY KEY, rowid) WITHOUT ROWID; INSERT INTO w VALUES(1, 0), (2, 0);"
    " UPDATE w SET a = a + 9; DELETE FROM w",
    "CREATE TEMP TABLE mine(id); INSERT INTO mine VALUES(1); DELETE FROM mine",
]


@pytest.mark.parametrize("sql", NOT_TOLD)
async def test_what_is_no_change_of_a_row_for_others(desk: Recorded, sql: str) -> None:
    await desk.run(sql)
    assert desk.told() == []


async def test_a_temporary_table_is_its_owners_alone(desk: Recorded) -> None:
    stream = await desk.stream()
    await run(stream, "CREATE TEMP TABLE t(id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES(5)")
    await run(stream, "BEGIN", "INSERT INTO temp.t VALUES(6)", "DELETE FROM main.t WHERE id = 1")
    await run(stream, "COMMIT")
    assert desk.told() == [["t delete 1"]]


async def test_triggers_and_cascades_are_told_where_they_happen(record: Record) -> None:
    desk = await record()
    await desk.run("CREATE TABLE p(id INTEGER PRIMARY KEY)")
    await desk.run("CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p ON DELETE CASCADE)")
    await desk.run("CREATE TABLE l(x)")
    await desk.run("CREATE TRIGGER g AFTER DELETE ON c BEGIN INSERT INTO l VALUES(1); END")
    await desk.run("INSERT INTO p VALUES(1); INSERT INTO c VALUES(4, 1)")
    desk.told()
    await desk.run("DELETE FROM p")
    assert desk.told() == [["p delete 1", "c delete 4", "l insert 1"]]


async def test_rows_that_are_copied_as_they_are(desk: Recorded) -> None:
    await desk.run("CREATE TABLE u(id INTEGER PRIMARY KEY, v UNIQUE)")
    await desk.run("INSERT INTO u SELECT * FROM t")
    assert desk.told() == [["u insert 1", "u insert 2"]]


async def test_a_full_text_table_is_told_by_its_shadow_tables(desk: Recorded) -> None:  # 191
    await desk.run("CREATE VIRTUAL TABLE ft USING fts5(x)")
    assert desk.told() != []
    await desk.run("INSERT INTO ft VALUES('a word')")
    (rows,) = desk.told()
    assert {row.split()[0] for row in rows} >= {"ft_content", "ft_data"}
    assert "ft" not in {row.split()[0] for row in rows}
    assert "ft_idx insert 0" not in rows  # WITHOUT ROWID


async def test_a_table_whose_name_comes_back(desk: Recorded) -> None:
    await desk.run("CREATE TABLE w(a PRIMARY KEY) WITHOUT ROWID; INSERT INTO w VALUES(1)")
    await desk.run("DROP TABLE w; CREATE TABLE w(id INTEGER PRIMARY KEY)")
    await desk.run("INSERT INTO w VALUES(0)")
    assert desk.told() == [["w insert 0"]]


async def test_blobs_that_are_written_in_place(desk: Recorded) -> None:
    await desk.run("CREATE TABLE b(id INTEGER PRIMARY KEY, v)")
    await desk.run("INSERT INTO b VALUES(5, zeroblob(10)), (6, zeroblob(10))")
    desk.told()

    def write(connection: apsw.Connection) -> None:
        for rowid in (5, 6):
            with connection.blob_open("main", "b", "v", rowid, True) as blob:
                blob.write(b"xx")

    await desk.call(write)
    assert desk.told() == [["b update 5"], ["b update 6"]]


async def test_a_changeset_that_is_applied(desk: Recorded) -> None:
    stream = await desk.stream()
    await stream.start_capture()
    await run(stream, "INSERT INTO t VALUES(5, 'q')", "DELETE FROM t WHERE id = 1")
    changeset = await stream.take_changeset()
    assert changeset is not None
    assert desk.told() == [["t insert 5"], ["t delete 1"]]
    await desk.run("DELETE FROM t WHERE id = 5; INSERT INTO t VALUES(1, 'a')")
    desk.told()

    def apply(connection: apsw.Connection) -> None:
        apply_changeset(connection, changeset, on_conflict=OnConflict.ABORT)

    await desk.call(apply)
    assert [sorted(rows) for rows in desk.told()] == [["t delete 1", "t insert 5"]]
    with pytest.raises(SQLFailure):
        await desk.call(apply)
    assert desk.told() == []


# What is committed.


async def test_each_way_to_write(desk: Recorded) -> None:
    await desk.batch("INSERT INTO t VALUES(3, 3)", "INSERT INTO t VALUES(4, 4)")
    stream = await desk.stream()
    await run(stream, "INSERT INTO t VALUES(5, 5)")
    await stream.sequence("INSERT INTO t VALUES(6, 6); INSERT INTO t VALUES(7, 7)")
    await run(stream, "BEGIN", "INSERT INTO t VALUES(8, 8)", "DELETE FROM t WHERE id = 8")
    assert desk.told() == [
        ["t insert 3", "t insert 4"],
        ["t insert 5"],
        ["t insert 6"],
        ["t insert 7"],
    ]
    await run(stream, "COMMIT")
    assert desk.told() == [["t insert 8", "t delete 8"]]


async def test_a_script_that_fails_has_told_what_it_committed(desk: Recorded) -> None:
    with pytest.raises(SQLFailure):
        await desk.run("INSERT INTO t VALUES(3, 3); INSERT INTO t VALUES(4, 4); nonsense")
    assert desk.told() == [["t insert 3"], ["t insert 4"]]


async def test_a_batch_with_a_commit_in_its_middle(desk: Recorded) -> None:
    with pytest.raises(EngineError):
        await desk.batch("INSERT INTO t VALUES(3, 3)", "COMMIT")  # odd-case 159
    assert desk.told() == [["t insert 3"]]


@pytest.mark.parametrize(
    "texts",
    [
        ["INSERT INTO t VALUES(3, 3), (4, 'a')"],  # fails at its second row
        ["BEGIN", "INSERT INTO t VALUES(3, 3)", "ROLLBACK"],
        ["SAVEPOINT s", "INSERT INTO t VALUES(3, 3)", "ROLLBACK TO s", "ROLLBACK"],
        ["BEGIN", "INSERT INTO t VALUES(3, 3)", "INSERT OR ROLLBACK INTO t VALUES(4, 'a')"],
    ],
)
async def test_what_is_rolled_back_is_not_told(desk: Recorded, texts: list[str]) -> None:  # 122
    stream = await desk.stream()
    for text in texts:
        with contextlib.suppress(SQLFailure):  # the last of some
            await run(stream, text)
    await run(stream, "INSERT INTO t VALUES(9, 9)")
    assert desk.told() == [["t insert 9"]]


async def test_a_batch_that_fails_is_not_told(desk: Recorded) -> None:
    with pytest.raises(EngineError):
        await desk.batch("INSERT INTO t VALUES(3, 3)", "INSERT INTO t VALUES(4, 'a')")
    assert desk.told() == []


async def test_a_stream_that_ends_in_its_transaction_is_not_told(desk: Recorded) -> None:
    stream = await desk.stream()
    await run(stream, "BEGIN", "INSERT INTO t VALUES(3, 3)")
    await stream.release()
    await desk.run("INSERT INTO t VALUES(4, 4)")
    assert desk.told() == [["t insert 4"]]


async def test_a_statement_that_is_interrupted_is_not_told(desk: Recorded) -> None:
    endless = "WITH RECURSIVE c(x) AS (SELECT 3 UNION ALL SELECT x + 1 FROM c) SELECT x, x FROM c"
    with pytest.raises(StatementTimeout):
        await desk.run(f"INSERT INTO t {endless}", timeout_s=0.1)
    await desk.run("INSERT INTO t VALUES(4, 4)")
    assert desk.told() == [["t insert 4"]]


async def test_savepoints_commit_with_the_outermost(desk: Recorded) -> None:  # 182
    stream = await desk.stream()
    await run(stream, "SAVEPOINT a", "INSERT INTO t VALUES(3, 3)", "SAVEPOINT b")
    await run(stream, "INSERT INTO t VALUES(4, 4)", "ROLLBACK TO b", "RELEASE b")
    assert desk.told() == []
    await run(stream, "RELEASE a")
    assert desk.told() == [["t insert 3", "t insert 4"]]


async def test_a_commit_that_a_foreign_key_refuses(record: Record) -> None:
    desk = await record()
    await desk.run("CREATE TABLE p(id INTEGER PRIMARY KEY)")
    await desk.run("CREATE TABLE c(id INTEGER, p REFERENCES p DEFERRABLE INITIALLY DEFERRED)")
    stream = await desk.stream()
    await run(stream, "BEGIN", "INSERT INTO c VALUES(1, 5)")
    with pytest.raises(SQLFailure, match="FOREIGN KEY"):
        await run(stream, "COMMIT")
    assert desk.told() == []
    await run(stream, "INSERT INTO p VALUES(5)", "COMMIT")
    assert desk.told() == [["c insert 1", "p insert 5"]]
    with pytest.raises(EngineError):
        await desk.batch("INSERT INTO c VALUES(2, 6)")
    assert desk.told() == []


async def test_a_commit_that_fails_after_its_hook(desk: Recorded) -> None:
    def work(connection: apsw.Connection) -> None:
        connection.execute("INSERT INTO t VALUES(3, 3)")
        connection.set_commit_hook(lambda: True, id="refuses")
        for sql in ("INSERT INTO t VALUES(4, 4)", "BEGIN; INSERT INTO t VALUES(5, 5); COMMIT"):
            with pytest.raises(apsw.ConstraintError):
                connection.execute(sql)
        connection.set_commit_hook(None, id="refuses")
        connection.execute("INSERT INTO t VALUES(6, 6)")

    await desk.call(work)
    assert desk.told() == [["t insert 3"], ["t insert 6"]]


async def test_a_commit_is_told_while_its_script_goes_on(desk: Recorded) -> None:
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c"
    stream = await desk.stream()
    desk.heard.clear()
    script = asyncio.create_task(stream.sequence(f"INSERT INTO t VALUES(3, 3); {endless}"))
    async with asyncio.timeout(LONG_S):
        await desk.heard.wait()
    assert (desk.told(), script.done()) == ([["t insert 3"]], False)
    stream.interrupt()
    with pytest.raises(StatementTimeout):
        await script


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
async def test_a_commit_that_finds_the_file_busy(record: Record, end: str) -> None:
    """In the rollback journal a reader keeps a writer from its commit; the transaction goes on."""
    desk = await record(ROLLBACK)
    await desk.run("CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES(1)")
    desk.told()
    reader, writer = await desk.stream(), await desk.stream()
    await run(reader, "BEGIN", "SELECT * FROM t")
    await run(writer, "BEGIN", "INSERT INTO t VALUES(2)")
    for _ in range(2):
        with pytest.raises(SQLFailure) as caught:
            await run(writer, "COMMIT")
        assert caught.value.code == apsw.SQLITE_BUSY
    assert desk.told() == []
    await run(reader, "COMMIT")
    await run(writer, "INSERT INTO t VALUES(3)", end)
    assert desk.told() == ([["t insert 2", "t insert 3"]] if end == "COMMIT" else [])
    await desk.run("INSERT INTO t VALUES(9)")
    assert desk.told() == [["t insert 9"]]


async def test_an_autocommit_that_finds_the_file_busy(record: Record) -> None:
    desk = await record(ROLLBACK)
    await desk.run("CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES(1)")
    desk.told()
    reader = await desk.stream()
    await run(reader, "BEGIN", "SELECT * FROM t")
    with pytest.raises(SQLFailure):
        await desk.run("INSERT INTO t VALUES(2)")
    await run(reader, "COMMIT")
    await desk.run("INSERT INTO t VALUES(3)")
    assert desk.told() == [["t insert 3"]]


async def test_work_with_transactions_of_its_own(desk: Recorded) -> None:
    def work(connection: apsw.Connection) -> None:
        connection.execute("INSERT INTO t VALUES(3, 3)")
        with pytest.raises(apsw.ConstraintError):
            connection.execute("INSERT INTO t VALUES(4, 4), (5, 'a')")
        connection.execute("BEGIN; INSERT INTO t VALUES(6, 6); COMMIT; DELETE FROM t WHERE id = 6")
        connection.execute("BEGIN; INSERT INTO t VALUES(7, 7)")

    await desk.call(work)
    assert desk.told() == [["t insert 3"], ["t insert 6"], ["t delete 6"]]


async def test_a_connection_that_is_closed_leaves_nothing_untold(desk: Recorded) -> None:
    worker = desk.database._main
    assert worker is not None

    def work(link: Link) -> None:
        link.begin_capture(())
        link.connection.execute("INSERT INTO t VALUES(3, 3)")
        link.close()
        assert link.capture is None
        link.connection.execute("BEGIN; REPLACE INTO t VALUES(3, 4)")
        link.close()

    await worker.run(work, math.inf, settles=True)
    await desk.run("INSERT INTO t VALUES(5, 5)")
    assert desk.told() == [["t insert 3"], ["t insert 5"]]


@pytest.mark.parametrize("settings", [WAL, ROLLBACK])
async def test_the_order_of_commits_is_kept_across_connections(
    record: Record, settings: Settings
) -> None:
    desk = await record(replace(settings, pool=Pool(busy_timeout_s=LONG_S)))
    await desk.run("CREATE TABLE t(id INTEGER PRIMARY KEY)")
    next_row = "INSERT INTO t SELECT coalesce(max(id), 0) + 1 FROM t"

    async def write_alone() -> None:
        for _ in range(25):
            await desk.run(next_row)

    async def write(stream: PinnedConnection) -> None:
        for _ in range(25):
            await run(stream, "BEGIN IMMEDIATE", next_row, "COMMIT")

    streams = [await desk.stream() for _ in range(3)]
    await asyncio.gather(write_alone(), *map(write, streams))
    assert desk.told() == [[f"t insert {rowid}"] for rowid in range(1, 101)]


# What cannot be told row by row.


async def test_a_transaction_of_too_many_rows(desk: Recorded) -> None:  # 123
    await desk.run("CREATE TABLE u(id INTEGER PRIMARY KEY, v)")
    await desk.run(f"INSERT INTO u {MANY.format(MAX_ROWS)}")
    (rows,) = desk.told()
    assert (len(rows), rows[-1]) == (MAX_ROWS, f"u insert {MAX_ROWS}")
    await desk.run("DELETE FROM u")
    assert len(desk.told()[0]) == MAX_ROWS
    await desk.run(f"INSERT INTO u {MANY.format(MAX_ROWS + 1)}")
    assert desk.told() == [None]
    await desk.run("INSERT INTO u VALUES(9000, 0)")
    assert desk.told() == [["u insert 9000"]]


async def test_after_too_many_rows_every_row_is_seen_again(desk: Recorded) -> None:
    stream = await desk.stream()
    too_many = f"INSERT INTO u {MANY.format(MAX_ROWS + 1)}"
    await run(stream, "CREATE TABLE u(id INTEGER PRIMARY KEY, v)")
    await run(stream, "BEGIN", too_many, "DELETE FROM t", "COMMIT")
    await run(stream, "INSERT INTO t VALUES(3, 3), (4, 4)")
    await run(stream, "DELETE FROM t")  # prepared while nobody looked
    assert desk.told() == [None, ["t insert 3", "t insert 4"], ["t delete 3", "t delete 4"]]
    await run(stream, "DELETE FROM u")
    assert desk.told() == [None]
    await run(stream, "BEGIN", too_many, "ROLLBACK", "INSERT INTO t VALUES(5, 5)")
    assert desk.told() == [["t insert 5"]]
    await run(stream, "BEGIN", too_many)
    await stream.release()
    again = await desk.stream()
    await run(again, "INSERT INTO t VALUES(6, 6)")
    assert desk.told() == [["t insert 6"]]


async def test_a_name_that_is_too_long_to_keep(desk: Recorded) -> None:
    for length, expected in ((MAX_NAME_LENGTH, ["insert 1"]), (MAX_NAME_LENGTH + 1, None)):
        name = "n" * length
        await desk.run(f"CREATE TABLE {name}(a); INSERT INTO {name} VALUES(1)")
        (told,) = desk.told()
        assert told == (expected and [f"{name} {expected[0]}"])


# While changes are captured SQLite's one hook is taken.


async def test_changes_are_told_while_they_are_captured(desk: Recorded) -> None:
    stream = await desk.stream()
    await run(stream, "BEGIN", "DELETE FROM t WHERE id = 1")
    assert await stream.start_capture()
    await run(stream, "INSERT INTO t VALUES(0, 3)", "UPDATE t SET id = 5 WHERE id = 0")
    await run(stream, "CREATE TABLE w(a PRIMARY KEY) WITHOUT ROWID", "INSERT INTO w VALUES(1)")
    assert await stream.take_changeset()
    await run(stream, "INSERT OR REPLACE INTO t VALUES(5, 6)", "COMMIT")
    assert desk.told() == [
        ["t delete 1", "t insert 0", "t update 5", "t delete 5", "t insert 5"],
    ]


async def test_a_table_is_emptied_row_by_row_while_it_is_captured(desk: Recorded) -> None:
    stream = await desk.stream()
    await run(stream, "BEGIN", "DELETE FROM t", "ROLLBACK")  # prepared before
    assert await stream.start_capture()
    await run(stream, "DELETE FROM t")
    assert desk.told() == [["t delete 1", "t delete 2"]]
    assert await stream.take_changeset()


@pytest.mark.parametrize(
    "texts",
    [
        ["REPLACE INTO t VALUES(9, 'b')"],
        ["INSERT OR replace INTO t VALUES(9, 'b')"],
        ["CREATE TABLE x(a UNIQUE ON CONFLICT Replace)", "INSERT INTO x VALUES(1)"],
        [
            "CREATE TEMP TRIGGER g AFTER UPDATE ON t"
            " BEGIN INSERT OR REPLACE INTO t VALUES(9, 'b'); END",
            "UPDATE t SET v = 'q' WHERE id = 1",
        ],
    ],
)
async def test_rows_that_may_be_replaced_unseen(desk: Recorded, texts: list[str]) -> None:
    stream = await desk.stream()
    await stream.start_capture()
    await run(stream, *texts)
    assert desk.told() == [None]
    await stream.take_changeset()
    await run(stream, "INSERT INTO t VALUES(50, 50)")
    assert desk.told() == [["t insert 50"]]


async def test_too_many_rows_while_they_are_captured(desk: Recorded) -> None:
    stream = await desk.stream()
    await run(stream, "CREATE TABLE u(id INTEGER PRIMARY KEY, v)")
    await stream.start_capture()
    await run(stream, f"INSERT INTO u {MANY.format(MAX_ROWS + 1)}")
    await run(stream, "INSERT INTO u VALUES(9000, 0)")
    assert desk.told() == [None, ["u insert 9000"]]
    await stream.release()
    again = await desk.stream()
    await run(again, "INSERT OR REPLACE INTO u VALUES(9000, 1)")
    assert desk.told() == [["u delete 9000", "u insert 9000"]]


async def test_a_capture_that_does_not_begin_leaves_the_recorder_as_it_was(
    desk: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = await desk.stream()

    def refuse(*_: object) -> None:
        raise apsw.NoMemError("no")

    with monkeypatch.context() as patched:
        patched.setattr(apsw, "Session", refuse)
        with pytest.raises(EngineError):
            await stream.start_capture()
    await run(stream, "REPLACE INTO t VALUES(1, 'c')")
    assert desk.told() == [["t delete 1", "t insert 1"]]
    assert await stream.start_capture()
