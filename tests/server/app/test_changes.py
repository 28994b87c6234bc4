"""`GET /<db>/changes`: who may follow, over real sockets with mutual TLS, and how it ends.

Odd-cases 62, 121, 122, 124, 125, 163, 182-185; faults C03 and C04.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from quicsql_client.server.api import changes as api
from quicsql_client.server.auth import Signers
from quicsql_client.server.config import (
    AuthConfig,
    ChangefeedConfig,
    Config,
    LimitsConfig,
    ListenerConfig,
    RateConfig,
    ServerConfig,
    SessionConfig,
    TLSProfile,
)
from quicsql_client.server.feed import MAX_BEHIND
from quicsql_client.server.lifecycle import Server
from quicsql_client.wire.sse import PING, Change, Event, FeedDecoder, Ready, Reset
from tests.fix_application import Start
from tests.fix_principals import by_certificate, by_token, grants, memory, stored
from tests.fix_server_process import WAIT_S, Authorities, Serve

NO_ACCESS = "forbidden: no access to this database"
LEVELS = {"writer": "read-write", "reader": "read-only"}
FIVE_THOUSAND = (
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 5000) SELECT x FROM c"
)
SMALL = ChangefeedConfig(enabled=True, buffer=4, max_subscribers=2)
EMPTY = Config(
    auth=AuthConfig(principals=(by_token("reader", "ro-token"), by_token("stranger", "no-token"))),
    databases=(stored("app", *grants(**LEVELS)), memory("mem", *grants(**LEVELS))),
    changefeed=SMALL,
)


# Who is refused, in which order; no socket is needed for that.


@pytest.mark.parametrize(
    ("token", "method", "path", "status", "message"),
    [
        ("ro-token", "POST", "/app/changes", 405, "use GET"),
        ("ro-token", "HEAD", "/app/changes", 405, None),  # 163
        ("no-token", "POST", "/app/changes?since=x", 405, "use GET"),
        ("no-token", "GET", "/app/changes?since=x", 403, NO_ACCESS),  # C04
        (None, "GET", "/app/changes", 403, NO_ACCESS),
        ("ro-token", "GET", "/nope/changes", 403, NO_ACCESS),
        ("ro-token", "GET", "/mem/changes?since=x", 400, "since must be an unsigned integer"),
        (
            *("ro-token", "GET", "/mem/changes", 404),
            "change feed unavailable for this database (no stable path)",
        ),
    ],
)
async def test_refusals(
    start: Start, token: str | None, method: str, path: str, status: int, message: str | None
) -> None:
    async with start(EMPTY) as running:
        answer = await running.client(token).send(method, path)
        assert answer.status == status
        assert message is None or answer.message == message


@pytest.mark.parametrize(
    "since", ["x", "-1", "%2B1", "+1", "1.0", "1_0", "%C2%B2", "0x1", " 1", str(2**64), "9" * 5000]
)
async def test_what_is_no_number(start: Start, since: str) -> None:  # 184
    async with start(EMPTY) as running:
        client = running.client("ro-token")
        answer = await client.send("GET", f"/app/changes?since={since}&since=1")
        assert (answer.status, answer.message) == (400, "since must be an unsigned integer")


async def test_a_server_without_feeds_says_so_before_it_looks_at_the_level(start: Start) -> None:
    async with start(msgspec.structs.replace(EMPTY, changefeed=ChangefeedConfig())) as running:
        for token, path in ((None, "/app"), ("ro-token", "/nope"), ("ro-token", "/mem")):
            answer = await running.client(token).send("GET", f"{path}/changes?since=x")
            assert (answer.status, answer.message) == (404, "change feed not enabled")
        answer = await running.client("ro-token").send("POST", "/app/changes")
        assert (answer.status, answer.message) == (405, "use GET")


async def test_a_database_that_nobody_knows_in_open_mode(start: Start) -> None:
    async with start(Config(changefeed=SMALL)) as running:
        answer = await running.client().send("GET", "/nope/changes")
        assert answer.status == 404
        assert answer.message.startswith("change feed unavailable for this database")


async def test_admission_spends_a_token_first(start: Start) -> None:
    limits = LimitsConfig(rate=RateConfig(per_principal_rps=0.001))
    async with start(msgspec.structs.replace(EMPTY, limits=limits)) as running:
        client = running.client("ro-token")
        assert (await client.send("GET", "/app/changes?since=x")).status == 400
        answer = await client.send("GET", "/app/changes?since=x")
        assert (answer.status, answer.message) == (429, "rate limit exceeded")


# A feed that is closed gives its first events and ends: the whole answer, without a socket.


def read(body: bytes) -> list[Event]:
    return FeedDecoder(max_event_bytes=100_000).feed(body)


def inserted(*rowids: int, first: int = 1) -> list[Event]:
    return [Change(seq, "t", "insert", rowid) for seq, rowid in enumerate(rowids, first)]


@pytest.mark.parametrize(
    ("query", "last_id", "expected"),
    [
        ("?since=8", None, [Ready(10), *inserted(9, 10, first=9)]),
        ("?since=008&since=1", None, [Ready(10), *inserted(9, 10, first=9)]),
        ("", "8", [Ready(10), *inserted(9, 10, first=9)]),
        ("?since=", "9", [Ready(10), *inserted(10, first=10)]),
        ("?since=9", "7", [Ready(10), *inserted(10, first=10)]),  # the query wins
        ("?since=6", None, [Ready(10), *inserted(7, 8, 9, 10, first=7)]),
        ("?since=5", None, [Reset(10, is_opening=True)]),
        ("?since=11", None, [Reset(10, is_opening=True)]),
        (f"?since={2**64 - 1}", None, [Reset(10, is_opening=True)]),
        ("?since=10", None, [Ready(10)]),
        ("?since=0", "8", [Ready(10)]),  # from now on
        ("", None, [Ready(10)]),
        ("", "-8", [Ready(10)]),
        ("", str(2**64), [Ready(10)]),
        ("?since=8&tables=u", None, [Ready(10)]),
        ("?since=8&tables=u,t", None, [Ready(10), *inserted(9, 10, first=9)]),
    ],
)
async def test_who_resumes(
    start: Start, query: str, last_id: str | None, expected: list[Event]
) -> None:  # 121, 184
    async with start(Config(databases=(stored("app"),), changefeed=SMALL)) as running:
        client = running.client()
        await client.query("CREATE TABLE t(id INTEGER PRIMARY KEY)")
        for rowid in range(1, 11):
            await client.query("INSERT INTO t VALUES(?)", rowid)
        assert running.registry.feeds is not None
        running.registry.feeds.close()
        headers = {} if last_id is None else {"Last-Event-ID": last_id}
        answer = await client.send("GET", f"/app/changes{query}", headers=headers)
        assert (answer.status, read(answer.body)) == (200, expected)


async def test_a_long_replay_comes_in_pieces(start: Start) -> None:
    feed = ChangefeedConfig(enabled=True, buffer=5000)
    async with start(Config(databases=(stored("app"),), changefeed=feed)) as running:
        client = running.client()
        await client.query("CREATE TABLE t(id INTEGER PRIMARY KEY)")
        await client.query(f"INSERT INTO t {FIVE_THOUSAND}")
        assert running.registry.feeds is not None
        running.registry.feeds.close()
        sizes: list[int] = []

        async def note(message: Mapping[str, Any]) -> None:
            sizes.append(len(message.get("body", b"")))

        answer = await client.send("GET", "/app/changes?since=1", on_sent=note)
        assert read(answer.body) == [Ready(5000), *inserted(*range(2, 5001), first=2)]
        assert max(sizes) < 2 * api.PIECE_BYTES < sum(sizes)


async def test_nothing_follows_when_the_principal_is_gone(start: Start) -> None:
    """Not even what was missed and is not sent yet."""
    feed = ChangefeedConfig(enabled=True, buffer=5000)
    async with start(Config(databases=(stored("app"),), changefeed=feed)) as running:
        client = running.client()
        await client.query("CREATE TABLE t(id INTEGER PRIMARY KEY)")
        await client.query(f"INSERT INTO t {FIVE_THOUSAND}")

        async def end(message: Mapping[str, Any]) -> None:
            assert running.registry.feeds is not None
            running.registry.feeds.end_of_principals({""})

        answer = await client.send("GET", "/app/changes?since=1", on_sent=end)
        assert (answer.status, answer.body) == (200, b"")


async def test_a_session_token_is_renewed_by_a_feed_too(start: Start) -> None:  # 171
    session = SessionConfig(enabled=True, idle_ttl_s=600.0, max_ttl_s=7200.0)
    auth = msgspec.structs.replace(EMPTY.auth, session=session)
    now_s = [1_800_000_000]
    signers = Signers.of(auth, lambda: now_s[0] * 10**9)
    config = msgspec.structs.replace(EMPTY, auth=auth)
    async with start(config, signers=signers) as running:
        methods = ("bearer", "session")
        minted = await running.client("ro-token", methods=methods).send("POST", "/_auth/session")
        assert running.registry.feeds is not None
        running.registry.feeds.close()
        now_s[0] += 400
        client = running.client(minted.json()["token"], methods=methods)
        answer = await client.send("GET", "/app/changes")
        assert answer.headers["x-session-token"].startswith("st_")
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"


# Real servers. A follower is a client with one open feed.


class Follower:
    """An open feed. frames: all bytes so far."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.frames = b""
        self._pieces = response.aiter_raw()
        self._decoder = FeedDecoder(max_event_bytes=100_000)
        self._events: list[Event] = []

    async def take(self, count: int) -> list[Event]:
        """The next events. Fails when the feed ends before."""
        while len(self._events) < count:
            assert await self._read(), f"the feed ended after {self._events}"
        taken, self._events = self._events[:count], self._events[count:]
        return taken

    async def rest(self) -> list[Event]:
        """All events until the feed ends, cleanly."""
        while await self._read():
            pass
        return self._events

    async def until(self, text: bytes) -> None:
        """Reads on until these bytes have come."""
        while text not in self.frames:
            assert await self._read(), "the feed ended"

    async def _read(self) -> bool:
        async with asyncio.timeout(WAIT_S):
            piece = await anext(self._pieces, b"")
        self.frames += piece
        self._events += self._decoder.feed(piece)
        return bool(piece)


