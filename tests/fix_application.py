"""The application in memory, on a temporary folder, called through ASGI without a socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from quicsql_client.server.app import Application
from quicsql_client.server.auth import Signers
from quicsql_client.server.config import Config
from quicsql_client.server.control import ControlPlane
from quicsql_client.server.engine import Caps
from quicsql_client.server.enrolment import Enrolment, OwnDatabases
from quicsql_client.server.feed import Feeds
from quicsql_client.server.grants import RuntimeGrants
from quicsql_client.server.metastore import MetaStore
from quicsql_client.server.places import Places
from quicsql_client.server.registry import Registry
from quicsql_client.server.sessions import Sessions
from tests.fix_principals import Leaf


@dataclass(frozen=True)
class Answer:
    """What the application sent."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """The text of the error envelope."""
        return str(self.json()["error"]["message"])


class Client:
    """Calls one listener's application, with these headers unless others are given."""

    def __init__(self, application: Callable[..., Any], headers: Mapping[str, str]) -> None:
        self._application = application
        self._headers = headers

    async def send(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] = b"",
        *,
        headers: Mapping[str, str] | None = None,
        leaf: Leaf | None = None,
        peer: str | None = None,
        gone: asyncio.Event | None = None,
        on_sent: Callable[[Mapping[str, Any]], Awaitable[None]] | None = None,
    ) -> Answer:
        """One request, path with its query. body: whole, or in pieces. peer: the client's address.
        gone: when set, the client has left. on_sent: awaited with each message of the answer.
        """
        path, _, query = path.partition("?")
        chunks = [body] if isinstance(body, bytes) else list(body)
        sent = self._headers if headers is None else headers
        messages: list[Any] = []
        extensions = {} if leaf is None else {"tls": {"client_cert_chain": [leaf.pem]}}
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(n.lower().encode(), v.encode()) for n, v in sent.items()],
            "client": None if peer is None else (peer, 50_000),
            "extensions": extensions,
        }

        async def receive() -> Mapping[str, Any]:
            if chunks:
                chunk = chunks.pop(0)
                return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}
            await (gone or asyncio.Event()).wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            messages.append(message)
            if on_sent is not None:
                await on_sent(message)

        await self._application(scope, receive, send)
        return _answer(messages)

    async def post(self, path: str, document: Any, **keys: Any) -> Answer:
        """A JSON document; text is sent as it is."""
        body = document if isinstance(document, str) else json.dumps(document)
        return await self.send("POST", path, body.encode(), **keys)

    async def query(self, sql: str, *args: Any, db: str = "app") -> Answer:
        return await self.post(f"/{db}/query", {"sql": sql, "args": list(args)})

    async def pipeline(self, *requests: Any, baton: str | None = None, db: str = "app") -> Answer:
        return await self.post(f"/{db}/v3/pipeline", {"baton": baton, "requests": requests})


def _answer(messages: list[Any]) -> Answer:
    start, *rest = messages
    assert start["type"] == "http.response.start"
    assert [m["more_body"] for m in rest] == [True] * (len(rest) - 1) + [False]
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], headers, b"".join(m["body"] for m in rest))


@dataclass(frozen=True)
class Running:
    """An application with what it stands on."""

    application: Application
    registry: Registry
    sessions: Sessions
    control: ControlPlane | None
    enrolment: Enrolment | None

    def client(
        self, token: str | None = None, *, methods: Iterable[str] = ("bearer", "none")
    ) -> Client:
        """A client of a listener that accepts these methods."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return Client(self.application.on(frozenset(methods), "test"), headers)


META_STORE = "meta.db"

Start = Callable[..., contextlib.AbstractAsyncContextManager[Running]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Start an application: `async with start(config) as running`; its data_dir is tmp_path."""

    @contextlib.asynccontextmanager
    async def starting(config: Config, **keys: Any) -> AsyncIterator[Running]:
        limits, feed = config.limits, config.changefeed
        feeds = Feeds(buffer=feed.buffer, max_subscribers=feed.max_subscribers)
        clock = keys.pop("clock", None) or asyncio.get_running_loop().time
        registry = Registry(
            config.databases,
            data_dir=str(tmp_path),
            caps=Caps(limits.max_rows, limits.max_result_bytes, limits.statement_timeout_s),
            idle_timeout_s=limits.idle_handle_timeout_s,
            clock=clock,
            feeds=feeds if feed.enabled else None,
        )
        now = keys.pop("now", time.time)
        enrolment: Enrolment | None = None
        store = MetaStore(str(tmp_path / META_STORE))
        control = None
        if config.control_plane.enabled:
            await store.open()
            places = Places(str(tmp_path), own=(str(tmp_path / META_STORE),))
            control = ControlPlane(store, RuntimeGrants(), registry, places)
            await control.load()
        await registry.open(lazily=control.created if control is not None else frozenset())
        sessions = Sessions(
            tx_idle_timeout_s=limits.tx_idle_timeout_s,
            max_tx_lifetime_s=limits.max_tx_lifetime_s,
            max_sessions_per_db=limits.max_sessions_per_db,
            clock=clock,
        )
        try:
            signers = keys.setdefault("signers", Signers.of(config.auth))
            if control is not None:
                enrolment = Enrolment(
                    config.auth.enroll,
                    control,
                    OwnDatabases(control, registry),
                    tokens=signers.tokens,
                    end_streams=sessions.end_of_principals,
                    clock=now,
                )
                await enrolment.open()
            application = Application(
                config,
                registry=registry,
                sessions=sessions,
                control=control,
                enrolment=enrolment,
                **keys,
            )
            yield Running(application, registry, sessions, control, enrolment)
        finally:
            if enrolment is not None:
                await enrolment.close()
            await sessions.close()
            await registry.close()
            await store.close()

    return starting
