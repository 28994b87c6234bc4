"""`GET /<db>/export` and `/backup` through the application.

Odd-cases 4, 62, 118, 120.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from quicsql_client.server.api import transfer
from quicsql_client.server.config import AuthConfig, Config, LimitsConfig
from quicsql_client.server.engine import DatabaseUnavailable, MaskedFailure
from quicsql_client.server.engine.images import ImageCopy, SizeUnknown
from quicsql_client.server.listeners import Listener, open_listener
from quicsql_client.server.registry import Database
from tests.fix_application import Answer, Client, Start
from tests.fix_principals import by_token, grants, memory, stored

NO_ACCESS = "forbidden: no access to this database"
ENDPOINTS = ("export", "backup")
both = pytest.mark.parametrize("endpoint", ENDPOINTS)

OPEN = Config(databases=(stored("app"), memory("mem")))
GRANTED = Config(
    auth=AuthConfig(principals=(by_token("ro", "ro-token"),)),
    databases=(stored("app", *grants(ro="read-only")),),
)


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files."""
    folder = tmp_path / "spool"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
async def client(start: Start, spool: Path) -> AsyncIterator[Client]:
    async with start(OPEN) as running:
        yield running.client()


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def rows(answer: Answer, path: Path, sql: str) -> list[tuple[Any, ...]]:
    """What another SQLite finds in the body."""
    assert answer.status == 200
    assert answer.body.startswith(b"SQLite format 3\0")  # 120
    path.write_bytes(answer.body)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return connection.execute(sql).fetchall()


@both
@pytest.mark.parametrize("database", ["app", "mem"])
async def test_an_image_and_its_headers(
    client: Client, tmp_path: Path, spool: Path, database: str, endpoint: str
) -> None:
    await client.query("CREATE TABLE t(v)", db=database)
    await client.query("INSERT INTO t VALUES(zeroblob(600000)), ('x')", db=database)
    answer = await client.send("GET", f"/{database}/{endpoint}?x=1")
    found = rows(answer, tmp_path / "image", "SELECT length(v) FROM t ORDER BY 1")
    assert found == [(1,), (600_000,)]
    wanted = {
        "content-type": "application/octet-stream",
        "content-disposition": f'attachment; filename="{database}.sqlite"',
    }
    if endpoint == "backup":
        wanted["content-length"] = str(len(answer.body))
    assert answer.headers == wanted
    assert not files(spool)


@both
@pytest.mark.parametrize("database", ["app", "mem"])
async def test_an_empty_database_is_one_page(
    client: Client, tmp_path: Path, database: str, endpoint: str
) -> None:
    answer = await client.send("GET", f"/{database}/{endpoint}")
    assert rows(answer, tmp_path / "image", "SELECT * FROM sqlite_schema") == []
    assert len(answer.body) == 4096


@both
async def test_the_body_comes_in_pieces(client: Client, endpoint: str) -> None:
    await client.query("CREATE TABLE t AS SELECT zeroblob(1000000) AS v")
    sizes: list[int] = []

    async def send(message: Mapping[str, Any]) -> None:
        sizes.append(len(message.get("body", b"")))

    await request(client, f"/app/{endpoint}", send)
    assert sum(sizes) > 1_000_000
    assert max(sizes) == transfer.PIECE_BYTES


