"""`max_page_count` in a database's pragmas is a cap that no statement lifts."""

from __future__ import annotations

from dataclasses import replace

import apsw
import pytest

from quicsql_client.server.engine import Access, BatchFailure, SQLFailure
from tests.fix_engine import MEMORY, ONE, ROLLBACK, WAL, Desk, OpenDesk, Settings

_PAGES = 20
_CAP = {"max_page_count": _PAGES}
_KINDS = {"wal": WAL, "rollback": ROLLBACK, "memory": MEMORY, "one": ONE}
kinds = pytest.mark.parametrize("kind", _KINDS)


def capped(kind: str) -> Settings:
    settings = _KINDS[kind]
    return replace(settings, effective_pragmas={**settings.effective_pragmas, **_CAP})


async def fill(desk: Desk, before: str = "") -> None:
    """Far more than fits, with some statements before it in the same script."""
    numbers = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n LIMIT 100)"
    await desk.run(f"{before}INSERT INTO t {numbers} SELECT zeroblob(4000) FROM n")


@kinds
@pytest.mark.parametrize(
    ("before", "code"),
    [
        ("", apsw.SQLITE_FULL),
        ("PRAGMA max_page_count; ", apsw.SQLITE_FULL),
        ("PRAGMA max_page_count = 100000; ", apsw.SQLITE_AUTH),
        ("PRAGMA main.max_page_count(100000); ", apsw.SQLITE_AUTH),
        ("pragma MAX_PAGE_COUNT = '100000'; ", apsw.SQLITE_AUTH),
        ("SELECT * FROM pragma_max_page_count(100000); ", apsw.SQLITE_ERROR),
    ],
)
async def test_a_capped_database_is_full_at_its_cap(
    kind: str, before: str, code: int, open_desk: OpenDesk
) -> None:
    desk = await open_desk(capped(kind))
    await desk.run("CREATE TABLE t(x)")
    with pytest.raises(SQLFailure) as failed:
        await fill(desk, before)
    assert failed.value.code == code
    ((pages,),) = await desk.rows("PRAGMA page_count")
    assert isinstance(pages, int)
    assert pages <= _PAGES
    await desk.run("INSERT INTO t VALUES (1)")  # what fits still goes in


@kinds
async def test_the_page_size_of_an_empty_capped_database_is_fixed(
    kind: str, open_desk: OpenDesk
) -> None:
    desk = await open_desk(capped(kind))
    with pytest.raises(SQLFailure) as failed:
        await desk.run("PRAGMA page_size = 65536; CREATE TABLE t(x)")
    assert failed.value.code == apsw.SQLITE_AUTH
    with pytest.raises(BatchFailure):
        await desk.batch("PRAGMA page_size = 65536", "CREATE TABLE t(x)")
    stream = await desk.database.pin(Access.READ_WRITE)
    with pytest.raises(SQLFailure) as failed:
        await stream.sequence("PRAGMA page_size = 65536; CREATE TABLE t(x)")
    assert failed.value.code == apsw.SQLITE_AUTH
    await stream.release()
    assert await desk.rows("PRAGMA page_size") == [(4096,)]  # reading is free
    assert await desk.rows("PRAGMA max_page_count") == [(_PAGES,)]


async def test_without_a_cap_both_can_be_set(open_desk: OpenDesk) -> None:
    desk = await open_desk(ROLLBACK)
    assert await desk.rows("PRAGMA max_page_count = 10") == [(10,)]
    await desk.run("PRAGMA page_size = 8192; CREATE TABLE t(x)")
    assert await desk.rows("PRAGMA page_size") == [(8192,)]
