"""The file of the meta store."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from quicsql_client.errors import ConfigurationError
from quicsql_client.server.metastore import MetaStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[MetaStore]:
    opened = MetaStore(str(tmp_path / "meta.db"))
    await opened.open()
    yield opened
    await opened.close()


def _count(connection: apsw.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM codes").get)


def _insert(connection: apsw.Connection) -> None:
    connection.execute("INSERT INTO codes VALUES ('h', 1)")


async def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    path = str(tmp_path / "meta.db")
    for expected in (1, 1):
        store = MetaStore(path)
        await store.open()
        if not await store.run(_count):
            await store.run(_insert)
        assert await store.run(_count) == expected
        await store.close()


async def test_work_that_fails_leaves_nothing(store: MetaStore) -> None:
    def fail(connection: apsw.Connection) -> None:
        _insert(connection)
        raise LookupError

    with pytest.raises(LookupError):
        await store.run(fail)
    assert await store.run(_count) == 0


async def test_a_store_of_a_later_version_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "meta.db")
    later = apsw.Connection(path)
    later.pragma("user_version", 99)
    later.close()
    store = MetaStore(path)
    with pytest.raises(ConfigurationError, match="has version 99"):
        await store.open()
    await store.close()


async def test_a_file_that_is_no_database_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "meta.db"
    path.write_bytes(b"not a database, and long enough to be looked at" * 20)
    store = MetaStore(str(path))
    with pytest.raises(ConfigurationError, match=r"open meta store: .*meta\.db"):
        await store.open()
    await store.close()


async def test_the_file_is_its_owners_alone(tmp_path: Path, store: MetaStore) -> None:
    mode = stat.S_IMODE((tmp_path / "meta.db").stat().st_mode)
    assert not mode & 0o077
