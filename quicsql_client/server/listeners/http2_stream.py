"""One HTTP/2 stream: a request, its task, and the way its answer goes out.

Writes a frame at a time, as far as the windows and the socket let it. Must not know other streams.
Source: RFC 9113 5.2 and 8.1.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

from .asgi import ASGIApplication, Exchange, Headers, RequestBody, Scope
from .fields import answer_fields
from .link import Link

_MAX_SENT_FRAME_BYTES = 64 * 1024  # so that streams take turns


class Multiplexer(Protocol):
    """What a stream asks of its connection."""

    def flush_soon(self, size: int) -> None:
        """Write out what the machine holds, size bytes more than before."""

    def give_credit(self, size: int, stream_id: int) -> None:
        """size bytes of a body have been taken."""


class HTTP2Stream:
    """One request, and the way its answer goes out (asgi.ResponseWriter)."""

    def __init__(
        self, connection: Multiplexer, machine: H2Connection, link: Link, stream_id: int
    ) -> None:
        self._connection = connection
        self._h2 = machine
        self._link = link
        self.id = stream_id
        self.body = RequestBody(self._taken)
        self.is_over = False  # nobody reads the body any more
        self._exchange: Exchange
        self._task: asyncio.Task[None]
        self._waiter: asyncio.Future[None] | None = None

    def run(self, app: ASGIApplication, scope: Scope, on_done: Callable[[], None]) -> None:
        """Start the application."""
        self._headers: Headers = scope["headers"]
        self._exchange = Exchange(scope, self.body, self)
        self._task = self._link.endpoint.spawn(self._exchange.run(app), on_done)

    def _taken(self, size: int) -> None:
        self._connection.give_credit(size, self.id)

    def client_gone(self) -> None:
        """Tell the application, and stop it."""
        self.body.disconnect()
        self.wake()
        self._task.cancel()

    def settle(self) -> bool:
        """The application is done: give back what it left unread, and reset what it left open.

        True: the answer is whole and the body is not, so the peer may still be at it.
        """
        self.is_over = True
        unread = self.body.discard()
        try:
            if unread:
                self._h2.acknowledge_received_data(unread, self.id)
            if self.body.is_disconnected:
                return False
            if not self._exchange.is_complete:
                self._h2.reset_stream(self.id, ErrorCodes.INTERNAL_ERROR)
        except ProtocolError:
            return False  # the stream has ended meanwhile
        return self._exchange.is_complete and not self.body.is_whole

    def announced_bytes(self) -> int:
        """The Content-Length of the request, 0 without one."""
        return next((int(v) for name, v in self._headers if name == b"content-length"), 0)

    # --- asgi.ResponseWriter

    async def start(self, status: int, headers: Headers, body: bytes, more: bool) -> None:
        """Send the head with the first piece of the body."""
        is_whole = not body and not more
        try:
            self._h2.send_headers(self.id, answer_fields(status, headers), end_stream=is_whole)
        except ProtocolError as error:
            raise ConnectionResetError("the stream was closed") from error
        self._connection.flush_soon(0)
        if not is_whole:
            await self.write(body, more)

    async def write(self, body: bytes, more: bool) -> None:
        """Send a piece of the body, frame by frame, as the windows and the socket let it."""
        rest = memoryview(body)
        try:
            if not rest and not more:
                self._h2.end_stream(self.id)
                self._connection.flush_soon(0)
            while rest:
                size = await self._wait_for_window(len(rest))
                is_last = size == len(rest) and not more
                self._h2.send_data(self.id, bytes(rest[:size]), end_stream=is_last)
                self._connection.flush_soon(size)
                rest = rest[size:]
                await self._link.wait_writable()
        except ProtocolError as error:
            raise ConnectionResetError("the stream was closed") from error

    async def _wait_for_window(self, wanted: int) -> int:
        """How much may be sent now, at least one byte.

        Raises: ConnectionResetError when the stream ends, or no window comes for the stall time.
        """
        while True:
            if self.body.is_disconnected:
                raise ConnectionResetError("the client closed the stream")
            window = self._h2.local_flow_control_window(self.id)
            if window > 0:
                limit = min(self._h2.max_outbound_frame_size, _MAX_SENT_FRAME_BYTES)
                return min(wanted, window, limit)
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(self._link.endpoint.timeouts.write_stall_s):
                    await self._waiter
            except TimeoutError as error:
                raise ConnectionResetError("the client does not read its answer") from error

    def wake(self) -> None:
        """Look at the window again."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def rearm(self, timeout_s: float | None) -> None:
        """HTTP/2 sets the body no time."""
