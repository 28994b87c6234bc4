"""The order of checks and their exact texts: paths, methods, levels, limits and reloads.

Odd-cases 1-13, 63, 96, 115.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import msgspec
import pytest

from quicsql_client.server import app
from quicsql_client.server.config import (
    AuthConfig,
    Config,
    ControlPlaneConfig,
    LimitsConfig,
    RateConfig,
    RoutingConfig,
)
from quicsql_client.server.engine import CannotOpen, DatabaseUnavailable
from quicsql_client.server.registry import Database
from tests.fix_application import Client, Running, Start
from tests.fix_principals import (
    Leaf,
    by_certificate,
    by_password,
    by_token,
    grants,
    issue_leaf,
    memory,
)

READ_ONLY = "forbidden: read-only (write not permitted)"
NO_ACCESS = "forbidden: no access to this database"
UNKNOWN = "unknown database"
RESERVED = "reserved path not available"
NO_DATABASE = "no database in request (name it in the path, host, or set a default)"
INVALID = "invalid or reserved database name"
AUTHENTICATE = "authentication required"
SELECT = b'{"sql":"SELECT 1"}'

PRINCIPALS = AuthConfig(
    principals=(
        by_token("tok", "tok-token"),
        by_token("ro", "ro-token"),
        by_token("adm", "adm-token"),
        by_token("root", "root-token"),
    )
)
GRANTED = Config(
    auth=PRINCIPALS,
    databases=(
        memory("app", *grants(tok="read-write", ro="read-only", adm="admin")),
        memory("any", *grants(everyone="read-only")),
    ),
    control_plane=ControlPlaneConfig(admins=("root",)),
)
OPEN = Config(databases=(memory("app"), memory("other"), memory("Query"), memory("a..b")))


@pytest.fixture
async def granted(start: Start) -> AsyncIterator[Running]:
    async with start(GRANTED) as running:
        yield running


@pytest.fixture
async def open_mode(start: Start) -> AsyncIterator[Running]:
    async with start(OPEN) as running:
        yield running


async def refused(client: Client, method: str, path: str, status: int, text: str) -> None:
    answer = await client.send(method, path, SELECT)
    assert answer.status == status, answer.body
    assert answer.message == text
    assert answer.body.endswith(b"}}\n")
    assert answer.headers["content-type"] == "application/json"
    assert "allow" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("POST", "/nope/query", 404, UNKNOWN),  # odd case 1
        ("POST", "/nope/v3/pipeline", 404, UNKNOWN),
        ("GET", "/app/query", 405, "use POST"),  # 3
        ("PUT", "/app/query", 405, "use POST"),
        ("OPTIONS", "/app/query", 405, "use POST"),
        ("GET", "/app/v3/pipeline", 405, "use POST"),
        ("POST", "/app/frobnicate", 404, "unknown endpoint /frobnicate"),  # 5
        ("GET", "/app", 404, "unknown endpoint /"),  # 5
        ("GET", "/app/v3/zzz", 404, "unknown endpoint /v3/zzz"),
        ("GET", "/app/v1", 404, "unknown endpoint /v1"),
        ("GET", "/app/v3-protobuf", 404, "unknown endpoint /v3-protobuf"),
        ("POST", "/", 404, NO_DATABASE),  # 6
        ("POST", "/query", 404, NO_DATABASE),
        ("GET", "/_foo", 404, RESERVED),  # 8
        ("GET", "/_", 404, RESERVED),
        ("GET", "/_health/", 404, RESERVED),
        ("GET", "/_auth/challenge", 404, RESERVED),
        ("POST", "/_auth/session", 404, RESERVED),
        ("GET", "/_admin/x", 404, "control plane not enabled"),  # 8
        ("GET", "/_admin", 404, "control plane not enabled"),
        ("GET", "/_administer", 404, RESERVED),
        ("POST", "/../secret/query", 404, INVALID),  # 10
        ("POST", "//_meta/query", 404, INVALID),
        ("POST", "/_x/query", 404, RESERVED),  # 13
        ("POST", "/a b/query", 404, INVALID),  # 13
        ("POST", "/\u00e9/query", 404, INVALID),  # 13
    ],
)
async def test_paths_that_lead_nowhere(
    open_mode: Running, method: str, path: str, status: int, text: str
) -> None:
    await refused(open_mode.client(methods=["none"]), method, path, status, text)


@pytest.mark.parametrize(
    "path", ["/app/query", "//app//query/", "/Query/query", "/a..b/query"]
)  # 7, 13
async def test_paths_that_lead_to_a_database(open_mode: Running, path: str) -> None:
    answer = await open_mode.client().send("POST", path, SELECT)
    assert answer.json()["rows"] == [[1]]


async def test_a_head_request_is_answered_without_a_body(open_mode: Running) -> None:  # 3, 4
    for path, status in [("/app/query", 405), ("/app/export", 405), ("/_health", 200)]:
        answer = await open_mode.client().send("HEAD", path)
        assert (answer.status, answer.body) == (status, b"")
        assert int(answer.headers["content-length"]) > 0


@pytest.mark.parametrize(
    ("host", "path", "database"),
    [
        ("app.q.local", "/query", "app"),  # 9
        ("app.q.local:7777", "/query", "app"),
        ("other.q.local", "/app/query", "app"),  # 9
        ("localhost", "/query", "other"),
        (None, "/query", "other"),
    ],
)
async def test_the_database_by_path_host_or_default(
    start: Start, host: str | None, path: str, database: str
) -> None:
    routing = RoutingConfig(by_path=True, by_host=True, host_suffix=".q.local", default_db="other")
    async with start(msgspec.structs.replace(OPEN, routing=routing)) as running:
        client = running.client()
        for name in ("app", "other"):
            await client.query("CREATE TABLE t AS SELECT ? AS name", name, db=name)
        headers = {} if host is None else {"host": host}
        answer = await client.send("POST", path, b'{"sql":"SELECT name FROM t"}', headers=headers)
        assert answer.json()["rows"] == [[database]]
        for reserved in ("_meta.q.local", "query.q.local"):  # 10
            answer = await client.send("POST", "/query", SELECT, headers={"host": reserved})
            assert (answer.status, answer.message) == (404, INVALID)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
async def test_health_is_public(granted: Running, method: str) -> None:  # 12
    for methods in ([], ["mtls"], ["bearer"], ["none"]):
        answer = await granted.client("wrong", methods=methods).send(method, "/_health")
        assert (answer.status, answer.body) == (200, b'{"status":"ok"}\n')
    await refused(granted.client(methods=["bearer"]), method, "/_health/", 401, AUTHENTICATE)


@pytest.mark.parametrize("path", ["/app/v2", "/app/v3", "/nope/v2", "/any/v3/"])
async def test_version_probes(granted: Running, path: str) -> None:  # 11
    for client in (granted.client("tok-token"), granted.client(methods=["none"])):
        for method in ("GET", "POST", "DELETE"):
            answer = await client.send(method, path)
            assert (answer.status, answer.body) == (200, b"")
    for client in (granted.client(methods=["bearer"]), granted.client("wrong")):
        assert (await client.send("GET", path)).status == 200  # without credentials: intended
        await refused(client, "POST", path, 401, AUTHENTICATE)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/app/query",
        "/nope/query",
        "/app/zzz",
        "/app/v3-protobuf",
        "/_x/v3",
        "/_foo",
        "/_admin",
        "/_metrics",
        "/_auth/challenge",
    ],
)
async def test_everything_else_asks_for_credentials_first(granted: Running, path: str) -> None:
    for client in (granted.client(methods=["bearer"]), granted.client("wrong")):
        for method in ("GET", "POST"):
            answer = await client.send(method, path, SELECT)
            assert (answer.status, answer.message) == (401, AUTHENTICATE)  # 96
            challenge = 'Bearer, Basic realm="restricted"'
            assert answer.headers["www-authenticate"] == challenge


OK = "ok"
NO_CHANGESET = "changeset: database disk image is malformed"  # after the name of the step
NO_STORE = "invalid or missing ?store="
# path, method, then what anonymous, read-only, read-write, admin and a server-admin without a
# grant get.
LEVELS: list[tuple[str, str, str, str, str, str, str]] = [
    ("/query", "POST", NO_ACCESS, OK, OK, OK, NO_ACCESS),
    ("/v2/pipeline", "POST", NO_ACCESS, OK, OK, OK, NO_ACCESS),
    ("/v3/pipeline", "POST", NO_ACCESS, OK, OK, OK, NO_ACCESS),
    ("/v2/cursor", "POST", NO_ACCESS, OK, OK, OK, NO_ACCESS),
    ("/v3/cursor", "POST", NO_ACCESS, OK, OK, OK, NO_ACCESS),
    ("/v2", "POST", OK, OK, OK, OK, OK),
    ("/export", "GET", NO_ACCESS, OK, OK, OK, NO_ACCESS),
    ("/backup", "GET", NO_ACCESS, OK, OK, OK, NO_ACCESS),
    ("/changeset/apply", "POST", NO_ACCESS, READ_ONLY, NO_CHANGESET, NO_CHANGESET, NO_ACCESS),
    (
        *("/changeset/invert", "POST", NO_ACCESS),
        *(NO_CHANGESET, NO_CHANGESET, NO_CHANGESET, NO_ACCESS),
    ),
    ("/changeset/concat", "POST", NO_ACCESS, OK, OK, OK, NO_ACCESS),
    *(
        (path, "GET", NO_ACCESS, NO_STORE, NO_STORE, NO_STORE, NO_ACCESS)
        for path in ["/blob/read", "/blob/size"]
    ),
    *(
        (path, "POST", NO_ACCESS, READ_ONLY, NO_STORE, NO_STORE, NO_ACCESS)
        for path in ["/blob/provision", "/blob/create", "/blob/write", "/blob/delete"]
    ),
]
STATUSES = {
    OK: 200,
    NO_ACCESS: 403,
    READ_ONLY: 403,
    NO_CHANGESET: 422,
    NO_STORE: 400,
}
TOKENS = (None, "ro-token", "tok-token", "adm-token", "root-token")


@pytest.mark.parametrize(
    ("path", "method", "token", "expected"),
    [
        (path, method, token, expected)
        for path, method, *row in LEVELS
        for token, expected in zip(TOKENS, row, strict=True)
    ],
)
async def test_levels(
    granted: Running, path: str, method: str, token: str | None, expected: str
) -> None:  # odd cases 2 and 63 among them
    client = granted.client(token)
    body = b'{"batch":{}}' if path.endswith("/cursor") else SELECT
    answer = await client.send(method, f"/app{path}", body)
    assert answer.status == STATUSES[expected], answer.body
    if expected != OK:
        assert answer.message.endswith(expected)
    # Nobody learns whether a database exists (2), but for the probes.
    if path != "/v2":
        unknown = await client.send(method, f"/nope{path}", SELECT)
        assert (unknown.status, unknown.message) == (403, NO_ACCESS)


@pytest.mark.parametrize(
    ("credential", "methods", "level"),
    [
        ("certificate", "mtls", "read-write"),
        ("certificate", "none", "read-only"),  # not looked at: anonymous has the wildcard
        ("certificate", "bearer", None),
        ("token", "bearer none", "read-only"),
        ("token", "none", "read-only"),
        ("token", "mtls", None),
        ("password", "password bearer", "admin"),
        ("password", "none", "read-only"),
        ("nothing", "none", "read-only"),
        ("nothing", "bearer mtls password", None),
    ],
)
@pytest.mark.parametrize("path", ["/app/query", "/app/blob/create"])
async def test_method_by_level_by_path(
    start: Start, credential: str, methods: str, level: str | None, path: str
) -> None:
    config = Config(
        auth=AuthConfig(
            principals=(
                by_certificate("cert", cn="analyst"),
                by_token("tok", "right"),
                by_password("pass", "bob", "right"),
            )
        ),
        databases=(
            memory("app", *grants(everyone="read-only", cert="read-write", **{"pass": "admin"})),
        ),
    )
    leaf: Leaf | None = issue_leaf("analyst") if credential == "certificate" else None
    headers = {
        "token": {"authorization": "Bearer right"},
        "password": {"authorization": "Basic Ym9iOnJpZ2h0"},
    }.get(credential, {})
    async with start(config) as running:
        client = running.client(methods=methods.split())
        body = b'{"sql":"CREATE TABLE t(a)"}'
        answer = await client.send("POST", path, body, headers=headers, leaf=leaf)
    if level is None:
        assert (answer.status, answer.message) == (401, AUTHENTICATE)
    elif level == "read-only":
        assert (answer.status, answer.message) == (403, READ_ONLY)
    else:
        assert answer.status == (200 if path == "/app/query" else 400)  # it names no store


async def test_blob_paths_look_at_the_level_before_the_method(granted: Running) -> None:
    reader = granted.client("ro-token")
    await refused(reader, "GET", "/app/blob/create", 403, READ_ONLY)
    await refused(reader, "GET", "/app/changeset/apply", 405, "use POST")
    await refused(granted.client("tok-token"), "GET", "/app/blob/create", 405, "use POST")
    await refused(granted.client("root-token"), "GET", "/app/query", 405, "use POST")


async def test_the_rate_is_by_principal_and_comes_after_the_level(start: Start) -> None:  # 115
    limits = LimitsConfig(rate=RateConfig(per_principal_rps=1.0))
    async with start(msgspec.structs.replace(GRANTED, limits=limits)) as running:
        tok, root, anonymous = (running.client(t) for t in ("tok-token", "root-token", None))
        for _ in range(3):
            await refused(root, "POST", "/app/query", 403, NO_ACCESS)
        assert (await tok.query("SELECT 1")).status == 200
        limited = await tok.query("SELECT 1")
        assert (limited.status, limited.message) == (429, "rate limit exceeded")
        assert limited.headers["retry-after"] == "1"
        assert (await tok.send("GET", "/app/v3")).status == 200  # probes are not limited
        assert (await anonymous.query("SELECT 1", db="any")).status == 200
        assert (await anonymous.query("SELECT 1", db="any")).status == 429


async def test_concurrency_is_by_database(start: Start) -> None:
    config = Config(
        databases=(memory("app"), memory("other")), limits=LimitsConfig(max_concurrent_per_db=1)
    )
    async with start(config) as running:
        client = running.client()
        held = (await client.pipeline()).json()["baton"]  # idle streams hold no slot
        gone = asyncio.Event()
        waiting = asyncio.create_task(client.post("/app/v3/pipeline", {}, gone=gone))
        await asyncio.sleep(0)
        busy = await client.query("SELECT 1")
        text = "database busy: too many concurrent requests"
        assert (busy.status, busy.message) == (503, text)
        assert busy.headers["retry-after"] == "1"
        assert (await client.query("SELECT 1", db="other")).status == 200
        gone.set()
        await waiting
        closed = await client.pipeline({"type": "close"}, baton=held)
        assert closed.status == 200
        assert (await client.query("SELECT 1")).status == 200


async def test_a_database_that_does_not_open_says_so_in_the_log_alone(
    open_mode: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise CannotOpen("disk detail")

    await open_mode.registry.get("app").shut()
    monkeypatch.setattr(Database, "warm", fail)
    for answer in (await open_mode.client().query("SELECT 1"), await open_mode.client().pipeline()):
        assert (answer.status, answer.message) == (500, "internal error")
    assert "database app does not open: disk detail" in caplog.text


async def test_a_database_that_is_not_there_for_now_is_unavailable(
    open_mode: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> None:
        raise DatabaseUnavailable("disk detail")

    monkeypatch.setattr(open_mode.registry, "get", fail)
    answer = await open_mode.client().query("SELECT 1")
    assert (answer.status, answer.message) == (503, "database temporarily unavailable")
    assert answer.headers["retry-after"] == "1"


async def test_a_failure_of_ours_is_a_500_without_detail(
    open_mode: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(name: str) -> None:
        raise RuntimeError("inner detail")

    monkeypatch.setattr(logging.getLogger("quicsql.server"), "propagate", True)
    monkeypatch.setattr(open_mode.registry, "get", fail)
    answer = await open_mode.client().query("SELECT 'bound value'")
    assert (answer.status, answer.message) == (500, "internal error")
    assert "inner detail" in caplog.text
    assert "bound value" not in caplog.text


async def test_only_http_is_served(open_mode: Running) -> None:
    application = open_mode.application.on(["none"])
    with pytest.raises(NotImplementedError, match="websocket"):
        await application({"type": "websocket"}, None, None)  # type: ignore[arg-type]


async def test_a_reload_is_in_force_for_the_next_request(start: Start) -> None:
    async with start(GRANTED) as running:
        tok, ro = running.client("tok-token"), running.client("ro-token")
        body = SELECT.ljust(200)
        assert (await tok.send("POST", "/app/query", body)).status == 200
        stream = (await ro.pipeline()).json()["baton"]
        new = msgspec.structs.replace(
            GRANTED,
            auth=AuthConfig(principals=(by_token("tok", "other-token"), by_token("new", "n"))),
            databases=(memory("app", *grants(tok="read-write", new="read-only")),),
            limits=LimitsConfig(max_request_bytes=100, max_concurrent_per_db=5),
        )
        lost = running.application.reload(new)
        assert lost == {"ro", "adm", "root", "tok", ""}  # every one of them lost the wildcard
        await running.sessions.end_of_principals(lost)
        assert (await tok.send("POST", "/app/query", body)).status == 401
        assert (await ro.pipeline(baton=stream)).status == 401
        tok = running.client("other-token")
        assert (await tok.query("SELECT 1")).status == 200
        assert (await tok.send("POST", "/app/query", body)).status == 413
        assert (await running.client("n").query("CREATE TABLE t(a)")).message == READ_ONLY


async def test_a_stream_that_may_write_is_not_resumed_by_who_no_longer_may(start: Start) -> None:
    async with start(GRANTED) as running:
        tok = running.client("tok-token")
        baton = (await tok.pipeline()).json()["baton"]
        demoted = memory("app", *grants(tok="read-only", ro="read-only", adm="admin"))
        new = msgspec.structs.replace(GRANTED, databases=(demoted, GRANTED.databases[1]))
        running.application.reload(new)  # its streams are not ended yet
        insert = {"type": "execute", "stmt": {"sql": "CREATE TABLE t(a)"}}
        answer = await tok.pipeline(insert, baton=baton)
        assert (answer.status, answer.message) == (400, "invalid or expired baton")
        assert running.sessions.list() == ()


async def test_the_kill_switch_rolls_streams_back(start: Start) -> None:
    async with start(GRANTED) as running:
        tok, adm = running.client("tok-token"), running.client("adm-token")
        await adm.query("CREATE TABLE t(a)")
        script = [
            {"type": "execute", "stmt": {"sql": sql}}
            for sql in ("BEGIN", "INSERT INTO t VALUES(1)")
        ]
        baton = (await tok.pipeline(*script)).json()["baton"]
        demoted = memory("app", *grants(tok="read-only", ro="read-only", adm="admin"))
        new = msgspec.structs.replace(GRANTED, databases=(demoted, GRANTED.databases[1]))
        lost = running.application.reload(new)
        assert lost == {"tok"}
        await running.sessions.end_of_principals(lost)
        assert (await adm.query("SELECT count(*) FROM t")).json()["rows"] == [[0]]
        spent = await tok.pipeline(baton=baton)
        assert (spent.status, spent.message) == (400, "invalid or expired baton")


def test_the_order_of_the_stages_is_the_protocols() -> None:
    assert [stage.__name__.lstrip("_") for stage in app.STAGES] == [
        "answer_public_paths",
        "answer_version_probes",
        "authenticate",
        "answer_server_paths",
        "route",
        "permit",
        "serve",
    ]
