"""One request and its answer as ASGI sees them, whatever HTTP version carries them.

RequestBody is the bounded way in, ResponseWriter what a protocol offers as the way out, and
Exchange the rules between: order of messages, Content-Length, Date, what an application that fails
leaves behind.
Must not know sockets, TLS or a version's framing.
Source: ASGI HTTP specification 2.4.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Protocol, TypeAlias

logger = logging.getLogger("quicsql.server")

Scope: TypeAlias = dict[str, Any]
Message: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[None]]
ASGIApplication: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers: TypeAlias = list[tuple[bytes, bytes]]

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_VALUE = re.compile(rb"[^\x00\r\n]*")
_NO_BODY_STATUSES = frozenset({204, 304})
_INTERNAL_ERROR = b'{"error":{"message":"internal error"}}\n'
_date = (0, b"")


def http_date() -> bytes:
    """Now, as the Date header wants it (RFC 9110 5.6.7)."""
    global _date
    now = int(time.time())
    if _date[0] != now:
        _date = (now, formatdate(now, usegmt=True).encode())
    return _date[1]


def plain_text(status: int, reason: str) -> tuple[Headers, bytes]:
    """Headers and body of an answer that is given below the application."""
    body = f"{status} {HTTPStatus(status).phrase}: {reason}".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"date", http_date()),
    ]
    return headers, body


class RequestBody:
    """Body bytes between the protocol that reads them and the application that takes them.

    on_wanted() tells the protocol that the application waits, on_taken(size) that there is room
    again. A body ends in one of three ways: whole
    (`finish`), broken (`fail`: bad framing or too slow, an answer is still possible), or with the
    client gone (`disconnect`). The last two give http.disconnect.
    """

    def __init__(
        self, on_taken: Callable[[int], None], on_wanted: Callable[[], None] = lambda: None
    ) -> None:
        self._on_taken = on_taken
        self._on_wanted = on_wanted
        self._chunks: deque[bytes] = deque()
        self._is_delivered = False
        self._waiter: asyncio.Future[None] | None = None
        self.buffered_bytes = 0
        self.is_whole = False
        self.is_disconnected = False
        self.failure: tuple[int, str] | None = None

    def push(self, data: bytes) -> None:
        """Add bytes that came in."""
        self._chunks.append(data)
        self.buffered_bytes += len(data)
        self._wake()

    def finish(self) -> None:
        """The body is whole."""
        self.is_whole = True
        self._wake()

    def fail(self, status: int, reason: str) -> None:
        """The body cannot be read on. status, reason: the answer if the application gives none."""
        if not self.is_whole and self.failure is None:
            self.failure = (status, reason)
            self._wake()

    def disconnect(self) -> None:
        """The client is gone."""
        self.is_disconnected = True
        self._wake()

    def discard(self) -> int:
        """Drop what nobody will take: how many bytes that was."""
        size, self.buffered_bytes = self.buffered_bytes, 0
        self._chunks.clear()
        return size

    async def receive(self) -> Message:
        """The next ASGI message."""
        while True:
            if self.is_disconnected:
                return {"type": "http.disconnect"}
            if not self._is_delivered:
                if self._chunks or self.is_whole:
                    return self._take()
                if self.failure is not None:
                    return {"type": "http.disconnect"}
                self._on_wanted()
            await self._wait()

    def _take(self) -> Message:
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self.buffered_bytes = 0
        self._is_delivered = self.is_whole
        more = not self.is_whole
        if data:
            self._on_taken(len(data))
        return {"type": "http.request", "body": data, "more_body": more}

    async def _wait(self) -> None:
        if self._waiter is None:
            self._waiter = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._waiter)

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class ResponseWriter(Protocol):
    """What a protocol does with an answer. The methods wait while the peer is slow.

    They raise ConnectionError when the peer is gone.
    """

    async def start(self, status: int, headers: Headers, body: bytes, more: bool) -> None:
        """Send the head with the first piece of the body."""

    async def write(self, body: bytes, more: bool) -> None:
        """Send a later piece of the body; more is False with the last one."""

    def rearm(self, timeout_s: float | None) -> None:
        """Give the rest of the request body timeout_s seconds from now; None: no limit."""


class Exchange:
    """Runs the application for one request.

    is_complete says whether a whole answer went out when `run` is done; where it is False, the
    protocol must cut the connection or reset the stream.
    """

    def __init__(self, scope: Scope, body: RequestBody, writer: ResponseWriter) -> None:
        self._scope = scope
        self._body = body
        self._writer = writer
        self._head: tuple[int, Headers] | None = None
        self._is_bodiless = False
        self.is_begun = False
        self.is_complete = False

    async def run(self, app: ASGIApplication) -> None:
        """Call the application, and answer for it where it gives no answer."""
        try:
            await app(self._scope, self._body.receive, self.send)
            if not self.is_complete and not self._is_excused():
                logger.error("%s: the application ended without a whole answer", self._subject())
        except (
            Exception
        ):  # the border to the application: nothing of it may end the connection's task
            if self._is_excused():
                logger.debug("%s: ended with the client", self._subject(), exc_info=True)
            else:
                logger.exception("%s: the application failed", self._subject())
        if not self.is_begun and not self._body.is_disconnected:
            await self._answer_for_application()

    async def send(self, message: Mapping[str, Any]) -> None:
        """ASGI's send. Raises RuntimeError on a message out of order, ConnectionError when the
        client is gone."""
        if self._body.is_disconnected:
            raise ConnectionResetError("the client closed the connection")
        kind = message["type"]
        if kind == "http.response.start" and self._head is None:
            self._head = int(message["status"]), _checked(message.get("headers", ()))
        elif kind == "http.response.body" and self._head is not None and not self.is_complete:
            await self._send_body(bytes(message.get("body", b"")), message.get("more_body", False))
        elif kind == "quicsql.read_timeout":
            self._writer.rearm(message["timeout_s"])
        else:
            raise RuntimeError(f"the application sent {kind!r} out of order")

    async def _send_body(self, body: bytes, more: bool) -> None:
        if not self.is_begun:
            await self._start(body, more)
        elif not self._is_bodiless:
            await self._writer.write(body, more)
        self.is_complete = not more

    async def _start(self, body: bytes, more: bool) -> None:
        assert self._head is not None  # noqa: S101 - send() checked it
        status, headers = self._head
        names = {name for name, _ in headers}
        is_silent = status in _NO_BODY_STATUSES
        if not more and not is_silent and b"content-length" not in names:
            headers.append((b"content-length", b"%d" % len(body)))
        if b"date" not in names:
            headers.append((b"date", http_date()))
        self._is_bodiless = is_silent or self._scope["method"] == "HEAD"
        self.is_begun = True
        if self._is_bodiless:
            await self._writer.start(status, headers, b"", False)
        else:
            await self._writer.start(status, headers, body, more)

    async def _answer_for_application(self) -> None:
        if self._body.failure is not None:
            status, (headers, body) = self._body.failure[0], plain_text(*self._body.failure)
        else:
            status, headers, body = 500, [(b"content-type", b"application/json")], _INTERNAL_ERROR
        self._head = (status, headers)
        try:
            await self._send_body(body, False)
        except ConnectionError:
            logger.debug("%s: the client left before its answer", self._subject())

    def _is_excused(self) -> bool:
        return self._body.is_disconnected or self._body.failure is not None

    def _subject(self) -> str:
        # The path only, quoted: a query may hold what a log must not, and a line break would forge
        # lines.
        return f"{self._scope['method']!a} {self._scope['raw_path']!r}"


async def answer_asterisk(scope: Scope, receive: Receive, send: Send) -> None:
    """`OPTIONS *`: 200 and nothing else, below authentication."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def plain_answer(status: int, reason: str) -> ASGIApplication:
    """An application that answers below the one of the listener, with a status and a line of
    text."""
    headers, body = plain_text(status, reason)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return answer


def _checked(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    checked = [(bytes(name), bytes(value)) for name, value in headers]
    for name, value in checked:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError(f"response header {name!r} has an illegal name or value")
    return checked
