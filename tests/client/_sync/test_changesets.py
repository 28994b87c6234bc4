# Made from tests/client/_async/test_changesets.py
# by tools/async_to_sync.py: do not edit, change the source.
"""Changesets and exports over every transport, against the reference server."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from quicsql_client import Client, DatabaseError, ResponseTooLarge, with_max_response
from tests.fix_server import TRANSPORTS, EveryTransport

ROWS = "SELECT id, v FROM captured ORDER BY id"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_changes_go_there_and_back(
    every_transport: EveryTransport, transport: str, tmp_path: Path
) -> None:
    endpoint, options = every_transport.way(transport)
    db = f"{transport}-{Client.__name__}"
    with Client(endpoint, *options) as client:
        client.batch(
            db,
            [
                "CREATE TABLE IF NOT EXISTS captured(id INTEGER PRIMARY KEY, v)",
                "CREATE TABLE IF NOT EXISTS apart(id INTEGER PRIMARY KEY)",
                *("DELETE FROM captured", "INSERT INTO captured VALUES (1, 'a')"),
            ],
        )
        with client.stream(db) as stream:
            stream.start_capture(["captured"])
            with pytest.raises(DatabaseError, match="already open"):
                stream.start_capture()
            stream.batch(["UPDATE captured SET v = 'b'", "INSERT OR IGNORE INTO apart VALUES (1)"])
            first = stream.changeset()
            with pytest.raises(DatabaseError, match="no capture session open"):
                stream.changeset()
            stream.start_capture()
            stream.execute("INSERT INTO captured VALUES (2, 'c')")
            second = stream.changeset()
            stream.start_capture()
            assert stream.changeset() == b""

        both = client.concat_changesets(db, first, second)
        back = client.invert_changeset(db, both)
        client.apply_changeset(db, back)
        assert client.query(db, ROWS).rows == ((1, "a"),)
        client.apply_changeset(db, both, tables=["apart"])
        assert client.query(db, ROWS).rows == ((1, "a"),)
        client.apply_changeset(db, both)
        assert client.query(db, ROWS).rows == ((1, "b"), (2, "c"))

        client.execute(db, "UPDATE captured SET v = 'mine' WHERE id = 2")
        with pytest.raises(DatabaseError) as caught:
            client.apply_changeset(db, back)
        assert caught.value.http_status == 422
        assert client.query(db, ROWS).rows == ((1, "b"), (2, "mine"))
        client.apply_changeset(db, back, on_conflict="omit")
        assert client.query(db, ROWS).rows == ((1, "a"), (2, "mine"))
        client.apply_changeset(db, second, on_conflict="replace")
        assert client.query(db, ROWS).rows == ((1, "a"), (2, "c"))

        image = client.export(db)
    (tmp_path / "copy.db").write_bytes(image)
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute(ROWS).fetchall() == [(1, "a"), (2, "c")]


def test_an_export_is_held_to_the_cap(every_transport: EveryTransport) -> None:
    endpoint, options = every_transport.way("h1")
    db = f"h1-{Client.__name__}"
    with Client(endpoint, *options, with_max_response(4095)) as client:
        with pytest.raises(ResponseTooLarge):
            client.export(db)
