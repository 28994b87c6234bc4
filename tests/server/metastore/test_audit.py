"""The rows of the audit: what they hold, and that they stay bounded."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from quicsql_client.server.metastore import MetaStore, audit


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[MetaStore]:
    opened = MetaStore(str(tmp_path / "meta.db"))
    await opened.open()
    yield opened
    await opened.close()


def rows(connection: apsw.Connection) -> list[tuple[Any, ...]]:
    return connection.execute("SELECT * FROM audit ORDER BY id").fetchall()


async def test_a_row(store: MetaStore) -> None:
    before = int(time.time())
    await audit.record(store, "root", "create", "app", "file")
    await audit.record(store, "", "kill" + audit.DENIED)
    first, second = await store.run(rows)
    assert first[2:] == ("root", "create", "app", "file")
    assert second[2:] == ("", "kill.denied", "", "")
    assert before <= first[1] <= time.time()


async def test_texts_are_cut(store: MetaStore) -> None:
    await audit.record(store, *("x" * 10_000,) * 4)
    ((_, _, *texts),) = await store.run(rows)
    assert texts == ["x" * audit.MAX_TEXT] * 4


async def test_what_was_not_done_makes_room_and_what_was_done_stays(
    store: MetaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "MAX_UNDONE_ROWS", 3)
    monkeypatch.setattr(audit, "_TRIM_EVERY", 5)
    for number in range(10):
        await audit.record(store, "root", "create", f"db{number}")
        await audit.record(store, "tok", f"create{(audit.DENIED, audit.FAILED)[number % 2]}")
    found = await store.run(rows)
    assert [row[3] for row in found].count("create") == 10
    assert [row[0] for row in found if row[3] != "create"] == [16, 18, 20]


async def test_a_row_that_cannot_be_written_is_logged(
    store: MetaStore, caplog: pytest.LogCaptureFixture
) -> None:
    def drop(connection: apsw.Connection) -> None:
        connection.execute("DROP TABLE audit")

    await store.run(drop)
    await audit.record(store, "root", "create\nforged", "app", "file")
    assert "a row was lost: principal='root' action='create\\nforged' database='app'" in caplog.text
