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
from quicsql_dbapi._async.connection import AsyncConnection

from .conftest import AsyncCounter

INSERT = "INSERT INTO t(v) VALUES (?)"
COUNT = "SELECT count(*) FROM t"


def is_open(connection: AsyncConnection) -> bool:
    return connection.in_transaction


async def count(connection: AsyncConnection) -> int:
    row = await (await connection.execute(COUNT)).fetchone()
    assert row is not None
    assert isinstance(row[0], int)
    return row[0]


async def test_transaction_of_n_statements_is_n_plus_1_requests(
    connection: AsyncConnection, other: AsyncConnection, counter: AsyncCounter
) -> None:
    counter.taken()
    for value in ("a", "b", "c"):
        await connection.execute(INSERT, (value,))
    assert is_open(connection)
    await connection.commit()
    assert counter.taken() == ["pipeline"] * 4
    assert not is_open(connection)
    assert await count(other) == 3


async def test_rollback_undoes_ddl_too(connection: AsyncConnection, other: AsyncConnection) -> None:
    await connection.execute("CREATE TABLE gone(x)")
    await connection.execute("INSERT INTO gone VALUES (1)")
    await connection.rollback()
    with pytest.raises(OperationalError, match="no such table: gone"):
        await other.execute("SELECT * FROM gone")


async def test_nothing_is_asked_for_nothing(
    connection: AsyncConnection, counter: AsyncCounter
) -> None:
    counter.taken()
    await connection.commit()
    await connection.rollback()
    await connection.set_autocommit(True)
    await connection.set_autocommit(False)
    connection.cursor()
    assert counter.taken() == []


async def test_autocommit_statement_is_one_stateless_request(
    other: AsyncConnection, counter: AsyncCounter
) -> None:
    counter.taken()
    await other.execute(INSERT, ("a",))
    assert await count(other) == 1
    assert counter.taken() == ["query", "query"]
    assert not is_open(other)


async def test_a_reading_transaction_sees_one_snapshot(
    connection: AsyncConnection, other: AsyncConnection
) -> None:
    assert await count(connection) == 0
    await other.execute(INSERT, ("a",))
    assert await count(connection) == 0
    await connection.commit()
    assert await count(connection) == 1


async def test_setting_autocommit_commits(
    connection: AsyncConnection, other: AsyncConnection
) -> None:
    await connection.execute(INSERT, ("a",))
    assert await count(other) == 0
    await connection.set_autocommit(True)
    assert connection.autocommit
    assert await count(other) == 1


async def test_autocommit_is_a_bool(connection: AsyncConnection) -> None:
    with pytest.raises(ProgrammingError, match="True or False, not int"):
        await connection.set_autocommit(1)  # type: ignore[arg-type]


async def fail_in_a_block(connection: AsyncConnection) -> None:
    async with connection:
        await connection.execute(INSERT, ("b",))
        await connection.executemany(INSERT, [("c",), ("c",)])


async def test_with_block_commits_and_does_not_close(
    connection: AsyncConnection, other: AsyncConnection
) -> None:
    async with connection:
        await connection.execute(INSERT, ("a",))
    assert await count(other) == 1
    with pytest.raises(IntegrityError):
        await fail_in_a_block(connection)
    assert await count(other) == 1
    assert await count(connection) == 1


async def test_close_rolls_back(connection: AsyncConnection, other: AsyncConnection) -> None:
    await connection.execute(INSERT, ("a",))
    await connection.aclose()
    await connection.aclose()
    assert await count(other) == 0
    for call in (connection.commit, connection.rollback, connection.ping):
        with pytest.raises(ProgrammingError, match="closed"):
            await call()
    with pytest.raises(ProgrammingError, match="closed"):
        connection.cursor()


async def test_a_failed_statement_leaves_the_transaction_open(
    connection: AsyncConnection, other: AsyncConnection
) -> None:
    await connection.execute(INSERT, ("a",))
    with pytest.raises(IntegrityError) as caught:
        await connection.execute(INSERT, ("a",))
    assert caught.value.sqlite_errorcode == 2067
    assert caught.value.sqlite_errorname == "SQLITE_CONSTRAINT_UNIQUE"
    assert caught.value.sql == INSERT
    await connection.execute(INSERT, ("b",))
    await connection.commit()
    assert await count(other) == 2


async def test_a_failed_first_statement_still_began(connection: AsyncConnection) -> None:
    with pytest.raises(OperationalError, match="no such table"):
        await connection.execute("SELECT * FROM nowhere")
    assert is_open(connection)
    await connection.rollback()
    assert not is_open(connection)


