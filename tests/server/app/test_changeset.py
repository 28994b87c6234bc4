"""`POST /<db>/changeset/...` through the application.

Odd-cases 62, 116-118, 181.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator

import pytest

from quicsql_client.server.config import AuthConfig, Config, LimitsConfig
from quicsql_client.server.engine import DatabaseUnavailable
from quicsql_client.server.registry import Database
from tests.fix_application import Client, Running, Start
from tests.fix_principals import by_token, grants, memory, stored

READ_ONLY = "forbidden: read-only (write not permitted)"
NO_ACCESS = "forbidden: no access to this database"
ON_CONFLICT = "on_conflict must be abort|omit|replace, got "
BASE64 = "invalid base64 changeset"
GARBAGE = "database disk image is malformed"
PATHS = ("apply", "invert", "concat")
STEPS = {
    "apply": "apply changeset",
    "invert": "invert changeset",
    "concat": "concat changesets",
}

CONFIG = Config(
    auth=AuthConfig(principals=tuple(by_token(name, f"{name}-token") for name in ("tok", "ro"))),
    databases=(
        stored("app", *grants(tok="read-write", ro="read-only")),
        memory("away", *grants(tok="read-write")),
    ),
    limits=LimitsConfig(max_request_bytes=4096, statement_timeout_s=20.0),
)


@pytest.fixture
async def running(start: Start) -> AsyncIterator[Running]:
    async with start(CONFIG) as started:
        yield started


@pytest.fixture
def client(running: Running) -> Client:
    return running.client("tok-token")


async def refused(
    client: Client, path: str, body: bytes | str, status: int, text: str, method: str = "POST"
) -> None:
    sent = body.encode() if isinstance(body, str) else body
    answer = await client.send(method, f"/app/changeset/{path}", sent)
    assert (answer.status, answer.message) == (status, text)


async def applied(client: Client, changeset: bytes, query: str = "") -> None:
    answer = await client.send("POST", f"/app/changeset/apply{query}", changeset)
    assert (answer.status, answer.body) == (200, b'{"status":"ok"}\n')
    assert answer.headers["content-type"] == "application/json"


async def table(client: Client, name: str = "t") -> object:
    answer = await client.query(f"SELECT * FROM {name} ORDER BY id")
    return answer.json()["rows"]


async def captured(client: Client, *texts: str) -> bytes:
    """The changeset of these statements, captured over Hrana and rolled back."""
    requests = [
        {"type": "execute", "stmt": {"sql": "BEGIN"}},
        {"type": "session_start", "tables": []},
        *({"type": "execute", "stmt": {"sql": sql}} for sql in texts),
        {"type": "session_changeset"},
        {"type": "close"},
    ]
    results = (await client.pipeline(*requests)).json()["results"]
    assert {result["type"] for result in results} == {"ok"}, results
    return base64.b64decode(results[-2]["response"]["changeset"])


@pytest.fixture
async def changeset(client: Client) -> bytes:
    """Inserts into t and u, which are there and empty."""
    for name in ("t", "u"):
        await client.query(f"CREATE TABLE {name}(id INTEGER PRIMARY KEY, v TEXT)")
    return await captured(
        client, "INSERT INTO t VALUES(1, 'new'), (2, 'two')", "INSERT INTO u VALUES(1, 'u')"
    )


async def test_a_conflict_by_each_rule(client: Client, changeset: bytes) -> None:  # 116
    await client.query("INSERT INTO t VALUES(1, 'OLD')")
    for query in ("", "?on_conflict=", "?on_conflict=abort", "?tables=&on_conflict=abort"):
        await refused(client, f"apply{query}", changeset, 422, "apply changeset: query aborted")
        assert await table(client) == [[1, "OLD"]]
    await applied(client, changeset, "?on_conflict=omit")
    assert await table(client) == [[1, "OLD"], [2, "two"]]
    await applied(client, changeset, "?on_conflict=replace")
    assert await table(client) == [[1, "new"], [2, "two"]]


@pytest.mark.parametrize(
    ("query", "has_t", "has_u"),
    [
        ("?tables=u", False, True),  # 116
        ("?tables=%20u%20,,", False, True),
        ("?tables=u,t", True, True),
        ("?tables=nowhere", False, False),
        ("?tables=U", False, False),
        ("?tables=", True, True),  # 181
        ("?tables=%20,+,", True, True),  # 181
        ("?tables=u&tables=t", False, True),
    ],
)
async def test_the_filter_of_tables(
    client: Client, changeset: bytes, query: str, has_t: bool, has_u: bool
) -> None:
    await applied(client, changeset, query)
    assert (bool(await table(client)), bool(await table(client, "u"))) == (has_t, has_u)


async def test_a_table_that_the_database_lacks(client: Client, changeset: bytes) -> None:  # 181
    await client.query("DROP TABLE t")
    await client.query("DROP TABLE u")
    await applied(client, changeset)
    assert (await client.query("SELECT count(*) FROM sqlite_schema")).json()["rows"] == [[0]]


async def test_invert_and_concat(client: Client, changeset: bytes) -> None:
    inverse = await client.send("POST", "/app/changeset/invert", changeset)
    assert inverse.headers["content-type"] == "application/octet-stream"
    await applied(client, changeset)
    await applied(client, inverse.body)
    assert await table(client) == []
    encoded = [base64.b64encode(part).decode() for part in (changeset, inverse.body)]
    pairs = [
        ({"a": encoded[0], "b": encoded[1]}, b""),  # 181
        ({"A": encoded[0], "x": [1]}, changeset),
        ({}, b""),  # 181
        (None, b""),
    ]
    for document, joined in pairs:
        answer = await client.post("/app/changeset/concat", document)
        assert (answer.status, answer.body) == (200, joined)
        assert answer.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("apply", "", 400, "empty changeset"),  # 117
        ("invert", "", 400, "empty changeset"),
        ("apply?on_conflict=zzz", "", 400, "empty changeset"),
        ("apply?on_conflict=zzz", "x", 400, ON_CONFLICT + '"zzz"'),  # 117
        ("apply?on_conflict=OMIT", "x", 400, ON_CONFLICT + '"OMIT"'),
        ("apply?on_conflict=omit%20", "x", 400, ON_CONFLICT + '"omit "'),
        ("apply?on_conflict=omit&on_conflict=zzz", "x", 422, "apply changeset: " + GARBAGE),
        ("invert", "garbage", 422, "invert changeset: " + GARBAGE),
        ("concat", '{"a":"AQ=="}', 422, "concat changesets: " + GARBAGE),
        ("concat", "", 400, "invalid JSON: unexpected end of JSON input"),
        ("concat", "{} x", 400, "invalid JSON: invalid character 'x' after top-level value"),
        ("concat", '{"a":"AA"}', 400, BASE64),
        ("concat", '{"a":"@@"}', 400, BASE64),
        ("apply", "x" * 4097, 413, "request body exceeds the maximum allowed size"),
        ("invert", "x" * 4097, 413, "request body exceeds the maximum allowed size"),
        ("concat", "x" * 4097, 413, "request body exceeds the maximum allowed size"),
        ("zzz", "", 404, "unknown endpoint /changeset/zzz"),
    ],
)
async def test_requests_that_are_refused(
    client: Client, path: str, body: str, status: int, text: str
) -> None:
    await refused(client, path, body, status, text)


@pytest.mark.parametrize("path", PATHS)
async def test_an_unknown_database_is_unprocessable(start: Start, path: str) -> None:  # 118
    async with start(Config(databases=(memory("app"),))) as running:
        answer = await running.client().send("POST", f"/nope/changeset/{path}", b"{}")
        text = f'{STEPS[path]}: registry: unknown database: "nope"'
        assert (answer.status, answer.message) == (422, text)
        empty = await running.client().send("POST", f"/nope/changeset/{path}", b"")
        assert empty.status == 400  # the body comes first


@pytest.mark.parametrize("path", PATHS)
async def test_a_database_that_cannot_be_used_is_unprocessable(
    client: Client, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    async def fail(*_: object) -> None:
        raise DatabaseUnavailable("disk I/O error")

    monkeypatch.setattr(Database, "call", fail)
    text = f"{STEPS[path]}: database temporarily unavailable"
    await refused(client, path, "{}", 422, text)


async def test_the_statement_timeout_and_the_clients_leaving(start: Start) -> None:
    text = "invert changeset: statement timed out"
    for limit_s, leaves in ((0.05, False), (20.0, True)):
        config = Config(
            databases=(memory("app"),), limits=LimitsConfig(statement_timeout_s=limit_s)
        )
        async with start(config) as running:
            client = running.client()
            held = await client.pipeline({"type": "get_autocommit"})  # the one connection
            assert held.json()["baton"]
            gone = asyncio.Event()
            if leaves:
                gone.set()
            answer = await client.send("POST", "/app/changeset/invert", b"x", gone=gone)
            assert (answer.status, answer.message) == (422, text)


async def test_rights_and_methods(running: Running, client: Client, changeset: bytes) -> None:
    reader, nobody = running.client("ro-token"), running.client()
    await refused(reader, "apply", changeset, 403, READ_ONLY)  # 62
    await refused(reader, "apply", "", 403, READ_ONLY)  # the right comes before the body
    inverse = await reader.send("POST", "/app/changeset/invert", changeset)  # 62
    assert inverse.status == 200
    body = json.dumps({"a": base64.b64encode(changeset).decode()})
    joined = await reader.send("POST", "/app/changeset/concat", body.encode())  # 62
    assert (joined.status, joined.body) == (200, changeset)
    assert await table(client) == []
    for path in PATHS:
        await refused(nobody, path, "", 403, NO_ACCESS)
        await refused(reader, path, "", 405, "use POST", method="GET")
