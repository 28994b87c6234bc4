"""One request on its way through the application, and the answers that every endpoint shares.

Knows ASGI and the parts that a request needs; knows no endpoint and no order of checks (`app`).
Source: protocol/README.md, Life of a request and Shared failure statuses.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeVar

from ...errors import RemoteProtocolError
from ...wire import native
from ...wire.messages import JSON_HEADERS, Headers, Response
from ..attaching import Attaching
from ..auth import ANONYMOUS, Authenticator, Principal
from ..config import RoutingConfig
from ..control import ControlPlane
from ..cors import CORS
from ..engine import Access, UnknownDatabase
from ..enrolment import Enrolment
from ..limits import Limits
from ..metrics import Metrics
from ..policy import Level, Policy
from ..registry import Database, Registry
from ..sessions import Sessions

__all__ = [
    "READ_ONLY",
    "BodyStalled",
    "ClientGone",
    "Exchange",
    "Listening",
    "Refusal",
    "Services",
    "Settings",
    "decode",
    "json_response",
    "unavailable",
]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_Read = TypeVar("_Read")
_Done = TypeVar("_Done")

READ_ONLY: Final = "forbidden: read-only (write not permitted)"

# A statement that is done sooner needs no watch for its client: most are, and a watch costs more
# than they do.
_WATCH_AFTER_S: Final = 0.05
_RETRY_BUSY_S: Final = 1

# Exports and backups at a time, of the whole server (protocol/operations.md).
MAX_TRANSFERS: Final = 4


class Refusal(Exception):
    """The request ends here with this status and message; headers are added to the answer's."""

    def __init__(self, status: int, message: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers

    def response(self) -> Response:
        """The answer: the error envelope."""
        return json_response(native.encode_error(self.message), self.status, self.headers)


class ClientGone(Exception):
    """The client went away while its statement ran, or while its body was read."""


class BodyStalled(Exception):
    """The client sent nothing more of its body for too long."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a reload replaces as a whole; a request uses the settings it began with."""

    authenticator: Authenticator
    policy: Policy
    cors: CORS
    admins: frozenset[str]
    max_request_bytes: int
    max_export_bytes: int
    max_restore_bytes: int
    max_blob_bytes: int
    statement_timeout_s: float


@dataclass(frozen=True, slots=True)
class Services:
    """What outlives a reload. current: gives the settings of now. control: None when the control
    plane is off.
    """

    current: Callable[[], Settings]
    registry: Registry
    sessions: Sessions
    limits: Limits
    attaching: Attaching
    routing: RoutingConfig
    control: ControlPlane | None
    enrolment: Enrolment | None
    body_timeout_s: float
    metrics: Metrics = field(default_factory=Metrics)
    transfer_slots: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(MAX_TRANSFERS)
    )


@dataclass(frozen=True, slots=True)
class Listening:
    """The listener that a request came by: its name, and the authentication methods it accepts."""

    name: str
    methods: frozenset[str]


@dataclass(frozen=True, slots=True)
class StreamedResponse:
    """An answer whose body is sent piece by piece, each when the client has room for it.

    length: of the whole body in bytes, None when it is not known. chunks: closed when the answer
    ends, also when the client leaves; an exception in it cuts the answer off, and so do fewer bytes
    than length.
    """

    status: int
    headers: Headers
    chunks: AsyncGenerator[bytes, None]
    length: int | None = None


