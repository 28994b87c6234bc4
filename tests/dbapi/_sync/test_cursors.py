# Made from tests/dbapi/_async/test_cursors.py
# by tools/async_to_sync.py: do not edit, change the source.
"""PEP 249's cursor, attribute by attribute, as Python's `sqlite3` has it."""

from __future__ import annotations

import datetime
import decimal
import enum
import pickle
import uuid
from typing import Any

import pytest

from quicsql_client import (
    Client,
    DataError,
    IntegrityError,
    OperationalError,
    ProgrammingError,
    TruncatedError,
)
from quicsql_client.testing.reference import ReferenceServer
from quicsql_dbapi import NUMBER, STRING, register_adapter
from quicsql_dbapi._sync.connection import Connection

from .conftest import Counter


class Colour(enum.Enum):
    RED = "red"


class Point:
    """A class that only its adapter can bind."""


def test_rows_description_and_position(connection: Connection) -> None:
    cursor = connection.execute("INSERT INTO t(v) VALUES ('a'), ('b'), ('c')")
    assert (cursor.rowcount, cursor.lastrowid, cursor.description) == (3, 3, None)
    assert cursor.execute("SELECT id, v FROM t ORDER BY id") is cursor
    assert cursor.rowcount == -1
    assert cursor.description is not None
    assert [column[0] for column in cursor.description] == ["id", "v"]
    assert [len(column) for column in cursor.description] == [7, 7]
    assert cursor.description[0][1] == NUMBER
    assert cursor.description[1][1] == STRING
    assert cursor.rownumber == 0
    assert cursor.fetchone() == (1, "a")
    assert cursor.rownumber == 1
    assert cursor.fetchmany() == [(2, "b")]
    assert cursor.fetchall() == [(3, "c")]
    assert cursor.fetchone() is None
    assert cursor.fetchmany(5) == []
    assert cursor.fetchall() == []
    assert cursor.connection is connection


def test_arraysize_and_iteration(connection: Connection) -> None:
    cursor = connection.cursor()
    assert cursor.arraysize == 1
    cursor.arraysize = 2
    cursor.execute("VALUES (1), (2), (3)")
    assert cursor.fetchmany() == [(1,), (2,)]
    assert [row for row in cursor] == [(3,)]


def test_empty_result_has_a_description(connection: Connection) -> None:
    cursor = connection.execute("SELECT v FROM t")
    assert cursor.description is not None
    assert cursor.fetchone() is None


@pytest.mark.parametrize("name", ["fetchone", "fetchmany", "fetchall"])
def test_fetch_without_a_result_set(connection: Connection, name: str) -> None:
    cursor = connection.cursor()
    with pytest.raises(ProgrammingError, match="no rows to fetch"):
        getattr(cursor, name)()
    cursor.execute("INSERT INTO t(v) VALUES ('a')")
    with pytest.raises(ProgrammingError, match="no rows to fetch"):
        getattr(cursor, name)()
    cursor.close()
    cursor.close()
    with pytest.raises(ProgrammingError, match="closed"):
        getattr(cursor, name)()
    with pytest.raises(ProgrammingError, match="closed"):
        cursor.execute("SELECT 1")


def test_cursor_with_block_closes(connection: Connection) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    with pytest.raises(ProgrammingError, match="closed"):
        cursor.fetchone()


def test_failure_leaves_no_rows_of_before(connection: Connection) -> None:
    cursor = connection.execute("SELECT 1")
    with pytest.raises(OperationalError):
        cursor.execute("SELECT nothing FROM nowhere")
    assert cursor.description is None
    with pytest.raises(ProgrammingError):
        cursor.fetchall()


def test_counters(connection: Connection) -> None:
    cursor = connection.cursor()
    assert (cursor.rowcount, cursor.lastrowid) == (-1, None)
    cursor.execute("INSERT INTO t(id, v) VALUES (41, 'a')")
    assert (cursor.rowcount, cursor.lastrowid) == (1, 41)
    cursor.execute("UPDATE t SET n = 1")
    assert (cursor.rowcount, cursor.lastrowid) == (1, 41)
    cursor.execute("DELETE FROM t WHERE id = 5")
    assert cursor.rowcount == 0
    cursor.execute("CREATE TABLE u(x)")
    assert cursor.rowcount == -1
    cursor.execute("WITH a(x) AS (VALUES (1), (2)) INSERT INTO u SELECT x FROM a")
    assert cursor.rowcount == 2


def test_returning_has_rows_and_a_count(connection: Connection) -> None:
    cursor = connection.execute("INSERT INTO t(v) VALUES ('a'), ('b') RETURNING id, v")
    assert cursor.fetchall() == [(1, "a"), (2, "b")]
    assert cursor.rowcount == 2


