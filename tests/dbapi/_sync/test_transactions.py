# Made from tests/dbapi/_async/test_transactions.py
# by tools/async_to_sync.py: do not edit, change the source.
"""What is sent for what is called, and what lasts, as a second connection sees it."""

from __future__ import annotations

import pytest

from quicsql_client import (
    Error,
    IntegrityError,
    OperationalError,
    OutcomeUnknownError,
    ProgrammingError,
    StreamExpiredError,
)
from quicsql_client.testing.reference import ReferenceServer
from quicsql_dbapi._sync.connection import Connection

from .conftest import Counter

INSERT = "INSERT INTO t(v) VALUES (?)"
COUNT = "SELECT count(*) FROM t"


def is_open(connection: Connection) -> bool:
    return connection.in_transaction


def count(connection: Connection) -> int:
    row = connection.execute(COUNT).fetchone()
    assert row is not None
    assert isinstance(row[0], int)
    return row[0]


def test_transaction_of_n_statements_is_n_plus_1_requests(
    connection: Connection, other: Connection, counter: Counter
) -> None:
    counter.taken()
    for value in ("a", "b", "c"):
        connection.execute(INSERT, (value,))
    assert is_open(connection)
    connection.commit()
    assert counter.taken() == ["pipeline"] * 4
    assert not is_open(connection)
    assert count(other) == 3


def test_rollback_undoes_ddl_too(connection: Connection, other: Connection) -> None:
    connection.execute("CREATE TABLE gone(x)")
    connection.execute("INSERT INTO gone VALUES (1)")
    connection.rollback()
    with pytest.raises(OperationalError, match="no such table: gone"):
        other.execute("SELECT * FROM gone")


def test_nothing_is_asked_for_nothing(connection: Connection, counter: Counter) -> None:
    counter.taken()
    connection.commit()
    connection.rollback()
    connection.set_autocommit(True)
    connection.set_autocommit(False)
    connection.cursor()
    assert counter.taken() == []


def test_autocommit_statement_is_one_stateless_request(other: Connection, counter: Counter) -> None:
    counter.taken()
    other.execute(INSERT, ("a",))
    assert count(other) == 1
    assert counter.taken() == ["query", "query"]
    assert not is_open(other)


def test_a_reading_transaction_sees_one_snapshot(connection: Connection, other: Connection) -> None:
    assert count(connection) == 0
    other.execute(INSERT, ("a",))
    assert count(connection) == 0
    connection.commit()
    assert count(connection) == 1


def test_setting_autocommit_commits(connection: Connection, other: Connection) -> None:
    connection.execute(INSERT, ("a",))
    assert count(other) == 0
    connection.set_autocommit(True)
    assert connection.autocommit
    assert count(other) == 1


def test_autocommit_is_a_bool(connection: Connection) -> None:
    with pytest.raises(ProgrammingError, match="True or False, not int"):
        connection.set_autocommit(1)  # type: ignore[arg-type]


def fail_in_a_block(connection: Connection) -> None:
    with connection:
        connection.execute(INSERT, ("b",))
        connection.executemany(INSERT, [("c",), ("c",)])


def test_with_block_commits_and_does_not_close(connection: Connection, other: Connection) -> None:
    with connection:
        connection.execute(INSERT, ("a",))
    assert count(other) == 1
    with pytest.raises(IntegrityError):
        fail_in_a_block(connection)
    assert count(other) == 1
    assert count(connection) == 1


def test_close_rolls_back(connection: Connection, other: Connection) -> None:
    connection.execute(INSERT, ("a",))
    connection.close()
    connection.close()
    assert count(other) == 0
    for call in (connection.commit, connection.rollback, connection.ping):
        with pytest.raises(ProgrammingError, match="closed"):
            call()
    with pytest.raises(ProgrammingError, match="closed"):
        connection.cursor()


def test_a_failed_statement_leaves_the_transaction_open(
    connection: Connection, other: Connection
) -> None:
    connection.execute(INSERT, ("a",))
    with pytest.raises(IntegrityError) as caught:
        connection.execute(INSERT, ("a",))
    assert caught.value.sqlite_errorcode == 2067
    assert caught.value.sqlite_errorname == "SQLITE_CONSTRAINT_UNIQUE"
    assert caught.value.sql == INSERT
    connection.execute(INSERT, ("b",))
    connection.commit()
    assert count(other) == 2


