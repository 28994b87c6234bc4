"""Statements and batches at their borders, through the application.

Odd-cases 153-157, 159, 160, 162, 163, 193.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from quicsql_client.server.config import (
    AuthConfig,
    Config,
    DatabaseConfig,
    LimitsConfig,
    PoolConfig,
)
from tests.fix_application import Answer, Client, Running, Start
from tests.fix_principals import by_token, grants, memory, stored

READ_ONLY = "forbidden: read-only (write not permitted)"
CLOSE = {"type": "close"}
GRANTS = grants(tok="read-write", ro="read-only")
CONFIG = Config(
    auth=AuthConfig(principals=(by_token("tok", "tok-token"), by_token("ro", "ro-token"))),
    databases=(
        stored("app", *GRANTS),
        stored("locked", *GRANTS, pool=PoolConfig(tx_lock="immediate")),
    ),
)


@pytest.fixture
async def running(start: Start) -> AsyncIterator[Running]:
    async with start(CONFIG) as started:
        yield started


@pytest.fixture
def client(running: Running) -> Client:
    return running.client("tok-token")


@pytest.fixture
def reader(running: Running) -> Client:
    return running.client("ro-token")


async def batch(client: Client, *texts: str, db: str = "app") -> Answer:
    return await client.post(f"/{db}/query", {"statements": [{"sql": sql} for sql in texts]})


async def rows(client: Client, sql: str, *args: Any, db: str = "app") -> Any:
    answer = await client.query(sql, *args, db=db)
    assert answer.status == 200, answer.body
    return answer.json()["rows"]


@pytest.mark.parametrize(
    ("sql", "columns", "cells"),
    [
        ("SELECT(1)", ["(1)"], [[1]]),  # 154
        ("SELECT/**/1", [], []),  # 155: run as an exec
        (";;SELECT 1", [], []),  # 155
        ("SELECT 1;", ["1"], [[1]]),  # 155
        ("SELECT 1;;-- x", ["1"], [[1]]),  # 155
        ("INSERT INTO t VALUES(2); SELECT a FROM t", [], []),  # 156: an exec
        ("SELECT 1 AS b; INSERT INTO t VALUES(2)", ["b"], [[1]]),  # 156: a query
    ],
)
async def test_the_first_word_says_whether_rows_come_back(
    client: Client, sql: str, columns: list[str], cells: list[Any]
) -> None:
    await client.query("CREATE TABLE t(a)")
    document = (await client.query(sql)).json()
    assert (document["columns"], document["rows"]) == (columns, cells)
    inserted = [[2]] if "INSERT" in sql else []
    assert await rows(client, "SELECT a FROM t") == inserted


async def test_a_parenthesis_begins_no_statement(client: Client) -> None:
    """Odd-case 154."""
    error = (await client.query("(SELECT 1)")).json()["error"]
    assert error == {"message": 'near "(": syntax error', "code": 1, "extended_code": 1}


async def test_a_query_with_an_insert_behind_it_reports_no_counters(client: Client) -> None:
    """Odd-case 156."""
    await client.query("CREATE TABLE t(a)")
    document = (await client.query("SELECT 1; INSERT INTO t VALUES(2)")).json()
    assert (document["rows_affected"], document["last_insert_id"]) == (0, 0)


async def test_a_read_only_batch_needs_no_lock_unless_the_pool_takes_one(reader: Client) -> None:
    """Odd-case 153."""
    refused = await batch(reader, "SELECT 1", db="locked")
    assert refused.status == 200
    assert refused.json().keys() == {"error"}
    assert refused.json()["error"]["code"] == 8
    (result,) = (await batch(reader, "SELECT 1")).json()["results"]
    assert result["rows"] == [[1]]


@pytest.mark.parametrize(
    ("sql", "status", "is_error"),
    [
        ("EXPLAIN INSERT INTO t VALUES(1)", 403, True),
        ("PRAGMA query_only=1", 200, False),
        ("PRAGMA cache_size=100", 200, False),
        ("PRAGMA foreign_keys=off", 200, False),
        ("SAVEPOINT a", 200, True),  # upstream: no error; no transaction control on /query here
    ],
)
async def test_what_a_read_only_principal_may_set(
    client: Client, reader: Client, sql: str, status: int, is_error: bool
) -> None:
    """Odd-case 157."""
    await client.query("CREATE TABLE t(a)")
    answer = await reader.query(sql)
    assert (answer.status, "error" in answer.json()) == (status, is_error)
    assert (await client.query("INSERT INTO t VALUES(1)")).json()["rows_affected"] == 1


@pytest.mark.parametrize(("ending", "kept"), [("COMMIT", [[1]]), ("ROLLBACK", [])])
async def test_a_batch_that_ends_its_own_transaction(
    client: Client, ending: str, kept: list[Any]
) -> None:
    """Odd-case 159."""
    await client.query("CREATE TABLE t(a)")
    answer = await batch(client, "INSERT INTO t VALUES(1)", ending)
    assert answer.status == 200
    assert answer.json() == {
        "error": {
            "message": "cannot commit - no transaction is active",
            "code": 1,
            "extended_code": 1,
        }
    }
    assert await rows(client, "SELECT a FROM t") == kept
    assert (await batch(client, "INSERT INTO t VALUES(2)")).json()["results"]


async def test_a_deferred_foreign_key_fails_at_the_end_of_a_batch(client: Client) -> None:
    """Odd-case 160."""
    await client.query("CREATE TABLE p(a INTEGER PRIMARY KEY)")
    await client.query("CREATE TABLE c(a REFERENCES p(a) DEFERRABLE INITIALLY DEFERRED)")
    document = (await batch(client, "INSERT INTO c VALUES(9)")).json()
    assert document.keys() == {"error"}
    assert (document["error"]["code"], document["error"]["extended_code"]) == (19, 787)
    assert await rows(client, "SELECT count(*) FROM c") == [[0]]


@pytest.mark.parametrize(
    "database",
    [memory("app"), stored("app", pool=PoolConfig(max_open=1))],
    ids=["memory", "max_open: 1"],
)
async def test_a_stream_on_the_only_connection_keeps_everyone_waiting(
    start: Start, database: DatabaseConfig
) -> None:
    """Odd-case 162."""
    config = Config(databases=(database,), limits=LimitsConfig(statement_timeout_s=0.1))
    async with start(config) as running:
        client = running.client()
        baton = (await client.pipeline()).json()["baton"]
        waited = await client.query("SELECT 1")
        assert (waited.status, waited.message) == (504, "statement timed out")
        gone = asyncio.Event()
        second = asyncio.create_task(client.post("/app/v3/pipeline", {}, gone=gone))
        await client.query("SELECT 1")  # takes the statement timeout, and the second still waits
        assert not second.done()
        gone.set()
        assert (await second).status == 504
        assert (await client.pipeline(CLOSE, baton=baton)).status == 200
        assert await rows(client, "SELECT 1") == [[1]]


async def test_a_head_request_is_no_get(client: Client) -> None:
    """Odd-case 163."""
    for path in ("/app/changes", "/app/export", "/app/backup"):
        assert (await client.send("HEAD", path)).status == 405


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"pragmas_preset": "recommended"}, ["wal", 5000, 1, 2]),
        (
            {
                "pragmas_preset": "recommended",
                "pragmas": {"foreign_keys": 0, "busy_timeout": 123},
                "pool": PoolConfig(busy_timeout_s=0.456),
            },
            ["wal", 456, 0, 2],
        ),
        ({}, ["delete", 0, 0, 2]),
    ],
)
async def test_the_pragmas_of_a_configuration(
    start: Start, settings: dict[str, Any], told: list[Any]
) -> None:
    """Odd-case 193, on stateless connections and on streams."""
    database = DatabaseConfig(name="app", backend="file", path="app.db", **settings)
    names = ("journal_mode", "busy_timeout", "foreign_keys", "synchronous")
    async with start(Config(databases=(database,))) as running:
        client = running.client()
        assert [(await rows(client, f"PRAGMA {name}"))[0][0] for name in names] == told
        asked = [{"type": "execute", "stmt": {"sql": f"PRAGMA {name}"}} for name in names]
        answer = await client.pipeline(*asked, CLOSE)
        results = [one["response"].get("result") for one in answer.json()["results"][:-1]]
        assert [one["rows"][0][0]["value"] for one in results] == [str(value) for value in told]
