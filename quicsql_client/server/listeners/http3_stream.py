"""One HTTP/3 request: its body, its task, and the way its answer goes out.

aioquic takes whatever it is given and keeps it until the client acknowledges it, so an answer is
handed over in pieces, each when little enough of the one before is still on the way. Must not know
other streams.
Source: RFC 9114 4.1; protocol/transports.md, "Response framing".
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from aioquic.h3.connection import ErrorCode

from .asgi import Exchange, Headers, RequestBody, Scope
from .fields import answer_fields
from .quic_machine import HTTP3Machine, QUICMachine

_PIECE_BYTES = 16 * 1024


class Multiplexer(Protocol):
    """What a stream asks of its connection."""

    @property
    def backlog_bytes(self) -> int:
        """How much of its answer a stream may have on the way."""

    @property
    def write_stall_s(self) -> float:
        """How long a client may acknowledge nothing of an answer."""

    def send_soon(self) -> None:
        """Send what the machine has to send."""

    def account(self, stream_id: int) -> None:
        """A stream holds less of what arrived."""


class HTTP3Stream:
    """One request, and the way its answer goes out (asgi.ResponseWriter).

    is_read: nothing that the client still sends on the stream matters.
    """

    task: asyncio.Task[None]

    def __init__(
        self, connection: Multiplexer, quic: QUICMachine, h3: HTTP3Machine, stream_id: int
    ) -> None:
        self._connection = connection
        self._quic = quic
        self._h3 = h3
        self.id = stream_id
        self.body = RequestBody(self._taken)
        self.is_read = False
        self._exchange: Exchange
        self._waiter: asyncio.Future[None] | None = None
        self._least = 0  # bytes on the way, when there were fewest since the wait began

    def exchange(self, scope: Scope) -> Exchange:
        """What runs an application for this request."""
        self._exchange = Exchange(scope, self.body, self)
        return self._exchange

    def _taken(self, size: int) -> None:
        self._connection.account(self.id)
        self._connection.send_soon()

    def client_gone(self) -> None:
        """Tell the application, and stop it."""
        self.body.disconnect()
        self._wake()
        self.task.cancel()

    def settle(self) -> None:
        """The application is done: drop what it left unread, and reset what it left open."""
        self.body.discard()
        if self.body.is_disconnected:
            self._quic.reset_stream(self.id, ErrorCode.H3_REQUEST_CANCELLED)
        elif not self._exchange.is_complete:
            self._quic.reset_stream(self.id, ErrorCode.H3_INTERNAL_ERROR)

    # --- asgi.ResponseWriter

    async def start(self, status: int, headers: Headers, body: bytes, more: bool) -> None:
        """Send the head with the first piece of the body."""
        is_whole = not body and not more
        self._require_client()
        self._h3.send_headers(self.id, answer_fields(status, headers), is_whole)
        self._connection.send_soon()
        if not is_whole:
            await self.write(body, more)

    async def write(self, body: bytes, more: bool) -> None:
        """Send a piece of the body, as fast as the client acknowledges it."""
        rest = memoryview(body)
        while True:
            await self._wait_for_room()
            piece, rest = rest[:_PIECE_BYTES], rest[_PIECE_BYTES:]
            is_last = not rest and not more
            if piece or is_last:
                self._h3.send_data(self.id, bytes(piece), is_last)
                self._connection.send_soon()
            if not rest:
                return

    async def _wait_for_room(self) -> None:
        """Raises: ConnectionResetError when the client is gone, or acknowledges nothing for the
        stall time."""
        self._require_client()
        self._least = self._quic.unacknowledged_bytes(self.id)
        while self._least > self._connection.backlog_bytes:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(self._connection.write_stall_s):
                    await self._waiter
            except TimeoutError as error:
                self.body.disconnect()
                raise ConnectionResetError("the client does not read its answer") from error
            self._require_client()
            self._least = self._quic.unacknowledged_bytes(self.id)

    def _require_client(self) -> None:
        if self.body.is_disconnected:
            raise ConnectionResetError("the client closed the stream")

    def look_again(self) -> None:
        """The client may have acknowledged something of the answer."""
        if self._waiter is not None and self._quic.unacknowledged_bytes(self.id) < self._least:
            self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def rearm(self, timeout_s: float | None) -> None:
        """HTTP/3 sets the body no time."""