class Desk:
    """A running server and clients of it, each with a certificate of its own."""

    def __init__(self, server: Server, authorities: Authorities, stack: Any) -> None:
        self.server = server
        self._authorities = authorities
        self._stack = stack
        self._clients: dict[tuple[str, bool], httpx.AsyncClient] = {}
        self.http2 = True

    async def client(self, name: str) -> httpx.AsyncClient:
        key = (name, self.http2)
        if key not in self._clients:
            port = self.server.listeners[0].address.rpartition(":")[2]
            self._clients[key] = await self._stack.enter_async_context(
                httpx.AsyncClient(
                    base_url=f"https://localhost:{port}",
                    verify=self._authorities.context(name),
                    http2=self.http2,
                    timeout=WAIT_S,
                    trust_env=False,
                )
            )
        return self._clients[key]

    def forget_clients(self) -> None:
        """From now on everyone has a new connection."""
        self._clients.clear()

    async def ask(self, path: str, document: Any, name: str = "writer") -> Any:
        answer = await (await self.client(name)).post(path, json=document)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def write(self, *texts: str) -> None:
        for sql in texts:
            answer = await self.ask("/app/query", {"sql": sql})
            assert "error" not in answer, answer

    @contextlib.asynccontextmanager
    async def opened(
        self, query: str = "", name: str = "reader", **headers: str
    ) -> AsyncIterator[httpx.Response]:
        client = await self.client(name)
        sent = {key.replace("_", "-"): value for key, value in headers.items()}
        async with client.stream("GET", f"/app/changes{query}", headers=sent) as response:
            yield response

    @contextlib.asynccontextmanager
    async def following(
        self, query: str = "", name: str = "reader", **headers: str
    ) -> AsyncIterator[Follower]:
        async with self.opened(query, name, **headers) as response:
            assert response.status_code == 200, await response.aread()
            yield Follower(response)