@pytest.mark.parametrize("mode", ["", "DEFERRED", "IMMEDIATE", "exclusive"])
async def test_begin_and_commit_as_text_in_autocommit(
    other: AsyncConnection, connection: AsyncConnection, counter: AsyncCounter, mode: str
) -> None:
    counter.taken()
    await other.execute(f"BEGIN {mode} TRANSACTION")
    assert is_open(other)
    await other.execute(INSERT, ("a",))
    await other.execute("COMMIT")
    assert not is_open(other)
    assert set(counter.taken()) == {"pipeline"}
    assert await count(connection) == 1
    await connection.rollback()
    await other.execute("begin")
    await other.execute(INSERT, ("b",))
    await other.execute("ROLLBACK")
    assert await count(connection) == 1


async def test_begin_immediate_takes_the_lock_at_once(
    other: AsyncConnection, connection: AsyncConnection
) -> None:
    await connection.execute("PRAGMA busy_timeout = 1")
    await other.execute("BEGIN IMMEDIATE")
    with pytest.raises(OperationalError) as caught:
        await connection.execute("BEGIN IMMEDIATE")
    assert caught.value.code == 5
    assert caught.value.is_retryable
    assert not is_open(connection)
    await other.execute("ROLLBACK")
    await connection.execute("BEGIN IMMEDIATE")
    assert is_open(connection)


async def test_commit_text_acts_as_commit(
    connection: AsyncConnection, other: AsyncConnection
) -> None:
    await connection.execute(INSERT, ("a",))
    await connection.execute("commit")
    assert not is_open(connection)
    await connection.execute("COMMIT")
    await connection.execute(INSERT, ("b",))
    await connection.execute("rollback transaction")
    assert await count(other) == 1


async def test_commit_text_without_a_transaction(other: AsyncConnection) -> None:
    with pytest.raises(OperationalError, match="cannot commit - no transaction is active"):
        await other.execute("COMMIT")
    with pytest.raises(OperationalError, match="cannot rollback - no transaction is active"):
        await other.execute("ROLLBACK")


async def test_begin_in_a_transaction_is_sqlites_error(connection: AsyncConnection) -> None:
    await connection.execute(INSERT, ("a",))
    with pytest.raises(OperationalError, match="within a transaction"):
        await connection.execute("BEGIN")


async def test_savepoints(connection: AsyncConnection, other: AsyncConnection) -> None:
    await connection.execute(INSERT, ("a",))
    await connection.execute("SAVEPOINT s")
    await connection.execute(INSERT, ("b",))
    await connection.execute("ROLLBACK TO SAVEPOINT s")
    await connection.execute("RELEASE s")
    await connection.commit()
    assert await count(other) == 1


async def test_savepoint_in_autocommit_is_a_transaction(
    other: AsyncConnection, connection: AsyncConnection
) -> None:
    await other.execute("SAVEPOINT outer_one")
    await other.execute(INSERT, ("a",))
    await other.execute("SAVEPOINT inner_one")
    await other.execute("RELEASE inner_one")
    assert is_open(other)
    assert await count(connection) == 0
    await connection.rollback()
    await other.execute("RELEASE outer_one")
    assert not is_open(other)
    assert await count(connection) == 1


async def test_temp_table_lives_on_after_its_transaction(connection: AsyncConnection) -> None:
    await connection.execute("CREATE TEMP TABLE mine(x)")
    await connection.execute("INSERT INTO mine VALUES (1)")
    await connection.commit()
    assert await (await connection.execute("SELECT x FROM mine")).fetchall() == [(1,)]
    await connection.execute("INSERT INTO mine VALUES (2)")
    await connection.rollback()
    assert await (await connection.execute("SELECT x FROM mine")).fetchall() == [(1,)]


async def test_temp_table_made_in_the_middle_of_a_transaction(
    connection: AsyncConnection, other: AsyncConnection, counter: AsyncCounter
) -> None:
    counter.taken()
    await connection.execute(INSERT, ("a",))
    await connection.execute("CREATE TEMPORARY TABLE mine(x)")
    await connection.commit()
    assert counter.taken() == ["pipeline"] * 3
    assert await count(other) == 1
    await connection.execute("INSERT INTO mine VALUES (1)")
    await connection.execute(INSERT, ("b",))
    await connection.rollback()
    assert await (await connection.execute("SELECT count(*) FROM mine")).fetchone() == (0,)
    assert await count(other) == 1


