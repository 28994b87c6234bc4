"""Arrow out, read by pyarrow and Polars: types, NULLs, what is kept and let go."""

from __future__ import annotations

import gc
import math
import subprocess
import sys
from collections.abc import Iterator

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import quicsql_dbapi
import quicsql_dbapi.aio
from quicsql_client import Client
from quicsql_client.testing.reference import ReferenceServer
from quicsql_dbapi import arrow
from quicsql_dbapi.arrow import ArrowRows
from quicsql_dbapi.columns import column_data

NAMES = ("i", "r", "t", "b", "n")
ROWS = [
    (1, 1.5, "é", b"\x00", None),
    (None, None, None, None, None),
    (-(2**63), -0.0, "", b"", None),
]


def rows() -> ArrowRows:
    return ArrowRows(NAMES, [None] * 5, ROWS)


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    gc.collect()
    arrow._sweep()
    before = set(arrow._kept)  # what other tests still have
    yield
    gc.collect()
    arrow._sweep()
    assert (set(arrow._kept) - before, arrow._lent) == (set(), [])


def test_pyarrow_reads_every_type() -> None:
    table = pa.table(rows())
    table.validate(full=True)
    assert table.schema.types == [pa.int64(), pa.float64(), pa.utf8(), pa.binary(), pa.null()]
    assert [tuple(row.values()) for row in table.to_pylist()] == ROWS
    assert math.copysign(1, table["r"][2].as_py()) == -1


def test_polars_reads_every_type() -> None:
    frame = pl.DataFrame(rows())
    assert frame.dtypes == [pl.Int64, pl.Float64, pl.String, pl.Binary, pl.Null]
    assert frame.rows() == ROWS


def test_it_can_be_read_again_and_outlives_its_source() -> None:
    source = rows()
    first, second = pa.table(source), pa.table(source)
    del source
    gc.collect()
    column = first["t"]
    del first
    gc.collect()
    assert column.to_pylist() == ["é", None, ""]
    assert second.num_rows == 3


def test_a_reader_that_stops_early_leaves_nothing() -> None:
    reader = pa.RecordBatchReader.from_stream(rows())
    assert reader.schema.names == list(NAMES)
    del reader


def test_a_capsule_that_nobody_reads_leaves_nothing() -> None:
    source = rows()
    capsule = source.__arrow_c_stream__()
    del source
    gc.collect()
    assert len(arrow._lent) == 1
    assert pa.RecordBatchReader._import_from_c_capsule(capsule).read_all().num_rows == 3


def test_many_readings_do_not_grow() -> None:
    source = rows()
    before = len(arrow._kept)
    for _ in range(300):
        pl.DataFrame(source)
        assert len(arrow._lent) <= 1
    assert len(arrow._kept) <= before + 2


def test_no_rows_have_the_declared_types() -> None:
    declared = ["BIGINT", "DOUBLE PRECISION", "VARCHAR(3)", "BLOB", None, "DATETIME", "NUMERIC"]
    table = pa.table(ArrowRows("abcdefg", declared, []))
    expected = [pa.int64(), pa.float64(), pa.utf8(), pa.binary(), pa.null(), pa.utf8(), pa.null()]
    assert (table.schema.types, table.num_rows) == (expected, 0)
    assert pl.DataFrame(ArrowRows("a", ["INTEGER"], [(None,)])).dtypes == [pl.Int64]


def test_integers_among_reals_become_real_while_that_is_exact() -> None:
    assert pl.DataFrame(ArrowRows("a", [None], [(1,), (1.5,)])).rows() == [(1.0,), (1.5,)]
    with pytest.raises(quicsql_dbapi.DataError, match=r"column 'a' .* exactly"):
        ArrowRows("a", [None], [(2**53 + 1,), (1.5,)])


@pytest.mark.parametrize(
    ("cells", "said"), [((1, "x"), "INTEGER, TEXT"), ((b"", ""), "BLOB, TEXT")]
)
def test_other_mixtures_are_refused_by_name(cells: tuple[object, ...], said: str) -> None:
    with pytest.raises(quicsql_dbapi.DataError, match=f"column 'mixed' holds {said}.*CAST"):
        column_data("mixed", "ANY", cells)


@given(
    st.one_of(
        st.lists(st.none() | st.integers(-(2**63), 2**63 - 1)),
        st.lists(st.none() | st.floats(allow_nan=False)),
        st.lists(st.none() | st.text()),
        st.lists(st.none() | st.binary()),
    )
)
def test_any_column_comes_as_it_was(cells: list[object]) -> None:
    source = ArrowRows(["c"], [None], [(cell,) for cell in cells])
    table = pa.table(source)
    table.validate(full=True)
    assert table["c"].to_pylist() == cells
    assert pl.DataFrame(source)["c"].to_list() == cells


def test_a_program_may_end_with_tables_alive() -> None:
    code = """
import sys, types
import pyarrow, polars
from quicsql_dbapi.arrow import ArrowRows
source = ArrowRows("ab", [None, None], [(1, "x")] * 1000)
table, frame, capsule = pyarrow.table(source), polars.DataFrame(source), source.__arrow_c_stream__()
reader = pyarrow.RecordBatchReader.from_stream(source)
# And in a module that outlives ours.
sys.modules["keeper"] = keeper = types.ModuleType("keeper")
keeper.frame, keeper.table = polars.DataFrame(source), pyarrow.table(source)
"""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60
    )
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_cursor_gives_what_is_left(quicsql_client: Client, quicsql_db: str) -> None:
    connection = quicsql_dbapi.connect(client=quicsql_client, db=quicsql_db)
    connection.execute("CREATE TABLE t(i INTEGER, d DATE)")
    connection.execute("INSERT INTO t VALUES (1, '2024-01-02'), (2, NULL), (3, NULL)")
    cursor = connection.cursor(row_factory=quicsql_dbapi.dict_row).execute("SELECT * FROM t")
    cursor.fetchone()
    assert pl.DataFrame(cursor.fetch_arrow()).rows() == [(2, None), (3, None)]
    assert len(cursor.fetch_arrow()) == 0
    empty = connection.execute("SELECT * FROM t WHERE false").fetch_arrow()
    assert pl.DataFrame(empty).schema == {"i": pl.Int64, "d": pl.String}
    mixed = connection.execute("SELECT 1 AS a UNION ALL SELECT 'x'")
    with pytest.raises(quicsql_dbapi.DataError):
        mixed.fetch_arrow()
    assert len(mixed.fetchall()) == 2
    connection.execute("DELETE FROM t")
    with pytest.raises(quicsql_dbapi.ProgrammingError):
        connection.execute("DELETE FROM t").fetch_arrow()
    connection.close()


async def test_an_asynchronous_cursor_too(quicsql_server: ReferenceServer, quicsql_db: str) -> None:
    async with quicsql_server.async_client() as client:
        connection = await quicsql_dbapi.aio.connect(client=client, db=quicsql_db)
        cursor = await connection.execute("SELECT 1 AS a")
        assert pl.DataFrame(await cursor.fetch_arrow()).rows() == [(1,)]
        await connection.close()
