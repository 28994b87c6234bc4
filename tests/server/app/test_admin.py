"""`/_admin` through the application: who may do what, databases that come and go, streams that are
killed. Odd-cases 126, 127, 128, 129, 175, 176, 192.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from quicsql_client.server.api.admin import ENDPOINTS
from quicsql_client.server.metastore import MetaStore
from tests.fix_admin import NAMES, Admin, controlled, described, outcome, until
from tests.fix_application import META_STORE, Start
from tests.fix_principals import grants, memory

BUSY = (409, "database busy (has active users); retry when idle")
BROKEN = (400, "invalid JSON body")
NO_ACCESS = (403, "forbidden: no access to this database")
NOT_SERVER_ADMIN = (403, "server-admin capability required")
UNKNOWN = (404, "unknown database")
OUTSIDE = (400, "database path must be relative and within data_dir")
NOT_ADMIN = (403, "admin capability required for this database")
NO_PARAMETER = (400, "restore requires a ?database= query parameter")
FINE = (200, "")
# Of an endpoint for enrolled devices, where none can enrol.
NO_DEVICES = {"root": (404, "enrollment is not enabled"), "all": (403, "server admin required")}

CALLERS = ("nobody", *NAMES)

# What each caller gets: (method, path, body) -> outcome by caller, the last one for all others.
TABLE: list[tuple[str, str, str, dict[str, tuple[int, str]]]] = [
    ("GET", "/databases", "", {"all": FINE}),  # 126
    ("GET", "/stats", "", {"all": FINE}),
    ("GET", "/sessions", "", {"all": FINE}),
    ("GET", "/info", "", {"root": FINE, "all": NOT_SERVER_ADMIN}),  # 126
    ("POST", "/kill", "{", {"root": BROKEN, "all": NOT_SERVER_ADMIN}),  # 175
    ("POST", "/kill", "{}", {"root": (404, "no such session"), "all": NOT_SERVER_ADMIN}),
    ("POST", "/create", "{", {"root": BROKEN, "all": NOT_SERVER_ADMIN}),
    (
        "POST",
        "/create",
        "{}",
        {"root": (400, "config: database with empty name"), "all": NOT_SERVER_ADMIN},
    ),
    ("POST", "/detach", "{", {"root": BROKEN, "all": NOT_SERVER_ADMIN}),
    ("POST", "/detach", '{"database":"nope"}', {"root": UNKNOWN, "all": NOT_SERVER_ADMIN}),
    ("POST", "/maintenance", "{", {"all": BROKEN}),  # 175
    (
        "POST",
        "/maintenance",
        '{"database":"app","op":"checkpoint"}',
        {"root": FINE, "adm": FINE, "all": NOT_ADMIN},
    ),
    (
        "POST",
        "/maintenance",
        '{"database":"nope","op":"checkpoint"}',
        {"root": UNKNOWN, "all": NOT_ADMIN},
    ),
    (
        "POST",
        "/maintenance",
        '{"database":"mem","op":"zzz"}',
        {"root": (400, "unknown maintenance op"), "all": NOT_ADMIN},
    ),
    ("POST", "/restore", "x", {"all": NO_PARAMETER}),  # 175
    ("POST", "/restore?database=", "x", {"all": NO_PARAMETER}),
    ("POST", "/restore?database=nope", "x", {"root": UNKNOWN, "all": NOT_SERVER_ADMIN}),
    (
        "POST",
        "/restore?database=mem",
        "x",
        {
            "root": (400, "restore is only supported for file databases"),
            "all": NOT_SERVER_ADMIN,
        },
    ),
    (
        "POST",
        "/restore?database=app",
        "x",
        {
            "root": (400, "restore: uploaded file is not a valid SQLite database"),
            "all": NOT_SERVER_ADMIN,
        },
    ),
    ("GET", "/principals", "", NO_DEVICES),
    ("POST", "/principals/delete", "{", NO_DEVICES),
    ("POST", "/enroll/codes", "{", NO_DEVICES),
    ("GET", "/zzz", "", {"all": (404, "unknown admin endpoint")}),
    ("GET", "", "", {"all": (404, "unknown admin endpoint")}),
    ("GET", "/", "", {"all": (404, "unknown admin endpoint")}),
    ("GET", "/databases/", "", {"all": (404, "unknown admin endpoint")}),
]


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize(
    ("method", "path", "body", "outcomes"), TABLE, ids=[f"{row[1]} {row[2]}"[:40] for row in TABLE]
)
async def test_who_gets_what(
    admin: Admin,
    caller: str,
    method: str,
    path: str,
    body: str,
    outcomes: dict[str, tuple[int, str]],
) -> None:
    client = getattr(admin, caller)
    answer = await client.send(method, f"/_admin{path}", body.encode())
    assert outcome(answer) == outcomes.get(caller, outcomes["all"])


def test_the_table_has_every_endpoint() -> None:
    assert {path.partition("?")[0] for _, path, _, _ in TABLE} >= set(ENDPOINTS)


@pytest.mark.parametrize("caller", ["nobody", "root"])
async def test_the_method_comes_first(admin: Admin, caller: str) -> None:
    for path, endpoint in ENDPOINTS.items():
        wrong = {"GET": "POST", "POST": "GET"}[endpoint.method]
        for method in (wrong, "HEAD", "PUT"):
            answer = await getattr(admin, caller).send(method, f"/_admin{path}", b"{")
            assert answer.status == 405
        answer = await getattr(admin, caller).send(wrong, f"/_admin{path}", b"{")
        assert answer.message == f"use {endpoint.method}"


async def test_lists_hold_what_the_caller_administers(admin: Admin) -> None:  # 126
    for caller in (admin.tok, admin.ro, admin.nobody):
        for path in ("databases", "stats", "sessions"):
            key = "sessions" if path == "sessions" else "databases"
            answer = await caller.send("GET", f"/_admin/{path}")
            assert answer.json() == {key: []}
    app = {"kind": "file", "name": "app", "open": True, "refs": 0}
    mem = {"kind": "memory", "name": "mem", "open": True, "refs": 0}
    for path in ("databases", "stats"):
        assert (await admin.adm.send("GET", f"/_admin/{path}")).json() == {"databases": [app]}
        assert (await admin.root.send("GET", f"/_admin/{path}")).json() == {"databases": [app, mem]}


async def test_a_wildcard_admin_grant_is_no_server_admin(start: Start) -> None:  # 192
    anyones = memory("any", *grants(everyone="admin"))
    async with start(controlled(anyones)) as running:
        nobody = running.client()
        answer = await nobody.send("GET", "/_admin/databases")
        assert [one["name"] for one in answer.json()["databases"]] == ["any"]
        order = {"database": "any", "op": "checkpoint"}
        assert (await nobody.post("/_admin/maintenance", order)).status == 200
        for name in ("app", "nope"):
            answer = await nobody.post("/_admin/maintenance", order | {"database": name})
            assert outcome(answer) == NOT_ADMIN
        assert outcome(await nobody.send("GET", "/_admin/info")) == NOT_SERVER_ADMIN
        document = {"database": described("x")}
        assert outcome(await nobody.post("/_admin/create", document)) == NOT_SERVER_ADMIN  # 127


async def test_the_server_in_numbers(admin: Admin) -> None:
    answer = await admin.tok.pipeline({"type": "execute", "stmt": {"sql": "SELECT 1"}})
    assert answer.status == 200
    found = (await admin.root.send("GET", "/_admin/info")).json()
    assert all(type(value) is int for value in found.values())
    assert found["goroutines"] > 1
    assert found["heap_bytes"] > 1_000_000
    assert found["uptime_seconds"] >= 0
    counts = {key: found[key] for key in ("active_sessions", "databases", "open_databases")}
    assert counts == {"active_sessions": 1, "databases": 2, "open_databases": 2}


# Databases that come and go.


async def test_a_created_database_is_served_with_its_grants(admin: Admin) -> None:
    answer = await admin.create("new", tok="read-write", ro="read-only", stranger="admin")
    assert (answer.status, answer.json()) == (200, {"database": "new", "status": "created"})
    assert await admin.entry("new") == {"kind": "file", "name": "new", "open": True, "refs": 0}
    assert (await admin.tok.query("CREATE TABLE t(a)", db="new")).status == 200
    assert (await admin.ro.query("SELECT * FROM t", db="new")).status == 200
    assert (await admin.ro.query("INSERT INTO t VALUES(1)", db="new")).status == 403
    for caller in (admin.adm, admin.root, admin.nobody):  # server-admins hold no implicit grant
        assert outcome(await caller.query("SELECT 1", db="new")) == NO_ACCESS
    assert outcome(await admin.create("new")) == (409, "database already exists")  # 127
    assert outcome(await admin.create("app")) == (409, "database already exists")


async def test_what_becomes_of_a_detached_database(admin: Admin, tmp_path: Path) -> None:  # 128
    await admin.create("new", tok="read-write")
    await admin.tok.query("CREATE TABLE t(a)", db="new")
    answer = await admin.root.post("/_admin/detach", {"database": "new"})
    assert (answer.status, answer.json()) == (200, {"database": "new", "status": "detached"})
    assert outcome(await admin.tok.query("SELECT 1", db="new")) == NO_ACCESS
    assert outcome(await admin.root.post("/_admin/detach", {"database": "new"})) == UNKNOWN
    assert (tmp_path / "new.db").exists()
    assert 'db="new"' not in (await admin.root.send("GET", "/_metrics")).body.decode()
    assert (await admin.create("new", ro="read-only")).status == 200
    assert outcome(await admin.tok.query("SELECT 1", db="new")) == NO_ACCESS
    answer = await admin.ro.query("SELECT count(*) FROM t", db="new")
    assert answer.json()["rows"] == [[0]]


async def test_a_configured_database_is_detached_with_its_grants(admin: Admin) -> None:  # 177
    assert (await admin.root.post("/_admin/detach", {"database": "app"})).status == 200
    for caller in (admin.tok, admin.adm):
        assert outcome(await caller.query("SELECT 1")) == NO_ACCESS
    admin.running.application.reload(controlled())
    assert outcome(await admin.tok.query("SELECT 1")) == NO_ACCESS
    assert (await admin.create("app", ro="read-only")).status == 200
    assert outcome(await admin.tok.query("SELECT 1")) == NO_ACCESS
    assert (await admin.ro.query("SELECT 1")).status == 200


async def test_a_database_in_use_is_not_detached(admin: Admin) -> None:  # 128
    opened = await admin.tok.pipeline({"type": "execute", "stmt": {"sql": "SELECT 1"}})
    assert (await admin.entry("app"))["refs"] == 1
    assert outcome(await admin.root.post("/_admin/detach", {"database": "app"})) == BUSY
    closed = await admin.tok.pipeline({"type": "close"}, baton=opened.json()["baton"])
    assert closed.status == 200
    assert (await admin.entry("app"))["refs"] == 0
    assert (await admin.root.post("/_admin/detach", {"database": "app"})).status == 200


@contextlib.asynccontextmanager
async def long_query(admin: Admin, db: str = "app") -> AsyncIterator[None]:
    """Around the time in which a statement runs."""
    gone = asyncio.Event()
    endless = "WITH RECURSIVE n(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM n) SELECT max(x) FROM n"
    body = f'{{"sql":"{endless}"}}'.encode()
    running = asyncio.create_task(admin.tok.send("POST", f"/{db}/query", body, gone=gone))
    database = admin.running.registry.get(db)
    await until(lambda: database.usage.count)
    yield
    gone.set()
    assert (await running).status == 504


async def test_a_request_in_flight_is_a_user(admin: Admin) -> None:
    async with long_query(admin):
        assert (await admin.entry("app"))["refs"] == 1
        assert outcome(await admin.root.post("/_admin/detach", {"database": "app"})) == BUSY
    assert (await admin.entry("app"))["refs"] == 0


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (described("_x"), (400, 'config: database "_x" has an invalid or reserved name (use ')),
        (described("query"), (400, 'config: database "query" has an invalid or reserved name')),
        ({"name": "x"}, (400, 'config: database "x" missing backend')),
        (described("x", backend="pg"), (400, 'config: database "x" unknown backend "pg"')),
        (described("x", backend="vault"), (400, 'config: database "x": this server has no back')),
        (described("x", mode="w"), (400, 'config: database "x" invalid mode "w" (want rw|ro|rwc)')),
        (described("x", vault={}), (400, 'config: database "x" has a vault block but backend is')),
        (described("x", pool={"tx_lock": "y"}), (400, 'config: database "x" invalid tx_lock "y"')),
        (described("x", pragmas={"a b": 1}), (400, 'config: database "x" invalid pragma name')),
        (described("x", path="/etc/x"), OUTSIDE),
        (described("x", path="../../x"), OUTSIDE),
        (described("x", path="."), OUTSIDE),
        (described("x", path="a\0b"), OUTSIDE),
        (described("x", path=META_STORE), OUTSIDE),
        (described("x", path="app.db-wal"), OUTSIDE),
        (described("x", mode="rw"), (400, "database could not be created (invalid or unop")),
        (described("x", path="no/such/folder.db"), (400, "database could not be created (inv")),
        (described("x", path="garbage.db"), (400, "database could not be created (invalid or")),
        (described("x", path="link/x.db"), OUTSIDE),
    ],
)
async def test_a_database_that_is_not_created(
    admin: Admin, tmp_path: Path, document: dict[str, Any], expected: tuple[int, str]
) -> None:  # 127
    (tmp_path / "garbage.db").write_text("no database " * 100)
    (tmp_path / "link").symlink_to("/")
    answer = await admin.root.post("/_admin/create", {"database": document})
    assert answer.status == expected[0]
    assert answer.message.startswith(expected[1])
    assert str(tmp_path) not in answer.message
    names = [
        one["name"]
        for one in (await admin.root.send("GET", "/_admin/databases")).json()["databases"]
    ]
    assert names == ["app", "mem"]


async def test_an_absolute_path_inside_is_accepted(admin: Admin, tmp_path: Path) -> None:
    document = {"database": described("x", path=str(tmp_path / "x.db"))}
    assert (await admin.root.post("/_admin/create", document)).status == 200


@pytest.mark.parametrize(
    "body",
    [
        '{"database":{"name":"x","backend":"memory","zzz":1}}',
        '{"database":{"name":"x","backend":"memory"},"zzz":1}',
        '{"database":{"name":5,"backend":"memory"}}',
        '{"database":"x"}',
        '{"database":{"name":"x","backend":"memory","pool":{"busy_timeout":"1s"}}}',  # 176
        '{"database":{"name":"x","backend":"memory","pool":{"max_open":1.5}}}',
        '{"database":{"name":"x","backend":"memory","pragmas":{"busy_timeout":"1s"}}}',
        '{"database":{"name":"x","backend":"memory","pragmas":{"cache_size":true}}}',
        '{"database":{"name":"x","backend":"memory","pragmas":{"journal_mode":[]}}}',
        '{"database":{"name":"x","backend":"vault","vault":{"zzz":1}}}',
        '{"database":{"name":"x","backend":"memory"},"grants":{"tok":"rw"}}',
        '{"database":{"name":"x","backend":"memory"},"grants":[{"principal":"tok","lvl":"rw"}]}',
        "[]",
        "",
        '{"database":{"name":"' + "x" * 1024 * 1024 + '"}}',
        "[" * 100_000,
    ],
)
async def test_a_broken_description(admin: Admin, body: str) -> None:
    assert outcome(await admin.root.post("/_admin/create", body)) == BROKEN


async def test_keys_of_any_case_and_levels_of_any_name(admin: Admin) -> None:  # 176
    body = (
        '{"DATABASE":{"Name":"x","BACKEND":"file","Path":"x.db","PragmasPreset":"recommended",'
        '"grants":[{"principal":"ro","level":"admin"}],"Mode":"",'
        '"pool":{"busy_timeout":456000000,"MaxOpen":null},'
        '"pragmas":{"cache_size":-100,"foreign_keys":false,"synchronous":"normal"}},'
        '"Grants":[{"Principal":"tok","Level":"rw"},{"principal":"ro","level":"zz"},'
        '{"principal":"","level":"admin"},{"principal":"adm","level":"readonly"}]} junk'
    )
    answer = await admin.root.post("/_admin/create", body)
    assert (answer.status, answer.json()) == (200, {"database": "x", "status": "created"})
    assert (await admin.tok.query("CREATE TABLE t(a)", db="x")).status == 200
    for sql, expected in (
        ("PRAGMA busy_timeout", 456),
        ("PRAGMA cache_size", -100),
        ("PRAGMA foreign_keys", 0),
        ("PRAGMA synchronous", 1),
        ("PRAGMA journal_mode", "wal"),
    ):
        assert (await admin.tok.query(sql, db="x")).json()["rows"] == [[expected]]
    assert outcome(await admin.ro.query("SELECT 1", db="x")) == NO_ACCESS
    assert outcome(await admin.nobody.query("SELECT 1", db="x")) == NO_ACCESS
    assert (await admin.adm.query("SELECT 1", db="x")).status == 200
    assert (await admin.adm.query("INSERT INTO t VALUES(1)", db="x")).status == 403


async def test_without_a_data_dir_no_path_is_inside(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert admin.running.control is not None
    monkeypatch.setattr(admin.running.control.places, "_data_dir", "")
    assert outcome(await admin.create("x")) == OUTSIDE
    document = {"database": {"name": "x", "backend": "memory"}}
    assert (await admin.root.post("/_admin/create", document)).status == 200


async def test_one_of_many_at_once_is_created(admin: Admin) -> None:
    answers = await asyncio.gather(*(admin.create("x", tok="read-write") for _ in range(10)))
    assert sorted(answer.status for answer in answers) == [200] + [409] * 9
    detaching = (admin.root.post("/_admin/detach", {"database": "x"}) for _ in range(10))
    assert sorted(a.status for a in await asyncio.gather(*detaching)) == [200] + [404] * 9


async def test_a_store_that_cannot_write(
    admin: Admin, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await admin.create("x", tok="read-write")

    async def fail(*_: object) -> None:
        raise apsw.FullError("database or disk is full")

    monkeypatch.setattr(MetaStore, "run", fail)
    assert outcome(await admin.create("y")) == (500, "database could not be created")
    assert "y" not in admin.running.registry.names()
    answer = await admin.root.post("/_admin/detach", {"database": "x"})
    assert outcome(answer) == (500, "cannot detach database")
    assert (await admin.tok.query("SELECT 1", db="x")).status == 200
    assert "disk is full" in caplog.text
    assert "audit: a row was lost" in caplog.text


# Streams.


async def test_streams_are_listed(start: Start) -> None:
    now = 100.0
    async with start(controlled(), clock=lambda: now) as running:
        admin = Admin(running)
        await admin.tok.pipeline({"type": "execute", "stmt": {"sql": "SELECT 1"}})
        now += 5.9
        await admin.ro.pipeline({"type": "execute", "stmt": {"sql": "SELECT 1"}})
        await admin.tok.pipeline({"type": "execute", "stmt": {"sql": "SELECT 1"}}, db="mem")
        now += 2
        found = (await admin.adm.send("GET", "/_admin/sessions")).json()["sessions"]
        assert [len(one.pop("id")) for one in found] == [22, 22]
        assert found == [
            {
                "age_seconds": 7,
                "database": "app",
                "idle_seconds": 7,
                "in_flight": False,
                "principal": "tok",
                "read_only": False,
            },
            {
                "age_seconds": 2,
                "database": "app",
                "idle_seconds": 2,
                "in_flight": False,
                "principal": "ro",
                "read_only": True,
            },
        ]
        found = (await admin.root.send("GET", "/_admin/sessions")).json()["sessions"]
        assert [one["database"] for one in found] == ["app", "app", "mem"]


async def test_a_stream_is_killed_with_its_transaction(admin: Admin) -> None:  # 129
    await admin.tok.query("CREATE TABLE t(a)")
    script = ("BEGIN", "INSERT INTO t VALUES(1)")
    opened = await admin.tok.pipeline(
        *({"type": "execute", "stmt": {"sql": sql}} for sql in script)
    )
    (listed,) = (await admin.root.send("GET", "/_admin/sessions")).json()["sessions"]
    answer = await admin.root.post("/_admin/kill", {"session": listed["id"]})
    assert (answer.status, answer.json()) == (200, {"session": listed["id"], "status": "killed"})
    gone = await admin.tok.pipeline({"type": "close"}, baton=opened.json()["baton"])
    assert outcome(gone) == (400, "invalid or expired baton")
    assert (await admin.tok.query("SELECT count(*) FROM t")).json()["rows"] == [[0]]
    assert (await admin.entry("app"))["refs"] == 0
    again = await admin.root.post("/_admin/kill", {"session": listed["id"]})
    assert outcome(again) == (404, "no such session")


async def test_a_stream_at_work_is_not_killed(admin: Admin) -> None:  # 129
    endless = "WITH RECURSIVE n(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM n) SELECT max(x) FROM n"
    body = f'{{"requests":[{{"type":"execute","stmt":{{"sql":"{endless}"}}}}]}}'.encode()
    gone = asyncio.Event()
    sending = admin.tok.send("POST", "/app/v3/pipeline", body, gone=gone)
    running = asyncio.create_task(sending)
    await until(admin.running.sessions.list)
    (listed,) = (await admin.root.send("GET", "/_admin/sessions")).json()["sessions"]
    assert (listed["in_flight"], listed["idle_seconds"]) == (True, 0)
    answer = await admin.root.post("/_admin/kill", {"session": listed["id"]})
    text = "session has a request in flight; it will end at the statement timeout"
    assert outcome(answer) == (409, text)
    gone.set()
    await running


@pytest.mark.parametrize("name", ["", "zzz", "A" * 22, "A" * 1000, "é", "a\0"])
async def test_a_stream_that_is_not_there(admin: Admin, name: str) -> None:
    answer = await admin.root.post("/_admin/kill", {"session": name})
    assert outcome(answer) == (404, "no such session")


# The audit.


async def test_the_audit_has_what_was_done_denied_and_failed(admin: Admin) -> None:
    await admin.create("x", tok="read-write")
    await admin.tok.post("/_admin/create", {"database": described("y")})
    await admin.create("x")
    await admin.root.post("/_admin/detach", {"database": "x"})
    await admin.nobody.post("/_admin/kill", {"session": "s"})
    await admin.root.post("/_admin/kill", "{")
    await admin.adm.post("/_admin/maintenance", {"database": "app", "op": "checkpoint"})
    await admin.adm.post("/_admin/maintenance", {"database": "mem", "op": "checkpoint"})
    await admin.root.post("/_admin/maintenance", {"database": "mem", "op": "x" * 1000})
    await admin.root.send("POST", "/_admin/restore?database=app", b"x")
    await admin.root.send("GET", "/_admin/info")
    await admin.tok.send("GET", "/_admin/databases")
    assert await admin.audited() == [
        ("root", "create", "x", "file"),
        ("tok", "create.denied", "", NOT_SERVER_ADMIN[1]),
        ("root", "create.failed", "x", "database already exists"),
        ("root", "detach", "x", ""),
        ("", "kill.denied", "", NOT_SERVER_ADMIN[1]),
        ("root", "kill.failed", "", "invalid JSON body"),
        ("adm", "checkpoint", "app", "passive"),
        ("adm", "checkpoint.denied", "mem", NOT_ADMIN[1]),
        ("root", "x" * 64 + ".failed", "mem", "unknown maintenance op"),
        (
            *("root", "restore.failed", "app"),
            "restore: uploaded file is not a valid SQLite database",
        ),
    ]


async def test_admins_are_reloaded(admin: Admin) -> None:
    document = {"database": described("x")}
    config = controlled()
    admins = type(config.control_plane)(enabled=True, admins=("tok",))
    admin.running.application.reload(controlled(control_plane=admins))
    assert outcome(await admin.root.post("/_admin/create", document)) == NOT_SERVER_ADMIN
    assert (await admin.tok.post("/_admin/create", document)).status == 200
