"""`/<db>/blob/...` through the application: odd-cases 62, 119, 179, 180."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from quicsql_client.server.config import AuthConfig, Config, LimitsConfig
from quicsql_client.server.engine import blob_spool, blobs
from quicsql_client.server.registry import Database
from tests.fix_application import Answer, Client, Running, Start
from tests.fix_principals import by_token, grants, memory, stored

READ_ONLY = "forbidden: read-only (write not permitted)"
NO_ACCESS = "forbidden: no access to this database"
TOO_LARGE = "object exceeds the maximum blob size"
BAD_STORE = "invalid or missing ?store="
OK = b'{"status":"ok"}\n'
WRITES = ("provision", "create", "write", "delete")
READS = ("read", "size")

CONFIG = Config(
    auth=AuthConfig(principals=tuple(by_token(name, f"{name}-token") for name in ("tok", "ro"))),
    databases=(
        stored("app", *grants(tok="read-write", ro="read-only")),
        memory("mem", *grants(tok="read-write")),
    ),
    limits=LimitsConfig(max_request_bytes=4096, max_blob_bytes=3_000_000),
)


@pytest.fixture(autouse=True)
def spool_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files."""
    folder = tmp_path / "spool"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
async def running(start: Start) -> AsyncIterator[Running]:
    async with start(CONFIG, body_timeout_s=0.2) as started:
        yield started


@pytest.fixture
def client(running: Running) -> Client:
    return running.client("tok-token")


async def ask(
    client: Client, what: str, query: str = "store=s&id=1", body: bytes = b"", **keys: Any
) -> Answer:
    method = "GET" if what in READS else "POST"
    database = keys.pop("db", "app")
    path = f"/{database}/blob/{what}?{query}"
    return await client.send(keys.pop("method", method), path, body, **keys)


async def refused(client: Client, what: str, query: str, status: int, text: str) -> None:
    answer = await ask(client, what, query)
    assert (answer.status, answer.message) == (status, text)


async def new(client: Client, content: bytes, db: str = "app") -> None:
    assert (await ask(client, "create", "store=s", db=db)).body == b'{"id":1}\n'
    answer = await ask(client, "write", body=content, db=db)
    assert (answer.status, answer.json()) == (200, {"size": len(content)})


async def content(client: Client, db: str = "app") -> bytes:
    answer = await ask(client, "read", db=db)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-length"] == str(len(answer.body))
    return answer.body


@pytest.mark.parametrize("db", ["app", "mem"])
async def test_the_life_of_an_object(client: Client, db: str) -> None:
    provisioned = await ask(client, "provision", "store=s", db=db)
    assert (provisioned.status, provisioned.body) == (200, OK)
    assert provisioned.headers["content-type"] == "application/json"
    await new(client, b"hello", db)
    for body in (os.urandom(2_000_000), b"", b"hi"):
        assert (await ask(client, "write", body=body, db=db)).json() == {"size": len(body)}
        assert (await ask(client, "size", db=db)).body == b'{"size":%d}\n' % len(body)
        assert await content(client, db) == body
    assert (await ask(client, "delete", db=db)).body == OK
    for what, step in (("size", "size"), ("read", "size"), ("delete", "delete")):  # 119
        answer = await ask(client, what, db=db)
        assert (answer.status, answer.message) == (404, f"{step}: not found")
    assert (await ask(client, "create", "store=s", db=db)).body == b'{"id":2}\n'


async def test_a_store_that_nobody_made(client: Client) -> None:  # 119, 179
    for query in ("store=a&id=1", "store=a", "store=a&id=zzz"):
        for what in READS:
            await refused(client, what, query, 404, "store not found")
    await refused(client, "write", "store=a&id=1", 404, "open writer: not found")
    await refused(client, "size", "store=a&id=1", 404, "size: not found")
    await refused(client, "delete", "store=b&id=1", 404, "delete: not found")
    await refused(client, "size", "store=b&id=1", 404, "size: not found")
    await refused(client, "delete", "store=c&id=zzz", 400, "invalid ?id=")
    await refused(client, "size", "store=c&id=1", 404, "size: not found")
    await refused(client, "write", "store=d", 400, "missing ?id=")
    await refused(client, "size", "store=d&id=1", 404, "size: not found")


@pytest.mark.parametrize("query", ["", "store=", "store=_x", "store=a%20b", "store=..%2Fx", "id=1"])
async def test_no_store(client: Client, query: str) -> None:
    for what in (*WRITES, *READS):
        await refused(client, what, query, 400, BAD_STORE)
    assert (await ask(client, "create", "store=query")).message == BAD_STORE
    twice = await ask(client, "create", "store=first&store=_x")
    assert twice.status == 200


