"""Images of a database: serialised, and copied step by step."""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import apsw
import pytest

from quicsql_client.server.engine import Access, MaskedFailure, StatementTimeout, images
from quicsql_client.server.engine.images import ImageCopy, ImageTooLarge, SizeUnknown, serialise
from tests.fix_engine import EVERY_KIND, ROLLBACK, WAL, Desk, OpenDesk, Settings

LARGE = 1 << 30
kinds = pytest.mark.parametrize("settings", EVERY_KIND.values(), ids=EVERY_KIND)


async def serialised(desk: Desk, max_bytes: int = LARGE) -> bytes:
    work = partial(serialise, max_bytes=max_bytes)
    return await desk.database.call(work, Access.READ_ONLY, math.inf)


async def copied(desk: Desk, copy: ImageCopy) -> None:
    await desk.database.call(copy.run, Access.READ_ONLY, math.inf)


def read(path: Path, sql: str) -> list[tuple[object, ...]]:
    """What another SQLite finds in the image."""
    assert path.read_bytes().startswith(b"SQLite format 3\0")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return connection.execute(sql).fetchall()


async def fill(desk: Desk, pages: int = 20) -> None:
    await desk.run("CREATE TABLE t(id INTEGER PRIMARY KEY, filler)")
    await desk.run(
        "INSERT INTO t(filler) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
        " WHERE i < ?) SELECT zeroblob(3500) FROM n",
        [pages],
    )


@kinds
async def test_an_image_has_all_that_was_committed(
    open_desk: OpenDesk, tmp_path: Path, settings: Settings
) -> None:
    desk = await open_desk(settings)
    await fill(desk)
    one, other = tmp_path / "one.sqlite", tmp_path / "other.sqlite"
    one.write_bytes(await serialised(desk))
    await copied(desk, ImageCopy(str(other)))
    for path in (one, other):
        assert read(path, "SELECT count(*), max(id), sum(length(filler)) FROM t") == [
            (20, 20, 70_000)
        ]
    await desk.run("INSERT INTO t(id) VALUES(100)")  # nothing of ours keeps the database locked
    assert await desk.rows("SELECT max(id) FROM t") == [(100,)]


@kinds
async def test_a_database_that_nothing_was_written_to(
    open_desk: OpenDesk, tmp_path: Path, settings: Settings
) -> None:
    desk = await open_desk(settings)
    one, other = tmp_path / "one.sqlite", tmp_path / "other.sqlite"
    one.write_bytes(await serialised(desk))
    await copied(desk, ImageCopy(str(other)))
    for path in (one, other):
        assert read(path, "SELECT count(*) FROM sqlite_schema") == [(0,)]
        assert path.stat().st_size == 4096


async def test_the_size_is_bounded_before_anything_is_built(open_desk: OpenDesk) -> None:
    desk = await open_desk(WAL)
    await fill(desk)
    image = await serialised(desk)
    assert await serialised(desk, len(image)) == image
    with pytest.raises(ImageTooLarge, match=f"{len(image)} bytes, at most {len(image) - 1}"):
        await serialised(desk, len(image) - 1)


def test_a_connection_that_cannot_be_asked_for_its_size() -> None:
    connection = apsw.Connection(":memory:")
    connection.close()
    with pytest.raises(SizeUnknown):
        serialise(connection, max_bytes=LARGE)


async def test_a_copy_that_cannot_be_written(open_desk: OpenDesk, tmp_path: Path) -> None:
    desk = await open_desk(WAL)
    with pytest.raises(MaskedFailure) as caught:
        await copied(desk, ImageCopy(str(tmp_path / "no folder" / "image")))
    assert isinstance(caught.value.__cause__, apsw.CantOpenError)


class Between(threading.Event):
    """Calls something before the second step of a copy."""

    def __init__(self, call: Callable[[], object]) -> None:
        super().__init__()
        self._call = call
        self.asked = 0

    def is_set(self) -> bool:
        self.asked += 1
        if self.asked == 2:
            self._call()
        return super().is_set()


def interrupted_copy(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[[], object]
) -> tuple[ImageCopy, Between]:
    monkeypatch.setattr(images, "PAGES_PER_STEP", 3)
    copy = ImageCopy(str(path))
    between = Between(call)
    monkeypatch.setattr(copy, "_stopped", between)
    return copy, between


async def test_a_copy_is_one_moment_of_a_database_that_others_write(
    open_desk: OpenDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = await open_desk(WAL)
    await fill(desk)

    def write() -> None:
        with closing(sqlite3.connect(tmp_path / "app.db")) as other, other:
            other.execute("DELETE FROM t WHERE id > 1")

    path = tmp_path / "image.sqlite"
    copy, between = interrupted_copy(path, monkeypatch, write)
    await copied(desk, copy)
    assert read(path, "SELECT count(*) FROM t") == [(20,)]
    assert await desk.rows("SELECT count(*) FROM t") == [(1,)]
    assert 6 < between.asked < 12, "a copy that began anew would need more steps"


@pytest.mark.parametrize("settings", [WAL, ROLLBACK], ids=["wal", "rollback"])
async def test_a_copy_ends_where_it_is_stopped(
    open_desk: OpenDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    desk = await open_desk(settings)
    await fill(desk)
    copy, between = interrupted_copy(tmp_path / "image", monkeypatch, lambda: copy.stop())
    with pytest.raises(StatementTimeout):
        await copied(desk, copy)
    assert between.asked == 2
    await desk.run("INSERT INTO t(id) VALUES(100)")
