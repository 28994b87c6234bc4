"""What only streams can do: sequence, describe, capture of changes."""

from __future__ import annotations

import apsw
import pytest

from quicsql_client.server.engine import Access, MaskedFailure, SQLFailure
from quicsql_client.server.registry import Description
from quicsql_client.types import Statement
from tests.fix_engine import WAL, OpenDesk


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (
            "SELECT a, b, 1 FROM t WHERE a > ? AND b = :name",
            Description(
                (None, ":name"), (("a", "INTEGER"), ("b", "TEXT"), ("1", None)), False, True
            ),
        ),
        (
            "SELECT ?3, ?",
            Description((None, None, "?3", None), (("?3", None), ("?", None)), False, True),
        ),
        (
            "SELECT @x, $y, :x, '$no', \"@no\", [:no], /* :no */ @x -- :no",
            None,
        ),
        ("INSERT INTO t VALUES (1, 'x')", Description((), (), False, False)),
        (
            "INSERT INTO t VALUES (1, 2) RETURNING a",
            Description((), (("a", "INTEGER"),), False, False),
        ),
        ("BEGIN", Description((), (), False, True)),
        ("", Description((), (), False, True)),
        ("-- nothing", Description((), (), False, True)),
        ("SELECT 1; SELECT 2", Description((), (("1", None),), False, True)),
    ],
)
async def test_describe(sql: str, expected: Description | None, open_desk: OpenDesk) -> None:
    desk = await open_desk(WAL)
    await desk.run("CREATE TABLE t(a INTEGER, b TEXT)")
    await desk.run('CREATE TABLE u("@no", [:no])')
    pinned = await desk.database.pin(Access.READ_WRITE)
    if expected is None:
        described = await pinned.describe(sql + "\nFROM u")
        assert described.params == ("@x", "$y", ":x")
    else:
        assert await pinned.describe(sql) == expected
    assert (await pinned.execute(Statement("SELECT count(*) FROM t"))).rows == ((0,),)
    await pinned.release()


async def test_describe_explain_and_errors(open_desk: OpenDesk) -> None:
    desk = await open_desk(WAL)
    pinned = await desk.database.pin(Access.READ_ONLY)
    assert (await pinned.describe("EXPLAIN SELECT 1")).is_explain
    with pytest.raises(SQLFailure) as failure:
        await pinned.describe("CREATE TABLE t(x)")
    assert failure.value.code == 23
    with pytest.raises(SQLFailure, match="no such table"):
        await pinned.describe("SELECT * FROM nowhere")
    await pinned.release()


async def test_sequence_stops_at_the_first_failure(open_desk: OpenDesk) -> None:
    desk = await open_desk(WAL)
    pinned = await desk.database.pin(Access.READ_WRITE)
    await pinned.sequence("")
    await pinned.sequence("CREATE TABLE t(x UNIQUE); SELECT CAST(x'ff' AS TEXT); BEGIN; COMMIT;")
    with pytest.raises(SQLFailure) as failure:
        await pinned.sequence("INSERT INTO t VALUES (1); INSERT INTO t VALUES (1); DROP TABLE t")
    assert failure.value.extended_code == 2067
    assert await desk.rows("SELECT x FROM t") == [(1,)]
    with pytest.raises(MaskedFailure):
        await pinned.sequence("SELECT ?")
    await pinned.release()


async def test_a_capture_sees_a_table_emptied_by_what_was_prepared_before(
    open_desk: OpenDesk,
) -> None:
    desk = await open_desk(WAL)
    await desk.run("CREATE TABLE t(a INTEGER PRIMARY KEY); INSERT INTO t VALUES (1), (2)")
    pinned = await desk.database.pin(Access.READ_WRITE)
    for sql in ("BEGIN", "DELETE FROM t", "ROLLBACK"):
        await pinned.sequence(sql)
    await pinned.start_capture()
    await pinned.sequence("DELETE FROM t")
    changeset = await pinned.take_changeset()
    assert changeset is not None
    assert [change.op for change in apsw.Changeset.iter(changeset)] == ["DELETE", "DELETE"]
    await pinned.release()


async def test_capture(open_desk: OpenDesk) -> None:
    desk = await open_desk(WAL)
    await desk.run("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
    await desk.run("CREATE TABLE u(id INTEGER PRIMARY KEY)")
    pinned = await desk.database.pin(Access.READ_WRITE)
    assert await pinned.take_changeset() is None
    assert await pinned.start_capture(["t"]) is True
    assert await pinned.start_capture() is False
    await pinned.sequence("INSERT INTO t VALUES (1, 'a'); INSERT INTO u VALUES (1)")
    changeset = await pinned.take_changeset()
    assert changeset is not None
    assert [(one.name, one.new) for one in apsw.Changeset.iter(changeset)] == [("t", (1, "a"))]
    assert await pinned.take_changeset() is None
    assert await pinned.start_capture(["nowhere"]) is True
    assert await pinned.take_changeset() == b""
    assert await pinned.start_capture() is True
    await pinned.release()
    again = await desk.database.pin(Access.READ_ONLY)
    assert await again.take_changeset() is None
    assert await again.start_capture() is True
    assert await again.take_changeset() == b""
    await again.release()