async def request(client: Client, path: str, send: Callable[..., Any]) -> None:
    """One GET whose answer goes to `send` as it comes."""

    async def receive() -> Mapping[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    scope = {
        "type": "http",
        "http_version": "2",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [],
        "extensions": {},
    }
    await client._application(scope, receive, send)


class Held:
    """Answers that stand still at their first byte until they may go on."""

    def __init__(self) -> None:
        self.began = asyncio.Semaphore(0)
        self.may_go_on = asyncio.Event()

    async def send(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.body":
            self.began.release()
            await self.may_go_on.wait()


async def test_four_at_a_time_in_one_pool(client: Client) -> None:
    held = Held()
    async with asyncio.TaskGroup() as group:
        for path in ("/app/export", "/app/backup", "/app/export", "/mem/backup"):
            group.create_task(request(client, path, held.send))
            await held.began.acquire()
        gone = asyncio.Event()
        gone.set()
        for endpoint in ENDPOINTS:
            answer = await client.send("GET", f"/app/{endpoint}", gone=gone)
            assert (answer.status, answer.message) == (503, f"too many concurrent {endpoint}s")
        unknown = await client.send("GET", "/nope/export")
        assert unknown.status == 404
        waiting = group.create_task(client.send("GET", "/app/export"))
        held.may_go_on.set()
        assert (await waiting).status == 200
    for _ in range(5):  # every slot was given back
        assert (await client.send("GET", "/app/backup")).status == 200


async def test_the_cap_of_exports_and_its_reload(start: Start, spool: Path) -> None:
    capped = msgspec.structs.replace(OPEN, limits=LimitsConfig(max_export_bytes=20_000))
    async with start(capped) as running:
        client = running.client()
        assert (await client.send("GET", "/app/export")).status == 200
        await client.query("CREATE TABLE t AS SELECT zeroblob(30000) AS v")
        answer = await client.send("GET", "/app/export")
        assert (answer.status, answer.message) == (413, "database too large to export")
        assert (await client.send("GET", "/app/backup")).status == 200
        running.application.reload(OPEN)
        assert (await client.send("GET", "/app/export")).status == 200


@both
async def test_who_may_have_it(start: Start, spool: Path, endpoint: str) -> None:
    async with start(GRANTED) as running:
        reader, nobody = running.client("ro-token"), running.client()
        assert (await reader.send("GET", f"/app/{endpoint}")).status == 200  # 62
        for client, database in ((nobody, "app"), (nobody, "nope"), (reader, "nope")):
            answer = await client.send("GET", f"/{database}/{endpoint}")
            assert (answer.status, answer.message) == (403, NO_ACCESS)
        for method in ("POST", "HEAD"):  # 4
            answer = await nobody.send(method, f"/app/{endpoint}")
            assert answer.status == 405
        assert (await nobody.send("POST", f"/app/{endpoint}")).message == "use GET"


@both
async def test_an_unknown_database(client: Client, endpoint: str) -> None:  # 118, 120
    answer = await client.send("GET", f"/nope/{endpoint}")
    assert (answer.status, answer.message) == (404, "unknown database")


@both
async def test_a_database_that_does_not_open(
    client: Client, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    async def fail(*_: object) -> None:
        raise DatabaseUnavailable("disk I/O error")

    monkeypatch.setattr(Database, "call", fail)
    answer = await client.send("GET", f"/app/{endpoint}")
    assert (answer.status, answer.message) == (503, "database temporarily unavailable")


@pytest.mark.parametrize(
    ("cause", "text"),
    [
        (SizeUnknown("no"), "export: could not determine database size"),
        (MaskedFailure("no"), "export failed"),
    ],
)
async def test_an_export_that_fails(
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    cause: MaskedFailure,
    text: str,
) -> None:
    def fail(_connection: apsw.Connection, *, max_bytes: int) -> bytes:
        raise cause from apsw.IOError("disk I/O error")

    monkeypatch.setattr(transfer, "serialise", fail)
    answer = await client.send("GET", "/app/export")
    assert (answer.status, answer.message) == (500, text)
    assert "disk I/O error" in caplog.text


def _fail_to_copy(_copy: ImageCopy, _connection: apsw.Connection) -> None:
    raise MaskedFailure("no")


def _fail_to_look(_descriptor: int) -> None:
    raise OSError(5, "Input/output error")


@pytest.mark.parametrize(
    ("target", "replacement", "text"),
    [
        ((ImageCopy, "run"), _fail_to_copy, "backup failed"),
        ((tempfile, "tempdir"), "/no such folder", "backup: cannot create temp file"),
        ((os, "fstat"), _fail_to_look, "backup: cannot read image"),
    ],
)
async def test_a_backup_that_fails(
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    spool: Path,
    target: tuple[object, str],
    replacement: object,
    text: str,
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(*target, replacement)
        answer = await client.send("GET", "/app/backup")
    assert (answer.status, answer.message) == (500, text)
    assert not files(spool)


async def test_a_backup_stops_when_the_client_leaves(
    client: Client, monkeypatch: pytest.MonkeyPatch, spool: Path
) -> None:
    stopped = threading.Event()
    is_asked = threading.Event()

    def stop(_copy: ImageCopy) -> None:
        is_asked.set()

    def run(_copy: ImageCopy, _connection: apsw.Connection) -> None:
        if is_asked.wait(20):
            stopped.set()

    monkeypatch.setattr(ImageCopy, "run", run)
    monkeypatch.setattr(ImageCopy, "stop", stop)
    gone = asyncio.Event()
    gone.set()
    answer = await client.send("GET", "/app/backup", gone=gone)
    assert (answer.status, answer.message) == (500, "backup failed")
    assert await asyncio.to_thread(stopped.wait, 20)
    assert not files(spool)


async def test_a_backup_that_is_not_taken_to_its_end_leaves_nothing(
    client: Client, spool: Path
) -> None:
    async def send(message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.body":
            assert files(spool)
            raise ConnectionResetError("the client left")

    with pytest.raises(ConnectionResetError):
        await request(client, "/app/backup", send)
    assert not files(spool)


async def opened(
    listener: Listener, path: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that has asked for path."""
    host, _, port = listener.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    return reader, writer


async def test_clients_that_leave_give_their_slots_back(start: Start, spool: Path) -> None:
    async with start(OPEN) as running:
        await running.client().query("CREATE TABLE t AS SELECT zeroblob(16000000) AS v")
        application = running.application.on({"none"})
        listener = await open_listener(
            name="h1", transport="h1", address="127.0.0.1:0", app=application
        )
        heads = []
        for endpoint in ("export", "backup", "export", "backup", "backup"):
            reader, writer = await opened(listener, f"/app/{endpoint}")
            heads.append((await reader.readuntil(b"\r\n\r\n")).lower())
            writer.transport.abort()
        for head in heads:  # a slot that was kept would make the fifth wait
            assert head.startswith(b"http/1.1 200 ok\r\n")
        assert b"transfer-encoding: chunked\r\n" in heads[0]
        assert b"content-length" not in heads[0]
        assert b"transfer-encoding" not in heads[1]
        reader, writer = await opened(listener, "/app/backup")
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.read()
        writer.close()
        await writer.wait_closed()
        assert f"content-length: {len(body)}\r\n".encode() in head.lower()
        assert body.startswith(b"SQLite format 3\0")
        await listener.drain(5.0)
        assert not files(spool)
