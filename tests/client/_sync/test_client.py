# Made from tests/client/_async/test_client.py
# by tools/async_to_sync.py: do not edit, change the source.
"""Every operation of the client over every transport, against the reference server."""

from __future__ import annotations

import pytest

from quicsql_client import (
    Client,
    IntegrityError,
    LocalProtocolError,
    OperationalError,
)
from tests.fix_server import TRANSPORTS, EveryTransport


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_operations(every_transport: EveryTransport, transport: str) -> None:
    endpoint, options = every_transport.way(transport)
    db = f"{transport}-{Client.__name__}"
    with Client(endpoint, *options) as client:
        client.health()
        client.execute(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v UNIQUE)")
        inserted = client.execute(db, "INSERT INTO t(v) VALUES (?)", [2**62 + 1])
        assert (inserted.rows_affected, inserted.last_insert_id) == (1, 1)

        values = ["a\0b", b"\x00\xff", 1.5, None]
        named = client.query(db, "SELECT ?, ?, ?, ?", values)
        assert list(named.one()) == values
        by_name = "SELECT v, typeof(v) FROM t WHERE id = :id"
        assert client.query(db, by_name, {"id": 1}).one() == (2**62 + 1, "integer")

        results = client.batch(db, [("INSERT INTO t(v) VALUES (?)", ["x"]), "SELECT 7"])
        assert [result.rows for result in results] == [(), ((7,),)]
        failing = ("INSERT INTO t VALUES (1, :v)", {"v": "a second 1"})
        with pytest.raises(IntegrityError) as caught:
            client.batch(db, ["DELETE FROM t WHERE id > 1", failing])
        assert caught.value.failed_index == 1
        assert client.query(db, "SELECT count(*) FROM t").scalar() == 2

        with client.transaction(db) as tx:
            tx.execute("INSERT INTO t(v) VALUES ('y')")
            assert tx.is_active
        with client.stream(db) as stream:
            stream.execute("CREATE TEMP TABLE mine(x)")
            stream.batch([("INSERT INTO mine VALUES (?)", [n]) for n in range(3)])
            assert stream.execute("SELECT count(*) FROM mine").scalar() == 3
            assert stream.is_autocommit()
        with pytest.raises(LocalProtocolError, match="closed"):
            stream.execute("SELECT 1")
        with pytest.raises(OperationalError, match="no such table: mine"):
            client.query(db, "SELECT * FROM mine")
        assert client.http.get("/_health").json() == {"status": "ok"}
    with pytest.raises(LocalProtocolError, match="closed"):
        client.health()


def test_a_float_stays_one(every_transport: EveryTransport) -> None:
    """Odd-case 41: in autocommit, in a batch and on a stream."""
    endpoint, options = every_transport.way("h1")
    db = f"h1-{Client.__name__}"
    sql = "SELECT typeof(?1), ?1"
    with Client(endpoint, *options) as client:
        told = [client.query(db, sql, [100.0])]
        told += client.batch(db, [(sql, [100.0])])
        with client.transaction(db) as tx:
            told.append(tx.execute(sql, [100.0]))
    assert [repr(result.one()) for result in told] == ["('real', 100.0)"] * 3


def test_a_failing_batch_of_a_stream_keeps_what_ran(every_transport: EveryTransport) -> None:
    """Odd-case 148: the position is told. A batch of the client itself is all or nothing."""
    endpoint, options = every_transport.way("h2c")
    db = f"h2c-{Client.__name__}"
    insert = "INSERT INTO twice VALUES (1)"
    with Client(endpoint, *options) as client:
        client.execute(db, "CREATE TABLE twice(id INTEGER PRIMARY KEY)")
        with pytest.raises(IntegrityError) as caught:
            client.batch(db, [insert, insert])
        assert (caught.value.failed_index, caught.value.extended_code) == (1, 1555)
        assert client.query(db, "SELECT count(*) FROM twice").scalar() == 0
        with client.stream(db) as stream:
            with pytest.raises(IntegrityError) as caught:
                stream.batch([insert, insert])
        assert (caught.value.failed_index, caught.value.extended_code) == (1, 1555)
        assert client.query(db, "SELECT count(*) FROM twice").scalar() == 1
