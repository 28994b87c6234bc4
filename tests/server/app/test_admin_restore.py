"""`/_admin/restore` through the application: odd-cases 131, 175, 180."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from quicsql_client.server.config import LimitsConfig
from quicsql_client.server.drafts import Draft
from quicsql_client.server.engine.checking import ImageCheck
from quicsql_client.server.listeners import open_listener
from quicsql_client.server.listeners.settings import HTTPTimeouts
from tests.fix_admin import Admin, controlled, described, outcome
from tests.fix_application import Answer, Client, Start
from tests.fix_principals import grants, stored

INVALID = (400, "restore: uploaded file is not a valid SQLite database")
FAILED = (400, "restore: upload failed")
BUSY = (409, "database busy (has active users); retry when idle")
PAUSE_S = 0.005  # between the requests of one caller under load: a restore needs a gap
TOO_LARGE = (413, "restore image exceeds the size cap")


def image(folder: Path, sql: str = "CREATE TABLE t(v)", *, journal: str = "delete") -> bytes:
    """What another SQLite makes of a script."""
    path = folder / "other.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode={journal}")
        connection.executescript(sql)
    made = path.read_bytes()
    path.unlink()
    return made


async def restore(admin: Admin, body: bytes | list[bytes], db: str = "app", **keys: Any) -> Answer:
    return await admin.root.send("POST", f"/_admin/restore?database={db}", body, **keys)


def beside(folder: Path, name: str = "app.db") -> list[str]:
    """What else bears the name of the database's file."""
    return sorted(one for one in os.listdir(folder) if name in one and one != name)


@pytest.mark.parametrize("journal", ["delete", "wal"])
async def test_a_restored_database_is_the_image(
    admin: Admin, tmp_path: Path, journal: str
) -> None:  # 131
    await admin.tok.query("CREATE TABLE old(a)")
    body = image(tmp_path, "CREATE TABLE t(v); INSERT INTO t VALUES('new')", journal=journal)
    pieces = [body[start : start + 1000] for start in range(0, len(body), 1000)]
    answer = await restore(admin, pieces)
    expected = {"bytes": len(body), "database": "app", "status": "restored"}
    assert (answer.status, answer.json()) == (200, expected)
    assert beside(tmp_path) == []
    assert stat.S_IMODE((tmp_path / "app.db").stat().st_mode) == 0o600
    assert (await admin.tok.query("SELECT v FROM t")).json()["rows"] == [["new"]]
    gone = await admin.tok.query("SELECT * FROM old")
    assert gone.json()["error"]["message"] == "no such table: old"
    assert (await admin.tok.query("INSERT INTO t VALUES('after')")).status == 200
    assert (await admin.tok.query("PRAGMA journal_mode")).json()["rows"] == [["wal"]]
    assert (await admin.audited())[-1] == ("root", "restore", "app", f"{len(body)} bytes")


async def test_what_sqlite_left_beside_the_old_file_is_removed(
    admin: Admin, tmp_path: Path
) -> None:
    await admin.tok.query("CREATE TABLE old(a)")
    body = image(tmp_path, "CREATE TABLE t(v); INSERT INTO t VALUES(1)")
    await admin.running.registry.get("app").shut()
    other = sqlite3.connect(tmp_path / "app.db")  # as another process that was killed
    other.execute("INSERT INTO old VALUES(1)")
    other.commit()
    log = (tmp_path / "app.db-wal").read_bytes()
    other.close()
    for suffix in ("-wal", "-journal"):
        (tmp_path / f"app.db{suffix}").write_bytes(log)
    assert (await restore(admin, body)).status == 200
    assert beside(tmp_path) == []
    assert (await admin.tok.query("SELECT v FROM t")).json()["rows"] == [[1]]


async def test_a_link_to_the_file_stays_one(start: Start, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "linked.db").symlink_to("elsewhere/real.db")
    async with start(controlled(stored("linked", *grants(tok="read-write")))) as running:
        admin = Admin(running)
        await admin.tok.query("CREATE TABLE old(a)", db="linked")
        assert (await restore(admin, image(tmp_path), "linked")).status == 200
        assert (tmp_path / "linked.db").is_symlink()
        assert (await admin.tok.query("SELECT * FROM t", db="linked")).status == 200
        assert os.listdir(tmp_path / "elsewhere")[0].startswith("real.db")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"garbage",
        b"SQLite format 3\0",
        b"SQLite format 3\0" + b"x" * 5000,
        b"\0" * 4096,
    ],
)
async def test_what_is_no_database(admin: Admin, tmp_path: Path, body: bytes) -> None:  # 131
    await admin.tok.query("CREATE TABLE keep(a)")
    assert outcome(await restore(admin, body)) == INVALID
    assert (await admin.tok.query("SELECT * FROM keep")).status == 200
    assert not [name for name in beside(tmp_path) if name.endswith(".draft")]


