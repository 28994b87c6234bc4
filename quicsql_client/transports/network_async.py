"""A connected socket for tasks, with TLS or without: many write, one reads. Knows no HTTP.

Works on a non-blocking socket with TLS in memory (ssl.MemoryBIO) rather than on asyncio's own
streams: those forget the server's last alert when a write fails, and it says why a certificate
was refused. A call that is cancelled loses no byte in either direction, so that others can go on
with the connection: bytes move between awaits only. Raises as `network` does.

    source -> _plain -> TLS record -> _wire -> socket      one record at a time, so that we know
                                                           of every byte whether it may have left
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from typing import Self

from ..endpoint import Endpoint
from .deadlines import sooner, wait_until
from .dialing import dial_async
from .network import LAST_READ_S, PIECE_BYTES, READ_BYTES, Source, end_of

__all__ = ["AsyncSocketStream"]

_NOTHING = memoryview(b"")


class AsyncSocketStream:
    """See SocketStream. Bound to an event loop only while something is to be read or written."""

    is_shareable = True

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._process = os.getpid()
        self._tls: ssl.SSLObject | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._source: Source = bytes
        self._plain = _NOTHING  # taken from the source, not yet a record
        self._wire = _NOTHING  # what goes to the socket next
        self._in_wire = 0  # how much of the plain text that stands for
        self._loop: asyncio.AbstractEventLoop | None = None  # that tells when it takes more
        self._scheduled_in: asyncio.AbstractEventLoop | None = None
        self._reader: asyncio.Future[None] | None = None
        self._write_error: OSError | None = None
        self._read_error: OSError | None = None
        self.peer_certificate: bytes | None = None
        self.bytes_written = 0

    @classmethod
    async def connect(cls, endpoint: Endpoint, deadline: float | None) -> Self:
        """Connect to the first address that answers. Raises OSError of the last one."""
        return cls(await dial_async(endpoint, deadline))

    async def start_tls(self, context: ssl.SSLContext, host: str, deadline: float | None) -> None:
        """Do the handshake. Raises ssl.SSLError, and OSError when the peer cut the connection."""
        tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                self._send()
                self._feed(await self._receive(deadline))
            except ssl.SSLError:
                self._send()  # the alert that tells the peer why; it may be lost
                raise
            else:
                break
        self._send()
        self.bytes_written = 0  # the handshake said nothing of ours
        self._tls = tls
        self.peer_certificate = tls.getpeercert(binary_form=True)

    @property
    def alpn(self) -> str | None:
        """The protocol that TLS agreed on."""
        return self._tls.selected_alpn_protocol() if self._tls else None

    @property
    def tls_version(self) -> str | None:
        """Such as "TLSv1.3"; None without TLS."""
        return self._tls.version() if self._tls else None

    # Writing

    @property
    def is_congested(self) -> bool:
        """True when there is something that should have left and did not."""
        return bool(self._wire or self._plain)

    async def write_from(
        self, source: Source, deadline: float | None, *, is_alone: bool = True
    ) -> None:
        """Send what the source has, and later what it has then, as the socket takes it.

        Does not wait for that, as the peer might not read before somebody reads what it says.
        is_alone: no other task is about to write; else they come first, and it all leaves as one.
        """
        if is_alone:
            self._source = source
            if self._loop is None or self._loop is not asyncio.get_running_loop():
                self._send()
        else:
            self.write_soon(source)
            await asyncio.sleep(0)

    def write_soon(self, source: Source) -> None:
        """The same in the next turn of the event loop, once for all who ask for it."""
        self._source = source
        loop = asyncio.get_running_loop()
        if self._loop is not loop and self._scheduled_in is not loop:
            self._scheduled_in = loop
            loop.call_soon(self._send)

    def _send(self) -> None:
        """Send until the socket takes no more, or there is nothing more."""
        self._scheduled_in = None
        try:
            while self._write_error is None and self._fill():
                sent = self._socket.send(self._wire)
                self._wire = self._wire[sent:]
                if self._tls is None:
                    self.bytes_written += sent
                elif not self._wire:
                    self.bytes_written += self._in_wire
                    self._in_wire = 0
        except BlockingIOError:
            self._watch()
            return
        except OSError as error:
            self._write_error = error
            _wake(self._reader)  # who reads, need not wait long any more
        self._watch_no_more()

    def _fill(self) -> bool:
        """True when there is something for the socket."""
        if self._outgoing.pending:  # of the handshake, or in answer to what was read
            self._wire = memoryview(self._wire.tobytes() + self._outgoing.read())
        if self._wire:
            return True
        if not self._plain:
            self._plain = memoryview(self._source())
        if self._tls is None:
            self._wire, self._plain = self._plain, _NOTHING
        elif self._plain:
            self._in_wire = self._tls.write(self._plain[:PIECE_BYTES])
            self._plain = self._plain[self._in_wire :]
            self._wire = memoryview(self._outgoing.read())
        return bool(self._wire)

    def _watch(self) -> None:
        """Go on as soon as the socket takes more."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._watch_no_more()
            self._loop = loop
            loop.add_writer(self._socket.fileno(), self._send)

    def _watch_no_more(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_writer(self._socket.fileno())
        self._loop = None

    # Reading

    async def read(self, deadline: float | None) -> bytes:
        """What has come, at least one byte; b"" at the end of the stream."""
        while (data := self.read_available()) is None:
            await self._readable(deadline)
        return data

    def read_available(self) -> bytes | None:
        """What has come already: None for nothing, b"" for the end of the stream. Never waits."""
        if self._tls is None:
            return self._recv()
        while (data := self._decrypted(self._tls)) is None:
            raw = self._recv()
            if raw is None:
                return None
            self._feed(raw)
        return data

    def _decrypted(self, tls: ssl.SSLObject) -> bytes | None:
        """Every record that is there, None for none, b"" for the end of the stream."""
        parts: list[bytes] = []
        size = 0
        try:
            if self._read_error is not None:
                raise self._read_error
            while size < READ_BYTES and (part := tls.read(READ_BYTES)):
                parts.append(part)
                size += len(part)
        except ssl.SSLWantReadError:
            if not parts:
                return None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            pass  # comes again with the next call
        except ssl.SSLError as error:
            self._send()  # the alert that tells the peer why
            if not parts:
                raise
            self._read_error = error  # does not come again
        if self._outgoing.pending:
            self._send()
        return b"".join(parts)

    def _feed(self, data: bytes) -> None:
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _recv(self) -> bytes | None:
        try:
            return self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return None
        except TimeoutError as error:
            raise end_of(error, None) from error

    async def _receive(self, deadline: float | None) -> bytes:
        while (data := self._recv()) is None:
            await self._readable(deadline)
        return data

    async def _readable(self, deadline: float | None) -> None:
        """Until there may be something to read. Raises TimeoutError, or why a write failed."""
        if self._write_error is not None:
            deadline = sooner(deadline, LAST_READ_S)
        loop, socket_id = asyncio.get_running_loop(), self._socket.fileno()
        reader = self._reader = loop.create_future()
        loop.add_reader(socket_id, _wake, reader)
        try:
            await wait_until(deadline, reader)
        except TimeoutError as error:
            raise end_of(error, self._write_error) from error
        finally:
            loop.remove_reader(socket_id)
            self._reader = None

    def close(self) -> None:
        """Close the socket at once; what was about to leave leaves if it goes without waiting.

        May be called again.
        """
        if self._process == os.getpid():  # what watches it in a parent process is not ours
            with contextlib.suppress(RuntimeError):  # no event loop runs
                if self._scheduled_in is asyncio.get_running_loop():
                    self._send()
            self._watch_no_more()
        with contextlib.suppress(OSError):
            self._socket.close()


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
