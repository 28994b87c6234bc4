"""connection.cancel() of asyncio: what runs is interrupted, here and at the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from quicsql_client import AsyncClient, OperationalError, StreamExpiredError
from quicsql_client.testing.reference import ReferenceServer
from quicsql_dbapi.aio import AsyncConnection

NUMBERS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)"
FOREVER = f"{NUMBERS} SELECT max(x) FROM n"


@pytest_asyncio.fixture
async def client(quicsql_server: ReferenceServer) -> AsyncIterator[AsyncClient]:
    async with quicsql_server.async_client() as client:
        yield client


@pytest_asyncio.fixture
async def other(client: AsyncClient, quicsql_db: str) -> AsyncIterator[AsyncConnection]:
    other = AsyncConnection(client, quicsql_db, autocommit=True)
    await other.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
    yield other
    await other.aclose()


@pytest_asyncio.fixture
async def connection(
    client: AsyncClient, other: AsyncConnection, quicsql_db: str
) -> AsyncIterator[AsyncConnection]:
    connection = AsyncConnection(client, quicsql_db)
    yield connection
    await connection.aclose()


async def interrupted(connection: AsyncConnection, sql: str = FOREVER) -> None:
    """Run what never ends, and interrupt it once it runs."""
    running = asyncio.ensure_future(connection.execute(sql))
    await asyncio.sleep(0)  # it begins, and waits for the server
    assert connection.cancel()
    assert not connection.cancel()
    with pytest.raises(OperationalError, match="interrupted") as caught:
        await running
    assert caught.value.sqlite_errorname == "SQLITE_INTERRUPT"
    assert not running.cancelled()


async def test_cancel_in_autocommit(other: AsyncConnection) -> None:
    assert not other.cancel()
    await interrupted(other)
    assert not other.cancel()
    assert await (await other.execute("SELECT 1")).fetchone() == (1,)


@pytest.mark.parametrize("is_pinned", [False, True])
async def test_cancel_in_a_transaction_loses_it(
    connection: AsyncConnection, other: AsyncConnection, is_pinned: bool
) -> None:
    if is_pinned:
        await connection.execute("PRAGMA foreign_keys = ON")
    await connection.execute("INSERT INTO t(v) VALUES ('a')")
    await interrupted(connection)
    with pytest.raises(StreamExpiredError):
        await connection.execute("INSERT INTO t(v) VALUES ('b')")
    await connection.rollback()
    await connection.execute("INSERT INTO t(v) VALUES ('c')")
    await connection.commit()
    rows = await (await other.execute("SELECT v FROM t")).fetchall()
    assert rows == [("c",)]


async def test_a_statement_of_another_connection_goes_on(
    connection: AsyncConnection, other: AsyncConnection
) -> None:
    running = asyncio.ensure_future(other.execute("SELECT 5"))
    await interrupted(connection)
    assert await (await running).fetchone() == (5,)


async def test_a_cancelled_task_stays_cancelled(connection: AsyncConnection) -> None:
    running = asyncio.ensure_future(connection.execute(FOREVER))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await connection.rollback()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await connection.execute(FOREVER)
    await connection.rollback()
    assert await (await connection.execute("SELECT 1")).fetchone() == (1,)


async def test_the_server_stops_too(connection: AsyncConnection, other: AsyncConnection) -> None:
    # As long as it ran, it would hold the lock that the other connection needs.
    await interrupted(other, f"INSERT INTO t(v) {NUMBERS} SELECT x FROM n WHERE x < 0")
    await connection.execute("INSERT INTO t(v) VALUES ('after')")
    await connection.commit()
    rows = await (await other.execute("SELECT v FROM t")).fetchall()
    assert rows == [("after",)]