@dataclass(slots=True)
class Exchange:
    """A request with what the stages before have found out about it.

    principal: ANONYMOUS until authenticated. database, endpoint: "" until routed. level: NONE until
    authorised. at_end: called when the answer has been sent, or cannot be; when_answered: before it
    is sent, unless it is streamed.
    """

    scope: Scope
    receive: Receive
    send: Send
    listening: Listening
    settings: Settings
    services: Services
    principal: Principal = ANONYMOUS
    database: str = ""
    endpoint: str = ""
    level: Level = Level.NONE
    at_end: list[Callable[[], None]] = field(default_factory=list)
    when_answered: list[Callable[[], None]] = field(default_factory=list)

    @property
    def method(self) -> str:
        """The HTTP method, in capitals."""
        return str(self.scope["method"])

    @property
    def path(self) -> str:
        """The percent-decoded path."""
        return str(self.scope["path"])

    @property
    def host(self) -> str:
        """The Host header, or ""."""
        return self.header(b"host")

    def header(self, name: bytes) -> str:
        """The first header field of that name (lower case), or ""."""
        values = (value for key, value in self.scope["headers"] if key == name)
        return next(values, b"").decode("latin-1")

    @property
    def access(self) -> Access:
        """What the principal's level allows its statements to do."""
        return Access.READ_WRITE if self.level >= Level.READ_WRITE else Access.READ_ONLY

    @property
    def is_server_admin(self) -> bool:
        """Whether the principal is one of the server's admins; nobody is by a grant."""
        return self.principal.name in self.settings.admins

    def served_database(self, name: str | None = None) -> Database:
        """A database, the request's own unless named, for a look: it may be detached or restored
        meanwhile. Raises Refusal: 404 when it is not served.
        """
        try:
            return self.services.registry.get(self.database if name is None else name)
        except UnknownDatabase:
            raise Refusal(404, "unknown database") from None

    def opened_database(self, name: str | None = None) -> Database:
        """A database, the request's own unless named, in use until the request is answered.

        Raises: Refusal, 404 when it is not served; DatabaseUnavailable while it is reserved.
        """
        database = self.served_database(name)
        database.usage.begin()
        self.when_answered.append(database.usage.end)
        return database

    async def read_body(self, max_bytes: int | None = None) -> bytes:
        """The whole body. max_bytes: the cap, None: that of the limits.

        Raises: Refusal, 413 over the cap, 400 when it stalls or the client goes away.
        """
        cap = self.settings.max_request_bytes if max_bytes is None else max_bytes
        try:
            async with asyncio.timeout(self.services.body_timeout_s):
                return await self._read_capped(cap)
        except (TimeoutError, ClientGone):
            raise self.broken_body(400, "read body") from None

    def broken_body(self, status: int, message: str) -> Refusal:
        """The refusal of a request whose body did not come whole: its connection ends with it."""
        is_http1 = str(self.scope["http_version"]).startswith("1")
        return Refusal(status, message, (("connection", "close"),) if is_http1 else ())

    async def body_pieces(self, *, is_timed: bool = False) -> AsyncGenerator[bytes, None]:
        """The body as it comes, of any length, without a long pause.

        is_timed: whether the listener's time for a whole request holds. Raises: BodyStalled,
        ClientGone.
        """
        if not is_timed and "quicsql.read_timeout" in self.scope.get("extensions", {}):
            await self.send({"type": "quicsql.read_timeout", "timeout_s": None})
        has_more = True
        while has_more:
            try:
                async with asyncio.timeout(self.services.body_timeout_s):
                    message = await self.receive()
            except TimeoutError:
                raise BodyStalled from None
            if message["type"] != "http.request":
                raise ClientGone
            has_more = message.get("more_body", False)
            yield message.get("body", b"")

    async def _read_capped(self, max_bytes: int) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await self.receive()
            if message["type"] != "http.request":
                raise ClientGone
            chunk: bytes = message.get("body", b"")
            size += len(chunk)
            if size > max_bytes:
                raise Refusal(413, "request body exceeds the maximum allowed size")
            chunks.append(chunk)
            if not message.get("more_body", False):
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def while_connected(self, work: Awaitable[_Done]) -> _Done:
        """Await work that the client waits for; if it leaves, cancel that and raise ClientGone.

        Only after the body was read: nothing but a disconnect may be left to receive.
        """
        task = asyncio.current_task()
        assert task is not None, "requests are served in tasks"  # noqa: S101
        watch = _Watch(self.receive, task)
        try:
            return await work
        except asyncio.CancelledError:
            if watch.is_gone and task.cancelling() <= 1:
                raise ClientGone from None
            raise
        finally:
            watch.end()


class _Watch:
    """Cancels a task when `receive` says that the client is gone; begins after a moment."""

    def __init__(self, receive: Receive, task: asyncio.Task[Any]) -> None:
        self.is_gone = False
        self._receive = receive
        self._task = task
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(_WATCH_AFTER_S, self._begin)

    def _begin(self) -> None:
        self._waiting = self._loop.create_task(self._wait())

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.is_gone = True
        self._task.cancel()

    def end(self) -> None:
        """Stop watching; a cancellation that was ours no longer counts."""
        self._timer.cancel()
        if self._waiting is not None:
            self._waiting.cancel()
        if self.is_gone:
            self._task.uncancel()


def decode(read: Callable[[bytes], _Read], body: bytes) -> _Read:
    """What a wire decoder makes of a body. Raises Refusal: 400 with the decoder's text."""
    try:
        return read(body)
    except RemoteProtocolError as exc:
        raise Refusal(400, exc.message) from None


def json_response(body: bytes, status: int = 200, headers: Headers = ()) -> Response:
    """A JSON answer."""
    return Response(status, (*JSON_HEADERS, *headers), body)


def unavailable(message: str) -> Refusal:
    """503: the same request may succeed in a moment."""
    return Refusal(503, message, (("retry-after", str(_RETRY_BUSY_S)),))
