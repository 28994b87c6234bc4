"""Connections to a fresh database of the reference server over mTLS; requests are counted."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest_asyncio

from quicsql_client import AsyncClient, with_transport
from quicsql_client.testing.reference import ReferenceServer
from quicsql_dbapi._async.connection import AsyncConnection


class AsyncCounter(httpx.AsyncBaseTransport):
    """Passes requests on to a client over mTLS, and notes their paths.

    is_cut: fail instead, as if the network did. refusals: how many requests to answer with 429.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self.paths: list[str] = []
        self.is_cut = False
        self.refusals = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_cut:
            raise httpx.ReadError("cut by the test")
        if self.refusals:
            self.refusals -= 1
            return httpx.Response(429, json={"error": {"message": "rate limit exceeded"}})
        self.paths.append(request.url.path.rpartition("/")[2])
        return await self._client.http.request(
            request.method,
            request.url.raw_path.decode(),
            content=request.content,
            headers={"content-type": "application/json"},
        )

    def taken(self) -> list[str]:
        """The paths since the last call."""
        paths, self.paths = self.paths, []
        return paths


@pytest_asyncio.fixture
async def counter(quicsql_server: ReferenceServer) -> AsyncIterator[AsyncCounter]:
    """Notes what the connections below ask."""
    async with AsyncClient.h2tls(quicsql_server.address, *quicsql_server.options()) as client:
        yield AsyncCounter(client)


@pytest_asyncio.fixture
async def client(
    quicsql_server: ReferenceServer, counter: AsyncCounter
) -> AsyncIterator[AsyncClient]:
    """A client whose requests go through the counter."""
    async with AsyncClient.h1(quicsql_server.address, with_transport(counter)) as client:
        yield client


@pytest_asyncio.fixture
async def connection(client: AsyncClient, quicsql_db: str) -> AsyncIterator[AsyncConnection]:
    """A connection with transactions, to a database with a table t(id, v UNIQUE, n DEFAULT 0)."""
    await client.query(
        quicsql_db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT UNIQUE, n INTEGER DEFAULT 0)"
    )
    connection = AsyncConnection(client, quicsql_db)
    yield connection
    await connection.aclose()


@pytest_asyncio.fixture
async def other(
    client: AsyncClient, quicsql_db: str, connection: AsyncConnection
) -> AsyncIterator[AsyncConnection]:
    """A second connection, in autocommit, to the same database."""
    other = AsyncConnection(client, quicsql_db, autocommit=True)
    yield other
    await other.aclose()
