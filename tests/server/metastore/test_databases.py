"""Databases and grants in the meta store, and what a start makes of them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import apsw
import pytest

from quicsql_client.server.config import DatabaseConfig, PoolConfig
from quicsql_client.server.control import ControlPlane
from quicsql_client.server.engine import Caps
from quicsql_client.server.grants import Level, RuntimeGrants
from quicsql_client.server.metastore import MetaStore
from quicsql_client.server.metastore.databases import (
    Grant,
    delete_database,
    read_databases,
    read_grants,
    save_database,
)
from quicsql_client.server.places import Places
from quicsql_client.server.registry import Registry
from tests.fix_principals import memory, stored

FULL = DatabaseConfig(
    name="full",
    backend="file",
    path="sub/full.db",
    mode="ro",
    pool=PoolConfig(max_open=3, tx_lock="immediate", busy_timeout_s=0.456),
    pragmas_preset="recommended",
    pragmas={"cache_size": -100, "synchronous": "normal", "mmap_size": 1.5},
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[MetaStore]:
    opened = MetaStore(str(tmp_path / "meta.db"))
    await opened.open()
    yield opened
    await opened.close()


async def save(store: MetaStore, settings: DatabaseConfig, **levels: str) -> None:
    await store.run(partial(save_database, settings=settings, levels=levels, now=7))


async def test_a_database_comes_back_as_it_was(store: MetaStore) -> None:
    await save(store, FULL, tok="read-only")
    await save(store, memory("mem"))
    assert [one.settings for one in await store.run(read_databases)] == [FULL, memory("mem")]
    assert await store.run(read_grants) == [Grant("full", "tok", "read-only")]


async def test_a_database_replaces_all_that_was_kept_by_its_name(store: MetaStore) -> None:
    await save(store, FULL, tok="admin", ro="read-only")
    await save(store, memory("full"), tok="none")
    assert [one.settings for one in await store.run(read_databases)] == [memory("full")]
    assert await store.run(read_grants) == [Grant("full", "tok", "none")]
    await store.run(partial(delete_database, name="full"))
    assert (await store.run(read_databases), await store.run(read_grants)) == ([], [])


async def test_a_start_serves_what_is_kept_and_skips_what_is_not_valid(
    store: MetaStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await save(store, stored("good"), tok="read-write")
    await save(store, stored("app"), ro="admin")
    await save(store, memory("query"), tok="admin")
    await save(store, DatabaseConfig(name="out", backend="file", path="/etc/x.db"), tok="admin")
    await save(store, DatabaseConfig(name="own", backend="file", path="meta.db"))

    def spoil(connection: apsw.Connection) -> None:
        connection.execute("INSERT INTO databases VALUES ('later', '{\"pool\":5}', 9)")

    await store.run(spoil)
    registry = Registry([memory("app")], data_dir=str(tmp_path), caps=Caps())
    places = Places(str(tmp_path), own=(str(tmp_path / "meta.db"),))
    control = ControlPlane(store, RuntimeGrants(), registry, places)
    await control.load()
    assert control.created == {"good", "app"}
    assert registry.names() == ("app", "good")
    assert [one.kind for one in registry.list()] == ["file", "file"]
    assert not any(one.is_open for one in registry.list())
    assert not (tmp_path / "good.db").exists()
    assert control.grants.of("good") == {"tok": Level.READ_WRITE}
    assert control.grants.of("app") == {"ro": Level.ADMIN}
    assert control.grants.overrules("app")
    said = caplog.text
    assert "database app: the one made at run time hides the configuration's" in said
    assert 'database query of the meta store is not served: config: database "query" has' in said
    assert "database out of the meta store is not served: its path is outside data_dir" in said
    assert "database own of the meta store is not served: its path is outside data_dir" in said
    assert "database later of the meta store is not served: its row cannot be read" in said
    await registry.close()


@pytest.mark.parametrize(
    ("path", "is_inside"),
    [
        ("a.db", True),
        ("sub/a.db", True),
        ("missing/a.db", True),
        ("sub/../a.db", True),
        ("ours/a.db", True),  # a link that stays inside
        ("", False),
        (".", False),
        ("sub/..", False),
        ("..", False),
        ("../x.db", False),
        ("sub/../../x.db", False),
        ("/etc/x.db", False),
        ("out/x.db", False),
        ("out", False),
        ("a\0.db", False),
        ("meta.db", False),
        ("sub/../meta.db", False),
        ("alias.db", False),
        ("hard.db", False),
        ("a.db-wal", False),
        ("a.db-shm", False),
        ("a.db-journal", False),
    ],
)
def test_what_is_inside(tmp_path: Path, path: str, is_inside: bool) -> None:
    root = tmp_path / "data"
    (root / "sub").mkdir(parents=True)
    (root / "ours").symlink_to("sub")
    (root / "out").symlink_to(tmp_path)
    (root / "meta.db").touch()
    (root / "alias.db").symlink_to("meta.db")
    os.link(root / "meta.db", root / "hard.db")
    places = Places(str(root), own=(str(root / "meta.db"),))
    found = places.inside(path)
    assert (found is not None) == is_inside
    if found is not None:
        assert found.startswith(f"{root}/")
    absolute = os.path.join(root, path)
    if path:
        assert (places.inside(absolute) is not None) == is_inside
    assert Places("").inside(path) is None


def test_a_neighbour_with_the_same_beginning_is_outside(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert Places(str(tmp_path / "data")).inside(str(tmp_path / "database.db")) is None
    assert Places(str(tmp_path / "data"), own=("no/such/meta.db",)).inside("a.db")
