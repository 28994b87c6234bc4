"""One accepted connection: picks HTTP/1.1 or HTTP/2, moves bytes, closes in good order.

HTTP/2 is picked by ALPN on TLS, by its preface on the transport h2c, never on h1 and unix. Must
not know requests.
Source: protocol/transports.md.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Protocol

from .deadline import Deadline
from .endpoint import Endpoint
from .http1 import HTTP1Connection
from .http2 import HTTP2Connection
from .scope import ConnectionFacts, internet_peer, tls_extension, unix_extension
from .settings import WRITE_BUFFER_BYTES

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: on, no time


class HTTPVersion(Protocol):
    """What a protocol version offers to the connection."""

    @property
    def is_busy(self) -> bool:
        """Whether a request is in flight."""

    def data_received(self, data: bytes) -> None:
        """Bytes of the peer."""

    def eof_received(self) -> None:
        """The peer will send nothing more."""

    def writable(self) -> None:
        """The peer has taken what was waiting."""

    def shutdown(self) -> None:
        """Finish what is in flight, take nothing new, close."""

    def lost(self) -> None:
        """The connection is gone."""


class Connection(asyncio.Protocol):
    """Protocol of a plain socket's transport, or of a TLSLayer."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.facts: ConnectionFacts
        self._version: HTTPVersion | None = None
        self._held = b""  # a beginning that may yet become the HTTP/2 preface
        self._waiters: list[asyncio.Future[None]] = []
        self._is_blocked = False
        self._is_lingering = False
        self.is_lost = False

    # --- protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - streams only, for the type checker
        self.transport = transport
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self._deadline = Deadline(self._expire)
        self._deadline.arm(self.endpoint.timeouts.header_s)
        self.endpoint.add(self)
        tls = transport.get_extra_info("ssl_object")
        self.facts = self._gather_facts()
        if tls is not None:
            self._begin(tls.selected_alpn_protocol() == "h2")
        elif self.endpoint.kind != "h2c":
            self._begin(is_http2=False)
        if self.endpoint.is_draining:
            self.shutdown()

    def _gather_facts(self) -> ConnectionFacts:
        tls = self.transport.get_extra_info("ssl_object")
        extensions = {}
        if tls is not None:
            extensions["tls"] = tls_extension(tls)
        elif self.endpoint.kind == "unix":
            peer = unix_extension(self.transport.get_extra_info("socket"))
            if peer is not None:
                extensions["unix"] = peer
        return ConnectionFacts(
            scheme="http" if tls is None else "https",
            client=internet_peer(self.transport.get_extra_info("peername")),
            server=self.endpoint.server,
            extensions=extensions,
        )

    def _begin(self, is_http2: bool) -> HTTPVersion:
        self._deadline.disarm()
        version: HTTPVersion = HTTP2Connection(self) if is_http2 else HTTP1Connection(self)
        self._version = version
        return version

    def data_received(self, data: bytes) -> None:
        if self._is_lingering:
            return
        if self._version is not None:
            self._version.data_received(data)
            return
        self._held += data
        if self._held.startswith(_PREFACE):
            self._begin(is_http2=True).data_received(self._held)
        elif not _PREFACE.startswith(self._held):
            self._begin(is_http2=False).data_received(self._held)

    def eof_received(self) -> bool:
        if self._is_lingering or self._version is None:
            self.transport.close()
        else:
            self._version.eof_received()
        return True  # closing is ours

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self._deadline.close()
        self._wake()
        if self._version is not None:
            self._version.lost()
        self.endpoint.remove(self)

    def pause_writing(self) -> None:
        self._is_blocked = True

    def resume_writing(self) -> None:
        self._is_blocked = False
        self._wake()
        if self._version is not None:
            self._version.writable()

    # --- for the HTTP versions

    def write(self, data: bytes) -> None:
        """Queue bytes; `wait_writable` tells when the peer has taken enough of them."""
        if not self.transport.is_closing():
            self.transport.write(data)

    async def wait_writable(self) -> None:
        """Wait while the peer is slow.

        Raises: ConnectionResetError when it is gone, or takes nothing for the stall time: then it
        is cut.
        """
        while self._is_blocked and not self.is_lost:
            before = self.transport.get_write_buffer_size()
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                async with asyncio.timeout(self.endpoint.timeouts.write_stall_s):
                    await waiter
            except TimeoutError:
                if self.transport.get_write_buffer_size() >= before:
                    self.transport.abort()
                    break
        if self.is_lost or self.transport.is_closing():
            raise ConnectionResetError("the client closed the connection or stopped reading")

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def linger(self) -> None:
        """Close after a final answer: end our side, then read and drop until the peer ends too."""
        if self._is_lingering or self.transport.is_closing():
            return
        self._is_lingering = True
        self._deadline.arm(self.endpoint.timeouts.linger_s)
        try:
            self.transport.resume_reading()
            self.transport.write_eof()
        except OSError:  # the peer has reset the connection: nobody is there to hear the end
            self.transport.abort()

    def close(self) -> None:
        """Close when what is queued has gone out."""
        self.transport.close()

    def cut(self) -> None:
        """Reset the connection: what went out must not look whole, as it might to a client that
        takes the end of the connection for the end of the answer."""
        raw = self.transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.transport.abort()

    def _expire(self) -> None:
        if self._is_lingering:
            self.transport.abort()
        else:
            self.transport.close()

    # --- for the listener

    def shutdown(self) -> None:
        """Finish what is in flight, take nothing new, close."""
        if self._version is None:
            self.transport.close()
        else:
            self._version.shutdown()

    def abort(self) -> bool:
        """Close at once; whether a request was cut."""
        self.transport.abort()
        return self._version is not None and self._version.is_busy