async def test_temp_tables_are_private(other: AsyncConnection, connection: AsyncConnection) -> None:
    await other.execute("CREATE TEMP TABLE mine(x)")
    await other.execute("INSERT INTO mine VALUES (1)")
    with pytest.raises(OperationalError, match="no such table"):
        await connection.execute("SELECT * FROM mine")


async def test_pragma_is_set_before_the_transaction_and_stays(
    connection: AsyncConnection,
) -> None:
    await connection.execute("PRAGMA foreign_keys = OFF")
    assert not is_open(connection)
    assert connection.settings == {"PRAGMA FOREIGN_KEYS"}
    assert await (await connection.execute("PRAGMA foreign_keys")).fetchone() == (0,)
    await connection.commit()
    assert await (await connection.execute("PRAGMA foreign_keys")).fetchone() == (0,)


async def test_reading_pragmas_pin_nothing(other: AsyncConnection, counter: AsyncCounter) -> None:
    counter.taken()
    rows = await (await other.execute("PRAGMA table_info('t')")).fetchall()
    assert [row[1] for row in rows] == ["id", "v", "n"]
    await other.execute("PRAGMA user_version = 3")
    assert counter.taken() == ["query", "query"]
    assert other.settings == frozenset()


async def test_last_insert_rowid_function_sees_its_own_connection(
    other: AsyncConnection,
) -> None:
    await other.execute("SELECT last_insert_rowid()")
    await other.execute("INSERT INTO t(id, v) VALUES (77, 'x')")
    assert await (await other.execute("SELECT last_insert_rowid()")).fetchone() == (77,)


async def test_executemany_is_one_request(
    connection: AsyncConnection, other: AsyncConnection, counter: AsyncCounter
) -> None:
    rows = [(str(number),) for number in range(500)]
    counter.taken()
    cursor = await other.executemany(INSERT, rows)
    assert counter.taken() == ["query"]
    assert cursor.rowcount == 500
    cursor = await connection.executemany("UPDATE t SET n = n + 1 WHERE v = ?", rows)
    await connection.commit()
    assert counter.taken() == ["pipeline"] * 2
    assert cursor.rowcount == 500


async def test_executemany_of_many_bytes_is_split_and_still_one_transaction(
    other: AsyncConnection, counter: AsyncCounter
) -> None:
    large = "x" * 1_500_000
    counter.taken()
    with pytest.raises(IntegrityError) as caught:
        await other.executemany(INSERT, [(large + str(n),) for n in (1, 2, 3, 4, 5, 6, 7, 1)])
    assert caught.value.failed_index == 7
    assert len(counter.taken()) > 2
    assert await count(other) == 0
    cursor = await other.executemany(INSERT, [(large + str(n),) for n in range(8)])
    assert cursor.rowcount == 8
    assert await count(other) == 8


@pytest.mark.parametrize("is_pinned", [False, True])
async def test_executemany_in_autocommit_is_all_or_nothing(
    other: AsyncConnection, is_pinned: bool
) -> None:
    if is_pinned:
        await other.execute("CREATE TEMP TABLE pin(x)")
    with pytest.raises(IntegrityError) as caught:
        await other.executemany(INSERT, [("a",), ("b",), ("a",), ("c",)])
    assert caught.value.failed_index == 2
    assert not is_open(other)
    assert await count(other) == 0
    assert (await other.executemany(INSERT, [("a",), ("b",)])).rowcount == 2
    assert await count(other) == 2


async def test_executemany_failure_in_a_transaction_keeps_its_index(
    connection: AsyncConnection,
) -> None:
    await connection.execute(INSERT, ("a",))
    with pytest.raises(IntegrityError) as caught:
        await connection.executemany(INSERT, [("b",), ("a",)])
    assert caught.value.failed_index == 1
    await connection.rollback()
    assert await count(connection) == 0


async def test_script_in_autocommit(other: AsyncConnection, counter: AsyncCounter) -> None:
    counter.taken()
    await other.executescript("INSERT INTO t(v) VALUES ('a'); INSERT INTO t(v) VALUES ('b');")
    assert counter.taken() == ["query"]
    assert await count(other) == 2