@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        (None, 400, "missing ?id="),
        ("", 400, "invalid ?id="),
        ("zzz", 400, "invalid ?id="),
        ("1.5", 400, "invalid ?id="),
        ("1_0", 400, "invalid ?id="),
        ("+1", 400, "invalid ?id="),  # the plus is a blank in a URL
        ("%D9%A1", 400, "invalid ?id="),
        ("1%0A", 400, "invalid ?id="),
        ("9223372036854775808", 400, "invalid ?id="),
        ("9" * 9_999, 400, "invalid ?id="),
        ("9223372036854775807", 404, "{}: not found"),
        ("-9223372036854775808", 404, "{}: not found"),
        ("-1", 404, "{}: not found"),
        ("0", 404, "{}: not found"),
        ("2&id=zzz", 404, "{}: not found"),
    ],
)
async def test_numbers_of_objects(
    client: Client, text: str | None, status: int, message: str
) -> None:
    await new(client, b"x")
    query = "store=s" if text is None else f"store=s&id={text}"
    steps = {"read": "size", "size": "size", "write": "open writer", "delete": "delete"}
    for what, step in steps.items():
        await refused(client, what, query, status, message.format(step))
    for spelling in ("1", "%2B1", "0001", "1&id=zzz"):
        assert (await ask(client, "size", f"store=s&id={spelling}")).status == 200


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", (262_144, 0)),
        ("chunk=10000&compress=best&dedup=1", (10_000, 9)),
        ("chunk=16", (4096, 0)),
        ("chunk=99999999999", (4_194_304, 0)),
        ("chunk=99999999999999999999", (262_144, 0)),
        ("chunk=0&compress=zzz&dedup=true", (262_144, 0)),
        ("chunk=-5&compress=fastest", (262_144, 1)),
        ("chunk=zzz&compress=", (262_144, 0)),
    ],
)
async def test_options(client: Client, query: str, options: tuple[int, int]) -> None:
    for _ in range(2):
        assert (await ask(client, "provision", f"store=s&{query}")).body == OK
    found = await client.query("SELECT chunk_bytes, level FROM _quicsql_blob_stores")
    assert found.json()["rows"] == [list(options)]
    await new(client, b"still works" * 1_000)
    assert await content(client) == b"still works" * 1_000


async def test_a_body_over_the_cap_empties_the_object(client: Client) -> None:
    await new(client, b"x" * 3_000_000)
    for body, headers in (
        ([b"y" * 2_000_000, b"y" * 1_000_001], {}),
        ([], {"content-length": "3000001"}),  # not even looked at
    ):
        await new_content(client, b"before")
        sent = {**headers, "authorization": "Bearer tok-token"}
        answer = await client.send("POST", "/app/blob/write?store=s&id=1", body, headers=sent)
        assert (answer.status, answer.message) == (413, TOO_LARGE)
        assert await content(client) == b""


async def new_content(client: Client, body: bytes) -> None:
    assert (await ask(client, "write", body=body)).status == 200


async def test_the_cap_follows_a_reload(running: Running, client: Client) -> None:
    await new(client, b"")
    limits = msgspec.structs.replace(CONFIG.limits, max_blob_bytes=2)
    running.application.reload(msgspec.structs.replace(CONFIG, limits=limits))
    assert (await ask(client, "write", body=b"ab")).status == 200
    assert (await ask(client, "write", body=b"abc")).status == 413