OpenDesk = Callable[..., contextlib.AbstractAsyncContextManager[Desk]]


@pytest.fixture
def open_desk(tmp_path: Path, authorities: Authorities) -> OpenDesk:
    """Starts a server with a table t(id, v): `async with open_desk() as desk`."""

    @contextlib.asynccontextmanager
    async def opening(**sections: Any) -> AsyncIterator[Desk]:
        config = configuration(tmp_path, authorities)
        async with contextlib.AsyncExitStack() as stack:
            server = Server(msgspec.structs.replace(config, **sections))
            await server.start()
            stack.push_async_callback(server.stop, grace_s=1.0)
            desk = Desk(server, authorities, stack)
            await desk.write("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
            yield desk

    return opening


def configuration(folder: Path, authorities: Authorities) -> Config:
    pki = authorities.folder
    profile = TLSProfile(
        mode="files",
        cert=str(pki / "server.crt"),
        key=str(pki / "server.key"),
        client_ca=str(pki / "client-ca.crt"),
    )
    return Config(
        server=ServerConfig(data_dir=str(folder)),
        tls={"p": profile},
        auth=AuthConfig(principals=tuple(by_certificate(name, cn=name) for name in LEVELS)),
        databases=(stored("app", *grants(**LEVELS)),),
        listeners=(
            ListenerConfig(
                name="l", transport="h2", address="127.0.0.1:0", tls="p", auth=("mtls",)
            ),
        ),
        changefeed=SMALL,
    )


@pytest.fixture(params=[True, False], ids=["h2", "h1"])
async def desk(open_desk: OpenDesk, request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    async with open_desk() as opened:
        opened.http2 = request.param
        yield opened


async def test_live_events_and_their_answer(desk: Desk) -> None:  # 122
    async with desk.following() as feed:
        assert feed.response.http_version == ("HTTP/2" if desk.http2 else "HTTP/1.1")
        headers = feed.response.headers
        assert headers["content-type"] == "text/event-stream; charset=utf-8"
        assert headers["cache-control"] == "no-store"
        assert headers["x-accel-buffering"] == "no"
        assert await feed.take(1) == [Ready(0)]
        await desk.write("INSERT INTO t VALUES(7, 'a')", "UPDATE t SET v = 1", "DELETE FROM t")
        assert await feed.take(3) == [
            Change(1, "t", "insert", 7),
            Change(2, "t", "update", 7),
            Change(3, "t", "delete", 7),
        ]
        assert feed.frames.startswith(
            b'event: ready\ndata: {"seq":0}\n\n'
            b'id: 1\nevent: change\ndata: {"seq":1,"table":"t","op":"insert","rowid":7}\n\n'
        )


async def test_every_way_to_write(desk: Desk) -> None:
    pipeline, insert = "/app/v3/pipeline", "INSERT INTO t(v) VALUES(0)"
    execute = {"type": "execute", "stmt": {"sql": insert}}
    capture = [{"type": "session_start"}, execute, {"type": "session_changeset"}]
    sequence = {"type": "sequence", "sql": insert}
    batch = {"steps": [{"stmt": {"sql": insert}}]}
    async with desk.following() as feed:
        await desk.ask("/app/query", {"statements": [{"sql": insert}]})
        await desk.ask(pipeline, {"requests": [execute, sequence, {"type": "close"}]})
        await desk.ask(pipeline, {"requests": [{"type": "batch", "batch": batch}]})
        told = await desk.ask(pipeline, {"requests": capture})
        await desk.write("DELETE FROM t WHERE id = 5")
        changeset = base64.b64decode(told["results"][2]["response"]["changeset"])
        client = await desk.client("writer")
        await client.post("/app/changeset/apply", content=changeset)
        await client.post("/app/v3/cursor", json={"batch": batch})
        assert (await feed.take(9))[1:] == [
            *inserted(1, 2, 3, 4, 5),
            Change(6, "t", "delete", 5),
            *inserted(5, 6, first=7),
        ]


async def test_only_what_is_committed_once_it_is(desk: Desk) -> None:  # 122
    requests = [
        {"type": "execute", "stmt": {"sql": sql}} for sql in ("BEGIN", "INSERT INTO t VALUES(1, 1)")
    ]
    async with desk.following() as feed:
        told = await desk.ask("/app/v3/pipeline", {"requests": requests})
        end = {"type": "execute", "stmt": {"sql": "ROLLBACK"}}
        await desk.ask("/app/v3/pipeline", {"baton": told["baton"], "requests": [end]})
        told = await desk.ask("/app/v3/pipeline", {"requests": requests})
        end = {"type": "close"}
        await desk.ask("/app/v3/pipeline", {"baton": told["baton"], "requests": [end]})
        await desk.write("INSERT INTO t VALUES(2, 2)")
        assert await feed.take(2) == [Ready(0), *inserted(2)]


async def test_a_filter_of_tables(desk: Desk) -> None:
    await desk.write("CREATE TABLE u(id INTEGER PRIMARY KEY)", 'CREATE TABLE "a b"(id)')
    async with desk.following("?tables=t,%20a b%20,,U") as feed:
        await desk.write(
            "INSERT INTO u VALUES(1)", "INSERT INTO t VALUES(2, 0)", 'INSERT INTO "a b" VALUES(3)'
        )
        assert await feed.take(3) == [
            Ready(0),
            *inserted(2, first=2),
            Change(3, "a b", "insert", 1),
        ]


async def test_who_falls_behind_gets_what_there_is_and_a_clean_end(desk: Desk) -> None:  # 124
    rows = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 1000)"
    async with desk.following() as feed:
        assert await feed.take(1) == [Ready(0)]
        await desk.write(f"INSERT INTO t {rows} SELECT x, x FROM c")
        assert await feed.rest() == inserted(*range(1, MAX_BEHIND + 1))
    async with desk.following(f"?since={MAX_BEHIND}") as feed:
        assert await feed.take(1) == [Reset(1000, is_opening=True)]


async def test_the_cap_of_subscribers_and_who_leaves(desk: Desk) -> None:  # 125
    async with desk.following(), desk.following(name="writer"), desk.opened() as refused:
        assert refused.status_code == 503
        assert b"too many change-feed subscribers" in await refused.aread()
        assert "retry-after" in refused.headers
        for name in ("reader", "writer"):
            await (await desk.client(name)).aclose()
    desk.forget_clients()
    async with asyncio.timeout(WAIT_S):  # the server hears a moment later that they left
        while await status_of_one_more(desk) != 200:
            pass


async def status_of_one_more(desk: Desk) -> int:
    async with desk.opened() as response:
        return response.status_code


async def test_the_heartbeat(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:  # 185
    assert api.HEARTBEAT_S == 25.0
    monkeypatch.setattr(api, "HEARTBEAT_S", 0.05)
    async with desk.following() as feed:
        await feed.until(PING + PING)
        await desk.write("INSERT INTO t VALUES(1, 1)")
        assert await feed.take(2) == [Ready(0), *inserted(1)]
        assert feed.frames.replace(PING, b"").count(b"\n\n") == 2


async def test_a_lost_grant_is_found_at_the_heartbeat(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "HEARTBEAT_S", 0.05)
    config = desk.server._config
    (app,) = config.databases
    async with desk.following(name="writer") as stays, desk.following() as feed:
        await feed.until(PING)
        without = msgspec.structs.replace(app, grants=grants(writer="read-only"))
        assert desk.server._application is not None
        # As when a grant is revoked by someone who does not end the feeds himself.
        desk.server._application.reload(msgspec.structs.replace(config, databases=(without,)))
        assert await feed.rest() == [Ready(0)]
        seen = len(stays.frames)
        await stays.until(stays.frames + PING)
        assert len(stays.frames) > seen


@pytest.mark.parametrize("how", ["principal", "grant"])
async def test_a_reload_closes_the_feeds_of_who_lost(
    desk: Desk, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "HEARTBEAT_S", 3600.0)  # it does not wait for that
    config = desk.server._config
    (app,) = config.databases
    without = msgspec.structs.replace(app, grants=grants(writer="read-write"))
    changed = msgspec.structs.replace(config, databases=(without,))
    if how == "principal":
        auth = AuthConfig(principals=(by_certificate("writer", cn="writer"),))
        changed = msgspec.structs.replace(changed, auth=auth)
    async with desk.following() as feed, desk.following(name="writer") as stays:
        assert await feed.take(1) == await stays.take(1) == [Ready(0)]
        await desk.server.reload(changed)
        assert await feed.rest() == []
        await desk.write("INSERT INTO t VALUES(1, 1)")
        assert await stays.take(1) == inserted(1)
        async with desk.opened() as refused:
            assert refused.status_code == (401 if how == "principal" else 403)


async def test_a_database_that_is_removed_ends_its_feeds(desk: Desk) -> None:  # 185
    async with desk.following() as feed:
        await desk.write("INSERT INTO t VALUES(1, 1)")
        await desk.server._registry.remove("app")
        assert await feed.rest() == [Ready(0), *inserted(1)]


async def test_a_server_that_stops_ends_them_first(desk: Desk) -> None:
    async with desk.following() as feed, desk.following(name="writer") as other:
        await desk.write("INSERT INTO t VALUES(1, 1)")
        assert await feed.take(2) == [Ready(0), *inserted(1)]
        stopping = asyncio.create_task(desk.server.stop(WAIT_S))
        assert await feed.rest() == []
        assert await other.rest() == [Ready(0), *inserted(1)]
        assert await stopping == 0


async def test_a_database_that_a_reload_added_has_a_feed(desk: Desk) -> None:
    config = desk.server._config
    more = (*config.databases, stored("more", *grants(**LEVELS)))
    await desk.server.reload(msgspec.structs.replace(config, databases=more))
    client = await desk.client("reader")
    await desk.ask("/more/query", {"sql": "CREATE TABLE t(id INTEGER PRIMARY KEY)"})
    async with client.stream("GET", "/more/changes") as response:
        feed = Follower(response)
        await desk.ask("/more/query", {"sql": "INSERT INTO t VALUES(4)"})
        assert await feed.take(2) == [Ready(0), *inserted(4)]


async def test_a_feed_holds_no_place_of_requests(open_desk: OpenDesk) -> None:
    limits = LimitsConfig(max_concurrent_per_db=1)
    async with open_desk(limits=limits) as desk, desk.following(), desk.following(name="writer"):
        await desk.write("INSERT INTO t VALUES(1, 1)")
        metrics = (await (await desk.client("reader")).get("/_metrics")).text
        assert 'requests_total{db="app"} 2' in metrics  # the CREATE TABLE and this


async def test_a_full_database_refuses_a_feed(start: Start) -> None:
    limits = LimitsConfig(max_concurrent_per_db=1)
    config = msgspec.structs.replace(EMPTY, limits=limits)
    async with start(config) as running:
        assert running.application._services.limits.enter("app")
        answer = await running.client("ro-token").send("GET", "/app/changes")
        assert (answer.status, answer.message) == (
            503,
            "database busy: too many concurrent requests",
        )


def test_a_process_that_is_told_to_end(
    serve: Serve, tmp_path: Path, authorities: Authorities
) -> None:
    """With an open feed it ends at once and well, and the feed's end is clean."""
    config = process_configuration(tmp_path, authorities)
    process = serve(config)
    process.wait_for("ready")
    with (
        httpx.Client(
            base_url=f"https://localhost:{process.ports['h2']}",
            verify=authorities.context("analyst"),
            http2=True,
            timeout=WAIT_S,
            trust_env=False,
        ) as client,
        client.stream("GET", "/app/changes") as feed,
    ):
        pieces = feed.iter_raw()
        assert read(next(pieces)) == [Ready(0)]
        process.tell(signal.SIGTERM)
        assert list(pieces) == []
    assert process.ended() == 0
    assert any("stopped, 0 requests cut off" in line for line in process.lines)


def process_configuration(folder: Path, authorities: Authorities) -> dict[str, Any]:
    pki = authorities.folder
    return {
        "server": {"data_dir": str(folder)},
        "tls": {
            "p": {
                "mode": "files",
                "cert": str(pki / "server.crt"),
                "key": str(pki / "server.key"),
                "client_ca": str(pki / "client-ca.crt"),
            }
        },
        "listeners": [
            {
                "name": "h2",
                "transport": "h2",
                "address": "localhost:0",
                "tls": "p",
                "auth": ["mtls"],
            }
        ],
        "auth": {
            "principals": [{"name": "analyst", "methods": [{"mtls": {"subject_cn": "analyst"}}]}]
        },
        "databases": [
            {
                "name": "app",
                "backend": "file",
                "path": "app.db",
                "grants": [{"principal": "analyst", "level": "read-write"}],
            }
        ],
        "changefeed": {"enabled": True},
    }
