"""Changesets: applied under each rule for conflicts, turned round, joined."""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import closing
from functools import partial
from pathlib import Path

import apsw
import pytest

from quicsql_client.server.engine import Access, SQLFailure
from quicsql_client.server.engine.changesets import (
    OnConflict,
    apply_changeset,
    concat_changesets,
    invert_changeset,
)
from quicsql_client.types import Statement
from tests.fix_engine import EVERY_KIND, LONG_S, WAL, Desk, OpenDesk, Pool, Settings

MALFORMED = "database disk image is malformed"
SCHEMA = (
    "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT CHECK (v <> 'bad'))",
    "CREATE TABLE other(id INTEGER PRIMARY KEY, v TEXT)",
    "CREATE TABLE child(id INTEGER PRIMARY KEY, parent REFERENCES t(id))",
)


@pytest.fixture
async def desk(open_desk: OpenDesk) -> Desk:
    desk = await open_desk(WAL)
    await desk.batch(*SCHEMA)
    return desk


async def captured(desk: Desk, *texts: str) -> bytes:
    """The changeset of these statements, which are undone again."""
    stream = await desk.database.pin(Access.READ_WRITE)
    try:
        await stream.execute(Statement("BEGIN"))
        assert await stream.start_capture()
        for text in texts:
            await stream.execute(Statement(text))
        changeset = await stream.take_changeset()
        await stream.execute(Statement("ROLLBACK"))
    finally:
        await stream.release()
    assert changeset is not None
    return changeset


async def apply(
    desk: Desk,
    changeset: bytes,
    on_conflict: OnConflict = OnConflict.ABORT,
    tables: Collection[str] = (),
) -> None:
    work = partial(apply_changeset, changeset=changeset, on_conflict=on_conflict, tables=tables)
    await desk.database.call(work, Access.READ_WRITE, time.monotonic() + LONG_S)


@pytest.mark.parametrize("settings", EVERY_KIND.values(), ids=EVERY_KIND)
async def test_changes_are_made_again(open_desk: OpenDesk, settings: Settings) -> None:
    desk = await open_desk(settings)
    await desk.batch(*SCHEMA, "INSERT INTO t VALUES(1, 'a'), (2, 'b')")
    changeset = await captured(
        desk,
        "INSERT INTO t VALUES(3, 'c')",
        "UPDATE t SET v = 'A' WHERE id = 1",
        "DELETE FROM t WHERE id = 2",
    )
    assert await desk.rows("SELECT * FROM t") == [(1, "a"), (2, "b")]
    await apply(desk, changeset)
    assert await desk.rows("SELECT * FROM t") == [(1, "A"), (3, "c")]
    await apply(desk, invert_changeset(changeset))
    assert await desk.rows("SELECT * FROM t") == [(1, "a"), (2, "b")]


# What is there, the change, and what is there after OMIT and after REPLACE.
CONFLICTS = {
    "row exists": ("INSERT INTO t VALUES(1, 'OLD')", "INSERT INTO t VALUES(1, 'new')", "OLD new"),
    "row differs": (
        "INSERT INTO t VALUES(1, 'OLD')",
        "UPDATE t SET v = 'new' WHERE id = 1",
        "OLD new",
    ),
    "row to delete differs": (
        "INSERT INTO t VALUES(1, 'OLD')",
        "DELETE FROM t WHERE id = 1",
        "OLD -",
    ),
    "row missing": ("SELECT 1", "UPDATE t SET v = 'new' WHERE id = 1", "- -"),
    "constraint": ("SELECT 1", "INSERT INTO t VALUES(1, 'bad')", "- -"),
}


async def conflicting(desk: Desk, kind: str) -> bytes:
    """A changeset of that change, to be applied where it does not fit."""
    there, change, _ = CONFLICTS[kind]
    if change.startswith("INSERT"):
        changes = [change.replace("'bad'", "'fine'")]
    else:
        await desk.run("INSERT INTO t VALUES(1, 'before')")
        changes = [change]
    changeset = await captured(desk, *changes)
    if kind == "constraint":
        changeset = changeset.replace(b"\x04fine", b"\x03bad")
    await desk.run("DELETE FROM t")
    await desk.run(there)
    return changeset


@pytest.mark.parametrize("kind", CONFLICTS)
async def test_a_conflict_by_each_rule(desk: Desk, kind: str) -> None:  # odd-cases 116
    changeset = await conflicting(desk, kind)
    before = await desk.rows("SELECT * FROM t")
    with pytest.raises(SQLFailure) as caught:
        await apply(desk, changeset)
    assert (caught.value.message, caught.value.code) == ("query aborted", 4)
    assert await desk.rows("SELECT * FROM t") == before
    after = []
    for rule in (OnConflict.OMIT, OnConflict.REPLACE):
        await apply(desk, changeset, rule)
        after.append("".join(str(v) for (v,) in await desk.rows("SELECT v FROM t")) or "-")
    assert " ".join(after) == CONFLICTS[kind][2]