class Upload:
    """An upload to object 1 whose client sends these messages, and then nothing.

    before: awaited before each of them. sent: all that came back, in the end.
    """

    def __init__(
        self,
        client: Client,
        messages: Iterable[Mapping[str, Any]],
        *,
        version: str = "2",
        before: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._client = client
        self._messages = list(messages)
        self._version = version
        self._before = before
        self.sent: list[Any] = []

    async def _receive(self) -> Mapping[str, Any]:
        if not self._messages:
            await asyncio.Event().wait()
        if self._before is not None:
            await self._before()
        return self._messages.pop(0)

    async def _send(self, message: Any) -> None:
        self.sent.append(message)

    async def run(self) -> Answer:
        scope = {
            "type": "http",
            "http_version": self._version,
            "method": "POST",
            "path": "/app/blob/write",
            "query_string": b"store=s&id=1",
            "headers": [(b"authorization", b"Bearer tok-token")],
            "extensions": {"quicsql.read_timeout": {}} if self._version == "1.1" else {},
        }
        await self._client._application(scope, self._receive, self._send)
        start, body = self.sent[-2:]
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        return Answer(start["status"], headers, body["body"])


def part(data: bytes, more: bool = True) -> Mapping[str, Any]:
    return {"type": "http.request", "body": data, "more_body": more}


@pytest.mark.parametrize("version", ["1.1", "2"])
@pytest.mark.parametrize(
    "messages",
    [
        [part(b"new")],  # 180
        [],
        [part(b"new" * 400_000), part(b"")],
        [part(b"new"), {"type": "http.disconnect"}],
    ],
)
async def test_an_upload_that_breaks_changes_nothing(
    client: Client, messages: list[Mapping[str, Any]], version: str
) -> None:
    await new(client, b"old")
    upload = Upload(client, messages, version=version)
    answer = await upload.run()
    assert answer.status == 422
    assert answer.message.startswith("write: ")  # 180
    assert answer.headers.get("connection") == ("close" if version == "1.1" else None)
    # The listener's time for a whole request is not for uploads.
    assert ({"type": "quicsql.read_timeout", "timeout_s": None} in upload.sent) == (
        version == "1.1"
    )
    assert await content(client) == b"old"


async def test_an_upload_may_take_as_long_as_it_moves(client: Client) -> None:
    await new(client, b"old")
    parts = [part(b"a"), part(b"b"), part(b"c"), part(b"d", False)]
    pause = partial(asyncio.sleep, 0.1)  # half of the longest one
    assert (await Upload(client, parts, before=pause).run()).status == 200
    assert await content(client) == b"abcd"


async def test_a_disk_that_takes_no_more(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_spool: object, _data: bytes) -> None:
        raise OSError(28, "No space left on device", "/the/folder")

    await new(client, b"old")
    monkeypatch.setattr(blob_spool.Spool, "add", fail)
    answer = await ask(client, "write", body=b"new")
    assert (answer.status, answer.message) == (422, "write: No space left on device")
    assert "store s: OSError" in caplog.text
    monkeypatch.undo()
    assert await content(client) == b"old"


async def test_a_large_upload_leaves_no_file(
    client: Client, spool_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[blob_spool.Spool] = []
    add = blob_spool.Spool.add

    def note(spool: blob_spool.Spool, data: bytes) -> None:
        opened.append(spool)
        add(spool, data)

    monkeypatch.setattr(blob_spool.Spool, "add", note)
    await new(client, os.urandom(2_500_000))
    assert opened[0]._file.closed
    assert os.listdir(spool_folder) == []


async def test_a_read_while_the_object_is_replaced(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    await new(client, b"a" * 2_000_000)
    got: list[Mapping[str, Any]] = []

    async def on_sent(message: Mapping[str, Any]) -> None:
        got.append(message)
        if len(got) == 3:
            await new_content(client, b"b" * 2_000_000)

    with pytest.raises(AssertionError):  # no last message: the listener cuts the answer off
        await ask(client, "read", on_sent=on_sent)
    start, *bodies = got
    assert dict(start["headers"])[b"content-length"] == b"2000000"
    body = b"".join(message["body"] for message in bodies)
    assert 0 < len(body) < 2_000_000
    assert set(body) == set(b"a")
    assert all(message["more_body"] for message in bodies)
    assert "read cut off: database app store s: ObjectDamaged" in caplog.text
    assert await content(client) == b"b" * 2_000_000


@pytest.mark.parametrize("db", ["app", "mem"])
async def test_a_slow_reader_keeps_nobody_waiting(client: Client, db: str) -> None:
    await new(client, b"a" * 2_000_000, db)
    sizes: list[int] = []

    async def on_sent(message: Mapping[str, Any]) -> None:
        sizes.append(len(message.get("body", b"")))
        sql = f"CREATE TABLE t{len(sizes)}(v)"
        assert (await client.query(sql, db=db)).status == 200
        assert (await client.pipeline({"type": "close"}, db=db)).status == 200

    answer = await ask(client, "read", db=db, on_sent=on_sent)
    assert answer.body == b"a" * 2_000_000
    assert max(sizes) == blobs.PIECE_BYTES


async def test_an_upload_keeps_nobody_waiting(client: Client) -> None:
    await new(client, b"old")
    seen: list[bytes] = []

    async def look() -> None:
        seen.append(await content(client))
        assert (await client.query(f"CREATE TABLE t{len(seen)}(v)")).status == 200

    parts = [part(b"x" * 1_000_000), part(b"y" * 1_000_000), part(b"", False)]
    assert (await Upload(client, parts, before=look).run()).status == 200
    assert seen == [b"old"] * 3
    assert await content(client) == b"x" * 1_000_000 + b"y" * 1_000_000


async def test_a_client_that_leaves_before_its_write_is_made(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await new(client, b"old")
    gone = asyncio.Event()
    call = Database.call

    async def slow(database: Database, work: Callable[..., Any], *rest: Any, **keys: Any) -> Any:
        if getattr(getattr(work, "func", None), "__name__", "") == "replace_content":
            gone.set()
            await asyncio.Event().wait()
        return await call(database, work, *rest, **keys)

    monkeypatch.setattr(Database, "call", slow)
    answer = await ask(client, "write", body=b"new", gone=gone)
    assert (answer.status, answer.message) == (422, "write: statement timed out")
    monkeypatch.undo()
    assert await content(client) == b"old"


async def test_who_may_do_what(running: Running, client: Client) -> None:  # 62
    await new(client, b"hi")
    reader, nobody = running.client("ro-token"), running.client()
    assert await content(reader) == b"hi"
    assert (await ask(reader, "size")).json() == {"size": 2}
    for what in WRITES:
        await refused(reader, what, "store=s&id=1", 403, READ_ONLY)
        assert (await ask(reader, what, method="GET")).message == READ_ONLY
        assert (await ask(client, what, method="GET")).message == "use POST"
    for what in READS:
        assert (await ask(reader, what, method="POST")).message == "use GET"
        assert (await ask(reader, what, method="HEAD")).status == 405
    for what in (*WRITES, *READS):
        await refused(nobody, what, "", 403, NO_ACCESS)
        unknown = await ask(client, what, db="nope")
        assert (unknown.status, unknown.message) == (403, NO_ACCESS)
    assert await content(client) == b"hi"


async def test_an_unknown_database(start: Start) -> None:
    async with start(Config(databases=(memory("app"),))) as running:
        client = running.client()
        for what in (*WRITES, *READS):
            answer = await ask(client, what, db="nope")
            assert (answer.status, answer.message) == (404, "unknown database")
            answer = await ask(client, what, "", db="nope")
            assert (answer.status, answer.message) == (400, BAD_STORE)


async def test_limits_hold(start: Start) -> None:
    limits = LimitsConfig(max_concurrent_per_db=1, statement_timeout_s=20.0)
    async with start(Config(databases=(memory("app"),), limits=limits)) as running:
        client = running.client()
        await new(client, b"a" * 1_000_000)
        refusals: list[int] = []

        async def on_sent(_: Mapping[str, Any]) -> None:
            refusals.append((await ask(client, "size")).status)

        await ask(client, "read", on_sent=on_sent)
        assert set(refusals) == {503}
        assert (await ask(client, "size")).status == 200


async def test_a_connection_that_a_stream_holds(start: Start) -> None:
    limits = LimitsConfig(statement_timeout_s=0.2)
    async with start(Config(databases=(memory("app"),), limits=limits)) as running:
        client = running.client()
        await new(client, b"x")
        held = await client.pipeline({"type": "get_autocommit"})
        texts = {"create": "create", "size": "size", "write": "open writer", "delete": "delete"}
        for what, step in texts.items():
            await refused(client, what, "store=s&id=1", 422, f"{step}: statement timed out")
        baton = held.json()["baton"]
        await client.pipeline({"type": "close"}, baton=baton)
        assert await content(client) == b"x"


async def test_failures_say_their_step(client: Client) -> None:
    await client.query("CREATE TABLE _quicsql_blob_stores(mine)")
    for what in ("create", "write", "delete"):
        text = "open blobstore: no such column: id"
        await refused(client, what, "store=s&id=1", 422, text)
    await refused(client, "provision", "store=s", 422, "provision: no such column: id")
    await refused(client, "write", "store=s", 422, "open blobstore: no such column: id")
    await refused(client, "read", "store=s&id=1", 404, "store not found")


async def test_an_object_that_somebody_edited(client: Client) -> None:
    await new(client, b"a" * 1_000_000)
    damaged = "size: the object was changed while it was read, or is damaged"
    await client.query("UPDATE _quicsql_blob_chunks SET size = 5 WHERE id = 1")
    await refused(client, "read", "store=s&id=1", 422, damaged)
    await new_content(client, b"abc")
    for size in (2, 4):
        await client.query("UPDATE _quicsql_blob_objects SET size = ?", size)
        with pytest.raises(AssertionError):  # cut: neither too much nor too little looks whole
            await ask(client, "read")
