"""`POST /<db>/query` through the application.

Odd-cases 14-40, 42-57, 59-61, 63, 153, 158, 160, 161, each by its number.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from quicsql_client.server.config import AuthConfig, Config, LimitsConfig, PoolConfig
from quicsql_client.server.engine import Access
from tests.fix_application import Answer, Client, Running, Start
from tests.fix_principals import by_token, grants, memory, stored

READ_ONLY = "forbidden: read-only (write not permitted)"
NO_ACCESS = "forbidden: no access to this database"
ATTACH = "statement not permitted by server policy: ATTACH/DETACH is disabled"
OBJECT = 'arg 0: unsupported object arg (only {"base64": "..."} is allowed)'
EMPTY = {"columns": [], "rows": [], "rows_affected": 0, "last_insert_id": 0}

GRANTS = grants(tok="read-write", ro="read-only", adm="admin")
CONFIG = Config(
    auth=AuthConfig(
        principals=tuple(by_token(name, f"{name}-token") for name in ("tok", "ro", "adm", "nobody"))
    ),
    databases=(
        stored("app", *GRANTS),
        memory("mem", *grants(everyone="read-write")),
        stored("locked", *GRANTS, pool=PoolConfig(tx_lock="immediate")),
    ),
    limits=LimitsConfig(max_request_bytes=4096, max_rows=5, statement_timeout_s=20.0),
)


@pytest.fixture
async def running(start: Start) -> AsyncIterator[Running]:
    async with start(CONFIG) as started:
        yield started


@pytest.fixture
def client(running: Running) -> Client:
    return running.client("tok-token")


def rows(answer: Answer) -> list[list[Any]]:
    assert answer.status == 200
    document = answer.json()
    assert "error" not in document, document
    found: list[list[Any]] = document["rows"]
    return found


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("{not json", "invalid JSON: "),  # 14
        ("", "invalid JSON: EOF"),  # 15
        ("  \n", "invalid JSON: EOF"),  # 15
        ('{"sql":', "invalid JSON: unexpected EOF"),
        ("{}", "request must set 'sql' or 'statements'"),  # 16
        ("null", "request must set 'sql' or 'statements'"),  # 16
        ('{"sql":""}', "request must set 'sql' or 'statements'"),  # 16
        (
            '{"sql":"x","statements":[{"sql":"y"}]}',
            "set either 'sql' or 'statements', not both",
        ),  # 17
        ('{"sql":"x","foo":1}', 'invalid JSON: json: unknown field "foo"'),  # 18
        (
            '{"statements":[{"sql":"x","foo":1}]}',
            'invalid JSON: json: unknown field "foo"',
        ),  # 18
        ('{"sql":"SELECT 1"} EXTRA', "unexpected trailing content after JSON body"),  # 20
        ('\ufeff{"sql":"SELECT 1"}', "invalid JSON: "),  # 22
        ('{"sql":7}', "invalid JSON: "),
        ('{"statements":[null]}', "batch statement missing 'sql'"),  # 23
        ('{"statements":[{}]}', "batch statement missing 'sql'"),  # 23
        ('{"statements":[{"sql":"SELECT 1"},{"sql":null}]}', "batch statement missing 'sql'"),
        ('{"sql":"SELECT ?","args":[[1]]}', "arg 0: unsupported arg type []interface {}"),  # 33
        ('{"sql":"SELECT ?","args":[{}]}', OBJECT),  # 34
        ('{"sql":"SELECT ?","args":[{"base64":"AA==","x":1}]}', OBJECT),  # 34
        ('{"sql":"SELECT ?","args":[{"Base64":"AA=="}]}', OBJECT),  # 34
        ('{"sql":"SELECT ?","args":[{"base64":"AA"}]}', "arg 0: invalid base64: "),  # 35
        (
            '{"sql":"SELECT ?","args":[1,{"base64":1}]}',
            "arg 1: base64 arg must be a string",
        ),  # 35
        (
            '{"statements":[{"sql":"SELECT ?","args":[[1]]}]}',
            "arg 0: unsupported arg type []interface {}",
        ),
    ],
)
async def test_bad_requests(client: Client, body: str, text: str) -> None:
    answer = await client.post("/app/query", body)
    assert answer.status == 400
    assert answer.message == text or (text.endswith(": ") and answer.message.startswith(text))
    assert answer.headers["content-type"] == "application/json"
    assert answer.body.endswith(b"}\n")


@pytest.mark.parametrize(
    ("body", "cells"),
    [
        ('{"sql":"SELECT 1","statements":[]}', [[1]]),  # 17
        ('{"SQL":"SELECT 1"}', [[1]]),  # 19
        ('{"sql":"SELECT 1","sql":"SELECT 2"}', [[2]]),  # 19
        ('{"sql":"SELECT 1"}}', [[1]]),  # 21
        ('{"sql":"SELECT 1"}]junk', [[1]]),  # 21
        ('{"sql":"\ufeffSELECT 1"}', [[1]]),  # 22
        ('{"sql":"SELECT ?","args":[9007199254740993]}', [[9007199254740993]]),  # 27
        ('{"sql":"SELECT ?","args":[9223372036854775808]}', [[9.223372036854775808e18]]),  # 28
        ('{"sql":"SELECT ?, typeof(?1)","args":[1e400]}', [["1e400", "text"]]),  # 29
        ('{"sql":"SELECT typeof(?), typeof(?)","args":[1.0, 1e2]}', [["real", "real"]]),  # 30
        ('{"sql":"SELECT ?, ?, typeof(?)","args":[true,false,true]}', [[1, 0, "integer"]]),  # 31
        ('{"sql":"SELECT typeof(?), typeof(?)","args":[-0,-0.0]}', [["integer", "real"]]),  # 32
        ('{"sql":"SELECT 1e308*10"}', [[None]]),  # 36
        (
            "{\"sql\":\"SELECT 7, 2.5, 'hi', x'000102', NULL\"}",
            [[7, 2.5, "hi", {"base64": "AAEC"}, None]],
        ),  # 38
        ('{"sql":"/* hint */ SELECT 3"}', [[3]]),  # 43
        ('{"sql":"-- c\\nSELECT 4"}', [[4]]),  # 43
    ],
)
async def test_accepted_requests(client: Client, body: str, cells: list[list[Any]]) -> None:
    assert rows(await client.post("/app/query", body)) == cells


@pytest.mark.parametrize(
    ("sql", "wire"),
    [
        ("SELECT 1.0, 1e2", b"[[1.0,100.0]]"),  # 30
        ("SELECT -0.0", b"[[-0.0]]"),  # 32
        ("SELECT 9223372036854775808", b"[[9.223372036854776e+18]]"),  # 28
        ("SELECT 1000000.0, 100000.0, 0.00001", b"[[1e+06,100000.0,1e-05]]"),  # 37
        ("SELECT '<&>'", rb'[["\u003c\u0026\u003e"]]'),  # 39
    ],
)
async def test_cells_on_the_wire(client: Client, sql: str, wire: bytes) -> None:
    answer = await client.post("/app/query", {"sql": sql})
    assert b'"rows":' + wire in answer.body


async def test_top_level_args_of_a_batch_are_ignored(client: Client) -> None:  # 24
    answer = await client.post("/app/query", {"statements": [{"sql": "SELECT 1"}], "args": [[1]]})
    assert answer.json()["results"][0]["rows"] == [[1]]


async def test_the_body_cap_is_exact(client: Client) -> None:  # 25
    def body(size: int) -> list[bytes]:
        whole = b'{"sql":"SELECT 1"}'.ljust(size)
        return [whole[:1000], b"", whole[1000:]]

    assert (await client.send("POST", "/app/query", body(4096))).status == 200
    refused = await client.send("POST", "/app/query", body(4097))
    assert refused.status == 413
    assert refused.message == "request body exceeds the maximum allowed size"


@pytest.mark.parametrize("content_type", ["text/plain", None])
async def test_the_content_type_does_not_matter(  # 26
    running: Running, content_type: str | None
) -> None:
    headers = {"authorization": "Bearer tok-token"}
    if content_type:
        headers["content-type"] = content_type
    answer = await running.client().send(
        "POST", "/app/query", b'{"sql":"SELECT 1"}', headers=headers
    )
    assert rows(answer) == [[1]]


async def test_a_time_column_is_rendered_as_rfc_3339(client: Client) -> None:  # 40
    await client.query("CREATE TABLE d(at DATETIME)")
    await client.query("INSERT INTO d VALUES(?)", "2024-01-02T03:04:05Z")
    assert rows(await client.query("SELECT at FROM d")) == [["2024-01-02T03:04:05Z"]]


async def test_sql_errors_are_answers_with_codes(client: Client) -> None:  # 42, 54
    answer = await client.query("SELECT * FROM does_not_exist")
    assert answer.status == 200
    assert answer.json()["error"]["code"] == answer.json()["error"]["extended_code"] == 1
    assert "no such table: does_not_exist" in answer.message
    await client.query("CREATE TABLE u(a UNIQUE)")
    await client.query("INSERT INTO u VALUES(1)")
    error = (await client.query("INSERT INTO u VALUES(1)")).json()["error"]
    assert (error["code"], error["extended_code"]) == (19, 2067)


async def test_counters_of_an_insert(client: Client) -> None:  # 45
    assert (await client.query("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")).json() == EMPTY
    answer = await client.query("INSERT INTO t(v) VALUES('x')")
    assert answer.json() == EMPTY | {"rows_affected": 1, "last_insert_id": 1}
    returned = (await client.query("INSERT INTO t(v) VALUES('y') RETURNING id")).json()
    assert returned["rows"] == [[2]]  # 44; true counters are an intended difference


@pytest.mark.parametrize(
    "sql", ["ATTACH DATABASE 'x' AS y", "  detach database y", "attach 'x' as y"]
)
@pytest.mark.parametrize("token", ["tok", "ro", "adm"])
async def test_attach_is_refused_for_everyone(running: Running, sql: str, token: str) -> None:  # 46
    client = running.client(f"{token}-token")
    answer = await client.query(sql)
    assert (answer.status, answer.message) == (403, ATTACH)
    answer = await client.post("/app/query", {"statements": [{"sql": "SELECT 1"}, {"sql": sql}]})
    assert (answer.status, answer.message) == (403, f"batch statement 1: {ATTACH}")
    assert answer.json().keys() == {"error"}


async def test_a_hidden_attach_is_refused_by_the_authorizer(client: Client) -> None:  # 47
    await client.query("CREATE TABLE t(a)")
    for first in ("SELECT 1", "INSERT INTO t VALUES(1)"):
        answer = await client.query(f"{first}; ATTACH 'x' AS y")
        assert (answer.status, answer.message) == (403, READ_ONLY)
    assert rows(await client.query("SELECT a FROM t")) == [[1]]


async def test_a_failing_batch_says_where_and_leaves_nothing(client: Client) -> None:  # 48, 49
    await client.query("CREATE TABLE t(a INTEGER PRIMARY KEY)")
    insert = {"sql": "INSERT INTO t VALUES(?)", "args": [1]}
    answer = await client.post("/app/query", {"statements": [insert, insert]})
    assert answer.status == 200
    document = answer.json()
    assert (document["failed_index"], document["error"]["extended_code"]) == (1, 1555)
    assert rows(await client.query("SELECT count(*) FROM t")) == [[0]]
    first = await client.post("/app/query", {"statements": [{"sql": "SELEC"}, insert]})
    assert first.json()["failed_index"] == 0


async def test_a_batch_gives_every_result(client: Client) -> None:  # 50
    await client.query("CREATE TABLE t(a)")
    statements = [{"sql": "INSERT INTO t VALUES(5)"}, {"sql": "SELECT a FROM t"}]
    results = (await client.post("/app/query", {"statements": statements})).json()["results"]
    assert results[0]["rows_affected"] == 1
    assert results[1]["rows"] == [[5]]


async def test_a_deferred_foreign_key_fails_the_commit(client: Client) -> None:
    await client.query("CREATE TABLE p(a INTEGER PRIMARY KEY)")
    await client.query("CREATE TABLE c(a REFERENCES p(a) DEFERRABLE INITIALLY DEFERRED)")
    answer = await client.post("/app/query", {"statements": [{"sql": "INSERT INTO c VALUES(9)"}]})
    document = answer.json()
    assert (answer.status, document["error"]["extended_code"]) == (200, 787)
    assert "failed_index" not in document


async def test_a_missing_argument_is_masked(client: Client) -> None:
    answer = await client.query("SELECT ?")
    assert answer.json() == {"error": {"message": "internal error"}}
    batch = await client.post("/app/query", {"statements": [{"sql": "SELECT ?"}]})
    assert batch.json() == {"error": {"message": "internal error"}, "failed_index": 0}
    assert rows(await client.query("SELECT ?", 1, 2)) == [[1]]


async def test_the_row_cap_is_exact(client: Client) -> None:  # 51, 52
    def series(n: int) -> str:
        steps = f"SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x<{n}"
        return f"WITH RECURSIVE c(x) AS ({steps}) SELECT x FROM c"

    whole = (await client.query(series(5))).json()
    assert (len(whole["rows"]), "truncated" in whole) == (5, False)
    cut = (await client.query(series(6))).json()
    assert (len(cut["rows"]), cut["truncated"]) == (5, True)


async def test_the_byte_cap_keeps_the_row_that_reached_it(start: Start) -> None:  # 51
    config = Config(databases=(memory("app"),), limits=LimitsConfig(max_result_bytes=10))
    async with start(config) as running:
        answer = await running.client().query("VALUES(1),(2),(3),(4)")
        assert answer.json()["rows"] == [[1], [2]]
        assert answer.json()["truncated"] is True


ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c"


@pytest.mark.parametrize("db", ["mem", "app"])
async def test_an_endless_statement_times_out(start: Start, db: str) -> None:  # 53
    config = Config(
        databases=(memory("mem"), stored("app")), limits=LimitsConfig(statement_timeout_s=0.15)
    )
    async with start(config) as running:
        client = running.client()
        for body in ({"sql": ENDLESS}, {"statements": [{"sql": ENDLESS}]}):
            answer = await client.post(f"/{db}/query", body)
            assert (answer.status, answer.message) == (504, "statement timed out")
        assert rows(await client.query("SELECT 1", db=db)) == [[1]]


@pytest.mark.parametrize("body", [{"sql": ENDLESS}, {"statements": [{"sql": ENDLESS}]}])
async def test_a_client_that_leaves_ends_its_statement(
    running: Running, client: Client, body: dict[str, Any]
) -> None:
    gone = asyncio.Event()
    asking = asyncio.create_task(client.post("/mem/query", body, gone=gone))
    running_now = running.registry.get("mem")
    await asyncio.sleep(0)
    gone.set()
    answer = await asking
    assert (answer.status, answer.message) == (504, "statement timed out")
    # The only connection of a memory database is free again.
    pinned = await running_now.pin(Access.READ_ONLY)
    await pinned.release()


async def test_a_private_memory_database_lasts(client: Client) -> None:  # 55
    await client.query("CREATE TABLE t(a)", db="mem")
    await client.query("INSERT INTO t VALUES(8)", db="mem")
    assert rows(await client.query("SELECT a FROM t", db="mem")) == [[8]]


async def test_full_text_search_is_there(client: Client) -> None:  # 56
    assert (await client.query("CREATE VIRTUAL TABLE f USING fts5(t)")).json() == EMPTY


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t VALUES(2)",  # 57
        "CREATE TABLE x(a)",
        "CREATE TEMP TABLE x(a)",
        "PRAGMA query_only = OFF",  # 59
        "PRAGMA user_version = 5",  # 59
        "EXPLAIN INSERT INTO t VALUES(2)",
    ],
)
async def test_read_only_principals_may_not_write(running: Running, sql: str) -> None:
    writer, reader = running.client("tok-token"), running.client("ro-token")
    await writer.query("CREATE TABLE t(a)")
    assert rows(await reader.query("SELECT count(*) FROM t")) == [[0]]
    answer = await reader.query(sql)
    assert (answer.status, answer.message) == (403, READ_ONLY)
    batch = await reader.post("/app/query", {"statements": [{"sql": "SELECT 1"}, {"sql": sql}]})
    assert (batch.status, batch.message) == (403, READ_ONLY)
    assert batch.json().keys() == {"error"}
    assert rows(await reader.query("SELECT count(*) FROM t")) == [[0]]
    assert rows(await reader.query("PRAGMA query_only")) == [[1]]  # 59
    assert rows(await reader.query("PRAGMA user_version")) == [[0]]  # 59
    written = await writer.query("INSERT INTO t VALUES(3)")  # 61
    assert written.json()["rows_affected"] == 1


@pytest.mark.parametrize("token", ["tok", "ro", "adm"])
@pytest.mark.parametrize("sql", ["VACUUM", "VACUUM INTO 'f'"])
async def test_nobody_may_vacuum(running: Running, token: str, sql: str) -> None:  # 60
    answer = await running.client(f"{token}-token").query(sql)
    assert (answer.status, answer.message) == (403, READ_ONLY)


async def test_a_read_only_batch_cannot_take_a_write_lock(running: Running) -> None:
    reader = running.client("ro-token")
    answer = await reader.post("/locked/query", {"statements": [{"sql": "SELECT 1"}]})
    assert answer.status == 200
    assert answer.json()["error"]["code"] == 8
    assert "failed_index" not in answer.json()


@pytest.mark.parametrize("token", ["nobody-token", None])
async def test_who_has_no_grant_learns_nothing(running: Running, token: str | None) -> None:  # 63
    client = running.client(token)
    for path in ("/app/query", "/unknown/query", "/app/v3/pipeline"):
        answer = await client.post(path, "{")
        assert (answer.status, answer.message) == (403, NO_ACCESS)
    assert rows(await client.query("SELECT 1", db="mem")) == [[1]]


@pytest.mark.parametrize("sql", ["BEGIN", "begin immediate", "COMMIT", "ROLLBACK", "SAVEPOINT s"])
async def test_transaction_control_leaves_no_transaction(client: Client, sql: str) -> None:
    answer = await client.query(sql)
    assert "error" in answer.json()
    answer = await client.post("/app/query", {"statements": [{"sql": "CREATE TABLE t(a)"}]})
    assert answer.json()["results"] == [EMPTY]


async def test_an_unknown_database_wins_over_a_bad_argument(start: Start) -> None:
    async with start(Config(databases=(memory("app"),))) as running:
        answer = await running.client().query("SELECT ?", [1], db="nope")
        assert (answer.status, answer.message) == (404, "unknown database")
        answer = await running.client().post("/nope/query", {"sql": "x", "foo": 1})
        assert answer.status == 400


async def test_a_body_that_stalls_or_breaks_off(start: Start) -> None:
    async with start(Config(databases=(memory("app"),)), body_timeout_s=0.05) as running:
        client = running.client()
        gone = asyncio.Event()
        gone.set()
        for event in (None, gone):
            answer = await client.send("POST", "/app/query", [], gone=event)
            assert (answer.status, answer.message) == (400, "read body")
            assert answer.headers["connection"] == "close"


async def test_two_writers_at_once_both_succeed(client: Client) -> None:
    await client.query("CREATE TABLE t(a)")
    answers = await asyncio.gather(*(client.query("INSERT INTO t VALUES(?)", n) for n in range(20)))
    assert [answer.json()["rows_affected"] for answer in answers] == [1] * 20
    assert rows(await client.query("SELECT count(*), sum(a) FROM t")) == [[20, 190]]


async def test_answers_are_compact_with_keys_in_order(client: Client) -> None:
    answer = await client.query("SELECT 1 AS a, 'b' AS a")
    assert answer.body == (
        b'{"columns":["a","a"],"rows":[[1,"b"]],"rows_affected":0,"last_insert_id":0}\n'
    )
    assert answer.headers == {
        "content-type": "application/json",
        "content-length": str(len(answer.body)),
    }
    assert json.loads(answer.body)["columns"] == ["a", "a"]
