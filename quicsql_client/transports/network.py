"""A connected socket for a thread, with TLS or without: bytes by a deadline. Knows no HTTP.

Raises what the operating system and OpenSSL raise (OSError, of which ssl.SSLError and
TimeoutError are kinds); `failures` makes ours of it. When a write fails, the peer may have said
why before it cut the connection: so the failure is raised when reading brings nothing more.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
from collections.abc import Callable
from typing import Self

from ..endpoint import Endpoint
from .deadlines import remaining_s, sooner
from .dialing import dial

__all__ = ["LAST_READ_S", "PIECE_BYTES", "READ_BYTES", "SocketStream", "Source", "end_of"]

READ_BYTES = 65536
# One TLS record: a failed send of one tells that nothing of it left.
PIECE_BYTES = 16384
# After a failed write: how long to wait for what the peer said before it cut the connection.
LAST_READ_S = 1.0

Source = Callable[[], bytes]
"""What is to be sent next; b"" when there is nothing more for now."""


class SocketStream:
    """A connected socket, with or without TLS. One thread, and one exchange, at a time.

    peer_certificate: DER, kept, as OpenSSL gives it away no more after an alert. bytes_written:
    what has left. is_congested: there is something that should have left and did not.
    """

    is_shareable = False

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._tls: ssl.SSLSocket | None = None
        self._is_readable = _readiness(sock)
        self._write_error: OSError | None = None
        self.peer_certificate: bytes | None = None
        self.bytes_written = 0
        self.is_congested = False

    @classmethod
    def connect(cls, endpoint: Endpoint, deadline: float | None) -> Self:
        """Connect to the first address that answers. Raises OSError of the last one."""
        return cls(dial(endpoint, deadline))

    def start_tls(self, context: ssl.SSLContext, host: str, deadline: float | None) -> None:
        """Do the handshake. Raises ssl.SSLError, and OSError when the peer cut the connection."""
        self._socket.settimeout(remaining_s(deadline))
        self._tls = context.wrap_socket(
            self._socket, server_hostname=host, do_handshake_on_connect=False
        )
        self._socket = self._tls
        self._tls.do_handshake()
        self.peer_certificate = self._tls.getpeercert(binary_form=True)

    @property
    def alpn(self) -> str | None:
        """The protocol that TLS agreed on."""
        return self._tls.selected_alpn_protocol() if self._tls else None

    @property
    def tls_version(self) -> str | None:
        """Such as "TLSv1.3"; None without TLS."""
        return self._tls.version() if self._tls else None

    def write_from(self, source: Source, deadline: float | None, *, is_alone: bool = True) -> None:
        """Send all that the source has. Raises TimeoutError; other failures `read` raises.

        is_alone: for the asynchronous stream; here it always is.
        """
        while self._write_error is None and (data := source()):
            self.is_congested = True
            try:
                self._write(memoryview(data), deadline)
            except OSError as error:
                if isinstance(error, TimeoutError) and error.errno is None:
                    raise
                self._write_error = error
            else:
                self.is_congested = False

    def _write(self, view: memoryview, deadline: float | None) -> None:
        while view:
            self._socket.settimeout(remaining_s(deadline))
            sent = self._socket.send(view[:PIECE_BYTES] if self._tls else view)
            self.bytes_written += sent
            view = view[sent:]

    def write_soon(self, source: Source) -> None:
        """Send what goes without waiting: a farewell, after which nothing is written any more."""
        if self._write_error is None and not self.is_congested and (data := source()):
            self.is_congested = True
            with contextlib.suppress(OSError):
                self._socket.settimeout(0)
                self._socket.send(data)

    def read(self, deadline: float | None) -> bytes:
        """What has come, at least one byte; b"" at the end of the stream."""
        if self._write_error is not None:
            deadline = sooner(deadline, LAST_READ_S)
        try:
            self._socket.settimeout(remaining_s(deadline))
            return self._socket.recv(READ_BYTES)
        except ssl.SSLEOFError:
            return b""
        except TimeoutError as error:
            raise end_of(error, self._write_error) from error

    def read_available(self) -> bytes | None:
        """What has come already: None for nothing, b"" for the end of the stream. Never waits."""
        if not self._is_readable() and not (self._tls and self._tls.pending()):
            return None
        self._socket.settimeout(0)
        try:
            return self._socket.recv(READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None  # readable, and yet nothing for us: a TLS session ticket
        except ssl.SSLEOFError:
            return b""

    def close(self) -> None:
        """Close the socket at once, without a farewell. May be called again."""
        with contextlib.suppress(OSError):
            self._socket.close()


def end_of(timeout: TimeoutError, write_error: OSError | None) -> OSError:
    """What a read that brought nothing in time means: the deadline is only one of three reasons."""
    if write_error is not None:
        return write_error
    if timeout.errno is not None:  # ETIMEDOUT: the peer did not acknowledge what was sent
        return ConnectionAbortedError(timeout.errno, timeout.strerror)
    return timeout


def _readiness(sock: socket.socket) -> Callable[[], bool]:
    """A function that says, without waiting, whether the socket has something to read."""
    if not hasattr(select, "poll"):
        return lambda: bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return lambda: bool(poll.poll(0))
