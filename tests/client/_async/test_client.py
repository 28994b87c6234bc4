"""Every operation of the client over every transport, against the reference server."""

from __future__ import annotations

import pytest

from quicsql_client import (
    AsyncClient,
    IntegrityError,
    LocalProtocolError,
    OperationalError,
)
from tests.fix_server import TRANSPORTS, EveryTransport


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_operations(every_transport: EveryTransport, transport: str) -> None:
    endpoint, options = every_transport.way(transport)
    db = f"{transport}-{AsyncClient.__name__}"
    async with AsyncClient(endpoint, *options) as client:
        await client.health()
        await client.execute(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v UNIQUE)")
        inserted = await client.execute(db, "INSERT INTO t(v) VALUES (?)", [2**62 + 1])
        assert (inserted.rows_affected, inserted.last_insert_id) == (1, 1)

        values = ["a\0b", b"\x00\xff", 1.5, None]
        named = await client.query(db, "SELECT ?, ?, ?, ?", values)
        assert list(named.one()) == values
        by_name = "SELECT v, typeof(v) FROM t WHERE id = :id"
        assert (await client.query(db, by_name, {"id": 1})).one() == (2**62 + 1, "integer")

        results = await client.batch(db, [("INSERT INTO t(v) VALUES (?)", ["x"]), "SELECT 7"])
        assert [result.rows for result in results] == [(), ((7,),)]
        failing = ("INSERT INTO t VALUES (1, :v)", {"v": "a second 1"})
        with pytest.raises(IntegrityError) as caught:
            await client.batch(db, ["DELETE FROM t WHERE id > 1", failing])
        assert caught.value.failed_index == 1
        assert (await client.query(db, "SELECT count(*) FROM t")).scalar() == 2

        async with client.transaction(db) as tx:
            await tx.execute("INSERT INTO t(v) VALUES ('y')")
            assert tx.is_active
        async with client.stream(db) as stream:
            await stream.execute("CREATE TEMP TABLE mine(x)")
            await stream.batch([("INSERT INTO mine VALUES (?)", [n]) for n in range(3)])
            assert (await stream.execute("SELECT count(*) FROM mine")).scalar() == 3
            assert await stream.is_autocommit()
        with pytest.raises(LocalProtocolError, match="closed"):
            await stream.execute("SELECT 1")
        with pytest.raises(OperationalError, match="no such table: mine"):
            await client.query(db, "SELECT * FROM mine")
        assert (await client.http.get("/_health")).json() == {"status": "ok"}
    with pytest.raises(LocalProtocolError, match="closed"):
        await client.health()


async def test_a_float_stays_one(every_transport: EveryTransport) -> None:
    """Odd-case 41: in autocommit, in a batch and on a stream."""
    endpoint, options = every_transport.way("h1")
    db = f"h1-{AsyncClient.__name__}"
    sql = "SELECT typeof(?1), ?1"
    async with AsyncClient(endpoint, *options) as client:
        told = [await client.query(db, sql, [100.0])]
        told += await client.batch(db, [(sql, [100.0])])
        async with client.transaction(db) as tx:
            told.append(await tx.execute(sql, [100.0]))
    assert [repr(result.one()) for result in told] == ["('real', 100.0)"] * 3


async def test_a_failing_batch_of_a_stream_keeps_what_ran(every_transport: EveryTransport) -> None:
    """Odd-case 148: the position is told. A batch of the client itself is all or nothing."""
    endpoint, options = every_transport.way("h2c")
    db = f"h2c-{AsyncClient.__name__}"
    insert = "INSERT INTO twice VALUES (1)"
    async with AsyncClient(endpoint, *options) as client:
        await client.execute(db, "CREATE TABLE twice(id INTEGER PRIMARY KEY)")
        with pytest.raises(IntegrityError) as caught:
            await client.batch(db, [insert, insert])
        assert (caught.value.failed_index, caught.value.extended_code) == (1, 1555)
        assert (await client.query(db, "SELECT count(*) FROM twice")).scalar() == 0
        async with client.stream(db) as stream:
            with pytest.raises(IntegrityError) as caught:
                await stream.batch([insert, insert])
        assert (caught.value.failed_index, caught.value.extended_code) == (1, 1555)
        assert (await client.query(db, "SELECT count(*) FROM twice")).scalar() == 1
