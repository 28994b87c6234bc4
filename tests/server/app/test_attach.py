"""ATTACH on streams, and VACUUM with it: odd-cases 46, 47, 60, 80, 151."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from quicsql_client.server.config import (
    AuthConfig,
    Config,
    ControlPlaneConfig,
    MetaStoreConfig,
    PoolConfig,
    ServerConfig,
    SQLPolicyConfig,
)
from quicsql_client.server.engine.opening import MAX_ATTACHED
from tests.fix_application import Client, Running, Start
from tests.fix_principals import by_token, grants, memory, stored

DISABLED = "statement not permitted by server policy: ATTACH/DETACH is disabled"
FORBIDDEN = "forbidden: read-only (write not permitted)"
GRANTS = grants(root="read-write", tok="admin", peek="read-only")


def configuration(folder: Path, **sections: Any) -> Config:
    """root and peek are server-admins; all of the databases but `theirs` are root's to write."""
    config = Config(
        server=ServerConfig(data_dir=str(folder)),
        auth=AuthConfig(
            principals=tuple(by_token(name, name) for name in ("root", "tok", "peek")),
            sql_policy=SQLPolicyConfig(allow_attach=True),
        ),
        control_plane=ControlPlaneConfig(enabled=True, admins=("root", "peek")),
        databases=(
            stored("app", *GRANTS),
            stored("one", *GRANTS, pool=PoolConfig(max_open=1)),
            stored("mine", *GRANTS),
            stored("theirs", *grants(tok="admin", root="read-only")),
            memory("mem", *GRANTS),
        ),
    )
    return msgspec.structs.replace(config, **sections)


@pytest.fixture
async def running(start: Start, tmp_path: Path) -> AsyncIterator[Running]:
    async with start(configuration(tmp_path)) as running:
        yield running


@pytest.fixture
def root(running: Running) -> Client:
    return running.client("root")


def execute(sql: str, *args: Any) -> dict[str, Any]:
    values = [{"type": "text", "value": arg} for arg in args]
    return {"type": "execute", "stmt": {"sql": sql, "args": values}}


CLOSE = {"type": "close"}


async def say(client: Client, *requests: Any, db: str = "app", baton: str | None = None) -> Any:
    """What a stream answers: rows, "ok", or the error's (message, code)."""
    answer = await client.pipeline(*requests, db=db, baton=baton)
    assert answer.status == 200, answer.body
    return [_said(result) for result in answer.json()["results"]]


def _said(result: Any) -> Any:
    if result["type"] == "error":
        return result["error"]["message"], result["error"]["code"]
    rows = result["response"].get("result", {}).get("rows")
    return [tuple(cell.get("value") for cell in row) for row in rows] if rows else "ok"


def sql_string(path: Path | str) -> str:
    return "'" + str(path).replace("'", "''") + "'"


async def refusal(client: Client, filename: Path | str, db: str = "app") -> Any:
    """What ATTACH of a file is refused with."""
    ((message, code), _) = await say(
        client, execute(f"ATTACH {sql_string(filename)} AS x"), CLOSE, db=db
    )
    assert code is None
    prefix, _, reason = message.partition("server policy: ")
    assert prefix == "statement not permitted by "
    return reason


def names(folder: Path) -> list[Path]:
    """All below a folder, but for the files of the database `app`."""
    return sorted(path for path in folder.rglob("*") if not path.name.startswith("app.db"))


@pytest.mark.parametrize("db", ["app", "one"])
async def test_a_server_admin_attaches_until_its_stream_ends(
    root: Client, tmp_path: Path, db: str
) -> None:  # 151
    await root.query("CREATE TABLE t(x)", db=db)
    said = await say(
        root,
        execute(f"ATTACH {sql_string(tmp_path / 'new.db')} AS new"),
        execute("CREATE TABLE new.t(x)"),
        execute("INSERT INTO new.t VALUES ('kept')"),
        execute("SELECT x FROM new.t"),
        execute("SELECT count(*) FROM pragma_database_list WHERE name = 'new'"),
        CLOSE,
        db=db,
    )
    assert said == ["ok", "ok", "ok", [("kept",)], [("1",)], "ok"]
    listed = "SELECT count(*) FROM pragma_database_list WHERE name = 'new'"
    assert await say(root, execute(listed), CLOSE, db=db) == [[("0",)], "ok"]
    assert (await root.query(listed, db=db)).json()["rows"] == [[0]]
    with closing(sqlite3.connect(tmp_path / "new.db")) as connection:
        assert connection.execute("SELECT x FROM t").fetchall() == [("kept",)]


