# Made from tests/dbapi/_async/conftest.py
# by tools/async_to_sync.py: do not edit, change the source.
"""Connections to a fresh database of the reference server over mTLS; requests are counted."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from quicsql_client import Client, with_transport
from quicsql_client.testing.reference import ReferenceServer
from quicsql_dbapi._sync.connection import Connection


class Counter(httpx.BaseTransport):
    """Passes requests on to a client over mTLS, and notes their paths.

    is_cut: fail instead, as if the network did. refusals: how many requests to answer with 429.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self.paths: list[str] = []
        self.is_cut = False
        self.refusals = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_cut:
            raise httpx.ReadError("cut by the test")
        if self.refusals:
            self.refusals -= 1
            return httpx.Response(429, json={"error": {"message": "rate limit exceeded"}})
        self.paths.append(request.url.path.rpartition("/")[2])
        return self._client.http.request(
            request.method,
            request.url.raw_path.decode(),
            content=request.content,
            headers={"content-type": "application/json"},
        )

    def taken(self) -> list[str]:
        """The paths since the last call."""
        paths, self.paths = self.paths, []
        return paths


@pytest.fixture
def counter(quicsql_server: ReferenceServer) -> Iterator[Counter]:
    """Notes what the connections below ask."""
    with Client.h2tls(quicsql_server.address, *quicsql_server.options()) as client:
        yield Counter(client)


@pytest.fixture
def client(quicsql_server: ReferenceServer, counter: Counter) -> Iterator[Client]:
    """A client whose requests go through the counter."""
    with Client.h1(quicsql_server.address, with_transport(counter)) as client:
        yield client


@pytest.fixture
def connection(client: Client, quicsql_db: str) -> Iterator[Connection]:
    """A connection with transactions, to a database with a table t(id, v UNIQUE, n DEFAULT 0)."""
    client.query(
        quicsql_db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT UNIQUE, n INTEGER DEFAULT 0)"
    )
    connection = Connection(client, quicsql_db)
    yield connection
    connection.close()


@pytest.fixture
def other(client: Client, quicsql_db: str, connection: Connection) -> Iterator[Connection]:
    """A second connection, in autocommit, to the same database."""
    other = Connection(client, quicsql_db, autocommit=True)
    yield other
    other.close()