def test_a_failed_first_statement_still_began(connection: Connection) -> None:
    with pytest.raises(OperationalError, match="no such table"):
        connection.execute("SELECT * FROM nowhere")
    assert is_open(connection)
    connection.rollback()
    assert not is_open(connection)


@pytest.mark.parametrize("mode", ["", "DEFERRED", "IMMEDIATE", "exclusive"])
def test_begin_and_commit_as_text_in_autocommit(
    other: Connection, connection: Connection, counter: Counter, mode: str
) -> None:
    counter.taken()
    other.execute(f"BEGIN {mode} TRANSACTION")
    assert is_open(other)
    other.execute(INSERT, ("a",))
    other.execute("COMMIT")
    assert not is_open(other)
    assert set(counter.taken()) == {"pipeline"}
    assert count(connection) == 1
    connection.rollback()
    other.execute("begin")
    other.execute(INSERT, ("b",))
    other.execute("ROLLBACK")
    assert count(connection) == 1


def test_begin_immediate_takes_the_lock_at_once(other: Connection, connection: Connection) -> None:
    connection.execute("PRAGMA busy_timeout = 1")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(OperationalError) as caught:
        connection.execute("BEGIN IMMEDIATE")
    assert caught.value.code == 5
    assert caught.value.is_retryable
    assert not is_open(connection)
    other.execute("ROLLBACK")
    connection.execute("BEGIN IMMEDIATE")
    assert is_open(connection)


def test_commit_text_acts_as_commit(connection: Connection, other: Connection) -> None:
    connection.execute(INSERT, ("a",))
    connection.execute("commit")
    assert not is_open(connection)
    connection.execute("COMMIT")
    connection.execute(INSERT, ("b",))
    connection.execute("rollback transaction")
    assert count(other) == 1


def test_commit_text_without_a_transaction(other: Connection) -> None:
    with pytest.raises(OperationalError, match="cannot commit - no transaction is active"):
        other.execute("COMMIT")
    with pytest.raises(OperationalError, match="cannot rollback - no transaction is active"):
        other.execute("ROLLBACK")


def test_begin_in_a_transaction_is_sqlites_error(connection: Connection) -> None:
    connection.execute(INSERT, ("a",))
    with pytest.raises(OperationalError, match="within a transaction"):
        connection.execute("BEGIN")


def test_savepoints(connection: Connection, other: Connection) -> None:
    connection.execute(INSERT, ("a",))
    connection.execute("SAVEPOINT s")
    connection.execute(INSERT, ("b",))
    connection.execute("ROLLBACK TO SAVEPOINT s")
    connection.execute("RELEASE s")
    connection.commit()
    assert count(other) == 1


def test_savepoint_in_autocommit_is_a_transaction(
    other: Connection, connection: Connection
) -> None:
    other.execute("SAVEPOINT outer_one")
    other.execute(INSERT, ("a",))
    other.execute("SAVEPOINT inner_one")
    other.execute("RELEASE inner_one")
    assert is_open(other)
    assert count(connection) == 0
    connection.rollback()
    other.execute("RELEASE outer_one")
    assert not is_open(other)
    assert count(connection) == 1


def test_temp_table_lives_on_after_its_transaction(connection: Connection) -> None:
    connection.execute("CREATE TEMP TABLE mine(x)")
    connection.execute("INSERT INTO mine VALUES (1)")
    connection.commit()
    assert connection.execute("SELECT x FROM mine").fetchall() == [(1,)]
    connection.execute("INSERT INTO mine VALUES (2)")
    connection.rollback()
    assert connection.execute("SELECT x FROM mine").fetchall() == [(1,)]


