"""What cursors make of rows: sqlite3's Row and callables, dicts, named tuples, classes."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any

import pytest

from quicsql_client import AsyncClient, ProgrammingError, TruncatedError
from quicsql_dbapi import Row, class_row, dict_row, namedtuple_row, scalar_row
from quicsql_dbapi._async.connection import AsyncConnection

from .conftest import AsyncCounter

SELECT = "SELECT 1 AS id, 'ada' AS Name, x'00' AS raw"


@dataclass(frozen=True)
class User:
    id: int
    Name: str
    raw: bytes = b""


async def one(connection: AsyncConnection, factory: Any, sql: str = SELECT) -> Any:
    return await (await connection.cursor(row_factory=factory).execute(sql)).fetchone()


async def test_row_by_position_and_name(connection: AsyncConnection) -> None:
    row = await one(connection, Row)
    assert isinstance(row, Row)
    assert (row[0], row["id"], row["ID"], row["name"], row["NAME"], row[-1]) == (
        *(1, 1, 1, "ada", "ada", b"\0"),
    )
    assert row.keys() == ["id", "Name", "raw"]
    assert row[:2] == (1, "ada")
    assert (len(row), tuple(row), next(reversed(row))) == (3, (1, "ada", b"\0"), b"\0")
    assert dict(zip(row.keys(), row, strict=True)) == {"id": 1, "Name": "ada", "raw": b"\0"}
    assert "ada" in row
    assert repr(row) == "<Row id, Name, raw>"
    with pytest.raises(IndexError, match="no column 'nothing'; there are id, Name, raw"):
        row["nothing"]
    with pytest.raises(IndexError):
        row[3]


async def test_rows_are_equal_by_names_and_cells(connection: AsyncConnection) -> None:
    row, same = await one(connection, Row), await one(connection, Row)
    assert row == same
    assert hash(row) == hash(same)
    assert row != await one(connection, Row, "SELECT 2 AS id, 'ada' AS Name, x'00' AS raw")
    assert row != await one(connection, Row, "SELECT 1 AS no, 'ada' AS Name, x'00' AS raw")
    assert row != tuple(row)
    assert pickle.loads(pickle.dumps(row)) == row


async def test_of_two_columns_with_one_name_the_first_is_found(
    connection: AsyncConnection,
) -> None:
    row = await one(connection, Row, "SELECT 1 AS a, 2 AS A")
    assert (row["a"], row["A"], row.keys()) == (1, 1, ["a", "A"])


async def test_dicts_tuples_classes_scalars(connection: AsyncConnection) -> None:
    assert await one(connection, dict_row) == {"id": 1, "Name": "ada", "raw": b"\0"}
    named = await one(connection, namedtuple_row)
    assert (named.id, named.Name, named) == (1, "ada", (1, "ada", b"\0"))
    assert (await one(connection, namedtuple_row, "SELECT 1, 2 AS class, 3 AS x"))._fields == (
        *("_0", "_1", "x"),
    )
    assert await one(connection, class_row(User)) == User(1, "ada", b"\0")
    assert await one(connection, scalar_row) == 1
    assert await one(connection, None) == (1, "ada", b"\0")


async def test_the_recipe_of_sqlite3s_manual(connection: AsyncConnection) -> None:
    def dict_factory(cursor: Any, row: tuple[Any, ...]) -> dict[str, Any]:
        fields = [column[0] for column in cursor.description]
        return dict(zip(fields, row, strict=True))

    assert await one(connection, dict_factory) == {"id": 1, "Name": "ada", "raw": b"\0"}


async def test_columns_that_do_not_fit(connection: AsyncConnection) -> None:
    with pytest.raises(ProgrammingError, match="User cannot be made of the columns x, y"):
        await one(connection, class_row(User), "SELECT 1 AS x, 2 AS y")
    for factory in (dict_row, class_row(User)):
        with pytest.raises(ProgrammingError, match="not unique: id, id; name them apart"):
            await one(connection, factory, "SELECT 1 AS id, 2 AS id")


async def test_a_row_that_could_not_be_made_is_not_lost(connection: AsyncConnection) -> None:
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute("SELECT 1 AS a, 2 AS a")
    with pytest.raises(ProgrammingError):
        await cursor.fetchone()
    cursor.row_factory = None
    assert await cursor.fetchone() is not None


async def test_a_cursors_own_factory_goes_before_and_later_ones_do_not_count(
    client: AsyncClient, quicsql_db: str
) -> None:
    connection = AsyncConnection(client, quicsql_db, autocommit=True, row_factory=dict_row)
    early = connection.cursor()
    own = connection.cursor(row_factory=scalar_row)
    connection.row_factory = None
    assert await (await early.execute("SELECT 1 AS a")).fetchall() == [{"a": 1}]
    assert await (await own.execute("VALUES (1), (2)")).fetchmany(2) == [1, 2]
    assert [row async for row in await own.execute("VALUES (1), (2)")] == [1, 2]
    late: Any = await (await connection.execute("SELECT 1")).fetchone()
    assert late == (1,)
    await connection.aclose()


async def test_the_rows_of_a_cut_result_are_made_too(
    connection: AsyncConnection, counter: AsyncCounter
) -> None:
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 100001) "
        "SELECT x FROM n"
    )
    with pytest.raises(TruncatedError) as caught:
        await cursor.fetchall()
    assert caught.value.rows[:2] == [1, 2]  # type: ignore[attr-defined]


async def test_column_names(connection: AsyncConnection) -> None:
    cursor = connection.cursor()
    assert list(cursor.column_names) == []
    await cursor.execute(SELECT)
    assert list(cursor.column_names) == ["id", "Name", "raw"]
    await cursor.execute("INSERT INTO t(v) VALUES ('x')")
    assert list(cursor.column_names) == []