async def test_an_abort_undoes_what_was_applied_before_it(desk: Desk) -> None:
    changeset = await captured(
        desk, "INSERT INTO other VALUES(1, 'x')", "INSERT INTO t VALUES(1, 'a'), (2, 'b')"
    )
    await desk.run("INSERT INTO t VALUES(2, 'OLD')")
    with pytest.raises(SQLFailure, match="query aborted"):
        await apply(desk, changeset)
    assert await desk.rows("SELECT * FROM other") == []
    assert await desk.rows("SELECT * FROM t") == [(2, "OLD")]


async def test_a_foreign_key_that_is_not_met(desk: Desk) -> None:
    changeset = await captured(
        desk, "INSERT INTO t VALUES(1, 'a')", "INSERT INTO child VALUES(7, 1)"
    )
    with pytest.raises(SQLFailure):
        await apply(desk, changeset, tables={"child"})
    assert await desk.rows("SELECT * FROM child") == []
    await apply(desk, changeset, OnConflict.REPLACE, {"child"})
    assert await desk.rows("SELECT * FROM child") == [(7, 1)]


async def test_only_the_named_tables(desk: Desk) -> None:
    changeset = await captured(
        desk, "INSERT INTO t VALUES(1, 'a')", "INSERT INTO other VALUES(1, 'x')"
    )
    await apply(desk, changeset, tables={"other", "nowhere"})
    assert await desk.rows("SELECT * FROM t") == []
    assert await desk.rows("SELECT * FROM other") == [(1, "x")]
    await apply(desk, changeset, tables={"T"})  # names are exact
    assert await desk.rows("SELECT * FROM t") == []


async def test_a_table_that_is_not_there_is_skipped(desk: Desk) -> None:  # odd-cases 181
    changeset = await captured(
        desk, "INSERT INTO t VALUES(1, 'a')", "INSERT INTO other VALUES(1, 'x')"
    )
    await desk.run("DROP TABLE other")
    await apply(desk, changeset)
    assert await desk.rows("SELECT * FROM t") == [(1, "a")]


async def test_bytes_that_are_no_changeset(desk: Desk) -> None:
    with pytest.raises(SQLFailure, match=MALFORMED):
        await apply(desk, b"garbage")
    with pytest.raises(SQLFailure, match=MALFORMED) as caught:
        invert_changeset(b"garbage")
    assert caught.value.code == apsw.SQLITE_CORRUPT
    with pytest.raises(SQLFailure, match=MALFORMED):
        concat_changesets(b"", b"garbage")


async def test_first_then_second(desk: Desk) -> None:
    first = await captured(desk, "INSERT INTO t VALUES(1, 'a')")
    await desk.run("INSERT INTO t VALUES(1, 'a')")
    second = await captured(desk, "UPDATE t SET v = 'b'")
    await desk.run("DELETE FROM t")
    await apply(desk, concat_changesets(first, second))
    assert await desk.rows("SELECT * FROM t") == [(1, "b")]
    assert concat_changesets(first, invert_changeset(first)) == b""
    assert concat_changesets(b"", b"") == b""


async def test_a_lock_is_waited_for_and_then_said(open_desk: OpenDesk, tmp_path: Path) -> None:
    desk = await open_desk(Settings(pool=Pool(busy_timeout_s=0.05)))
    await desk.batch(*SCHEMA)
    changeset = await captured(desk, "INSERT INTO t VALUES(1, 'a')")
    with closing(apsw.Connection(str(tmp_path / "app.db"))) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(SQLFailure) as caught:
            await apply(desk, changeset)
        other.execute("ROLLBACK")
    assert (caught.value.message, caught.value.code) == ("database is locked", 5)
    await apply(desk, changeset)
    assert await desk.rows("SELECT * FROM t") == [(1, "a")]


async def test_who_may_only_read_cannot_apply(desk: Desk) -> None:
    changeset = await captured(desk, "INSERT INTO t VALUES(1, 'a')")
    work = partial(apply_changeset, changeset=changeset, on_conflict=OnConflict.ABORT)
    with pytest.raises(SQLFailure):
        await desk.database.call(work, Access.READ_ONLY, time.monotonic() + LONG_S)
    assert await desk.rows("SELECT * FROM t") == []
