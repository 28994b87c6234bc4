"""executemany: few requests, one transaction, the failing set by its index, rows of RETURNING."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from quicsql_client import AsyncClient, IntegrityError, ProgrammingError, with_transport
from quicsql_client.testing.reference import ReferenceServer
from quicsql_dbapi._async.connection import AsyncConnection

CAP_BYTES = 8 * 1024 * 1024
INSERT = "INSERT INTO wide VALUES (?, ?, ?, ?, ?)"
MODES = ["autocommit", "transaction", "pinned"]


class AsyncScale(httpx.AsyncBaseTransport):
    """Passes requests on to a client over mTLS, and notes the size of each."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self.sizes: list[int] = []
        self.refused: set[int] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sizes.append(len(request.content))
        if len(self.sizes) in self.refused:
            return httpx.Response(429, json={"error": {"message": "rate limit exceeded"}})
        return await self._client.http.request(
            request.method,
            request.url.raw_path.decode(),
            content=request.content,
            headers={"content-type": "application/json"},
        )


@pytest_asyncio.fixture
async def scale(quicsql_server: ReferenceServer) -> AsyncIterator[AsyncScale]:
    """Notes how large the requests of the connection below are."""
    async with AsyncClient.h2tls(quicsql_server.address, *quicsql_server.options()) as client:
        yield AsyncScale(client)


@pytest_asyncio.fixture(params=MODES)
async def wide(
    request: pytest.FixtureRequest,
    quicsql_server: ReferenceServer,
    quicsql_db: str,
    scale: AsyncScale,
) -> AsyncIterator[AsyncConnection]:
    """A connection to a table wide(a UNIQUE, b, c, d, e), in each of the ways that rows go."""
    async with AsyncClient.h1(quicsql_server.address, with_transport(scale)) as client:
        await client.query(quicsql_db, "CREATE TABLE wide(a UNIQUE, b, c, d, e)")
        connection = AsyncConnection(client, quicsql_db, autocommit=request.param == "autocommit")
        if request.param == "pinned":
            await connection.execute("PRAGMA foreign_keys = ON")
        yield connection
        await connection.aclose()


def rows(count: int, width: int) -> list[tuple[int, float, str, bytes, None]]:
    return [(n, n / 3, "é" * width, b"\xff" * width, None) for n in range(count)]


async def count(connection: AsyncConnection) -> object:
    row = await (await connection.execute("SELECT count(*) FROM wide")).fetchone()
    assert row is not None
    return row[0]


async def test_ten_thousand_rows_take_as_many_requests_as_their_bytes_ask_for(
    wide: AsyncConnection, scale: AsyncScale
) -> None:
    scale.sizes.clear()
    cursor = await wide.executemany(INSERT, rows(10_000, 200))
    await wide.commit()
    assert cursor.rowcount == wide.total_changes == 10_000
    assert max(scale.sizes) <= CAP_BYTES
    assert len(scale.sizes) <= math.ceil(sum(scale.sizes) / CAP_BYTES) + 1
    assert await count(wide) == 10_000


async def test_a_failure_in_a_later_part_leaves_nothing(
    wide: AsyncConnection, scale: AsyncScale
) -> None:
    large = rows(40, 300_000)
    large[35] = large[3]
    with pytest.raises(IntegrityError) as caught:
        await wide.executemany(INSERT, large)
    assert (caught.value.failed_index, caught.value.extended_code) == (35, 2067)
    await wide.rollback()
    assert await count(wide) == 0
    assert wide.total_changes == 0


async def test_a_part_that_the_server_puts_off_leaves_nothing_behind(
    wide: AsyncConnection, scale: AsyncScale
) -> None:
    scale.refused = {len(scale.sizes) + 2}
    with pytest.raises(wide.OperationalError) as caught:
        await wide.executemany(INSERT, rows(40, 300_000))
    assert caught.value.http_status == 429
    await wide.rollback()
    assert not wide.in_transaction
    assert await count(wide) == 0


async def test_all_sets_are_proved_before_anything_is_sent(
    wide: AsyncConnection, scale: AsyncScale
) -> None:
    scale.sizes.clear()
    for bad, text in (((1, 2), "5 parameters, and 2 were given"), ((1, 2, 3, 4, {}), "dict")):
        with pytest.raises(ProgrammingError, match=text) as caught:
            await wide.executemany(INSERT, [*rows(30, 400_000), bad])
        assert caught.value.failed_index == 30
    assert scale.sizes == []


async def test_rows_of_returning_come_in_the_order_of_the_sets(wide: AsyncConnection) -> None:
    cursor = await wide.executemany(
        f"{INSERT} RETURNING a, typeof(b)", [(n, 1, None, None, None) for n in (3, 1, 2)]
    )
    assert cursor.rowcount == 3
    assert cursor.column_names == ("a", "typeof(b)")
    assert await cursor.fetchall() == [(3, "integer"), (1, "integer"), (2, "integer")]
    updated = await wide.executemany("UPDATE wide SET b = 2 WHERE a >= ? RETURNING a", [(2,), (9,)])
    assert sorted(await updated.fetchall()) == [(2,), (3,)]
    assert updated.rowcount == 2
