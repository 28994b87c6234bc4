"""The faults of upstream, as two principals would suffer from them: ours has none of them.

Each test fails when its fault is there. The fifth, `Content-Length` beside `Transfer-Encoding`, is
tested where HTTP/1.1 is (listeners/test_listeners_http1.py).
Source: reliability/matrix.md, 2.
"""

from __future__ import annotations

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

GRANTS = grants(eve="read-write", ann="read-write", ro="read-only")
DATABASES: dict[str, DatabaseConfig] = {
    "a file in WAL mode": stored("app", *GRANTS),
    "a file in rollback mode": DatabaseConfig(
        name="app", backend="file", path="app.db", grants=GRANTS
    ),
    "one connection": stored("app", *GRANTS, pool=PoolConfig(max_open=1)),
    "memory": memory("app", *GRANTS),
}
CLOSE = {"type": "close"}


@pytest.fixture(params=DATABASES)
async def running(request: pytest.FixtureRequest, start: Start) -> AsyncIterator[Running]:
    """Two who may write, and one who may read, on every kind of database."""
    config = Config(
        auth=AuthConfig(
            principals=tuple(by_token(name, f"{name}-token") for name in ("eve", "ann", "ro"))
        ),
        databases=(DATABASES[request.param],),
        limits=LimitsConfig(max_result_bytes=2_000_000),
    )
    async with start(config) as started:
        yield started


@pytest.fixture
def eve(running: Running) -> Client:
    return running.client("eve-token")


@pytest.fixture
def ann(running: Running) -> Client:
    return running.client("ann-token")


async def rows(client: Client, sql: str) -> Any:
    answer = await client.query(sql)
    assert answer.status == 200, answer.body
    return answer.json()["rows"]


async def on_stream(client: Client, *texts: str) -> list[Any]:
    """What each text gives on a stream of its own, which ends after it: a response or an error."""
    requests = [{"type": "execute", "stmt": {"sql": sql}} for sql in texts]
    answer = await client.pipeline(*requests, CLOSE)
    return [one.get("response") or one["error"] for one in answer.json()["results"][:-1]]


async def by_batch(client: Client, *texts: str) -> Answer:
    return await client.post("/app/query", {"statements": [{"sql": sql} for sql in texts]})


FORGERIES = [
    "CREATE TEMP TABLE accounts(name, balance)",
    "CREATE TEMP VIEW accounts AS SELECT 'ann' AS name, 0 AS balance",
    "CREATE TEMP TRIGGER g BEFORE INSERT ON main.accounts BEGIN SELECT raise(IGNORE); END",
    "CREATE TEMP TRIGGER g AFTER INSERT ON main.accounts BEGIN DELETE FROM main.accounts; END",
]
SETTINGS = {
    "PRAGMA query_only = ON": "PRAGMA query_only",
    "PRAGMA foreign_keys = OFF": "PRAGMA foreign_keys",
    "PRAGMA ignore_check_constraints = ON": "PRAGMA ignore_check_constraints",
    "PRAGMA case_sensitive_like = ON": "SELECT 'a' LIKE 'A'",
    "PRAGMA reverse_unordered_selects = ON": "PRAGMA reverse_unordered_selects",
    "PRAGMA max_page_count = 1": "PRAGMA max_page_count",
    "PRAGMA busy_timeout = 7": "PRAGMA busy_timeout",
}


@pytest.mark.parametrize("way", ["a statement", "a batch", "a stream"])
@pytest.mark.parametrize("forgery", FORGERIES)
async def test_nobody_forges_the_results_of_others(
    eve: Client, ann: Client, way: str, forgery: str
) -> None:
    """Fault 1: temporary objects outlive their request on a connection that others get."""
    await ann.query("CREATE TABLE accounts(name, balance)")
    await ann.query("INSERT INTO accounts VALUES('ann', 100)")
    if way == "a stream":
        assert [one["type"] for one in await on_stream(eve, forgery)] == ["execute"]
    elif way == "a batch":
        assert (await by_batch(eve, forgery)).json()["results"]
    else:
        assert "error" not in (await eve.query(forgery)).json()
    await ann.query("INSERT INTO accounts VALUES('ann', 50)")
    balances = [["ann", 100], ["ann", 50]]
    assert await rows(ann, "SELECT * FROM accounts ORDER BY rowid") == balances
    (seen,) = await on_stream(ann, "SELECT count(*) FROM accounts")
    assert seen["result"]["rows"] == [[{"type": "integer", "value": "2"}]]


