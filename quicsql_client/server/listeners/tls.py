"""TLS between a socket's transport and a protocol, over ssl.MemoryBIO.

In place of asyncio's own `ssl=`, for three reasons. asyncio drops the alert of a failed server
handshake, so that a client sees a bare end of file instead of "certificate required". The context
is picked when a connection is accepted, so a reload is one assignment. And a failed handshake is
closed in the order that lets the alert arrive: alert, half close, read and drop, then close; a
close with unread bytes would be a reset, which can overtake the alert.
Must not know HTTP, save for the answer to a client that speaks it without TLS.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable
from typing import Any

from .client_hello import is_whole_record, offered_protocols
from .contexts import ALPN_PROTOCOLS
from .deadline import Deadline
from .settings import WRITE_BUFFER_BYTES, HTTPTimeouts

logger = logging.getLogger("quicsql.server")

_READ_BYTES = 256 * 1024
_ALPN_NAMES = frozenset(name.encode() for name in ALPN_PROTOCOLS)
_NO_APPLICATION_PROTOCOL = (
    b"\x15\x03\x03\x00\x02\x02\x78"  # alert record, fatal, 120 (RFC 7301 3.2)
)
_HTTP_STARTS = (b"GET /", b"HEAD ", b"POST ", b"PUT /", b"OPTIO", b"DELET", b"PRI *")
_HTTP_ON_TLS = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"


class TLSLayer(asyncio.Protocol, asyncio.Transport):
    """Protocol of the socket's transport, and transport of the inner protocol."""

    def __init__(
        self,
        context: ssl.SSLContext,
        inner: asyncio.Protocol,
        *,
        name: str,
        timeouts: HTTPTimeouts,
        on_done: Callable[[TLSLayer], None],
    ) -> None:
        """inner is told of the connection when the handshake is done; on_done is called then, or
        when it never will be."""
        self._inner = inner
        self._name = name
        self._timeouts = timeouts
        self._on_done = on_done
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._hello: bytearray | None = bytearray()
        self._is_up = False
        self._is_dropping = False  # what still comes in is read and thrown away
        self._is_paused = False
        self._peer_ended = False

    # --- protocol of the raw transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - streams only, for the type checker
        self._raw = transport
        self._raw.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self._deadline = Deadline(self._expire)
        self._deadline.arm(self._timeouts.handshake_s)

    def data_received(self, data: bytes) -> None:
        if self._is_dropping:
            return
        if self._hello is None:
            self._incoming.write(data)
        elif not self._greet(data):
            return
        if self._is_up or self._shake_hands():
            self._deliver()

    def eof_received(self) -> bool:
        if self._is_dropping or not self._is_up:
            return False
        self._end_of_input()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.close()
        if self._is_up:
            self._inner.connection_lost(exc)
        else:
            self._on_done(self)

    def pause_writing(self) -> None:
        if self._is_up:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._is_up:
            self._inner.resume_writing()

    # --- handshake

    def _greet(self, data: bytes) -> bool:
        """Hold the first record back until its offer is known; False: nothing to hand on (yet)."""
        hello = self._hello
        if hello is None:
            return True
        hello += data
        if len(hello) >= 5 and bytes(hello[:5]) in _HTTP_STARTS:
            self._refuse("the client sent plain HTTP", _HTTP_ON_TLS)
            return False
        if not is_whole_record(hello):
            return False
        self._hello = None
        offer = offered_protocols(bytes(hello))
        if offer and not _ALPN_NAMES.intersection(offer):
            self._refuse("no application protocol in common (ALPN)", _NO_APPLICATION_PROTOCOL)
            return False
        self._incoming.write(hello)
        return True

    def _shake_hands(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError as error:
            self._refuse(_reason(error), self._outgoing.read())
            return False
        self._is_up = True
        self._deadline.disarm()
        self._flush()
        self._on_done(self)
        self._inner.connection_made(self)
        return True

    def _refuse(self, reason: str, last_words: bytes) -> None:
        peer = self._raw.get_extra_info("peername")
        logger.info("listener %s: TLS handshake with %s failed: %s", self._name, peer, reason)
        if last_words:
            self._raw.write(last_words)
        self._half_close()

    def _half_close(self) -> None:
        self._is_dropping = True
        if self._raw.is_closing():
            return
        self._deadline.arm(self._timeouts.linger_s)
        try:
            self._raw.resume_reading()
            self._raw.write_eof()
        except OSError:  # the peer has reset the connection: nobody is there to hear the end
            self._raw.abort()

    def _expire(self) -> None:
        if not self._is_dropping:
            peer = self._raw.get_extra_info("peername")
            logger.info("listener %s: TLS handshake with %s timed out", self._name, peer)
        self._raw.abort()

    # --- established

    def _deliver(self) -> None:
        """Hand on what can be decrypted, unless the inner protocol wants none now."""
        try:
            while not self._is_paused and not self._is_dropping:
                data = self._tls.read(_READ_BYTES)
                if not data:
                    self._end_of_input()
                    break
                self._inner.data_received(data)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._end_of_input()
        except ssl.SSLError as error:
            logger.debug("listener %s: TLS broke: %s", self._name, _reason(error))
            self._flush()
            self._end_of_input()
            self._half_close()
            return
        self._flush()

    def _end_of_input(self) -> None:
        if not self._peer_ended:
            self._peer_ended = True
            self._inner.eof_received()

    def _flush(self) -> None:
        if self._outgoing.pending and not self._raw.is_closing():
            self._raw.write(self._outgoing.read())

    # --- transport of the inner protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._is_dropping or self._raw.is_closing() or not data:
            return
        view = memoryview(data)
        try:
            while view:
                view = view[self._tls.write(view) :]  # one record at a time
        except ssl.SSLError as error:
            logger.debug("listener %s: TLS broke: %s", self._name, _reason(error))
            self._raw.abort()
            return
        self._flush()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Say that nothing more will come, then read and drop until the peer ends too."""
        if not self._is_dropping:
            self._close_notify()
            self._half_close()

    def close(self) -> None:
        if not self._is_dropping and not self._raw.is_closing():
            self._close_notify()
        self._is_dropping = True
        self._raw.close()

    def abort(self) -> None:
        self._is_dropping = True
        self._raw.abort()

    def _close_notify(self) -> None:
        with contextlib.suppress(ssl.SSLError):  # it is written; the peer's own need not come
            self._tls.unwrap()
        self._flush()

    def is_closing(self) -> bool:
        return self._is_dropping or self._raw.is_closing()

    def pause_reading(self) -> None:
        self._is_paused = True
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        if not self._is_paused:
            return
        self._is_paused = False
        if self._raw.is_closing():
            return
        self._raw.resume_reading()
        asyncio.get_running_loop().call_soon(self._resume)

    def _resume(self) -> None:
        if self._is_up and not self._is_dropping and not self._raw.is_closing():
            self._deliver()

    def get_write_buffer_size(self) -> int:
        return self._raw.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._raw.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "ssl_object":
            return self._tls
        return self._raw.get_extra_info(name, default)


def _reason(error: ssl.SSLError) -> str:
    text = (error.reason or "end of file").lower().replace("_", " ")
    detail = getattr(error, "verify_message", None)
    return f"{text}: {detail}" if detail else text