async def test_script_with_its_own_transaction(other: AsyncConnection) -> None:
    await other.executescript("BEGIN; INSERT INTO t(v) VALUES ('a'); COMMIT;")
    assert not is_open(other)
    with pytest.raises(IntegrityError):
        await other.executescript(
            "BEGIN; INSERT INTO t(v) VALUES ('b'); INSERT INTO t(v) VALUES ('a'); COMMIT;"
        )
    assert is_open(other)
    await other.rollback()
    assert await count(other) == 1


async def test_script_joins_the_transaction(
    connection: AsyncConnection, other: AsyncConnection
) -> None:
    await connection.executescript("CREATE TABLE u(x); INSERT INTO u VALUES (1)")
    await connection.executescript("-- nothing")
    await connection.rollback()
    with pytest.raises(OperationalError, match="no such table"):
        await other.execute("SELECT * FROM u")


async def test_a_lost_transaction_is_never_run_again(
    connection: AsyncConnection, other: AsyncConnection, counter: AsyncCounter
) -> None:
    await connection.execute(INSERT, ("a",))
    counter.is_cut = True
    with pytest.raises(Error) as caught:
        await connection.execute(INSERT, ("b",))
    assert caught.value.is_disconnect
    counter.is_cut = False
    with pytest.raises(StreamExpiredError) as lost:
        await connection.execute(INSERT, ("c",))
    assert lost.value.is_disconnect
    assert lost.value.transaction_lost
    assert is_open(connection)
    await connection.rollback()
    assert await count(connection) == 0
    assert await count(other) == 0


async def test_lost_answer_to_commit(connection: AsyncConnection, counter: AsyncCounter) -> None:
    await connection.execute(INSERT, ("a",))
    counter.is_cut = True
    with pytest.raises(OutcomeUnknownError):
        await connection.commit()
    assert not is_open(connection)


async def test_lost_answer_to_commit_on_a_pinned_stream(
    connection: AsyncConnection, counter: AsyncCounter
) -> None:
    await connection.execute("PRAGMA foreign_keys = ON")
    await connection.execute(INSERT, ("a",))
    counter.is_cut = True
    with pytest.raises(OutcomeUnknownError):
        await connection.commit()
    assert not is_open(connection)


async def test_a_lost_stream_outside_a_transaction_is_invisible(
    connection: AsyncConnection, counter: AsyncCounter, quicsql_server: ReferenceServer
) -> None:
    await connection.execute("PRAGMA foreign_keys = OFF")
    counter.is_cut = True
    with pytest.raises(Error):
        await connection.ping()
    counter.is_cut = False
    assert await (await connection.execute("PRAGMA foreign_keys")).fetchone() == (0,)
    await connection.execute(INSERT, ("a",))
    await connection.commit()
    assert await count(connection) == 1


async def test_lost_temp_objects_are_told(
    connection: AsyncConnection, counter: AsyncCounter
) -> None:
    await connection.execute("CREATE TEMP TABLE mine(x)")
    await connection.commit()
    counter.is_cut = True
    with pytest.raises(Error):
        await connection.ping()
    counter.is_cut = False
    with pytest.raises(StreamExpiredError, match="TEMP objects") as caught:
        await connection.execute("SELECT 1")
    assert not caught.value.transaction_lost
    assert await count(connection) == 0


async def test_a_commit_that_sqlite_refuses_is_rolled_back(
    connection: AsyncConnection, other: AsyncConnection
) -> None:
    await other.executescript(
        "CREATE TABLE p(id INTEGER PRIMARY KEY);"
        "CREATE TABLE c(p REFERENCES p(id) DEFERRABLE INITIALLY DEFERRED)"
    )
    for pin in (False, True):
        if pin:
            await connection.execute("PRAGMA foreign_keys = ON")
        await connection.execute("INSERT INTO c VALUES (5)")
        with pytest.raises(IntegrityError) as caught:
            await connection.commit()
        assert caught.value.extended_code == 787
        assert not is_open(connection)
        assert await (await other.execute("SELECT count(*) FROM c")).fetchone() == (0,)


async def test_ping_opens_no_transaction(
    connection: AsyncConnection, counter: AsyncCounter
) -> None:
    counter.taken()
    await connection.ping()
    assert counter.taken() == ["query"]
    assert not is_open(connection)


async def test_an_index_that_another_connection_dropped_can_be_made_again(
    connection: AsyncConnection, other: AsyncConnection
) -> None:
    await connection.execute("PRAGMA foreign_keys = ON")
    for _ in range(3):
        await connection.execute("CREATE INDEX by_n ON t(n)")
        await connection.commit()
        await other.execute("DROP INDEX by_n")
