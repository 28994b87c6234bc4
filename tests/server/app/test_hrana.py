"""The Hrana pipeline through the application.

Odd-cases 54, 58, 64-70, 73-77, 79, 81-89.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from quicsql_client.server.config import AuthConfig, Config, LimitsConfig, PoolConfig
from tests.fix_application import Answer, Client, Running, Start
from tests.fix_principals import by_token, grants, memory, stored

MASKED = {"message": "internal error", "code": None}
INVALID = "invalid or expired baton"

GRANTS = grants(tok="read-write", ro="read-only", other="read-write")
CONFIG = Config(
    auth=AuthConfig(
        principals=tuple(by_token(name, f"{name}-token") for name in ("tok", "ro", "other"))
    ),
    databases=(
        stored("app", *GRANTS, pool=PoolConfig(busy_timeout_s=0.15)),
        memory("mem", *GRANTS),
    ),
    limits=LimitsConfig(max_sessions_per_db=3),
)
AUTOCOMMIT = {"type": "get_autocommit"}
CLOSE = {"type": "close"}


@pytest.fixture
async def running(start: Start) -> AsyncIterator[Running]:
    async with start(CONFIG) as started:
        yield started


@pytest.fixture
def client(running: Running) -> Client:
    return running.client("tok-token")


def execute(sql: str, *args: Any, **keys: Any) -> dict[str, Any]:
    return {"type": "execute", "stmt": {"sql": sql, "args": list(args), **keys}}


def integer(value: int) -> dict[str, str]:
    return {"type": "integer", "value": str(value)}


def results(answer: Answer) -> list[Any]:
    """The response, or the error, of each request."""
    assert answer.status == 200, answer.body
    assert answer.json()["base_url"] is None
    return [r.get("response") or r["error"] for r in answer.json()["results"]]


def cells(response: Any) -> list[Any]:
    return [[c.get("value", c.get("base64")) for c in row] for row in response["result"]["rows"]]


async def test_a_select(client: Client) -> None:  # 64
    answer = await client.pipeline(execute("SELECT 42"))
    (response,) = results(answer)
    assert response["type"] == "execute"
    assert response["result"]["rows"] == [[integer(42)]]
    assert isinstance(answer.json()["baton"], str)


async def test_a_transaction_is_seen_by_others_at_commit(client: Client) -> None:  # 65, 66
    count = execute("SELECT count(*) FROM t")
    await client.query("CREATE TABLE t(a)")
    begun = await client.pipeline(
        execute("BEGIN"),
        execute("INSERT INTO t VALUES(1)"),
        execute("INSERT INTO t VALUES(2)"),
        AUTOCOMMIT,
    )
    assert results(begun)[-1] == {"type": "get_autocommit", "is_autocommit": False}
    (seen, _) = results(await client.pipeline(count, CLOSE))
    assert cells(seen) == [["0"]]
    ended = await client.pipeline(execute("COMMIT"), AUTOCOMMIT, CLOSE, baton=begun.json()["baton"])
    assert results(ended)[1] == {"type": "get_autocommit", "is_autocommit": True}
    (seen, _) = results(await client.pipeline(count, CLOSE))
    assert cells(seen) == [["2"]]


async def test_close_rolls_back(client: Client) -> None:  # 67
    await client.query("CREATE TABLE t(a)")
    answer = await client.pipeline(execute("BEGIN"), execute("INSERT INTO t VALUES(1)"), CLOSE)
    assert answer.json()["baton"] is None
    assert results(answer)[-1] == {"type": "close"}
    assert (await client.query("SELECT count(*) FROM t")).json()["rows"] == [[0]]


async def test_nothing_follows_a_close(client: Client) -> None:  # 68
    answer = await client.pipeline(CLOSE, execute("SELECT 1"), CLOSE, AUTOCOMMIT)
    closed = {"message": "stream is closed", "code": None}
    assert results(answer) == [{"type": "close"}, closed, closed, closed]


@pytest.mark.parametrize(
    ("condition", "runs"),
    [
        (None, True),
        ({"type": "ok", "step": 0}, True),  # 69
        ({"type": "error", "step": 0}, False),  # 69
        ({"type": "ok", "step": 1}, False),
        ({"type": "error", "step": 1}, True),
        ({"type": "ok", "step": 2}, False),  # its own
        ({"type": "ok", "step": 3}, False),  # a later one
        ({"type": "ok", "step": 9}, False),
        ({"type": "error", "step": -1}, False),
        ({"type": "ok"}, False),
        ({"type": "not", "cond": {"type": "error", "step": 0}}, True),
        ({"type": "not", "cond": {"type": "error", "step": 9}}, True),
        ({"type": "not"}, False),
        ({"type": "and", "conds": []}, True),
        ({"type": "and"}, True),
        ({"type": "and", "conds": [{"type": "ok", "step": 0}, {"type": "error", "step": 1}]}, True),
        ({"type": "and", "conds": [{"type": "ok", "step": 0}, {"type": "ok", "step": 1}]}, False),
        ({"type": "or", "conds": []}, False),
        ({"type": "or", "conds": [{"type": "ok", "step": 1}, {"type": "ok", "step": 0}]}, True),
        ({"type": "is_autocommit"}, True),
        ({"type": "not", "cond": {"type": "is_autocommit"}}, False),
        ({"type": "maybe"}, False),
    ],
)
async def test_batch_conditions(client: Client, condition: Any, runs: bool) -> None:
    steps = [
        {"stmt": {"sql": "SELECT 1"}},
        {"stmt": {"sql": "SELEC"}},
        {"stmt": {"sql": "SELECT 3"}, "condition": condition},
        {"stmt": {"sql": "SELECT 4"}},
    ]
    answer = await client.pipeline({"type": "batch", "batch": {"steps": steps}}, CLOSE)
    outcome = results(answer)[0]["result"]
    assert [r is not None for r in outcome["step_results"]] == [True, False, runs, True]
    assert [e is not None for e in outcome["step_errors"]] == [False, True, False, False]
    assert outcome["step_errors"][1]["code"] == "SQLITE_ERROR"


async def test_autocommit_conditions_follow_the_steps(client: Client) -> None:
    inside = {"type": "not", "cond": {"type": "is_autocommit"}}
    steps = [
        {"stmt": {"sql": "BEGIN"}},
        {"stmt": {"sql": "SELECT 1"}, "condition": inside},
        {"stmt": {"sql": "COMMIT"}},
        {"stmt": {"sql": "SELECT 2"}, "condition": inside},
    ]
    answer = await client.pipeline({"type": "batch", "batch": {"steps": steps}}, CLOSE)
    ran = [r is not None for r in results(answer)[0]["result"]["step_results"]]
    assert ran == [True, True, True, False]


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        ({"steps": []}, ([], [])),
        ({}, ([], [])),
        (
            {"steps": [{}]},
            ([None], [{"message": "request has neither sql nor sql_id", "code": None}]),
        ),
    ],
)
async def test_batches_of_nothing(client: Client, batch: Any, expected: Any) -> None:
    (response, _) = results(await client.pipeline({"type": "batch", "batch": batch}, CLOSE))
    outcome = response["result"]
    assert (outcome["step_results"], outcome["step_errors"]) == expected


@pytest.mark.parametrize("name", ["x", ":x", "@x", "$x"])
@pytest.mark.parametrize("parameter", [":x", "@x", "$x"])
async def test_named_arguments_with_and_without_a_sign(  # 70
    client: Client, name: str, parameter: str
) -> None:
    named = [{"name": name, "value": integer(7)}]
    answer = await client.pipeline(execute(f"SELECT {parameter}", named_args=named), CLOSE)
    assert cells(results(answer)[0]) == [["7"]]


@pytest.mark.parametrize("name", ["_x", "1", ":1", "y", "::x"])
async def test_other_names_are_masked(client: Client, name: str) -> None:  # 70
    named = [{"name": name, "value": integer(7)}]
    answer = await client.pipeline(execute("SELECT :x", named_args=named), CLOSE)
    assert results(answer)[0] == MASKED


async def test_an_empty_name_is_positional_and_names_win_over_args(client: Client) -> None:  # 70
    nameless = [{"name": "", "value": integer(7)}]
    answer = await client.pipeline(execute("SELECT ?", named_args=nameless), CLOSE)
    assert cells(results(answer)[0]) == [["7"]]
    named = [{"name": "x", "value": integer(8)}]
    answer = await client.pipeline(execute("SELECT :x", integer(9), named_args=named), CLOSE)
    assert cells(results(answer)[0]) == [["8"]]


@pytest.mark.parametrize("baton", ["forged.baton.value", "x", "A" * 75])
async def test_a_forged_baton(client: Client, baton: str) -> None:  # 73
    answer = await client.pipeline(AUTOCOMMIT, baton=baton)
    assert (answer.status, answer.message) == (400, INVALID)


async def test_a_used_baton_is_spent_and_the_next_one_works(client: Client) -> None:  # 74
    first = (await client.pipeline(AUTOCOMMIT)).json()["baton"]
    second = (await client.pipeline(AUTOCOMMIT, baton=first)).json()["baton"]
    assert second != first
    replayed = await client.pipeline(AUTOCOMMIT, baton=first)
    assert (replayed.status, replayed.message) == (400, INVALID)
    assert results(await client.pipeline(CLOSE, baton=second)) == [{"type": "close"}]


async def test_of_two_requests_with_one_baton_one_wins(client: Client) -> None:
    baton = (await client.pipeline()).json()["baton"]
    answers = await asyncio.gather(*(client.pipeline(AUTOCOMMIT, baton=baton) for _ in range(2)))
    assert sorted(answer.status for answer in answers) == [200, 400]


async def test_another_principal_may_not_use_a_baton(
    running: Running, client: Client
) -> None:  # 75
    baton = (await client.pipeline()).json()["baton"]
    answer = await running.client("other-token").pipeline(AUTOCOMMIT, baton=baton)
    assert (answer.status, answer.message) == (403, "baton belongs to a different principal")
    assert (await client.pipeline(CLOSE, baton=baton)).status == 200


async def test_a_baton_belongs_to_its_database(client: Client) -> None:  # 76
    baton = (await client.pipeline()).json()["baton"]
    answer = await client.pipeline(AUTOCOMMIT, baton=baton, db="mem")
    assert (answer.status, answer.message) == (400, INVALID)
    assert (await client.pipeline(CLOSE, baton=baton)).status == 200


async def test_an_idle_stream_expires_and_is_rolled_back(start: Start) -> None:  # 77
    now = [0.0]
    config = Config(databases=(stored("app"),), limits=LimitsConfig(tx_idle_timeout_s=30.0))
    async with start(config, clock=lambda: now[0]) as running:
        client = running.client()
        await client.query("CREATE TABLE t(a)")
        begun = await client.pipeline(execute("BEGIN"), execute("INSERT INTO t VALUES(1)"))
        now[0] = 29.0
        kept = await client.pipeline(AUTOCOMMIT, baton=begun.json()["baton"])
        assert results(kept) == [{"type": "get_autocommit", "is_autocommit": False}]
        now[0] = 60.0
        expired = await client.pipeline(AUTOCOMMIT, baton=kept.json()["baton"])
        assert (expired.status, expired.message) == (400, INVALID)
        written = await client.query("INSERT INTO t VALUES(2)")
        assert written.json()["rows_affected"] == 1
        assert (await client.query("SELECT a FROM t")).json()["rows"] == [[2]]


async def test_too_many_streams(client: Client) -> None:  # 79
    batons = [(await client.pipeline()).json()["baton"] for _ in range(3)]
    answer = await client.pipeline()
    assert (answer.status, answer.message) == (503, "too many open sessions")
    assert answer.headers["retry-after"] == "1"
    await client.pipeline(CLOSE, baton=batons[0])
    assert (await client.pipeline(CLOSE)).status == 200


async def test_savepoints(client: Client) -> None:  # 81
    await client.query("CREATE TABLE t(a)")
    script = ["BEGIN", "INSERT INTO t VALUES(1)", "SAVEPOINT s", "INSERT INTO t VALUES(2)"]
    script += ["ROLLBACK TO s", "COMMIT"]
    await client.pipeline(*map(execute, script), CLOSE)
    assert (await client.query("SELECT a FROM t")).json()["rows"] == [[1]]


async def test_a_second_writer_is_told_that_the_database_is_busy(client: Client) -> None:  # 82
    first = await client.pipeline(execute("BEGIN IMMEDIATE"))
    assert results(first)[0]["type"] == "execute"
    second = await client.pipeline(execute("BEGIN IMMEDIATE"), CLOSE)
    assert results(second)[0]["code"] == "SQLITE_BUSY"
    await client.pipeline(CLOSE, baton=first.json()["baton"])


@pytest.mark.parametrize(
    "value",
    [
        {"type": "integer", "value": "9223372036854775808"},  # 83
        {"type": "integer", "value": 7},  # 84
        {"type": "float", "value": "1.5"},  # 84
        {"type": "bool", "value": True},  # 84
        {"type": "integer"},
        {"type": "blob", "base64": "_-8="},
    ],
)
async def test_a_bad_value_refuses_the_whole_body(client: Client, value: Any) -> None:
    await client.query("CREATE TABLE t(a)")
    baton = (await client.pipeline()).json()["baton"]
    writing = execute("INSERT INTO t VALUES(1)")
    answer = await client.pipeline(writing, execute("SELECT ?", value), baton=baton)
    assert answer.status == 400
    assert answer.message.startswith("invalid JSON: ")
    assert (await client.query("SELECT count(*) FROM t")).json()["rows"] == [[0]]
    assert (await client.pipeline(CLOSE, baton=baton)).status == 200  # unspent


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ({}, {"type": "null"}),
        (None, {"type": "null"}),
        ({"type": "blob"}, {"type": "blob", "base64": ""}),
        ({"type": "blob", "base64": "AA"}, {"type": "blob", "base64": "AA=="}),  # 84: intended
        ({"type": "float", "value": None}, {"type": "float", "value": 0.0}),
        ({"type": "integer", "value": "+7"}, integer(7)),
        ({"type": "integer", "value": "007"}, integer(7)),
    ],
)
async def test_odd_values(client: Client, value: Any, cell: Any) -> None:  # 85
    answer = await client.pipeline(execute("SELECT ?", value), CLOSE)
    assert results(answer)[0]["result"]["rows"] == [[cell]]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"type": "x"}, "unknown request type: x"),  # 86
        (None, "unknown request type: "),
        ({}, "unknown request type: "),
        ({"type": "execute"}, "execute requires a stmt"),
        ({"type": "batch"}, "batch requires a batch"),
        ({"type": "execute", "stmt": {}}, "request has neither sql nor sql_id"),
        ({"type": "execute", "stmt": {"sql_id": 3}}, "unknown sql_id"),
        ({"type": "EXECUTE"}, "unknown request type: EXECUTE"),
        (
            execute("ATTACH 'x' AS y"),
            "statement not permitted by server policy: ATTACH/DETACH is disabled",
        ),
    ],
)
async def test_requests_that_fail_alone(client: Client, request_: Any, message: str) -> None:
    answer = await client.pipeline(request_, execute("SELECT 1"), CLOSE)
    failed, ran, _ = results(answer)
    assert failed == {"message": message, "code": None}
    assert cells(ran) == [["1"]]


@pytest.mark.parametrize("body", ["{}", "null", '{"requests":null}', '{"BATON":"","Requests":[]}'])
async def test_an_empty_body_opens_a_stream(client: Client, body: str) -> None:  # 87
    answer = await client.post("/app/v2/pipeline", body)
    assert results(answer) == []
    assert (await client.pipeline(CLOSE, baton=answer.json()["baton"])).status == 200


@pytest.mark.parametrize("body", ["{} E", "{}}", "", "[]", '{"requests":[5]}', '{"requests":{}}'])
async def test_bodies_that_are_refused(client: Client, body: str) -> None:  # 88
    answer = await client.post("/app/v3/pipeline", body)
    assert answer.status == 400
    assert answer.message.startswith("invalid JSON: ")


async def test_errors_carry_sqlite_names(client: Client) -> None:
    await client.query("CREATE TABLE t(a UNIQUE)")
    insert = execute("INSERT INTO t VALUES(1)")
    _, failed, _ = results(await client.pipeline(insert, insert, CLOSE))
    assert failed["code"] == "SQLITE_CONSTRAINT_UNIQUE"


async def test_declared_types_are_told(client: Client) -> None:
    await client.query("CREATE TABLE t(a INTEGER, at DATETIME)")
    sql = "SELECT a, at, a + 1 FROM t"
    batch = {"type": "batch", "batch": {"steps": [{"stmt": {"sql": sql}}]}}
    executed, batched, _ = results(await client.pipeline(execute(sql), batch, CLOSE))
    for result in (executed["result"], batched["result"]["step_results"][0]):
        assert [column["decltype"] for column in result["cols"]] == ["INTEGER", "DATETIME", None]


async def test_want_rows_false_keeps_the_columns(client: Client) -> None:  # 89
    answer = await client.pipeline(execute("SELECT 1 AS a", want_rows=False), CLOSE)
    result = results(answer)[0]["result"]
    assert ([col["name"] for col in result["cols"]], result["rows"]) == (["a"], [])


async def test_a_read_only_stream_cannot_write(running: Running, client: Client) -> None:  # 58
    await client.query("CREATE TABLE t(a)")
    reader = running.client("ro-token")
    answer = await reader.pipeline(execute("INSERT INTO t VALUES(1)"), execute("SELECT 1"), CLOSE)
    failed, ran, _ = results(answer)
    assert failed["code"] == "SQLITE_AUTH"
    assert cells(ran) == [["1"]]


async def test_a_timeout_is_an_error_of_the_request(start: Start) -> None:
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c"
    config = Config(databases=(memory("app"),), limits=LimitsConfig(statement_timeout_s=0.15))
    async with start(config) as running:
        answer = await running.client().pipeline(execute(endless), execute("SELECT 1"), CLOSE)
        failed, ran, _ = results(answer)
        assert failed == {"message": "statement timed out", "code": None}
        assert cells(ran) == [["1"]]


async def test_a_client_that_leaves_ends_its_stream(client: Client) -> None:
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c"
    await client.query("CREATE TABLE t(a)", db="mem")
    gone = asyncio.Event()
    body = {"requests": [execute("BEGIN"), execute("INSERT INTO t VALUES(1)"), execute(endless)]}
    asking = asyncio.create_task(client.post("/mem/v3/pipeline", body, gone=gone))
    await asyncio.sleep(0)
    gone.set()
    assert (await asking).status == 504
    # The only connection is free, without the transaction.
    assert (await client.query("SELECT count(*) FROM t", db="mem")).json()["rows"] == [[0]]


async def test_waiting_for_a_connection_ends_with_the_client(client: Client) -> None:
    baton = (await client.pipeline(db="mem")).json()["baton"]
    gone = asyncio.Event()
    waiting = asyncio.create_task(client.post("/mem/v3/pipeline", {}, gone=gone))
    await asyncio.sleep(0)
    assert not waiting.done()
    gone.set()
    assert (await waiting).status == 504
    assert (await client.pipeline(CLOSE, baton=baton, db="mem")).status == 200
    assert (await client.query("SELECT 1", db="mem")).json()["rows"] == [[1]]
