"""Changesets and exports over every transport, against the reference server."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from quicsql_client import AsyncClient, DatabaseError, ResponseTooLarge, with_max_response
from tests.fix_server import TRANSPORTS, EveryTransport

ROWS = "SELECT id, v FROM captured ORDER BY id"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_changes_go_there_and_back(
    every_transport: EveryTransport, transport: str, tmp_path: Path
) -> None:
    endpoint, options = every_transport.way(transport)
    db = f"{transport}-{AsyncClient.__name__}"
    async with AsyncClient(endpoint, *options) as client:
        await client.batch(
            db,
            [
                "CREATE TABLE IF NOT EXISTS captured(id INTEGER PRIMARY KEY, v)",
                "CREATE TABLE IF NOT EXISTS apart(id INTEGER PRIMARY KEY)",
                *("DELETE FROM captured", "INSERT INTO captured VALUES (1, 'a')"),
            ],
        )
        async with client.stream(db) as stream:
            await stream.start_capture(["captured"])
            with pytest.raises(DatabaseError, match="already open"):
                await stream.start_capture()
            await stream.batch(
                ["UPDATE captured SET v = 'b'", "INSERT OR IGNORE INTO apart VALUES (1)"]
            )
            first = await stream.changeset()
            with pytest.raises(DatabaseError, match="no capture session open"):
                await stream.changeset()
            await stream.start_capture()
            await stream.execute("INSERT INTO captured VALUES (2, 'c')")
            second = await stream.changeset()
            await stream.start_capture()
            assert await stream.changeset() == b""

        both = await client.concat_changesets(db, first, second)
        back = await client.invert_changeset(db, both)
        await client.apply_changeset(db, back)
        assert (await client.query(db, ROWS)).rows == ((1, "a"),)
        await client.apply_changeset(db, both, tables=["apart"])
        assert (await client.query(db, ROWS)).rows == ((1, "a"),)
        await client.apply_changeset(db, both)
        assert (await client.query(db, ROWS)).rows == ((1, "b"), (2, "c"))

        await client.execute(db, "UPDATE captured SET v = 'mine' WHERE id = 2")
        with pytest.raises(DatabaseError) as caught:
            await client.apply_changeset(db, back)
        assert caught.value.http_status == 422
        assert (await client.query(db, ROWS)).rows == ((1, "b"), (2, "mine"))
        await client.apply_changeset(db, back, on_conflict="omit")
        assert (await client.query(db, ROWS)).rows == ((1, "a"), (2, "mine"))
        await client.apply_changeset(db, second, on_conflict="replace")
        assert (await client.query(db, ROWS)).rows == ((1, "a"), (2, "c"))

        image = await client.export(db)
    (tmp_path / "copy.db").write_bytes(image)
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute(ROWS).fetchall() == [(1, "a"), (2, "c")]


async def test_an_export_is_held_to_the_cap(every_transport: EveryTransport) -> None:
    endpoint, options = every_transport.way("h1")
    db = f"h1-{AsyncClient.__name__}"
    async with AsyncClient(endpoint, *options, with_max_response(4095)) as client:
        with pytest.raises(ResponseTooLarge):
            await client.export(db)
