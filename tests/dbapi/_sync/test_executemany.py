# Made from tests/dbapi/_async/test_executemany.py
# by tools/async_to_sync.py: do not edit, change the source.
"""executemany: few requests, one transaction, the failing set by its index, rows of RETURNING."""

from __future__ import annotations

import math
from collections.abc import Iterator

import httpx
import pytest

from quicsql_client import Client, IntegrityError, ProgrammingError, with_transport
from quicsql_client.testing.reference import ReferenceServer
from quicsql_dbapi._sync.connection import Connection

CAP_BYTES = 8 * 1024 * 1024
INSERT = "INSERT INTO wide VALUES (?, ?, ?, ?, ?)"
MODES = ["autocommit", "transaction", "pinned"]


class Scale(httpx.BaseTransport):
    """Passes requests on to a client over mTLS, and notes the size of each."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.sizes: list[int] = []
        self.refused: set[int] = set()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.sizes.append(len(request.content))
        if len(self.sizes) in self.refused:
            return httpx.Response(429, json={"error": {"message": "rate limit exceeded"}})
        return self._client.http.request(
            request.method,
            request.url.raw_path.decode(),
            content=request.content,
            headers={"content-type": "application/json"},
        )


@pytest.fixture
def scale(quicsql_server: ReferenceServer) -> Iterator[Scale]:
    """Notes how large the requests of the connection below are."""
    with Client.h2tls(quicsql_server.address, *quicsql_server.options()) as client:
        yield Scale(client)


@pytest.fixture(params=MODES)
def wide(
    request: pytest.FixtureRequest,
    quicsql_server: ReferenceServer,
    quicsql_db: str,
    scale: Scale,
) -> Iterator[Connection]:
    """A connection to a table wide(a UNIQUE, b, c, d, e), in each of the ways that rows go."""
    with Client.h1(quicsql_server.address, with_transport(scale)) as client:
        client.query(quicsql_db, "CREATE TABLE wide(a UNIQUE, b, c, d, e)")
        connection = Connection(client, quicsql_db, autocommit=request.param == "autocommit")
        if request.param == "pinned":
            connection.execute("PRAGMA foreign_keys = ON")
        yield connection
        connection.close()


def rows(count: int, width: int) -> list[tuple[int, float, str, bytes, None]]:
    return [(n, n / 3, "é" * width, b"\xff" * width, None) for n in range(count)]


def count(connection: Connection) -> object:
    row = connection.execute("SELECT count(*) FROM wide").fetchone()
    assert row is not None
    return row[0]


def test_ten_thousand_rows_take_as_many_requests_as_their_bytes_ask_for(
    wide: Connection, scale: Scale
) -> None:
    scale.sizes.clear()
    cursor = wide.executemany(INSERT, rows(10_000, 200))
    wide.commit()
    assert cursor.rowcount == wide.total_changes == 10_000
    assert max(scale.sizes) <= CAP_BYTES
    assert len(scale.sizes) <= math.ceil(sum(scale.sizes) / CAP_BYTES) + 1
    assert count(wide) == 10_000


def test_a_failure_in_a_later_part_leaves_nothing(wide: Connection, scale: Scale) -> None:
    large = rows(40, 300_000)
    large[35] = large[3]
    with pytest.raises(IntegrityError) as caught:
        wide.executemany(INSERT, large)
    assert (caught.value.failed_index, caught.value.extended_code) == (35, 2067)
    wide.rollback()
    assert count(wide) == 0
    assert wide.total_changes == 0


def test_a_part_that_the_server_puts_off_leaves_nothing_behind(
    wide: Connection, scale: Scale
) -> None:
    scale.refused = {len(scale.sizes) + 2}
    with pytest.raises(wide.OperationalError) as caught:
        wide.executemany(INSERT, rows(40, 300_000))
    assert caught.value.http_status == 429
    wide.rollback()
    assert not wide.in_transaction
    assert count(wide) == 0


def test_all_sets_are_proved_before_anything_is_sent(wide: Connection, scale: Scale) -> None:
    scale.sizes.clear()
    for bad, text in (((1, 2), "5 parameters, and 2 were given"), ((1, 2, 3, 4, {}), "dict")):
        with pytest.raises(ProgrammingError, match=text) as caught:
            wide.executemany(INSERT, [*rows(30, 400_000), bad])
        assert caught.value.failed_index == 30
    assert scale.sizes == []


def test_rows_of_returning_come_in_the_order_of_the_sets(wide: Connection) -> None:
    cursor = wide.executemany(
        f"{INSERT} RETURNING a, typeof(b)", [(n, 1, None, None, None) for n in (3, 1, 2)]
    )
    assert cursor.rowcount == 3
    assert cursor.column_names == ("a", "typeof(b)")
    assert cursor.fetchall() == [(3, "integer"), (1, "integer"), (2, "integer")]
    updated = wide.executemany("UPDATE wide SET b = 2 WHERE a >= ? RETURNING a", [(2,), (9,)])
    assert sorted(updated.fetchall()) == [(2,), (3,)]
    assert updated.rowcount == 2
