"""`/_admin/maintenance` through the application: odd-cases 130, 175, 178."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from quicsql_client.server import drafts
from quicsql_client.server.config import LimitsConfig
from quicsql_client.server.engine import CannotOpen
from quicsql_client.server.engine.images import ImageCopy
from quicsql_client.server.registry import Database
from tests.fix_admin import Admin, controlled, described, outcome, until
from tests.fix_application import META_STORE, Answer, Start

NO_PLACE = (400, "snapshot dest must be a path within data_dir")
TAKEN = (409, "snapshot dest already exists or cannot be created")
KEYS = "vault key management is only supported for recipient-mode vaults"
BROKEN = (400, "invalid JSON body")


async def maintain(admin: Admin, op: str, database: str = "app", **keys: Any) -> Answer:
    order = {"database": database, "op": op} | keys
    return await admin.root.post("/_admin/maintenance", order)


def hidden(folder: Path) -> list[str]:
    """Drafts that were left."""
    return [name for name in os.listdir(folder) if name.startswith(".")]


@pytest.mark.parametrize("mode", [None, "", "passive", "full", "restart", "truncate"])
async def test_a_checkpoint_empties_the_log(admin: Admin, tmp_path: Path, mode: str | None) -> None:
    await admin.tok.query("CREATE TABLE t AS SELECT zeroblob(100000) AS v")
    answer = await maintain(admin, "checkpoint", mode=mode)
    found = answer.json()
    assert found["checkpointed_frames"] == found["wal_frames"]
    assert found["wal_frames"] > 20 or mode == "truncate"
    del found["checkpointed_frames"], found["wal_frames"]
    assert found == {"database": "app", "mode": mode or "passive", "status": "checkpointed"}
    if mode == "truncate":
        log = tmp_path / "app.db-wal"
        assert not log.exists() or not log.stat().st_size


async def test_a_mode_that_is_none(admin: Admin) -> None:  # 130
    text = "checkpoint mode must be passive|full|restart|truncate"
    for mode in ("bogus", "FULL"):
        assert outcome(await maintain(admin, "checkpoint", mode=mode)) == (400, text)


async def test_a_checkpoint_without_a_log(admin: Admin) -> None:  # 178
    await admin.root.post("/_admin/create", {"database": described("plain")})
    for name in ("plain", "mem"):
        found = (await maintain(admin, "checkpoint", name)).json()
        assert (found["wal_frames"], found["checkpointed_frames"]) == (-1, -1)


async def test_a_checkpoint_that_must_wait_for_a_reader(start: Start) -> None:
    async with start(controlled(limits=LimitsConfig(statement_timeout_s=0.2))) as running:
        admin = Admin(running)
        await admin.tok.query("CREATE TABLE t AS SELECT 1 AS v")
        script = ("BEGIN", "SELECT * FROM t")
        opened = await admin.tok.pipeline(
            *({"type": "execute", "stmt": {"sql": sql}} for sql in script)
        )
        await admin.tok.query("INSERT INTO t VALUES(2)")
        assert (await maintain(admin, "checkpoint")).status == 200  # passive never waits
        text = "checkpoint failed (is the database in WAL mode?)"
        assert outcome(await maintain(admin, "checkpoint", mode="truncate")) == (500, text)
        await admin.tok.pipeline({"type": "close"}, baton=opened.json()["baton"])
        assert (await maintain(admin, "checkpoint", mode="truncate")).status == 200


@pytest.mark.parametrize("database", ["app", "mem"])
async def test_a_snapshot_is_a_plain_database(admin: Admin, tmp_path: Path, database: str) -> None:
    await admin.tok.query("CREATE TABLE t AS SELECT 5 AS v", db=database)
    answer = await maintain(admin, "snapshot", database, dest="copy.db")
    path = tmp_path / "copy.db"
    assert answer.json() == {
        "bytes": path.stat().st_size,
        "database": database,
        "dest": str(path),
        "status": "snapshot",
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT v FROM t").fetchall() == [(5,)]
    assert not hidden(tmp_path)
    assert outcome(await maintain(admin, "snapshot", database, dest=str(path))) == TAKEN  # 130


@pytest.mark.parametrize(
    ("dest", "expected"),
    [
        (None, NO_PLACE),
        ("", NO_PLACE),
        (".", NO_PLACE),
        ("..", NO_PLACE),
        ("../x.db", NO_PLACE),  # 130
        ("/etc/x.db", NO_PLACE),
        ("out/x.db", NO_PLACE),
        ("a\0b", NO_PLACE),
        (META_STORE, NO_PLACE),
        ("app.db-wal", NO_PLACE),
        ("new.db-journal", NO_PLACE),
        ("app.db", TAKEN),
        ("pki/x.db", TAKEN),
        ("dangling", NO_PLACE),
        ("loop", TAKEN),
    ],
)
async def test_where_a_snapshot_may_not_be(
    admin: Admin, tmp_path: Path, dest: str | None, expected: tuple[int, str]
) -> None:
    (tmp_path / "out").symlink_to("/")
    (tmp_path / "dangling").symlink_to("/nowhere/x.db")
    (tmp_path / "loop").symlink_to("loop")
    before = sorted(os.listdir(tmp_path))
    assert outcome(await maintain(admin, "snapshot", dest=dest)) == expected
    assert sorted(os.listdir(tmp_path)) == before


async def test_two_snapshots_of_one_name(admin: Admin, tmp_path: Path) -> None:
    answers = await asyncio.gather(*(maintain(admin, "snapshot", dest="x.db") for _ in range(8)))
    assert sorted(map(outcome, answers)) == [(200, "")] + [TAKEN] * 7
    assert not hidden(tmp_path)


async def test_a_snapshot_that_fails(
    admin: Admin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def fail_to_copy(_copy: ImageCopy, _source: apsw.Connection) -> None:
        raise apsw.FullError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(os, "link", fail)
        answer = await maintain(admin, "snapshot", dest="x.db")
        assert outcome(answer) == (500, "snapshot write failed")
    with monkeypatch.context() as patched:
        patched.setattr(ImageCopy, "_copy", fail_to_copy)
        assert outcome(await maintain(admin, "snapshot", dest="x.db")) == (500, "snapshot failed")
    assert "disk is full" in caplog.text
    assert not hidden(tmp_path)
    assert not (tmp_path / "x.db").exists()
    assert (await maintain(admin, "snapshot", dest="x.db")).status == 200


async def test_a_client_that_leaves_ends_its_snapshot(
    admin: Admin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = asyncio.Event()
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def copy_until_stopped(copy: ImageCopy, _source: apsw.Connection) -> None:
        loop.call_soon_threadsafe(begun.set)
        copy._stopped.wait()

    monkeypatch.setattr(ImageCopy, "_copy", copy_until_stopped)
    body = b'{"database":"app","op":"snapshot","dest":"x.db"}'
    sending = admin.root.send("POST", "/_admin/maintenance", body, gone=gone)
    asking = asyncio.create_task(sending)
    await begun.wait()
    gone.set()
    assert outcome(await asking) == (500, "snapshot failed")
    assert not hidden(tmp_path)


async def test_a_database_that_does_not_open(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise CannotOpen("disk I/O error")

    monkeypatch.setattr(Database, "call", fail)
    for keys in ({"op": "checkpoint"}, {"op": "snapshot", "dest": "x.db"}):
        assert outcome(await maintain(admin, **keys)) == (500, "cannot acquire a connection")


async def test_a_reserved_database(admin: Admin) -> None:
    busy = (503, "database temporarily unavailable")
    database = admin.running.registry.get("app")
    async with admin.running.registry.offline("app"):
        for keys in ({"op": "checkpoint"}, {"op": "snapshot", "dest": "x.db"}):
            answer = await maintain(admin, **keys)
            assert outcome(answer) == busy
            assert answer.headers["retry-after"] == "1"
        for path in ("/app/query", "/app/v3/pipeline", "/app/v3/cursor"):
            query, cursor = {"sql": "SELECT 1"}, {"batch": {"steps": list[str]()}}
            body = query if path.endswith("query") else cursor
            assert outcome(await admin.tok.post(path, body)) == busy
        for path in ("/app/export", "/app/backup"):
            assert outcome(await admin.tok.send("GET", path)) == busy
        answer = await admin.tok.send("POST", "/app/changeset/apply", b"x")
        assert outcome(answer) == (422, "apply changeset: database temporarily unavailable")
        text = "database busy (has active users); retry when idle"
        assert outcome(await admin.root.post("/_admin/detach", {"database": "app"})) == (409, text)
        assert not database.is_open
    assert (await admin.tok.query("SELECT 1")).status == 200
    assert await admin.entry("app") == {"kind": "file", "name": "app", "open": True, "refs": 0}


@pytest.mark.parametrize(
    ("op", "text"),
    [
        ("compact", "offline compact is only supported for vault databases"),
        ("compact_online", "online reclaim is only supported for vault databases"),
        ("trim", "online reclaim is only supported for vault databases"),
        ("compact_logical", "logical reclaim is only supported for vault databases"),
        ("reclaimable", "logical reclaim is only supported for vault databases"),
        ("snapshot_encrypted", "encrypted snapshot is only supported for vault databases"),
        ("members", KEYS),
        ("rewrap", KEYS),
        ("rekey", KEYS),
        ("", "unknown maintenance op"),
        ("CHECKPOINT", "unknown maintenance op"),
    ],
)
async def test_what_only_vaults_have(admin: Admin, op: str, text: str) -> None:
    answer = await maintain(admin, op, dest="x.db", max_bytes=-1)
    assert outcome(answer) == (400, text)
    assert (await admin.audited())[-1][1] == f"{op or 'maintenance'}.failed"
    if op in ("rewrap", "rekey"):
        answer = await admin.adm.post("/_admin/maintenance", {"database": "app", "op": op})
        assert outcome(answer) == (403, "rewrap/rekey require server-admin capability")
    if op == "snapshot_encrypted":
        assert outcome(await maintain(admin, op)) == NO_PLACE


@pytest.mark.parametrize(
    "keys", [{"max_bytes": 1.5}, {"max_bytes": "1"}, {"zzz": 1}, {"dest": 5}, {"mode": []}]
)
async def test_a_broken_order(admin: Admin, keys: dict[str, Any]) -> None:
    assert outcome(await maintain(admin, "checkpoint", **keys)) == BROKEN


async def test_drafts_of_a_killed_server_are_swept(tmp_path: Path) -> None:
    left = drafts.Draft(str(tmp_path / "app.db"))
    for name in ("app.db", ".app.db.draft", ".app.db.0123456789abcdef.draft.db"):
        (tmp_path / name).touch()
    (tmp_path / ".x.0123456789abcdef.draft").mkdir()
    drafts.sweep([str(tmp_path), str(tmp_path / "missing")])
    assert os.path.basename(left.path) not in os.listdir(tmp_path)
    assert len(os.listdir(tmp_path)) == 4
    left.discard()


async def test_work_in_a_thread_is_never_left_alone() -> None:
    stop, ended, begun = asyncio.Event(), asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(stop.wait(), loop).result()
        loop.call_soon_threadsafe(ended.set)

    running = asyncio.create_task(drafts.in_thread(work, stop.set))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await until(ended.is_set)