async def test_every_way_of_a_stream(root: Client, tmp_path: Path) -> None:
    attach = f"ATTACH {sql_string(tmp_path / 'new.db')} AS new"
    step = {"stmt": {"sql": "DETACH new"}}
    answer = await root.pipeline(
        {"type": "sequence", "sql": f"SELECT 1; {attach}; CREATE TABLE new.t(x)"},
        {"type": "describe", "sql": "SELECT * FROM new.t"},
        {"type": "batch", "batch": {"steps": [step]}},
        execute("SELECT * FROM new.t"),
    )
    results = answer.json()["results"]
    assert [result["type"] for result in results] == ["ok", "ok", "ok", "error"]
    assert results[2]["response"]["result"]["step_errors"] == [None]
    baton = answer.json()["baton"]
    lines = await root.post(
        "/app/v3/cursor", {"baton": baton, "batch": {"steps": [{"stmt": {"sql": attach}}]}}
    )
    assert b'"step_end"' in lines.body


@pytest.mark.parametrize("token", ["tok", "peek"])
async def test_nobody_else_attaches(running: Running, tmp_path: Path, token: str) -> None:
    attach = f"ATTACH {sql_string(tmp_path / 'new.db')} AS new"
    said = await say(
        running.client(token),
        execute(attach),
        execute("  detach database new"),
        execute("VACUUM"),
        {"type": "sequence", "sql": f"SELECT 1; {attach}"},  # 80, with the code
        {"type": "describe", "sql": attach},
        CLOSE,
    )
    assert said[:2] == [(DISABLED, None)] * 2
    assert [code for _, code in said[2:5]] == ["SQLITE_AUTH"] * 3
    assert not (tmp_path / "new.db").exists()


async def test_a_server_admin_without_write_access(start: Start, tmp_path: Path) -> None:
    async with start(configuration(tmp_path)) as running:
        said = await say(running.client("root"), execute("ATTACH '' AS x"), CLOSE, db="theirs")
    assert said == [(DISABLED, None), "ok"]


async def test_not_when_it_is_off(start: Start, tmp_path: Path) -> None:
    auth = msgspec.structs.replace(configuration(tmp_path).auth, sql_policy=SQLPolicyConfig())
    async with start(configuration(tmp_path, auth=auth)) as running:
        said = await say(running.client("root"), execute("ATTACH '' AS x"), CLOSE)
    assert said == [(DISABLED, None), "ok"]


async def test_never_in_autocommit(root: Client, tmp_path: Path) -> None:
    attach = f"ATTACH {sql_string(tmp_path / 'new.db')} AS new"
    await root.query("CREATE TABLE t(x)")
    for sql in (attach, "  detach database y"):  # 46
        answer = await root.query(sql)
        assert (answer.status, answer.message) == (403, DISABLED)
        batch = await root.post("/app/query", {"statements": [{"sql": sql}]})
        assert (batch.status, batch.message) == (403, f"batch statement 0: {DISABLED}")
    for sql in (f"SELECT 1; {attach}", f"INSERT INTO t VALUES (1); {attach}", "VACUUM"):  # 47, 60
        answer = await root.query(sql)
        assert (answer.status, answer.message) == (403, FORBIDDEN)
    into = await root.query("VACUUM INTO ?", str(tmp_path / "new.db"))
    assert (into.status, into.message) == (403, FORBIDDEN)
    assert (await root.query("SELECT count(*) FROM t")).json()["rows"] == [[1]]  # it stays
    assert not (tmp_path / "new.db").exists()


async def test_vacuum_on_a_stream(root: Client, tmp_path: Path) -> None:  # 60
    await root.query("CREATE TABLE t AS SELECT zeroblob(100000) AS x")
    copy = tmp_path / "copy.db"
    said = await say(
        root,
        execute("DROP TABLE t"),
        execute("CREATE TABLE u(x)"),
        execute("VACUUM"),
        execute("PRAGMA page_count"),
        execute("VACUUM INTO ?", str(copy)),
        execute("VACUUM INTO ?", str(copy)),
        execute(f"VACUUM INTO {sql_string(tmp_path.parent / 'out.db')}"),
        CLOSE,
    )
    assert said[:5] == ["ok", "ok", "ok", [("2",)], "ok"]
    assert said[5][1] == "SQLITE_ERROR"  # it is there already
    assert said[6][0].endswith("only files inside server.data_dir can be attached")
    assert not (tmp_path.parent / "out.db").exists()
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("u",)]


async def test_a_served_database_needs_write_access_to_it(root: Client, tmp_path: Path) -> None:
    await root.query("CREATE TABLE t(x)", db="mine")
    said = await say(
        root,
        execute(f"ATTACH {sql_string(tmp_path / 'mine.db')} AS mine"),
        execute("INSERT INTO mine.t VALUES ('1')"),
        CLOSE,
    )
    assert said == ["ok", "ok", "ok"]
    assert (await root.query("SELECT count(*) FROM t", db="mine")).json()["rows"] == [[1]]
    os.link(tmp_path / "theirs.db", tmp_path / "linked.db")
    (tmp_path / "symlinked.db").symlink_to(tmp_path / "theirs.db")
    others = ("theirs.db", "linked.db", "symlinked.db", "x/../theirs.db")
    for name in others:
        reason = await refusal(root, tmp_path / name)
        assert "write access to the database that it is served as" in reason