async def test_a_broken_image_is_refused(
    admin: Admin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = "CREATE TABLE t(v); CREATE INDEX i ON t(v); INSERT INTO t VALUES('a'), ('b')"
    whole = image(tmp_path, rows)
    assert outcome(await restore(admin, whole[:-4096])) == INVALID
    page = bytearray(whole)
    page[-1] ^= 0x55  # the index and its table differ
    assert outcome(await restore(admin, bytes(page))) == INVALID
    assert "integrity_check" in caplog.text


async def test_the_cap_and_its_reload(start: Start, tmp_path: Path) -> None:
    body = image(tmp_path)
    capped = controlled(limits=LimitsConfig(max_restore_bytes=len(body)))
    async with start(capped) as running:
        admin = Admin(running)
        assert (await restore(admin, body)).status == 200
        assert outcome(await restore(admin, [body, b"x"])) == TOO_LARGE
        assert beside(tmp_path) == []
        running.application.reload(controlled(limits=LimitsConfig(max_restore_bytes=-1)))
        assert outcome(await restore(admin, [body, b"x"])) != TOO_LARGE


async def test_a_large_image_is_written_in_pieces(admin: Admin, tmp_path: Path) -> None:
    body = image(tmp_path, "CREATE TABLE t AS SELECT zeroblob(3000000) AS v")
    pieces = [body[start : start + 65_536] for start in range(0, len(body), 65_536)]
    assert (await restore(admin, pieces)).json()["bytes"] == len(body)
    answer = await admin.tok.query("SELECT length(v) FROM t")
    assert answer.json()["rows"] == [[3_000_000]]


async def test_a_database_in_use_is_not_restored(admin: Admin, tmp_path: Path) -> None:
    body = image(tmp_path)
    opened = await admin.tok.pipeline({"type": "execute", "stmt": {"sql": "SELECT 1"}})
    assert outcome(await restore(admin, body)) == BUSY
    await admin.tok.pipeline({"type": "close"}, baton=opened.json()["baton"])
    assert (await restore(admin, body)).status == 200


async def test_another_database_on_the_file_is_in_use_too(start: Start, tmp_path: Path) -> None:
    body = image(tmp_path, "CREATE TABLE t AS SELECT 7 AS v")
    twin = {"backend": "file", "name": "twin", "path": "./app.db", "mode": "rwc"}
    async with start(controlled()) as running:
        admin = Admin(running)
        document = {"database": twin, "grants": [{"principal": "tok", "level": "rw"}]}
        assert (await admin.root.post("/_admin/create", document)).status == 200
        opened = await admin.tok.pipeline(
            {"type": "execute", "stmt": {"sql": "SELECT 1"}}, db="twin"
        )
        assert outcome(await restore(admin, body)) == BUSY
        assert (await admin.tok.query("SELECT 1")).status == 200
        await admin.tok.pipeline({"type": "close"}, baton=opened.json()["baton"], db="twin")
        assert (await restore(admin, body)).status == 200
        for db in ("app", "twin"):
            answer = await admin.tok.query("SELECT v FROM t", db=db)
            assert answer.json()["rows"] == [[7]]


async def test_an_upload_that_ends_early(admin: Admin, tmp_path: Path) -> None:
    whole = image(tmp_path)
    messages = iter([{"type": "http.request", "body": whole, "more_body": True}])

    async def receive() -> Mapping[str, Any]:
        return next(messages, {"type": "http.disconnect"})

    assert outcome(await _sent_by(admin, receive)) == FAILED
    assert beside(tmp_path, ".draft") == []


async def _sent_by(admin: Admin, receive: Any) -> Answer:
    """A restore whose body comes from receive."""
    root = admin.root

    async def replaced(scope: Any, _receive: Any, send: Any) -> None:
        await root._application(scope, receive, send)

    return await Client(replaced, root._headers).send("POST", "/_admin/restore?database=app")


async def test_a_stalled_upload(start: Start, tmp_path: Path) -> None:  # 180
    async with start(controlled(), body_timeout_s=0.05) as running:
        admin = Admin(running)

        async def receive() -> Mapping[str, Any]:
            await asyncio.Event().wait()
            raise AssertionError("nobody sets it")

        answer = await _sent_by(admin, receive)
        assert outcome(answer) == FAILED
        assert answer.headers["connection"] == "close"
        assert beside(tmp_path, ".draft") == []


async def test_a_stalled_upload_over_http1_gets_its_answer(admin: Admin) -> None:  # 180
    listener = await open_listener(
        name="h1",
        transport="h1",
        address="127.0.0.1:0",
        app=admin.running.application.on(["bearer"]),
        timeouts=HTTPTimeouts(request_s=0.1),
    )
    port = int(listener.address.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (
        "POST /_admin/restore?database=app HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n"
        "authorization: Bearer root-token\r\n\r\nSQL"
    )
    writer.write(head.encode())
    answer = await reader.read()  # to the end: the server closes the connection
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert FAILED[1].encode() in answer
    writer.close()
    await writer.wait_closed()
    await listener.drain(0.0)


async def test_a_client_that_leaves_ends_the_check(
    admin: Admin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, gone = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def run(check: ImageCheck) -> None:
        loop.call_soon_threadsafe(begun.set)
        check._stopped.wait()

    monkeypatch.setattr(ImageCheck, "run", run)
    asking = asyncio.create_task(restore(admin, image(tmp_path), gone=gone))
    await begun.wait()
    gone.set()
    assert outcome(await asking) == FAILED
    assert beside(tmp_path, ".draft") == []


async def test_a_database_that_is_detached_during_the_upload(
    admin: Admin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = image(tmp_path)
    write = Draft.write
    loop = asyncio.get_running_loop()

    def detach_first(draft: Draft, data: bytes) -> None:
        detaching = admin.root.post("/_admin/detach", {"database": "app"})
        asyncio.run_coroutine_threadsafe(detaching, loop).result()
        write(draft, data)

    monkeypatch.setattr(Draft, "write", detach_first)
    assert outcome(await restore(admin, body)) == (404, "unknown database")


async def test_a_disk_that_is_full(
    admin: Admin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path))

    await admin.tok.query("CREATE TABLE keep(a)")
    for name in ("write", "sync", "replace_database"):
        with monkeypatch.context() as patched:
            patched.setattr(Draft, name, fail)
            assert outcome(await restore(admin, image(tmp_path))) == (500, "restore failed")
    assert "No space left" in caplog.text
    assert (await admin.tok.query("SELECT * FROM keep")).status == 200
    assert beside(tmp_path, ".draft") == []


async def test_a_restore_never_mixes_old_and_new_rows(admin: Admin, tmp_path: Path) -> None:
    """Readers and a writer at work; every answer is of one database, the old one or the new."""
    rows = 200
    many = f"WITH RECURSIVE n(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM n WHERE x<{rows})"
    images = [
        image(tmp_path, f"CREATE TABLE t AS {many} SELECT {mark} AS v FROM n") for mark in (1, 2)
    ]
    assert (await restore(admin, images[0])).status == 200
    is_over = asyncio.Event()
    seen: set[int] = set()

    async def read() -> None:
        while not is_over.is_set():
            answer = await admin.tok.query("SELECT count(*), min(v), max(v) FROM t WHERE v<3")
            if answer.status == 200:
                ((count, least, greatest),) = answer.json()["rows"]
                assert (count, least) == (rows, greatest)
                seen.add(least)
            else:
                assert outcome(answer) == (503, "database temporarily unavailable")
            await asyncio.sleep(PAUSE_S)

    async def write() -> None:
        while not is_over.is_set():
            answer = await admin.tok.query("INSERT INTO t VALUES(3)")
            assert answer.status in (200, 503)
            assert "error" not in answer.json() or answer.status == 503
            await asyncio.sleep(PAUSE_S)

    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(read())
        group.create_task(write())
        done = 0
        while done < 8 or seen != {1, 2}:
            answer = await restore(admin, images[done % 2])
            assert answer.status == 200 or outcome(answer) == BUSY
            done += answer.status == 200
        is_over.set()
    assert seen == {1, 2}


async def test_a_created_database_is_restored_and_kept(admin: Admin, tmp_path: Path) -> None:
    document = {"database": described("new"), "grants": [{"principal": "tok", "level": "ro"}]}
    assert (await admin.root.post("/_admin/create", document)).status == 200
    assert (await restore(admin, image(tmp_path), "new")).status == 200
    assert (await admin.tok.query("SELECT * FROM t", db="new")).status == 200