def test_temp_table_made_in_the_middle_of_a_transaction(
    connection: Connection, other: Connection, counter: Counter
) -> None:
    counter.taken()
    connection.execute(INSERT, ("a",))
    connection.execute("CREATE TEMPORARY TABLE mine(x)")
    connection.commit()
    assert counter.taken() == ["pipeline"] * 3
    assert count(other) == 1
    connection.execute("INSERT INTO mine VALUES (1)")
    connection.execute(INSERT, ("b",))
    connection.rollback()
    assert connection.execute("SELECT count(*) FROM mine").fetchone() == (0,)
    assert count(other) == 1


def test_temp_tables_are_private(other: Connection, connection: Connection) -> None:
    other.execute("CREATE TEMP TABLE mine(x)")
    other.execute("INSERT INTO mine VALUES (1)")
    with pytest.raises(OperationalError, match="no such table"):
        connection.execute("SELECT * FROM mine")


def test_pragma_is_set_before_the_transaction_and_stays(
    connection: Connection,
) -> None:
    connection.execute("PRAGMA foreign_keys = OFF")
    assert not is_open(connection)
    assert connection.settings == {"PRAGMA FOREIGN_KEYS"}
    assert connection.execute("PRAGMA foreign_keys").fetchone() == (0,)
    connection.commit()
    assert connection.execute("PRAGMA foreign_keys").fetchone() == (0,)


def test_reading_pragmas_pin_nothing(other: Connection, counter: Counter) -> None:
    counter.taken()
    rows = other.execute("PRAGMA table_info('t')").fetchall()
    assert [row[1] for row in rows] == ["id", "v", "n"]
    other.execute("PRAGMA user_version = 3")
    assert counter.taken() == ["query", "query"]
    assert other.settings == frozenset()


def test_last_insert_rowid_function_sees_its_own_connection(
    other: Connection,
) -> None:
    other.execute("SELECT last_insert_rowid()")
    other.execute("INSERT INTO t(id, v) VALUES (77, 'x')")
    assert other.execute("SELECT last_insert_rowid()").fetchone() == (77,)


def test_executemany_is_one_request(
    connection: Connection, other: Connection, counter: Counter
) -> None:
    rows = [(str(number),) for number in range(500)]
    counter.taken()
    cursor = other.executemany(INSERT, rows)
    assert counter.taken() == ["query"]
    assert cursor.rowcount == 500
    cursor = connection.executemany("UPDATE t SET n = n + 1 WHERE v = ?", rows)
    connection.commit()
    assert counter.taken() == ["pipeline"] * 2
    assert cursor.rowcount == 500


def test_executemany_of_many_bytes_is_split_and_still_one_transaction(
    other: Connection, counter: Counter
) -> None:
    large = "x" * 1_500_000
    counter.taken()
    with pytest.raises(IntegrityError) as caught:
        other.executemany(INSERT, [(large + str(n),) for n in (1, 2, 3, 4, 5, 6, 7, 1)])
    assert caught.value.failed_index == 7
    assert len(counter.taken()) > 2
    assert count(other) == 0
    cursor = other.executemany(INSERT, [(large + str(n),) for n in range(8)])
    assert cursor.rowcount == 8
    assert count(other) == 8


@pytest.mark.parametrize("is_pinned", [False, True])
def test_executemany_in_autocommit_is_all_or_nothing(other: Connection, is_pinned: bool) -> None:
    if is_pinned:
        other.execute("CREATE TEMP TABLE pin(x)")
    with pytest.raises(IntegrityError) as caught:
        other.executemany(INSERT, [("a",), ("b",), ("a",), ("c",)])
    assert caught.value.failed_index == 2
    assert not is_open(other)
    assert count(other) == 0
    assert other.executemany(INSERT, [("a",), ("b",)]).rowcount == 2
    assert count(other) == 2


def test_executemany_failure_in_a_transaction_keeps_its_index(
    connection: Connection,
) -> None:
    connection.execute(INSERT, ("a",))
    with pytest.raises(IntegrityError) as caught:
        connection.executemany(INSERT, [("b",), ("a",)])
    assert caught.value.failed_index == 1
    connection.rollback()
    assert count(connection) == 0


def test_script_in_autocommit(other: Connection, counter: Counter) -> None:
    counter.taken()
    other.executescript("INSERT INTO t(v) VALUES ('a'); INSERT INTO t(v) VALUES ('b');")
    assert counter.taken() == ["query"]
    assert count(other) == 2


