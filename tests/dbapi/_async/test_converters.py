"""Cells converted by declared type or column name, where a connection asks for it."""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from quicsql_client import AsyncClient, DataError, ProgrammingError
from quicsql_dbapi import (
    PARSE_COLNAMES,
    PARSE_DECLTYPES,
    Row,
    register_converter,
)
from quicsql_dbapi._async.connection import AsyncConnection

from .conftest import AsyncCounter

ZONE = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
VALUES: list[tuple[str, Any]] = [
    ("DATE", datetime.date(2024, 2, 29)),
    ("TIME", datetime.time(23, 59, 59, 999999)),
    ("TIME", datetime.time(1, 2, tzinfo=ZONE)),
    ("DATETIME", datetime.datetime(2024, 1, 2, 3, 4, 5, 6)),
    ("timestamp", datetime.datetime(2024, 1, 2, 3, 4, tzinfo=ZONE)),
    ("TIMESTAMP", datetime.datetime(2024, 1, 2, 3, 4, 5, 120000)),
    ("TIMESTAMPTZ", datetime.datetime(2024, 1, 2, 3, 4, 5, 120000, tzinfo=datetime.UTC)),
    ("TIMESTAMPTZ", datetime.datetime(2024, 1, 2)),
    ("DECIMAL TEXT", decimal.Decimal("1.10")),
    ("DECIMAL(10, 2)", decimal.Decimal("12.5")),
    ("UUID", uuid.UUID(int=5)),
    ("BOOLEAN", True),
    ("bool", False),
    ("DATE", None),
    ("INTEGER", 7),
    ("TEXT", "2024-02-29"),
]


@pytest_asyncio.fixture
async def typed(client: AsyncClient, quicsql_db: str) -> AsyncIterator[AsyncConnection]:
    """A connection that converts by declared type."""
    connection = AsyncConnection(client, quicsql_db, autocommit=True, detect_types=PARSE_DECLTYPES)
    yield connection
    await connection.aclose()


@pytest.mark.parametrize("autocommit", [False, True])
@pytest.mark.parametrize(("declared", "value"), VALUES)
async def test_what_was_bound_comes_back(
    typed: AsyncConnection, declared: str, value: Any, autocommit: bool
) -> None:
    await typed.execute(f"CREATE TABLE c(x {declared})")
    await typed.execute("INSERT INTO c VALUES (?)", (value,))
    await typed.set_autocommit(autocommit)
    row = await (await typed.execute("SELECT x FROM c")).fetchone()
    assert row == (value,)
    assert row is not None
    assert type(row[0]) is type(value)
    returned = await typed.execute("UPDATE c SET x = x RETURNING x")
    assert await returned.fetchall() == [(value,)]


async def test_utc_needs_a_declared_type_that_the_server_leaves_alone(
    typed: AsyncConnection,
) -> None:
    await typed.execute("CREATE TABLE c(plain TIMESTAMP, zoned TIMESTAMPTZ)")
    noon = datetime.datetime(2024, 1, 2, 12, tzinfo=datetime.UTC)
    await typed.execute("INSERT INTO c VALUES (?, ?)", (noon, noon))
    row = await (await typed.execute("SELECT plain, zoned FROM c")).fetchone()
    assert row == (noon.replace(tzinfo=None), noon)


async def test_it_is_opt_in_and_costs_one_request(
    typed: AsyncConnection, client: AsyncClient, counter: AsyncCounter, quicsql_db: str
) -> None:
    await typed.executescript("CREATE TABLE c(x DATE); INSERT INTO c VALUES ('2024-01-02')")
    counter.taken()
    await typed.execute("SELECT x FROM c WHERE x > ?", ("2000",))
    await typed.execute("INSERT INTO c VALUES (?)", (None,))
    assert counter.taken() == ["pipeline", "pipeline"]
    await typed.execute("CREATE TABLE d(x)")
    assert counter.taken() == ["query"]
    plain = AsyncConnection(client, quicsql_db, autocommit=True)
    assert await (await plain.execute("SELECT x FROM c")).fetchone() == ("2024-01-02T00:00:00Z",)
    assert counter.taken() == ["query"]
    await plain.aclose()


async def test_other_columns_and_storage_classes(typed: AsyncConnection) -> None:
    await typed.executescript(
        "CREATE TABLE c(d DATE, n, b BOOLEAN); INSERT INTO c VALUES ('2024-01-02', 5, 1)"
    )
    cursor = await typed.execute("SELECT n, d, b, d || '' FROM c")
    assert await cursor.fetchone() == (5, datetime.date(2024, 1, 2), True, "2024-01-02")
    assert cursor.description is not None
    assert [column[1] for column in cursor.description] == [None, "DATE", "BOOLEAN", None]


async def test_a_cell_that_does_not_convert_is_a_data_error_without_the_cell(
    typed: AsyncConnection,
) -> None:
    await typed.executescript(
        "CREATE TABLE c(n, d DATE); INSERT INTO c VALUES (1, 'planted'), (2, 1.5), (3, x'ff')"
    )
    for number, storage in ((1, "TEXT"), (2, "REAL"), (3, "BLOB")):
        cursor = await typed.execute("SELECT n, d FROM c WHERE n = ?", (number,))
        with pytest.raises(DataError, match=f"column 1 is of type DATE and holds a {storage}") as e:
            await cursor.fetchone()
        assert "planted" not in str(e.value)
        assert e.value.__cause__ is None
        assert e.value.__suppress_context__


async def test_a_converter_of_ones_own(typed: AsyncConnection) -> None:
    register_converter("celsius", lambda raw: float(raw) + 273.15)
    await typed.executescript("CREATE TABLE c(x CELSIUS(3)); INSERT INTO c VALUES (10), (NULL)")
    assert await (await typed.execute("SELECT x FROM c")).fetchall() == [(283.15,), (None,)]


async def test_by_column_name(client: AsyncClient, quicsql_db: str, counter: AsyncCounter) -> None:
    connection = AsyncConnection(
        client, quicsql_db, autocommit=True, detect_types=PARSE_COLNAMES, row_factory=Row
    )
    counter.taken()
    cursor = await connection.execute("SELECT '2024-01-02' AS \"born [date]\", 1 AS 'x [none]'")
    assert counter.taken() == ["query"]
    row = await cursor.fetchone()
    assert row is not None
    assert (row["born"], row["x"]) == (datetime.date(2024, 1, 2), 1)
    assert cursor.column_names == ("born", "x")
    await connection.aclose()


async def test_the_name_goes_before_the_declared_type(client: AsyncClient, quicsql_db: str) -> None:
    both = AsyncConnection(client, quicsql_db, detect_types=PARSE_COLNAMES | PARSE_DECLTYPES)
    await both.executescript("CREATE TABLE c(x DATE); INSERT INTO c VALUES ('2024-01-02')")
    cursor = await both.execute('SELECT x, x AS "y [timestamp]" FROM c')
    assert await cursor.fetchone() == (
        datetime.date(2024, 1, 2),
        datetime.datetime(2024, 1, 2),
    )
    await both.aclose()


@pytest.mark.parametrize("flags", [4, -1, True, "1"])
def test_flags_are_known_ones(client: Any, flags: Any) -> None:
    with pytest.raises(ProgrammingError, match="detect_types is"):
        AsyncConnection(client, "app", detect_types=flags)