async def test_a_database_that_nobody_may_write(start: Start, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "fixed.db")) as connection:
        connection.execute("CREATE TABLE t(x)")
    databases = (stored("app", *GRANTS), stored("fixed", *GRANTS, mode="ro"))
    async with start(configuration(tmp_path, databases=databases)) as running:
        reason = await refusal(running.client("root"), tmp_path / "fixed.db")
    assert "write access to the database" in reason


async def test_a_database_that_is_served_later(
    running: Running, root: Client, tmp_path: Path
) -> None:
    attach = execute(f"ATTACH {sql_string(tmp_path / 'late.db')} AS late")
    first = await root.pipeline(attach, execute("DETACH late"))
    await running.registry.add(stored("late"))
    said = await say(root, attach, CLOSE, baton=first.json()["baton"])
    assert "write access to the database" in said[0][0]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/etc/passwd", "only files inside"),
        ("relative.db", "only files inside"),
        ("../out.db", "only files inside"),
        ("{root}", "no file for a database"),
        ("{root}/.", "no file for a database"),
        ("{root}/../out.db", "only files inside"),
        ("{root}-beside/x.db", "only files inside"),
        ("{root}/away/x.db", "only files inside"),
        ("{root}/pipe", "no file for a database"),
        ("{root}/nowhere/x.db", "no file for a database"),
        ("{root}/mine.db-wal", "no file for a database"),
        ("{root}/new.db-journal", "no file for a database"),
        ("{root}/meta.db", "the server's own"),
        ("file:{root}/new.db", "not by a URI"),
        ("file:x?vfs=memdb", "not by a URI"),
        ("file::memory:", "not by a URI"),
        (":MEMORY:", "only files inside"),
        (" ", "only files inside"),
    ],
)
async def test_what_cannot_be_attached(
    start: Start, tmp_path: Path, name: str, reason: str
) -> None:
    root = tmp_path / "data"
    for folder in (root, tmp_path / "data-beside"):
        folder.mkdir()
    (root / "away").symlink_to(tmp_path)
    os.mkfifo(root / "pipe")
    server = ServerConfig(
        data_dir=str(root), meta_store=MetaStoreConfig(backend="file", path="meta.db")
    )
    databases = (memory("mem"), stored("app", *GRANTS, mode="rwc"))
    config = configuration(tmp_path, server=server, databases=databases)
    async with start(config) as running:
        before = names(tmp_path)
        said = await refusal(running.client("root"), name.format(root=root))
        assert names(tmp_path) == before
    assert reason in said


async def test_the_meta_store_of_the_default(root: Client, tmp_path: Path) -> None:
    assert await refusal(root, tmp_path / "_meta.vault") == "this file is the server's own"


async def test_the_name_is_a_text_of_the_statement(root: Client, tmp_path: Path) -> None:
    path = str(tmp_path / "new.db")
    said = await say(
        root,
        execute("ATTACH ? AS x", path),
        execute(f"ATTACH {sql_string(path)} || '' AS x"),
        execute(f'ATTACH "{path}" AS x'),
        execute("DETACH ?", "x"),
        CLOSE,
    )
    for message, code in said[:2]:
        assert message.endswith("want the file's name as a text in the statement")
        assert code is None
    assert said[2:] == ["ok", "ok", "ok"]


async def test_without_a_data_folder_there_are_no_files(start: Start, tmp_path: Path) -> None:
    databases = (stored("app", *GRANTS), memory("mem", *GRANTS))
    config = configuration(tmp_path, server=ServerConfig(), databases=databases)
    async with start(config) as running:
        root = running.client("root")
        assert "only files inside" in await refusal(root, tmp_path / "new.db")
        assert await say(root, execute("ATTACH ':memory:' AS x"), CLOSE) == ["ok", "ok"]


async def test_a_memory_database_attaches_no_files(root: Client, tmp_path: Path) -> None:
    for name in (tmp_path / "new.db", "/quicsql-of-another"):
        assert await refusal(root, name, "mem") == (
            "a memory database attaches '' and ':memory:' only"
        )
    said = await say(
        root,
        execute("ATTACH ':memory:' AS x"),
        execute("CREATE TABLE x.t(a)"),
        execute("ATTACH '' AS y"),
        execute("VACUUM"),
        execute("VACUUM INTO '/tmp/x'"),
        CLOSE,
        db="mem",
    )
    assert said[:4] == ["ok"] * 4
    assert "a memory database attaches" in said[4][0]


async def test_as_many_as_sqlite_has_by_default(root: Client) -> None:
    requests = [execute(f"ATTACH '' AS x{n}") for n in range(MAX_ATTACHED + 1)]
    *attached, last, _ = await say(root, *requests, CLOSE)
    assert attached == ["ok"] * MAX_ATTACHED
    assert last == (f"too many attached databases - max {MAX_ATTACHED}", "SQLITE_ERROR")
