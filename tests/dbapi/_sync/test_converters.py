# Made from tests/dbapi/_async/test_converters.py
# by tools/async_to_sync.py: do not edit, change the source.
"""Cells converted by declared type or column name, where a connection asks for it."""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from quicsql_client import Client, DataError, ProgrammingError
from quicsql_dbapi import (
    PARSE_COLNAMES,
    PARSE_DECLTYPES,
    Row,
    register_converter,
)
from quicsql_dbapi._sync.connection import Connection

from .conftest import Counter

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


@pytest.fixture
def typed(client: Client, quicsql_db: str) -> Iterator[Connection]:
    """A connection that converts by declared type."""
    connection = Connection(client, quicsql_db, autocommit=True, detect_types=PARSE_DECLTYPES)
    yield connection
    connection.close()


@pytest.mark.parametrize("autocommit", [False, True])
@pytest.mark.parametrize(("declared", "value"), VALUES)
def test_what_was_bound_comes_back(
    typed: Connection, declared: str, value: Any, autocommit: bool
) -> None:
    typed.execute(f"CREATE TABLE c(x {declared})")
    typed.execute("INSERT INTO c VALUES (?)", (value,))
    typed.set_autocommit(autocommit)
    row = typed.execute("SELECT x FROM c").fetchone()
    assert row == (value,)
    assert row is not None
    assert type(row[0]) is type(value)
    returned = typed.execute("UPDATE c SET x = x RETURNING x")
    assert returned.fetchall() == [(value,)]


def test_utc_needs_a_declared_type_that_the_server_leaves_alone(
    typed: Connection,
) -> None:
    typed.execute("CREATE TABLE c(plain TIMESTAMP, zoned TIMESTAMPTZ)")
    noon = datetime.datetime(2024, 1, 2, 12, tzinfo=datetime.UTC)
    typed.execute("INSERT INTO c VALUES (?, ?)", (noon, noon))
    row = typed.execute("SELECT plain, zoned FROM c").fetchone()
    assert row == (noon.replace(tzinfo=None), noon)


def test_it_is_opt_in_and_costs_one_request(
    typed: Connection, client: Client, counter: Counter, quicsql_db: str
) -> None:
    typed.executescript("CREATE TABLE c(x DATE); INSERT INTO c VALUES ('2024-01-02')")
    counter.taken()
    typed.execute("SELECT x FROM c WHERE x > ?", ("2000",))
    typed.execute("INSERT INTO c VALUES (?)", (None,))
    assert counter.taken() == ["pipeline", "pipeline"]
    typed.execute("CREATE TABLE d(x)")
    assert counter.taken() == ["query"]
    plain = Connection(client, quicsql_db, autocommit=True)
    assert plain.execute("SELECT x FROM c").fetchone() == ("2024-01-02T00:00:00Z",)
    assert counter.taken() == ["query"]
    plain.close()


def test_other_columns_and_storage_classes(typed: Connection) -> None:
    typed.executescript(
        "CREATE TABLE c(d DATE, n, b BOOLEAN); INSERT INTO c VALUES ('2024-01-02', 5, 1)"
    )
    cursor = typed.execute("SELECT n, d, b, d || '' FROM c")
    assert cursor.fetchone() == (5, datetime.date(2024, 1, 2), True, "2024-01-02")
    assert cursor.description is not None
    assert [column[1] for column in cursor.description] == [None, "DATE", "BOOLEAN", None]


def test_a_cell_that_does_not_convert_is_a_data_error_without_the_cell(
    typed: Connection,
) -> None:
    typed.executescript(
        "CREATE TABLE c(n, d DATE); INSERT INTO c VALUES (1, 'planted'), (2, 1.5), (3, x'ff')"
    )
    for number, storage in ((1, "TEXT"), (2, "REAL"), (3, "BLOB")):
        cursor = typed.execute("SELECT n, d FROM c WHERE n = ?", (number,))
        with pytest.raises(DataError, match=f"column 1 is of type DATE and holds a {storage}") as e:
            cursor.fetchone()
        assert "planted" not in str(e.value)
        assert e.value.__cause__ is None
        assert e.value.__suppress_context__


def test_a_converter_of_ones_own(typed: Connection) -> None:
    register_converter("celsius", lambda raw: float(raw) + 273.15)
    typed.executescript("CREATE TABLE c(x CELSIUS(3)); INSERT INTO c VALUES (10), (NULL)")
    assert typed.execute("SELECT x FROM c").fetchall() == [(283.15,), (None,)]


def test_by_column_name(client: Client, quicsql_db: str, counter: Counter) -> None:
    connection = Connection(
        client, quicsql_db, autocommit=True, detect_types=PARSE_COLNAMES, row_factory=Row
    )
    counter.taken()
    cursor = connection.execute("SELECT '2024-01-02' AS \"born [date]\", 1 AS 'x [none]'")
    assert counter.taken() == ["query"]
    row = cursor.fetchone()
    assert row is not None
    assert (row["born"], row["x"]) == (datetime.date(2024, 1, 2), 1)
    assert cursor.column_names == ("born", "x")
    connection.close()


def test_the_name_goes_before_the_declared_type(client: Client, quicsql_db: str) -> None:
    both = Connection(client, quicsql_db, detect_types=PARSE_COLNAMES | PARSE_DECLTYPES)
    both.executescript("CREATE TABLE c(x DATE); INSERT INTO c VALUES ('2024-01-02')")
    cursor = both.execute('SELECT x, x AS "y [timestamp]" FROM c')
    assert cursor.fetchone() == (
        datetime.date(2024, 1, 2),
        datetime.datetime(2024, 1, 2),
    )
    both.close()


@pytest.mark.parametrize("flags", [4, -1, True, "1"])
def test_flags_are_known_ones(client: Any, flags: Any) -> None:
    with pytest.raises(ProgrammingError, match="detect_types is"):
        Connection(client, "app", detect_types=flags)
