"""The Hrana cursor through the application.

Odd-cases 58, 73, 78, 91-94.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from quicsql_client.server.config import AuthConfig, Config, LimitsConfig
from tests.fix_application import Answer, Client, Running, Start
from tests.fix_principals import by_token, grants, memory, stored

GRANTS = grants(tok="read-write", ro="read-only", other="read-write")
CONFIG = Config(
    auth=AuthConfig(
        principals=tuple(by_token(name, f"{name}-token") for name in ("tok", "ro", "other"))
    ),
    databases=(stored("app", *GRANTS), memory("mem", *GRANTS)),
    limits=LimitsConfig(max_sessions_per_db=3),
)
ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c"
CLOSE = {"type": "close"}
AUTOCOMMIT = {"type": "get_autocommit"}
INVALID = "invalid or expired baton"


@pytest.fixture
async def running(start: Start) -> AsyncIterator[Running]:
    async with start(CONFIG) as started:
        yield started


@pytest.fixture
def client(running: Running) -> Client:
    return running.client("tok-token")


def step(sql: str, condition: Any = None, **members: Any) -> dict[str, Any]:
    return {"stmt": {"sql": sql, **members}, "condition": condition}


def asking(*steps: Any, baton: str | None = None) -> dict[str, Any]:
    return {"baton": baton, "batch": {"steps": steps}}


async def cursor(client: Client, *steps: Any, db: str = "app", **keys: Any) -> Answer:
    return await client.post(f"/{db}/v3/cursor", asking(*steps, baton=keys.pop("baton", None)))


def lines(answer: Answer) -> list[Any]:
    """The lines behind the prelude."""
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "text/plain"
    assert answer.body.endswith(b"\n")
    prelude, *entries = map(json.loads, answer.body.splitlines())
    assert prelude == {"baton": prelude["baton"], "base_url": None}
    return entries


def baton_of(body: bytes) -> str:
    return str(json.loads(body.splitlines()[0])["baton"])


def kinds(answer: Answer) -> list[str]:
    return [entry["type"] for entry in lines(answer)]


@pytest.mark.parametrize("version", ["v2", "v3"])  # 93
async def test_two_steps(client: Client, version: str) -> None:  # 91
    steps = [step("CREATE TABLE t(a)"), step("SELECT 1 AS a UNION SELECT 2")]
    answer = await client.post(f"/app/{version}/cursor", asking(*steps))
    assert kinds(answer) == ["step_begin", "step_end", "step_begin", "row", "row", "step_end"]
    assert lines(answer)[2:] == [
        {"type": "step_begin", "step": 1, "cols": [{"name": "a", "decltype": None}]},
        {"type": "row", "row": [{"type": "integer", "value": "1"}]},
        {"type": "row", "row": [{"type": "integer", "value": "2"}]},
        {"type": "step_end", "affected_row_count": 0, "last_insert_rowid": None},
    ]


async def test_skipped_and_failed_steps(client: Client) -> None:  # 92
    await client.query("CREATE TABLE t(a UNIQUE)")
    await client.query("INSERT INTO t VALUES(1)")
    answer = await cursor(
        client,
        step("INSERT INTO t VALUES(1)"),
        step("SELECT 'skipped'", {"type": "ok", "step": 0}),
        step("SELECT 'because of the error'", {"type": "error", "step": 0}),
        step("SELECT 'skipped too'", {"type": "error", "step": 1}),
        step("SELECT 'neither'", {"type": "error", "step": -1}),  # 94
    )
    failed, *rest = lines(answer)
    assert failed["type"] == "step_error"
    assert failed["step"] == 0
    assert failed["error"]["code"] == "SQLITE_CONSTRAINT_UNIQUE"
    assert [entry["type"] for entry in rest] == ["step_begin", "row", "step_end"]
    assert rest[0]["step"] == 2


@pytest.mark.parametrize("batch", [{}, {"steps": []}, {"steps": None}])
async def test_no_steps_give_the_prelude_alone(client: Client, batch: Any) -> None:
    answer = await client.post("/app/v3/cursor", {"batch": batch})
    assert lines(answer) == []
    assert (await client.pipeline(CLOSE, baton=baton_of(answer.body))).status == 200


@pytest.mark.parametrize("body", [{}, {"batch": None}, {"baton": None, "requests": []}])
async def test_without_a_batch(client: Client, body: Any) -> None:  # 93
    answer = await client.post("/app/v3/cursor", body)
    assert (answer.status, answer.message) == (400, "cursor requires a batch")


async def test_refusals_before_the_lines_are_the_error_envelope(
    running: Running, client: Client
) -> None:
    answer = await client.send("GET", "/app/v3/cursor")
    assert (answer.status, answer.message) == (405, "use POST")  # 93
    answer = await cursor(client, baton="forged.baton.value")
    assert (answer.status, answer.message) == (400, INVALID)  # 73
    answer = await client.post("/app/v3/cursor", '{"batch":{}} x')
    assert answer.status == 400
    batons = [baton_of((await cursor(client)).body) for _ in range(3)]
    answer = await cursor(client)
    assert (answer.status, answer.message) == (503, "too many open sessions")
    assert answer.headers["content-type"] == "application/json"
    answer = await cursor(running.client("other-token"), baton=batons[0])
    assert (answer.status, answer.message) == (403, "baton belongs to a different principal")
    assert lines(await cursor(client, baton=batons[0])) == []


async def test_a_bad_value_runs_nothing_and_spends_no_baton(client: Client) -> None:
    await client.query("CREATE TABLE t(a)")
    baton = baton_of((await cursor(client)).body)
    bad = step("SELECT ?", args=[{"type": "integer", "value": 1}])
    answer = await cursor(client, step("INSERT INTO t VALUES(1)"), bad, baton=baton)
    assert answer.status == 400
    assert answer.message.startswith("invalid JSON: ")
    answer = await cursor(client, step("SELECT count(*) FROM t"), baton=baton)
    assert lines(answer)[1]["row"] == [{"type": "integer", "value": "0"}]


async def test_the_baton_is_refused_until_the_answer_has_ended(client: Client) -> None:  # 78
    early: list[Answer] = []

    async def on_sent(message: Mapping[str, Any]) -> None:
        if message.get("more_body") and not early:
            early.append(await client.pipeline(AUTOCOMMIT, baton=baton_of(message["body"])))

    answer = await client.post("/app/v3/cursor", asking(step("BEGIN")), on_sent=on_sent)
    assert [(one.status, one.message) for one in early] == [(400, INVALID)]
    inside = await client.pipeline(AUTOCOMMIT, baton=baton_of(answer.body))
    assert inside.json()["results"][0]["response"]["is_autocommit"] is False


async def test_the_baton_is_good_when_the_client_sees_the_end(client: Client) -> None:
    late: list[Answer] = []
    body = b""

    async def on_sent(message: Mapping[str, Any]) -> None:
        nonlocal body
        body += message.get("body", b"")
        if message.get("more_body") is False and not late:
            late.append(await client.pipeline(AUTOCOMMIT, baton=baton_of(body)))

    answer = await client.post("/app/v3/cursor", asking(step("SELECT 1")), on_sent=on_sent)
    assert [one.status for one in late] == [200]
    # The end of the cursor's request takes nothing from the request that came after it.
    assert (await client.pipeline(AUTOCOMMIT, baton=baton_of(answer.body))).message == INVALID
    assert (await client.pipeline(CLOSE, baton=late[0].json()["baton"])).status == 200


async def test_a_stream_goes_from_pipeline_to_cursor_and_back(client: Client) -> None:
    await client.query("CREATE TABLE t(a)")
    stored_sql = {"type": "store_sql", "sql_id": 4, "sql": "INSERT INTO t VALUES(:a)"}
    begin = {"type": "execute", "stmt": {"sql": "BEGIN"}}
    begun = await client.pipeline(stored_sql, begin)
    named = [{"name": "a", "value": {"type": "integer", "value": "7"}}]
    inserting = {"stmt": {"sql_id": 4, "named_args": named}}
    answer = await cursor(client, inserting, baton=begun.json()["baton"])
    assert lines(answer)[-1]["affected_row_count"] == 1
    await client.pipeline(CLOSE, baton=baton_of(answer.body))
    assert (await client.query("SELECT count(*) FROM t")).json()["rows"] == [[0]]


async def test_rows_that_are_not_wanted_and_declared_types(client: Client) -> None:
    await client.query("CREATE TABLE t(a INTEGER)")
    await client.query("INSERT INTO t VALUES(1)")
    answer = await cursor(client, step("SELECT a FROM t", want_rows=False))
    assert kinds(answer) == ["step_begin", "step_end"]
    assert lines(answer)[0]["cols"] == [{"name": "a", "decltype": "INTEGER"}]


async def test_a_read_only_stream_cannot_write(running: Running, client: Client) -> None:  # 58
    await client.query("CREATE TABLE t(a)")
    answer = await cursor(
        running.client("ro-token"), step("INSERT INTO t VALUES(1)"), step("SELECT 1")
    )
    assert kinds(answer) == ["step_error", "step_begin", "row", "step_end"]
    assert lines(answer)[0]["error"]["code"] == "SQLITE_AUTH"


async def test_caps_and_time_hold_for_each_step(start: Start) -> None:
    config = Config(
        databases=(memory("app"),), limits=LimitsConfig(max_rows=2, statement_timeout_s=0.15)
    )
    async with start(config) as running:
        answer = await cursor(
            running.client(), step("SELECT value FROM json_each('[1,2,3]')"), step(ENDLESS)
        )
        *first, failed = lines(answer)
        assert [entry["type"] for entry in first] == ["step_begin", "row", "row", "step_end"]
        assert first[-1]["truncated"] is True
        assert failed["error"] == {"message": "statement timed out", "code": None}


async def test_rows_are_sent_in_pieces_and_the_next_step_waits_for_them(client: Client) -> None:
    await client.query("CREATE TABLE t(a)")
    counts: list[int] = []

    async def on_sent(message: Mapping[str, Any]) -> None:
        if b'"row"' in message.get("body", b""):
            counts.append((await client.query("SELECT count(*) FROM t")).json()["rows"][0][0])

    many = step(
        "SELECT hex(zeroblob(500)) FROM json_each(?)", args=[_text("[" + "1," * 999 + "1]")]
    )
    insert = step("INSERT INTO t VALUES(1)")
    answer = await client.post("/app/v3/cursor", asking(many, insert), on_sent=on_sent)
    assert kinds(answer).count("row") == 1000
    assert len(counts) > 10
    assert set(counts) == {0}, "the second step ran before the first one's rows were out"
    assert (await client.query("SELECT count(*) FROM t")).json()["rows"] == [[1]]


def _text(value: str) -> dict[str, str]:
    return {"type": "text", "value": value}


async def test_a_client_that_leaves_gets_no_further_steps(running: Running, client: Client) -> None:
    await client.query("CREATE TABLE t(a)")
    sent = b""

    async def on_sent(message: Mapping[str, Any]) -> None:
        nonlocal sent
        sent += message.get("body", b"")
        if b"step_end" in sent:
            raise ConnectionResetError

    steps = [step(f"INSERT INTO t VALUES({n})") for n in range(3)]
    with pytest.raises(ConnectionResetError):
        await client.post("/app/v3/cursor", asking(*steps), on_sent=on_sent)
    assert (await client.query("SELECT a FROM t")).json()["rows"] == [[0]]
    assert [session.is_busy for session in running.sessions.list()] == [False]
    assert (await client.pipeline(CLOSE, baton=baton_of(sent))).status == 200


async def test_an_answer_that_cannot_begin_gives_its_stream_back(
    running: Running, client: Client
) -> None:
    async def on_sent(_message: Mapping[str, Any]) -> None:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await client.post("/app/v3/cursor", asking(step("SELECT 1")), on_sent=on_sent)
    assert [session.is_busy for session in running.sessions.list()] == [False]


async def test_a_client_that_leaves_interrupts_the_step_that_runs(
    running: Running, client: Client
) -> None:
    await client.query("CREATE TABLE t(a)", db="mem")
    gone = asyncio.Event()

    async def on_sent(message: Mapping[str, Any]) -> None:
        if b"step_end" in message.get("body", b""):
            gone.set()

    steps = [step("INSERT INTO t VALUES(1)"), step(ENDLESS), step("INSERT INTO t VALUES(2)")]
    answer = await client.post("/mem/v3/cursor", asking(*steps), gone=gone, on_sent=on_sent)
    assert kinds(answer) == ["step_begin", "step_end"]
    assert [session.is_busy for session in running.sessions.list()] == [False]
    assert (await client.pipeline(CLOSE, baton=baton_of(answer.body), db="mem")).status == 200
    assert (await client.query("SELECT a FROM t", db="mem")).json()["rows"] == [[1]]


async def test_waiting_for_a_connection_ends_with_the_client(client: Client) -> None:
    baton = baton_of((await cursor(client, db="mem")).body)
    gone = asyncio.Event()
    waiting = asyncio.create_task(client.post("/mem/v3/cursor", asking(), gone=gone))
    await asyncio.sleep(0)
    assert not waiting.done()
    gone.set()
    assert (await waiting).status == 504
    assert (await client.pipeline(CLOSE, baton=baton, db="mem")).status == 200