@pytest.mark.parametrize("way", ["a statement", "a stream"])
@pytest.mark.parametrize("setting", SETTINGS)
async def test_nobody_changes_the_settings_of_others(
    eve: Client, ann: Client, way: str, setting: str
) -> None:
    """Fault 1: PRAGMA settings outlive their request too."""
    probe = SETTINGS[setting]
    (streamed_before,), before = await on_stream(ann, probe), await rows(ann, probe)
    if way == "a stream":
        await on_stream(eve, setting)
    else:
        await eve.query(setting)
    assert await rows(ann, probe) == before
    assert await on_stream(ann, probe) == [streamed_before]


@pytest.mark.parametrize("begin", ["BEGIN", "BEGIN IMMEDIATE", "SAVEPOINT s"])
@pytest.mark.parametrize("token", ["eve-token", "ro-token"])
async def test_nobody_undoes_the_acknowledged_writes_of_others(
    running: Running, ann: Client, begin: str, token: str
) -> None:
    """Fault 2: BEGIN on /query stays open, and others' writes run inside that transaction."""
    other = running.client(token)
    await ann.query("CREATE TABLE t(a)")
    assert "error" in (await other.query(begin)).json()
    assert (await ann.query("INSERT INTO t VALUES(1)")).json()["rows_affected"] == 1
    for ending in ("ROLLBACK", "ROLLBACK TO s", "SELECT 1; ROLLBACK"):
        await other.query(ending)
    assert await rows(ann, "SELECT a FROM t") == [[1]]


SCHEMA_ATTACKS = [
    "UPDATE sqlite_schema SET sql = 'CREATE TABLE t(a, forged)'",
    "INSERT INTO sqlite_schema VALUES('table', 'x', 'x', 2, 'CREATE TABLE x(a)')",
    "DELETE FROM sqlite_schema",
    "DELETE FROM f_content",  # a table that full-text search keeps for itself
]


@pytest.mark.parametrize("attack", SCHEMA_ATTACKS)
async def test_nobody_rewrites_the_schema(eve: Client, ann: Client, attack: str) -> None:
    """Fault 3: a read-write grant is enough to rewrite the schema table."""
    await ann.query("CREATE TABLE t(a)")
    await ann.query("CREATE VIRTUAL TABLE f USING fts5(a)")
    await ann.query("INSERT INTO f VALUES('kept')")
    before = await rows(ann, "SELECT * FROM sqlite_schema")
    unlocking = "PRAGMA writable_schema = ON"
    assert "error" in (await eve.query(f"{unlocking}; {attack}")).json()
    assert "error" in (await by_batch(eve, unlocking, attack)).json()
    assert "message" in (await on_stream(eve, unlocking, attack))[1]
    assert await rows(ann, "SELECT * FROM sqlite_schema") == before
    assert await rows(ann, "SELECT a FROM f") == [["kept"]]


@pytest.mark.parametrize(
    "value",
    [
        "zeroblob(999000000)",
        "randomblob(999000000)",
        "printf('%999000000d', 1)",
        "replace(hex(zeroblob(40000)), '0', hex(zeroblob(500)))",
        "(SELECT group_concat(hex(zeroblob(99000))) FROM json_each('[1,2,3,4,5,6,7,8,9,10]')"
        " CROSS JOIN json_each('[1,2,3,4,5,6,7,8,9,10]'))",
    ],
)
async def test_no_value_is_built_that_could_not_be_sent(eve: Client, value: str) -> None:
    """Fault 4: the caps of results act after the value is in memory."""
    too_big = {"message": "string or blob too big", "code": 18, "extended_code": 18}
    assert (await eve.query(f"SELECT length({value})")).json()["error"] == too_big
    (failed,) = await on_stream(eve, f"SELECT length({value})")
    assert failed == {"message": "string or blob too big", "code": "SQLITE_ERROR"}
