# Made from tests/dbapi/_async/test_ended_by_sqlite.py
# by tools/async_to_sync.py: do not edit, change the source.
"""A transaction that SQLite ended by itself: nothing that follows may commit alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from quicsql_client import (
    Client,
    Error,
    IntegrityError,
    RateLimitedError,
    Transaction,
    TransactionEndedError,
)
from quicsql_dbapi._sync.connection import Connection

from .conftest import Counter

INSERT = "INSERT INTO t(v) VALUES (?)"
OR_ROLLBACK = "INSERT OR ROLLBACK INTO t(v) VALUES (?)"
TRIGGER = (
    "CREATE TRIGGER guard BEFORE INSERT ON t WHEN new.v = 'bad' "
    "BEGIN SELECT RAISE(ROLLBACK, 'not this'); END"
)


def is_open(connection: Connection) -> bool:
    return connection.in_transaction


def count(connection: Connection) -> object:
    row = connection.execute("SELECT count(*) FROM t").fetchone()
    assert row is not None
    return row[0]


def by_conflict(connection: Connection) -> None:
    connection.execute(OR_ROLLBACK, ("a",))


def by_trigger(connection: Connection) -> None:
    connection.execute(INSERT, ("bad",))


def by_many(connection: Connection) -> None:
    connection.executemany(OR_ROLLBACK, [("b",), ("a",), ("c",)])


def by_script(connection: Connection) -> None:
    connection.executescript("INSERT OR ROLLBACK INTO t(v) VALUES ('b'), ('a')")


Ending = Callable[[Connection], None]


@pytest.mark.parametrize("is_pinned", [False, True], ids=["transaction", "pinned"])
@pytest.mark.parametrize("ending", [by_conflict, by_trigger, by_many, by_script])
def test_later_statements_and_commit_raise_and_keep_nothing(
    connection: Connection, other: Connection, ending: Ending, is_pinned: bool
) -> None:
    other.execute(TRIGGER)
    if is_pinned:
        connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(INSERT, ("a",))
    with pytest.raises(IntegrityError):
        ending(connection)
    for _ in range(2):
        with pytest.raises(TransactionEndedError, match="rolled it back") as caught:
            connection.execute(INSERT, ("alone",))
        assert (caught.value.sql, caught.value.transaction_lost) == (INSERT, True)
    with pytest.raises(TransactionEndedError):
        connection.executemany(INSERT, [("d",), ("e",)])
    with pytest.raises(TransactionEndedError):
        connection.executescript("INSERT INTO t(v) VALUES ('f')")
    with pytest.raises(TransactionEndedError):
        connection.execute("SAVEPOINT s")
    with pytest.raises(TransactionEndedError):
        connection.commit()
    assert count(other) == 0
    connection.execute(INSERT, ("again",))
    connection.commit()
    assert count(other) == 1


@pytest.mark.parametrize("is_pinned", [False, True], ids=["transaction", "pinned"])
def test_commit_right_after_it_raises_and_rollback_does_not(
    connection: Connection, other: Connection, counter: Counter, is_pinned: bool
) -> None:
    if is_pinned:
        connection.execute("PRAGMA foreign_keys = ON")
    for end in (connection.commit, connection.rollback):
        connection.execute(INSERT, ("a",))
        with pytest.raises(IntegrityError):
            by_conflict(connection)
        assert is_open(connection)
        counter.taken()
        if end == connection.commit:
            with pytest.raises(TransactionEndedError):
                end()
        else:
            end()
        assert "query" not in counter.taken()
        assert not is_open(connection)
        assert count(other) == 0


def test_a_with_block_of_the_connection_raises(connection: Connection, other: Connection) -> None:
    with pytest.raises(TransactionEndedError):
        swallow(connection)
    assert count(other) == 0


def swallow(connection: Connection) -> None:
    with connection:
        connection.execute(INSERT, ("a",))
        with pytest.raises(IntegrityError):
            by_conflict(connection)


def test_the_clients_transaction_is_as_strict(
    client: Client, connection: Connection, counter: Counter, quicsql_db: str
) -> None:
    with pytest.raises(TransactionEndedError):
        swallow_in_the_client(client.transaction(quicsql_db))
    assert count(connection) == 0
    counter.taken()
    with client.transaction(quicsql_db) as transaction:
        for value in ("a", "b", "c"):
            transaction.execute(INSERT, (value,))
    assert counter.taken() == ["pipeline"] * 4


def swallow_in_the_client(transaction: Transaction) -> None:
    with transaction:
        transaction.execute(INSERT, ("a",))
        with pytest.raises(IntegrityError):
            transaction.execute(OR_ROLLBACK, ("a",))
        with pytest.raises(TransactionEndedError):
            transaction.execute(INSERT, ("alone",))
        assert not transaction.is_active


def test_a_text_that_commits_inside_a_batch_stops_the_batch(
    client: Client, connection: Connection, quicsql_db: str
) -> None:
    transaction = client.transaction(quicsql_db)
    with pytest.raises(TransactionEndedError) as caught:
        transaction.batch([(INSERT, ["a"]), "COMMIT", (INSERT, ["b"])])
    assert caught.value.failed_index == 2
    transaction.rollback()
    assert count(connection) == 1


def test_a_handed_over_transaction_goes_on(
    client: Client, connection: Connection, quicsql_db: str
) -> None:
    transaction = client.transaction(quicsql_db)
    transaction.execute(INSERT, ("a",))
    with transaction.hand_over() as stream:
        assert not stream.is_autocommit()
        stream.batch(["COMMIT"], in_transaction=True)
        with pytest.raises(TransactionEndedError):
            stream.batch([(INSERT, ["b"])], in_transaction=True)
    assert count(connection) == 1
    with pytest.raises(Error, match="has ended"):
        transaction.execute(INSERT, ("c",))


def test_begin_as_text_and_then_what_pins(
    other: Connection, connection: Connection, counter: Counter
) -> None:
    for end, expected in (("ROLLBACK", 0), ("COMMIT", 1)):
        other.execute("BEGIN")
        counter.taken()
        other.execute("CREATE TEMP TABLE mine(x)")
        assert counter.taken() == ["pipeline"]
        other.execute(INSERT, ("a",))
        other.execute(end)
        assert not other.in_transaction
        assert count(connection) == expected
        connection.rollback()


def test_begin_as_text_that_never_ran_anything(other: Connection, counter: Counter) -> None:
    other.execute("CREATE TEMP TABLE mine(x)")
    counter.taken()
    for end in (other.commit, other.rollback):
        other.execute("BEGIN")
        assert other.in_transaction
        end()
        assert not other.in_transaction


@pytest.mark.parametrize("is_pinned", [False, True], ids=["transaction", "pinned"])
def test_a_commit_that_was_refused_unrun_can_be_tried_again(
    connection: Connection, other: Connection, counter: Counter, is_pinned: bool
) -> None:
    if is_pinned:
        connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(INSERT, ("a",))
    counter.refusals = 1
    with pytest.raises(RateLimitedError) as caught:
        connection.commit()
    assert caught.value.is_retryable
    assert connection.in_transaction
    connection.commit()
    assert count(other) == 1