VALUES: list[tuple[Any, Any]] = [
    (None, None),
    (True, 1),
    (2**62 + 1, 2**62 + 1),
    (-(2**63), -(2**63)),
    (1.5, 1.5),
    (100.0, 100.0),
    ("a\0b", "a\0b"),
    ("é\U0001f600", "é\U0001f600"),
    (b"", b""),
    (b"\x00\xff", b"\x00\xff"),
    (bytearray(b"x"), b"x"),
    (memoryview(b"y"), b"y"),
    (datetime.date(2024, 1, 2), "2024-01-02"),
    (datetime.datetime(2024, 1, 2, 3, 4, 5, 6), "2024-01-02 03:04:05.000006"),
    (datetime.time(3, 4, 5), "03:04:05"),
    (decimal.Decimal("1.10"), "1.10"),
    (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
    (Colour.RED, "red"),
]


@pytest.mark.parametrize("autocommit", [False, True])
@pytest.mark.parametrize(("value", "expected"), VALUES, ids=lambda value: type(value).__name__)
def test_values_come_back_exactly(
    connection: Connection, autocommit: bool, value: Any, expected: Any
) -> None:
    """Odd-cases 41, 150: also through both protocols; times as Python's `sqlite3` writes them."""
    connection.set_autocommit(autocommit)
    for sql, args in (("SELECT ?", (value,)), ("SELECT :v", {"v": value})):
        row = connection.execute(sql, args).fetchone()
        assert row == (expected,)
        assert row is not None
        assert type(row[0]) is type(expected)


@pytest.mark.parametrize("autocommit", [False, True])
def test_values_that_cannot_be_bound(
    connection: Connection, counter: Counter, autocommit: bool
) -> None:
    connection.set_autocommit(autocommit)
    counter.taken()
    with pytest.raises(DataError, match="64 bits"):
        connection.execute("SELECT ?", (2**63,))
    with pytest.raises(ProgrammingError, match="Point"):
        connection.execute("SELECT ?", (Point(),))
    assert counter.taken() == []
    assert not connection.in_transaction


def test_an_adapter_binds_its_class(connection: Connection) -> None:
    class Length:
        metres = 7

    register_adapter(Length, lambda length: length.metres)
    assert connection.execute("SELECT ?", [Length()]).fetchone() == (7,)


def test_an_adapter_that_fails_is_named(connection: Connection, counter: Counter) -> None:
    class Odd:
        """Its adapter fails."""

    register_adapter(Odd, lambda odd: 1 // 0)
    counter.taken()
    with pytest.raises(ProgrammingError, match="adapter of Odd failed with ZeroDivisionError"):
        connection.execute("SELECT ?", [Odd()])
    assert counter.taken() == []


@pytest.mark.parametrize(
    ("sql", "args", "text"),
    [
        ("SELECT ?, ?", (1,), r"2 parameters, and 1 was given"),
        ("SELECT ?", (1, 2), r"1 parameter, and 2 were given"),
        ("SELECT 1", (1,), r"0 parameters, and 1 was given"),
        ("SELECT ?", (), r"1 parameter, and 0 were given"),
        ("SELECT ?5", (1, 2), r"5 parameters, and 2 were given"),
        ("SELECT :a, :b", {"a": 1}, r"2 parameters, and 1 of them were given; missing: b"),
        ("SELECT ?, :a", {"a": 1}, r"give a sequence, not a mapping"),
        ("SELECT :a", (1,), r"give a mapping of their names"),
        ("SELECT ?", "x", r"sequence or a mapping, not str"),
        ("SELECT ?", 5, r"sequence or a mapping, not int"),
        ("SELECT 1; SELECT 2", (), r"holds 2; use executescript"),
        ("SELECT '\0'", (), r"NUL"),
        (b"SELECT 1", (), r"must be a str, not bytes"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_runs(
    connection: Connection, counter: Counter, sql: Any, args: Any, text: str
) -> None:
    counter.taken()
    with pytest.raises(ProgrammingError, match=text):
        connection.execute(sql, args)
    assert counter.taken() == []


def test_names_of_all_signs_and_unused_ones(connection: Connection) -> None:
    """Odd-case 145: upstream's driver has no named parameters, ours has."""
    cursor = connection.execute("SELECT :a, @b, $c, :a", {"a": 1, "b": 2, "c": 3, "unused": 4})
    assert cursor.fetchone() == (1, 2, 3, 1)


def test_numbered_parameters(connection: Connection) -> None:
    cursor = connection.execute("SELECT ?2, ?1, ?", (1, 2, 3))
    assert cursor.fetchone() == (2, 1, 3)


def test_executemany_refuses_queries_and_names_the_bad_set(
    connection: Connection, counter: Counter
) -> None:
    counter.taken()
    for sql in ("SELECT ?", "WITH a AS (SELECT ?) SELECT * FROM a", "COMMIT"):
        with pytest.raises(ProgrammingError, match="use execute"):
            connection.executemany(sql, [(1,)])
    with pytest.raises(ProgrammingError, match="1 parameter, and 2 were given") as caught:
        connection.executemany("INSERT INTO t(v) VALUES (?)", [("a",), ("b", "c")])
    assert caught.value.failed_index == 1
    assert counter.taken() == []


def test_executemany_of_nothing_and_of_a_generator(
    connection: Connection, counter: Counter
) -> None:
    counter.taken()
    cursor = connection.executemany("INSERT INTO t(v) VALUES (:v)", [])
    assert cursor.rowcount == 0
    assert counter.taken() == []
    cursor.executemany("INSERT INTO t(v) VALUES (:v)", ({"v": str(n)} for n in range(3)))
    assert cursor.rowcount == 3
    cursor.executemany("INSERT INTO t(v) VALUES (?) RETURNING id", [("x",), ("y",)])
    assert cursor.rowcount == 2
    assert cursor.fetchall() == [(4,), (5,)]


def test_script_takes_no_parameters(connection: Connection) -> None:
    with pytest.raises(ProgrammingError, match="no parameters"):
        connection.executescript("INSERT INTO t(v) VALUES (?)")


def test_truncation_is_told_behind_the_delivered_rows(
    quicsql_server: ReferenceServer, connection: Connection
) -> None:
    """Odd-case 146."""
    sql = (
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 100001) "
        "SELECT x FROM n"
    )
    cursor = connection.execute(sql)
    assert cursor.truncated
    assert cursor.fetchone() == (1,)
    with pytest.raises(TruncatedError) as caught:
        cursor.fetchall()
    assert len(caught.value.rows) == 99_999  # type: ignore[attr-defined]
    with pytest.raises(TruncatedError):
        cursor.fetchone()
    cursor.execute(sql)
    assert len(cursor.fetchmany(200_000)) == 100_000
    with pytest.raises(TruncatedError):
        cursor.fetchmany(1)


def test_sizes_are_taken_and_mean_nothing(connection: Connection) -> None:
    cursor = connection.cursor()
    cursor.setinputsizes([25])
    cursor.setoutputsize(1000)
    cursor.setoutputsize(1000, 0)
    cursor.execute("SELECT 1")
    assert cursor.fetchall() == [(1,)]


def test_errors_pickle_with_their_facts(connection: Connection) -> None:
    with pytest.raises(IntegrityError) as caught:
        connection.executemany("INSERT INTO t(v) VALUES (?)", [("secret-x",)] * 2)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert type(copy) is IntegrityError
    assert (copy.extended_code, copy.failed_index) == (2067, 1)
    assert "secret-x" not in str(copy)


@pytest.mark.parametrize(
    ("sql", "kind", "code"),
    [
        ("INSERT INTO t(id, v) VALUES (1, 'z')", IntegrityError, 1555),
        ("INSERT INTO strict_one(x) VALUES (NULL)", IntegrityError, 1299),
        ("INSERT INTO strict_one(x) VALUES (-1)", IntegrityError, 275),
        ("INSERT INTO t(id) VALUES ('text')", IntegrityError, 20),
        ("SELEC 1", OperationalError, 1),
    ],
)
def test_errors_by_sqlite_code(
    connection: Connection, sql: str, kind: type[Exception], code: int
) -> None:
    connection.executescript(
        "INSERT INTO t(id, v) VALUES (1, 'a'); CREATE TABLE strict_one(x NOT NULL CHECK (x > 0))"
    )
    with pytest.raises(kind) as caught:
        connection.execute(sql)
    assert caught.value.sqlite_errorcode == code  # type: ignore[attr-defined]


def test_a_reader_may_not_write(
    quicsql_server: ReferenceServer, quicsql_db: str, connection: Connection
) -> None:
    options = quicsql_server.options("reporting")
    with Client.h2tls(quicsql_server.address, *options) as client:
        reader = Connection(client, quicsql_db)
        assert reader.execute("SELECT count(*) FROM t").fetchone() == (0,)
        with pytest.raises(connection.DatabaseError) as caught:
            reader.execute("INSERT INTO t(v) VALUES ('a')")
        assert caught.value.code in (8, 23)
        reader.close()


def test_connection_leftovers_warn(client: Client, quicsql_db: str) -> None:
    connection = Connection(client, quicsql_db)
    connection.execute("SELECT 1")
    with pytest.warns(ResourceWarning, match="unclosed"):
        connection.__del__()
    connection.close()
    connection.__del__()