def test_script_with_its_own_transaction(other: Connection) -> None:
    other.executescript("BEGIN; INSERT INTO t(v) VALUES ('a'); COMMIT;")
    assert not is_open(other)
    with pytest.raises(IntegrityError):
        other.executescript(
            "BEGIN; INSERT INTO t(v) VALUES ('b'); INSERT INTO t(v) VALUES ('a'); COMMIT;"
        )
    assert is_open(other)
    other.rollback()
    assert count(other) == 1


def test_script_joins_the_transaction(connection: Connection, other: Connection) -> None:
    connection.executescript("CREATE TABLE u(x); INSERT INTO u VALUES (1)")
    connection.executescript("-- nothing")
    connection.rollback()
    with pytest.raises(OperationalError, match="no such table"):
        other.execute("SELECT * FROM u")


def test_a_lost_transaction_is_never_run_again(
    connection: Connection, other: Connection, counter: Counter
) -> None:
    connection.execute(INSERT, ("a",))
    counter.is_cut = True
    with pytest.raises(Error) as caught:
        connection.execute(INSERT, ("b",))
    assert caught.value.is_disconnect
    counter.is_cut = False
    with pytest.raises(StreamExpiredError) as lost:
        connection.execute(INSERT, ("c",))
    assert lost.value.is_disconnect
    assert lost.value.transaction_lost
    assert is_open(connection)
    connection.rollback()
    assert count(connection) == 0
    assert count(other) == 0


def test_lost_answer_to_commit(connection: Connection, counter: Counter) -> None:
    connection.execute(INSERT, ("a",))
    counter.is_cut = True
    with pytest.raises(OutcomeUnknownError):
        connection.commit()
    assert not is_open(connection)


def test_lost_answer_to_commit_on_a_pinned_stream(connection: Connection, counter: Counter) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(INSERT, ("a",))
    counter.is_cut = True
    with pytest.raises(OutcomeUnknownError):
        connection.commit()
    assert not is_open(connection)


def test_a_lost_stream_outside_a_transaction_is_invisible(
    connection: Connection, counter: Counter, quicsql_server: ReferenceServer
) -> None:
    connection.execute("PRAGMA foreign_keys = OFF")
    counter.is_cut = True
    with pytest.raises(Error):
        connection.ping()
    counter.is_cut = False
    assert connection.execute("PRAGMA foreign_keys").fetchone() == (0,)
    connection.execute(INSERT, ("a",))
    connection.commit()
    assert count(connection) == 1


def test_lost_temp_objects_are_told(connection: Connection, counter: Counter) -> None:
    connection.execute("CREATE TEMP TABLE mine(x)")
    connection.commit()
    counter.is_cut = True
    with pytest.raises(Error):
        connection.ping()
    counter.is_cut = False
    with pytest.raises(StreamExpiredError, match="TEMP objects") as caught:
        connection.execute("SELECT 1")
    assert not caught.value.transaction_lost
    assert count(connection) == 0


def test_a_commit_that_sqlite_refuses_is_rolled_back(
    connection: Connection, other: Connection
) -> None:
    other.executescript(
        "CREATE TABLE p(id INTEGER PRIMARY KEY);"
        "CREATE TABLE c(p REFERENCES p(id) DEFERRABLE INITIALLY DEFERRED)"
    )
    for pin in (False, True):
        if pin:
            connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("INSERT INTO c VALUES (5)")
        with pytest.raises(IntegrityError) as caught:
            connection.commit()
        assert caught.value.extended_code == 787
        assert not is_open(connection)
        assert other.execute("SELECT count(*) FROM c").fetchone() == (0,)


def test_ping_opens_no_transaction(connection: Connection, counter: Counter) -> None:
    counter.taken()
    connection.ping()
    assert counter.taken() == ["query"]
    assert not is_open(connection)


def test_an_index_that_another_connection_dropped_can_be_made_again(
    connection: Connection, other: Connection
) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    for _ in range(3):
        connection.execute("CREATE INDEX by_n ON t(n)")
        connection.commit()
        other.execute("DROP INDEX by_n")
