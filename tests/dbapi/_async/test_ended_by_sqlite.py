"""A transaction that SQLite ended by itself: nothing that follows may commit alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from quicsql_client import (
    AsyncClient,
    AsyncTransaction,
    Error,
    IntegrityError,
    RateLimitedError,
    TransactionEndedError,
)
from quicsql_dbapi._async.connection import AsyncConnection

from .conftest import AsyncCounter

INSERT = "INSERT INTO t(v) VALUES (?)"
OR_ROLLBACK = "INSERT OR ROLLBACK INTO t(v) VALUES (?)"
TRIGGER = (
    "CREATE TRIGGER guard BEFORE INSERT ON t WHEN new.v = 'bad' "
    "BEGIN SELECT RAISE(ROLLBACK, 'not this'); END"
)


def is_open(connection: AsyncConnection) -> bool:
    return connection.in_transaction


async def count(connection: AsyncConnection) -> object:
    row = await (await connection.execute("SELECT count(*) FROM t")).fetchone()
    assert row is not None
    return row[0]


async def by_conflict(connection: AsyncConnection) -> None:
    await connection.execute(OR_ROLLBACK, ("a",))


async def by_trigger(connection: AsyncConnection) -> None:
    await connection.execute(INSERT, ("bad",))


async def by_many(connection: AsyncConnection) -> None:
    await connection.executemany(OR_ROLLBACK, [("b",), ("a",), ("c",)])


async def by_script(connection: AsyncConnection) -> None:
    await connection.executescript("INSERT OR ROLLBACK INTO t(v) VALUES ('b'), ('a')")


Ending = Callable[[AsyncConnection], Awaitable[None]]


@pytest.mark.parametrize("is_pinned", [False, True], ids=["transaction", "pinned"])
@pytest.mark.parametrize("ending", [by_conflict, by_trigger, by_many, by_script])
async def test_later_statements_and_commit_raise_and_keep_nothing(
    connection: AsyncConnection, other: AsyncConnection, ending: Ending, is_pinned: bool
) -> None:
    await other.execute(TRIGGER)
    if is_pinned:
        await connection.execute("PRAGMA foreign_keys = ON")
    await connection.execute(INSERT, ("a",))
    with pytest.raises(IntegrityError):
        await ending(connection)
    for _ in range(2):
        with pytest.raises(TransactionEndedError, match="rolled it back") as caught:
            await connection.execute(INSERT, ("alone",))
        assert (caught.value.sql, caught.value.transaction_lost) == (INSERT, True)
    with pytest.raises(TransactionEndedError):
        await connection.executemany(INSERT, [("d",), ("e",)])
    with pytest.raises(TransactionEndedError):
        await connection.executescript("INSERT INTO t(v) VALUES ('f')")
    with pytest.raises(TransactionEndedError):
        await connection.execute("SAVEPOINT s")
    with pytest.raises(TransactionEndedError):
        await connection.commit()
    assert await count(other) == 0
    await connection.execute(INSERT, ("again",))
    await connection.commit()
    assert await count(other) == 1


@pytest.mark.parametrize("is_pinned", [False, True], ids=["transaction", "pinned"])
async def test_commit_right_after_it_raises_and_rollback_does_not(
    connection: AsyncConnection, other: AsyncConnection, counter: AsyncCounter, is_pinned: bool
) -> None:
    if is_pinned:
        await connection.execute("PRAGMA foreign_keys = ON")
    for end in (connection.commit, connection.rollback):
        await connection.execute(INSERT, ("a",))
        with pytest.raises(IntegrityError):
            await by_conflict(connection)
        assert is_open(connection)
        counter.taken()
        if end == connection.commit:
            with pytest.raises(TransactionEndedError):
                await end()
        else:
            await end()
        assert "query" not in counter.taken()
        assert not is_open(connection)
        assert await count(other) == 0


async def test_a_with_block_of_the_connection_raises(
    connection: AsyncConnection, other: AsyncConnection
) -> None:
    with pytest.raises(TransactionEndedError):
        await swallow(connection)
    assert await count(other) == 0


async def swallow(connection: AsyncConnection) -> None:
    async with connection:
        await connection.execute(INSERT, ("a",))
        with pytest.raises(IntegrityError):
            await by_conflict(connection)


async def test_the_clients_transaction_is_as_strict(
    client: AsyncClient, connection: AsyncConnection, counter: AsyncCounter, quicsql_db: str
) -> None:
    with pytest.raises(TransactionEndedError):
        await swallow_in_the_client(client.transaction(quicsql_db))
    assert await count(connection) == 0
    counter.taken()
    async with client.transaction(quicsql_db) as transaction:
        for value in ("a", "b", "c"):
            await transaction.execute(INSERT, (value,))
    assert counter.taken() == ["pipeline"] * 4


async def swallow_in_the_client(transaction: AsyncTransaction) -> None:
    async with transaction:
        await transaction.execute(INSERT, ("a",))
        with pytest.raises(IntegrityError):
            await transaction.execute(OR_ROLLBACK, ("a",))
        with pytest.raises(TransactionEndedError):
            await transaction.execute(INSERT, ("alone",))
        assert not transaction.is_active


async def test_a_text_that_commits_inside_a_batch_stops_the_batch(
    client: AsyncClient, connection: AsyncConnection, quicsql_db: str
) -> None:
    transaction = client.transaction(quicsql_db)
    with pytest.raises(TransactionEndedError) as caught:
        await transaction.batch([(INSERT, ["a"]), "COMMIT", (INSERT, ["b"])])
    assert caught.value.failed_index == 2
    await transaction.rollback()
    assert await count(connection) == 1


async def test_a_handed_over_transaction_goes_on(
    client: AsyncClient, connection: AsyncConnection, quicsql_db: str
) -> None:
    transaction = client.transaction(quicsql_db)
    await transaction.execute(INSERT, ("a",))
    async with transaction.hand_over() as stream:
        assert not await stream.is_autocommit()
        await stream.batch(["COMMIT"], in_transaction=True)
        with pytest.raises(TransactionEndedError):
            await stream.batch([(INSERT, ["b"])], in_transaction=True)
    assert await count(connection) == 1
    with pytest.raises(Error, match="has ended"):
        await transaction.execute(INSERT, ("c",))


async def test_begin_as_text_and_then_what_pins(
    other: AsyncConnection, connection: AsyncConnection, counter: AsyncCounter
) -> None:
    for end, expected in (("ROLLBACK", 0), ("COMMIT", 1)):
        await other.execute("BEGIN")
        counter.taken()
        await other.execute("CREATE TEMP TABLE mine(x)")
        assert counter.taken() == ["pipeline"]
        await other.execute(INSERT, ("a",))
        await other.execute(end)
        assert not other.in_transaction
        assert await count(connection) == expected
        await connection.rollback()


async def test_begin_as_text_that_never_ran_anything(
    other: AsyncConnection, counter: AsyncCounter
) -> None:
    await other.execute("CREATE TEMP TABLE mine(x)")
    counter.taken()
    for end in (other.commit, other.rollback):
        await other.execute("BEGIN")
        assert other.in_transaction
        await end()
        assert not other.in_transaction


@pytest.mark.parametrize("is_pinned", [False, True], ids=["transaction", "pinned"])
async def test_a_commit_that_was_refused_unrun_can_be_tried_again(
    connection: AsyncConnection, other: AsyncConnection, counter: AsyncCounter, is_pinned: bool
) -> None:
    if is_pinned:
        await connection.execute("PRAGMA foreign_keys = ON")
    await connection.execute(INSERT, ("a",))
    counter.refusals = 1
    with pytest.raises(RateLimitedError) as caught:
        await connection.commit()
    assert caught.value.is_retryable
    assert connection.in_transaction
    await connection.commit()
    assert await count(other) == 1
