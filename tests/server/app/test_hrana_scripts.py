"""Scripts, descriptions, stored texts and captures on a stream.

Odd-cases 71, 72, 80, 90, 95, 152.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from quicsql_client.server.api import conversation
from quicsql_client.server.config import AuthConfig, Config, LimitsConfig
from tests.fix_application import Client, Running, Start
from tests.fix_principals import by_token, grants, memory, stored

GRANTS = grants(tok="read-write", ro="read-only")
CONFIG = Config(
    auth=AuthConfig(principals=tuple(by_token(name, f"{name}-token") for name in ("tok", "ro"))),
    databases=(stored("app", *GRANTS), memory("mem", *GRANTS)),
)
ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c"
CLOSE = {"type": "close"}
TAKE = {"type": "session_changeset"}


@pytest.fixture
async def running(start: Start) -> AsyncIterator[Running]:
    async with start(CONFIG) as started:
        yield started


@pytest.fixture
def client(running: Running) -> Client:
    return running.client("tok-token")


def execute(sql: str | None = None, **members: Any) -> dict[str, Any]:
    return {"type": "execute", "stmt": {"sql": sql, **members}}


def sequence(sql: str) -> dict[str, Any]:
    return {"type": "sequence", "sql": sql}


def describe(sql: str) -> dict[str, Any]:
    return {"type": "describe", "sql": sql}


def store(sql_id: int, sql: str) -> dict[str, Any]:
    return {"type": "store_sql", "sql_id": sql_id, "sql": sql}


def begin_capture(*tables: str) -> dict[str, Any]:
    return {"type": "session_start", "tables": tables}


async def ask(client: Client, *requests: Any, db: str = "app") -> list[Any]:
    """The response, or the error, of each request on a stream of its own."""
    answer = await client.pipeline(*requests, CLOSE, db=db)
    assert answer.status == 200, answer.body
    told = [result.get("response") or result["error"] for result in answer.json()["results"]]
    assert told.pop() == {"type": "close"}
    return told


async def rows(client: Client, sql: str, db: str = "app") -> Any:
    return (await client.query(sql, db=db)).json()["rows"]


def error(message: str, code: str | None = None) -> dict[str, Any]:
    return {"message": message, "code": code}


# Scripts.


async def test_a_script_discards_its_rows(client: Client) -> None:
    script = "CREATE TABLE t(a); SELECT 1; INSERT INTO t VALUES(1),(2); -- end"
    assert await ask(client, sequence(script), sequence("")) == [{"type": "sequence"}] * 2
    assert await rows(client, "SELECT count(*) FROM t") == [[2]]


async def test_a_script_that_fails_says_why_and_keeps_what_ran(client: Client) -> None:
    script = "CREATE TABLE t(a UNIQUE); INSERT INTO t VALUES(1); INSERT INTO t VALUES(1);"
    (failed, _) = await ask(client, sequence(script + "INSERT INTO t VALUES(2)"), sequence("x"))
    assert failed == error("UNIQUE constraint failed: t.a", "SQLITE_CONSTRAINT_UNIQUE")
    assert await rows(client, "SELECT a FROM t") == [[1]]


async def test_a_script_may_not_attach(client: Client) -> None:  # 80, where upstream masks the text
    for script in ("SELECT 1; ATTACH ':memory:' AS x", "ATTACH ':memory:' AS x"):
        (failed,) = await ask(client, sequence(script))
        assert failed["code"] == "SQLITE_AUTH"


async def test_a_script_on_a_read_only_stream(running: Running, client: Client) -> None:
    await client.query("CREATE TABLE t(a)")
    (failed,) = await ask(running.client("ro-token"), sequence("SELECT 1; INSERT INTO t VALUES(1)"))
    assert failed["code"] == "SQLITE_AUTH"


async def test_a_script_opens_a_transaction_of_the_stream(client: Client) -> None:
    await client.query("CREATE TABLE t(a)")
    script = sequence("BEGIN; INSERT INTO t VALUES(1)")
    told = await ask(client, script, {"type": "get_autocommit"})
    assert told[1]["is_autocommit"] is False
    assert await rows(client, "SELECT count(*) FROM t") == [[0]], "close has rolled back"


async def test_a_script_that_takes_too_long(start: Start) -> None:
    config = Config(databases=(memory("app"),), limits=LimitsConfig(statement_timeout_s=0.15))
    async with start(config) as running:
        (failed,) = await ask(running.client(), sequence(f"SELECT 1; {ENDLESS}"))
        assert failed == error("statement timed out")


# Descriptions.


async def described(client: Client, sql: str) -> Any:
    (response,) = await ask(client, describe(sql))
    assert response["type"] == "describe"
    return response["result"]


async def test_a_query_is_described(client: Client) -> None:  # 71
    await client.query("CREATE TABLE t(a INTEGER, b TEXT)")
    assert await described(client, "SELECT a,b FROM t WHERE a > ? AND b = :name") == {
        "params": [{"name": None}, {"name": ":name"}],
        "cols": [{"name": "a", "decltype": "INTEGER"}, {"name": "b", "decltype": "TEXT"}],
        "is_explain": False,
        "is_readonly": True,
    }


async def test_a_write_is_described_and_not_run(client: Client) -> None:  # 72
    await client.query("CREATE TABLE t(a INTEGER)")
    assert await described(client, "INSERT INTO t VALUES(1)") == {
        "params": [],
        "cols": [],
        "is_explain": False,
        "is_readonly": False,
    }
    assert await rows(client, "SELECT count(*) FROM t") == [[0]]


@pytest.mark.parametrize(
    ("sql", "params"),
    [
        ("SELECT ?3, ?", [None, None, "?3", None]),
        ("SELECT @a, $b, :c, @a", ["@a", "$b", ":c"]),
        ("", []),
        ("SELECT 1; SELECT ?", []),
    ],
)
async def test_parameters_keep_their_signs(
    client: Client, sql: str, params: list[str | None]
) -> None:
    assert (await described(client, sql))["params"] == [{"name": name} for name in params]


@pytest.mark.parametrize(
    ("sql", "is_explain", "is_readonly"),
    [
        ("EXPLAIN SELECT 1", True, True),  # 72
        ("EXPLAIN QUERY PLAN SELECT 1", True, True),
        ("BEGIN", False, True),
        ("-- nothing", False, True),
        ("PRAGMA journal_mode=wal", False, False),
        ("CREATE TABLE x(a)", False, False),
    ],
)
async def test_what_a_statement_is(
    client: Client, sql: str, is_explain: bool, is_readonly: bool
) -> None:
    told = await described(client, sql)
    assert (told["is_explain"], told["is_readonly"]) == (is_explain, is_readonly)


async def test_what_does_not_prepare(running: Running, client: Client) -> None:  # 72
    failed, denied, none = await ask(
        client, describe("SELEC"), describe("ATTACH 'x' AS y"), {"type": "describe"}
    )
    assert failed["code"] == "SQLITE_ERROR"
    assert "syntax error" in failed["message"]
    assert denied["code"] == "SQLITE_AUTH"
    assert none == error("request has neither sql nor sql_id")
    (denied,) = await ask(running.client("ro-token"), describe("CREATE TABLE x(a)"))
    assert denied["code"] == "SQLITE_AUTH"


# Stored texts.


async def test_a_stored_text_stands_for_sql_everywhere(client: Client) -> None:
    told = await ask(
        client,
        store(-1, "CREATE TABLE t(a); INSERT INTO t VALUES(5)"),
        {"type": "sequence", "sql_id": -1},
        store(0, "SELECT a FROM t WHERE a > ?"),
        {"type": "describe", "sql_id": 0},
        execute(sql_id=0, args=[{"type": "integer", "value": "1"}]),
        {"type": "batch", "batch": {"steps": [{"stmt": {"sql_id": 9}}]}},
        execute("SELECT 'own'", sql_id=0),
        store(1, ""),
        execute(sql_id=1),
    )
    assert told[3]["result"]["params"] == [{"name": None}]
    assert told[4]["result"]["rows"] == [[{"type": "integer", "value": "5"}]]
    assert told[5]["result"]["step_errors"] == [error("unknown sql_id")]
    assert told[6]["result"]["rows"] == [[{"type": "text", "value": "own"}]]
    assert told[8]["result"]["rows"] == []


async def test_an_id_is_used_once_until_it_is_closed(client: Client) -> None:  # 90
    forget = {"type": "close_sql", "sql_id": 7}
    told = await ask(client, forget, store(7, "x"), store(7, "y"), forget, store(7, "SELECT 1"))
    done = {"type": "close_sql"}
    stored_well = {"type": "store_sql"}
    assert told == [done, stored_well, error("sql_id already in use"), done, stored_well]


@pytest.mark.parametrize("members", [{}, {"sql": "x"}, {"sql_id": 1}, {"sql_id": 1, "sql": None}])
async def test_what_is_stored_needs_an_id_and_a_text(client: Client, members: Any) -> None:
    told = await ask(client, {"type": "store_sql", **members}, {"type": "close_sql"})
    assert told == [error("store_sql requires sql_id and sql"), {"type": "close_sql"}]


async def test_texts_live_as_long_as_their_stream(client: Client) -> None:
    baton = (await client.pipeline(store(1, "SELECT 1"))).json()["baton"]
    (elsewhere,) = await ask(client, execute(sql_id=1))
    assert elsewhere == error("unknown sql_id")
    again = await client.pipeline(execute(sql_id=1), CLOSE, baton=baton)
    assert again.json()["results"][0]["type"] == "ok"


async def test_a_stream_keeps_only_so_many_texts(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "MAX_STORED_TEXTS", 2)
    monkeypatch.setattr(conversation, "MAX_STORED_CHARS", 10)
    told = await ask(
        client,
        store(1, "x" * 11),
        store(1, "x" * 9),
        store(2, "xx"),
        store(2, "x"),
        store(3, ""),
        {"type": "close_sql", "sql_id": 2},
        store(3, "y"),
    )
    is_refused = ["too much stored SQL" in one.get("message", "") for one in told]
    assert is_refused == [True, False, True, False, True, False, False]


# Captures.


async def test_a_capture_replicates(client: Client) -> None:  # 95
    for db in ("app", "mem"):
        await client.query("CREATE TABLE t(id INTEGER PRIMARY KEY, v)", db=db)
        await client.query("CREATE TABLE u(id INTEGER PRIMARY KEY)", db=db)
    inserts = [execute("INSERT INTO t VALUES(1,'x')"), execute("INSERT INTO u VALUES(1)")]
    told = await ask(client, begin_capture("t"), *inserts, TAKE)
    assert told[0] == {"type": "session_start"}
    assert told[3]["type"] == "session_changeset"
    changeset = base64.b64decode(told[3]["changeset"], validate=True)
    answer = await client.send("POST", "/mem/changeset/apply", changeset)
    assert answer.status == 200
    assert await rows(client, "SELECT id, v FROM t", "mem") == [[1, "x"]]
    assert await rows(client, "SELECT id FROM u", "mem") == []


async def test_a_capture_is_begun_and_taken_once(client: Client) -> None:  # 95
    told = await ask(client, TAKE, begin_capture(), begin_capture(), TAKE, TAKE, begin_capture())
    none = error("no capture session open (send session_start first)")
    assert told == [
        none,
        {"type": "session_start"},
        error("a capture session is already open on this stream"),
        {"type": "session_changeset", "changeset": ""},
        none,
        {"type": "session_start"},
    ]


async def test_a_capture_of_what_is_not_there_is_empty(running: Running, client: Client) -> None:
    await client.query("CREATE TABLE t(id INTEGER PRIMARY KEY)")
    insert = execute("INSERT INTO t VALUES(1)")
    told = await ask(client, begin_capture("nope"), insert, TAKE)
    assert told[2] == {"type": "session_changeset", "changeset": ""}
    told = await ask(running.client("ro-token"), begin_capture(), execute("SELECT 1"), TAKE)
    assert told[2] == {"type": "session_changeset", "changeset": ""}


async def test_a_capture_ends_with_its_stream(client: Client) -> None:
    await client.query("CREATE TABLE t(id INTEGER PRIMARY KEY)")
    await ask(client, begin_capture(), execute("INSERT INTO t VALUES(1)"))
    (none,) = await ask(client, TAKE)
    assert none == error("no capture session open (send session_start first)")
