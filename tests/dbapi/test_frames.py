"""pandas and Polars over the driver and over an engine: types, dates, batches, round trips."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import polars as pl
import pytest
import sqlalchemy as sa

import quicsql_dbapi
from quicsql_client import Client, with_transport
from quicsql_client.testing.reference import ReferenceServer
from tests.dbapi._sync.conftest import Counter

ROWS = 10_000


@pytest.fixture
def counter(quicsql_server: ReferenceServer) -> Iterator[Counter]:
    """Notes the requests of the clients below."""
    with quicsql_server.client() as client:
        yield Counter(client)


@pytest.fixture
def client(quicsql_server: ReferenceServer, counter: Counter) -> Iterator[Client]:
    """A client whose requests are noted."""
    with Client.h1(quicsql_server.address, with_transport(counter)) as client:
        yield client


@pytest.fixture
def connection(client: Client, quicsql_db: str) -> Iterator[quicsql_dbapi.Connection]:
    """A connection that converts by declared type."""
    connection = quicsql_dbapi.connect(
        client=client, db=quicsql_db, detect_types=quicsql_dbapi.PARSE_DECLTYPES
    )
    yield connection
    connection.close()


@pytest.fixture
def engine(client: Client, quicsql_db: str) -> Iterator[sa.Engine]:
    """An engine over the same client."""
    engine = sa.create_engine("quicsql://", connect_args={"client": client, "db": quicsql_db})
    yield engine
    engine.dispose()


@pytest.fixture
def frame() -> pd.DataFrame:
    """Four columns, one of them of dates."""
    return pd.DataFrame(
        {
            "n": range(ROWS),
            "x": [number / 3 for number in range(ROWS)],
            "t": [f"é{number}" for number in range(ROWS)],
            "d": pd.date_range("2024-01-01", periods=ROWS, freq="h"),
        }
    )


def test_pandas_over_an_engine(engine: sa.Engine, counter: Counter, frame: pd.DataFrame) -> None:
    assert frame.to_sql("f", engine, index=False) == ROWS
    assert len(counter.taken()) <= 7  # is it there?, CREATE TABLE, all rows, COMMIT, is it there?
    back = pd.read_sql_table("f", engine)
    pd.testing.assert_frame_equal(back, frame, check_dtype=False)
    assert back.dtypes["d"].kind == "M"


@pytest.mark.filterwarnings("ignore:pandas only supports SQLAlchemy:UserWarning")
def test_pandas_over_a_connection(
    connection: quicsql_dbapi.Connection, counter: Counter, frame: pd.DataFrame
) -> None:
    assert frame.to_sql("f", connection, index=False) == ROWS  # type: ignore[arg-type]
    assert len(counter.taken()) <= 5
    back = pd.read_sql("SELECT * FROM f", connection)  # type: ignore[call-overload]
    pd.testing.assert_frame_equal(back, frame, check_dtype=False)
    assert back.dtypes["d"].kind == "M"


@pytest.fixture
def typed(connection: quicsql_dbapi.Connection) -> quicsql_dbapi.Connection:
    """The connection, with a table of one row and each type."""
    connection.execute(
        "CREATE TABLE p(i INTEGER, r REAL, t TEXT, b BLOB, d DATE, at DATETIME, y BOOLEAN)"
    )
    connection.execute(
        "INSERT INTO p VALUES (?, 1.0, 'x', x'00ff', '2024-01-02', '2024-01-02 03:04:05.5', 1)",
        (2**62,),
    )
    connection.commit()
    return connection


SCHEMA = {
    "i": pl.Int64,
    "r": pl.Float64,
    "t": pl.String,
    "b": pl.Binary,
    "d": pl.Date,
    "at": pl.Datetime("us"),
    "y": pl.Boolean,
}


@pytest.mark.parametrize("autocommit", [False, True])
def test_polars_keeps_types_with_and_without_rows(
    typed: quicsql_dbapi.Connection, autocommit: bool
) -> None:
    typed.autocommit = autocommit
    frame = pl.read_database("SELECT * FROM p", typed)
    assert frame.schema == SCHEMA
    assert frame["i"].to_list() == [2**62]
    assert pl.read_database("SELECT * FROM p WHERE false", typed).schema == SCHEMA


def test_polars_reads_texts_where_nothing_converts(
    typed: quicsql_dbapi.Connection, engine: sa.Engine
) -> None:
    frame = pl.read_database("SELECT d, at, i FROM p", engine)
    assert frame.row(0) == ("2024-01-02T00:00:00Z", "2024-01-02T03:04:05.5Z", 2**62)
    with engine.connect() as connection:
        table = sa.Table("p", sa.MetaData(), autoload_with=connection)
        read = pl.read_database(sa.select(table.c.d, table.c.at), connection)
    assert read.schema == {"d": pl.Date, "at": pl.Datetime("us")}


def test_polars_in_batches(typed: quicsql_dbapi.Connection) -> None:
    typed.executemany("INSERT INTO p(i) VALUES (?)", [(number,) for number in range(2500)])
    batches = pl.read_database("SELECT i FROM p", typed, iter_batches=True, batch_size=1000)
    assert [batch.height for batch in batches] == [1000, 1000, 501]
