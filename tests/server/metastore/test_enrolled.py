"""Enrolled devices and enrolment codes as rows of the meta store."""

from __future__ import annotations

from functools import partial
from typing import Any

import apsw
import pytest

from quicsql_client.server.metastore import MetaStore
from quicsql_client.server.metastore.codes import add_code, is_code_usable, spend_code
from quicsql_client.server.metastore.enrolled import (
    EnrolledRow,
    add_enrolled,
    list_enrolled,
    note_seen,
    remove_enrolled,
)

ANN, BEN = EnrolledRow("u_ann", "key a", 20, 20), EnrolledRow("u_ben", "key b", 10, 15)
Grants = list[tuple[Any, ...]]


def _grants(connection: apsw.Connection) -> Grants:
    return connection.execute(
        "SELECT principal, database, level FROM grants ORDER BY 1, 2"
    ).fetchall()


async def add(store: MetaStore, row: EnrolledRow, *levels: tuple[str, str]) -> None:
    await store.run(partial(add_enrolled, row=row, levels=levels))


async def test_devices_are_listed_oldest_first_with_what_was_kept(meta_store: MetaStore) -> None:
    await add(meta_store, ANN)
    await add(meta_store, BEN)
    assert await meta_store.run(list_enrolled) == [BEN, ANN]


async def test_grants_come_and_go_with_their_device(meta_store: MetaStore) -> None:
    await add(meta_store, ANN, ("app", "read-only"), ("log", "read-write"))
    await add(meta_store, BEN, ("app", "read-write"))
    assert await meta_store.run(partial(remove_enrolled, name="u_ann"))
    assert not await meta_store.run(partial(remove_enrolled, name="u_ann"))
    assert await meta_store.run(_grants) == [("u_ben", "app", "read-write")]
    assert await meta_store.run(list_enrolled) == [BEN]
    await add(meta_store, ANN, ("app", "read-only"))
    assert ("u_ann", "app", "read-only") in await meta_store.run(_grants)


async def test_grants_that_a_name_had_before_are_not_its_devices(meta_store: MetaStore) -> None:
    def leave_one(connection: apsw.Connection) -> None:
        connection.execute("INSERT INTO grants VALUES ('old', 'u_ann', 'admin')")

    await meta_store.run(leave_one)
    await add(meta_store, ANN)
    assert await meta_store.run(_grants) == []


@pytest.mark.parametrize(
    "again", [EnrolledRow("u_ann", "key c", 1, 1), EnrolledRow("u_cid", "key a", 1, 1)]
)
async def test_names_and_keys_are_there_once(meta_store: MetaStore, again: EnrolledRow) -> None:
    await add(meta_store, ANN)
    with pytest.raises(apsw.ConstraintError):
        await add(meta_store, again, ("app", "read-only"))
    assert await meta_store.run(list_enrolled) == [ANN]
    assert await meta_store.run(_grants) == []


async def test_visits_never_go_back_and_bring_nobody_back(meta_store: MetaStore) -> None:
    await add(meta_store, ANN)
    await meta_store.run(partial(note_seen, seen={"u_ann": 25, "u_gone": 30}))
    await meta_store.run(partial(note_seen, seen={"u_ann": 24}))
    (row,) = await meta_store.run(list_enrolled)
    assert (row.name, row.last_seen) == ("u_ann", 25)


async def test_a_code_is_spent_once(meta_store: MetaStore) -> None:
    await meta_store.run(partial(add_code, digest="d", now=100, expires_at=110))
    assert await meta_store.run(partial(is_code_usable, digest="d", now=109))
    assert not await meta_store.run(partial(is_code_usable, digest="e", now=109))
    assert await meta_store.run(partial(spend_code, digest="d", now=109))
    assert not await meta_store.run(partial(is_code_usable, digest="d", now=109))
    assert not await meta_store.run(partial(spend_code, digest="d", now=109))


async def test_a_code_expires_and_is_forgotten_when_the_next_is_made(meta_store: MetaStore) -> None:
    def count(connection: apsw.Connection) -> int:
        return int(connection.execute("SELECT count(*) FROM codes").get)

    await meta_store.run(partial(add_code, digest="d", now=100, expires_at=110))
    assert not await meta_store.run(partial(is_code_usable, digest="d", now=110))
    assert not await meta_store.run(partial(spend_code, digest="d", now=110))
    assert await meta_store.run(count) == 1
    await meta_store.run(partial(add_code, digest="e", now=110, expires_at=120))
    assert await meta_store.run(count) == 1


async def test_a_code_that_was_spent_in_work_that_fails_is_usable_again(
    meta_store: MetaStore,
) -> None:
    def spend_and_fail(connection: apsw.Connection) -> None:
        assert spend_code(connection, "d", now=100)
        raise LookupError

    await meta_store.run(partial(add_code, digest="d", now=100, expires_at=110))
    with pytest.raises(LookupError):
        await meta_store.run(spend_and_fail)
    assert await meta_store.run(partial(is_code_usable, digest="d", now=100))
