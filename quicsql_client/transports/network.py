"""Sockets: the only module that opens one.

Connects, does TLS, moves bytes by a deadline; knows no HTTP.

Raises what the operating system and OpenSSL raise (OSError, of which ssl.SSLError and
TimeoutError are kinds); `failures` makes ours of it. The asynchronous stream works on a
non-blocking socket with TLS in memory (ssl.MemoryBIO) rather than on asyncio's own streams: those
forget the server's last alert when a write fails, and it says why a certificate was refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import math
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeVar

from ..endpoint import Endpoint

__all__ = ["AsyncSocketStream", "SocketStream", "remaining_s"]

_T = TypeVar("_T")
_READ_BYTES = 65536
# One TLS record: a failed send of one tells that nothing of it left.
_PIECE_BYTES = 16384
# An address that does not answer leaves at least this much to the next one.
_LEAST_TRY_S = 0.25

_Address = tuple[int, Any]


def remaining_s(deadline: float | None) -> float | None:
    """Seconds until a deadline (an instant of time.monotonic()), None for no limit.

    Raises TimeoutError when past.
    """
    if deadline is None or deadline == math.inf:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the deadline has passed")
    return left


class SocketStream:
    """A connected socket, with or without TLS. One thread at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._tls: ssl.SSLSocket | None = None
        self._is_readable = _readiness(sock)
        # The peer's certificate (DER), kept: OpenSSL gives it away no more after an alert.
        self.peer_certificate: bytes | None = None
        self.bytes_written = 0

    @classmethod
    def connect(cls, endpoint: Endpoint, deadline: float | None) -> Self:
        """Connect to the first address of the endpoint that answers.

        Raises OSError of the last one.
        """
        if endpoint.transport == "unix":
            return cls(_connect_one((socket.AF_UNIX, endpoint.path), remaining_s(deadline)))
        addresses = _interleaved(_resolve(endpoint, deadline))
        failure: OSError | None = None
        for index, address in enumerate(addresses):
            try:
                return cls(_connect_one(address, _share(deadline, len(addresses) - index)))
            except OSError as error:
                failure = error
        raise failure or OSError(f"no address for {endpoint.host}")

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

    def write(self, data: bytes, deadline: float | None) -> None:
        """Send all. bytes_written counts what left, also when this raises."""
        view = memoryview(data)
        while view:
            self._socket.settimeout(remaining_s(deadline))
            sent = self._socket.send(view[:_PIECE_BYTES] if self._tls else view)
            self.bytes_written += sent
            view = view[sent:]

    def read(self, deadline: float | None) -> bytes:
        """What has come, at least one byte; b"" at the end of the stream."""
        self._socket.settimeout(remaining_s(deadline))
        try:
            return self._socket.recv(_READ_BYTES)
        except ssl.SSLEOFError:
            return b""

    def read_available(self) -> bytes | None:
        """What has come already: None for nothing, b"" for the end of the stream. Never waits."""
        if not self._is_readable() and not (self._tls and self._tls.pending()):
            return None
        self._socket.settimeout(0)
        try:
            return self._socket.recv(_READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None  # readable, and yet nothing for us: a TLS session ticket
        except ssl.SSLEOFError:
            return b""

    def close(self) -> None:
        """Close the socket at once, without a farewell. May be called again."""
        with contextlib.suppress(OSError):
            self._socket.close()


class AsyncSocketStream:
    """The same for one task at a time. Bound to no event loop between calls."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._tls: ssl.SSLObject | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        # The peer's certificate (DER), kept: OpenSSL gives it away no more after an alert.
        self.peer_certificate: bytes | None = None
        self.bytes_written = 0

    @classmethod
    async def connect(cls, endpoint: Endpoint, deadline: float | None) -> Self:
        """Connect to the first address of the endpoint that answers.

        Raises OSError of the last one.
        """
        if endpoint.transport == "unix":
            return cls(
                await _connect_one_async((socket.AF_UNIX, endpoint.path), remaining_s(deadline))
            )
        addresses = _interleaved(await _resolve_async(endpoint, deadline))
        failure: OSError | None = None
        for index, address in enumerate(addresses):
            try:
                return cls(
                    await _connect_one_async(address, _share(deadline, len(addresses) - index))
                )
            except OSError as error:
                failure = error
        raise failure or OSError(f"no address for {endpoint.host}")

    async def start_tls(self, context: ssl.SSLContext, host: str, deadline: float | None) -> None:
        """Do the handshake. Raises ssl.SSLError, and OSError when the peer cut the connection."""
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        await self._pump(self._tls.do_handshake, deadline)
        self.peer_certificate = self._tls.getpeercert(binary_form=True)

    @property
    def alpn(self) -> str | None:
        """The protocol that TLS agreed on."""
        return self._tls.selected_alpn_protocol() if self._tls else None

    @property
    def tls_version(self) -> str | None:
        """Such as "TLSv1.3"; None without TLS."""
        return self._tls.version() if self._tls else None

    async def write(self, data: bytes, deadline: float | None) -> None:
        """Send all. bytes_written counts what left, also when this raises."""
        view = memoryview(data)
        while view:
            piece = view[:_PIECE_BYTES] if self._tls else view
            if self._tls:
                self._tls.write(piece)
                await self._flush(deadline)
            else:
                await self._send(piece, deadline)
            self.bytes_written += len(piece)
            view = view[len(piece) :]

    async def read(self, deadline: float | None) -> bytes:
        """What has come, at least one byte; b"" at the end of the stream."""
        if self._tls is None:
            return await self._receive(deadline)
        try:
            return await self._pump(lambda: self._read_tls(), deadline)
        except ssl.SSLEOFError:
            return b""

    def read_available(self) -> bytes | None:
        """What has come already: None for nothing, b"" for the end of the stream. Never waits."""
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            data = None
        if self._tls is None:
            return data
        if data is not None:
            self._feed(data)
        try:
            return self._read_tls()
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLEOFError:
            return b""

    def close(self) -> None:
        """Close the socket at once, without a farewell. May be called again."""
        with contextlib.suppress(OSError):
            self._socket.close()

    def _read_tls(self) -> bytes:
        assert self._tls is not None  # noqa: S101  # called with TLS only
        try:
            return self._tls.read(_READ_BYTES)
        except ssl.SSLZeroReturnError:
            return b""

    def _feed(self, data: bytes) -> None:
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def _pump(self, step: Callable[[], _T], deadline: float | None) -> _T:
        """Repeat a TLS step, moving records, until it is done."""
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                await self._flush(deadline)
                self._feed(await self._receive(deadline))
            except ssl.SSLError:
                # The alert that tells the peer why; that it may not arrive changes nothing for us.
                with contextlib.suppress(OSError):
                    self._socket.send(self._outgoing.read())
                raise
            else:
                await self._flush(deadline)
                return result

    async def _flush(self, deadline: float | None) -> None:
        if self._outgoing.pending:
            await self._send(self._outgoing.read(), deadline)

    async def _send(self, data: bytes | memoryview, deadline: float | None) -> None:
        async with asyncio.timeout(remaining_s(deadline)):
            await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def _receive(self, deadline: float | None) -> bytes:
        try:
            return self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            async with asyncio.timeout(remaining_s(deadline)):
                return await asyncio.get_running_loop().sock_recv(self._socket, _READ_BYTES)


# Addresses


def _resolve(endpoint: Endpoint, deadline: float | None) -> list[_Address]:
    """The addresses of a host. In a thread of its own: the system's resolver knows no deadline."""
    literal = _literal(endpoint)
    if literal:
        return [literal]
    found: list[list[_Address] | OSError] = []

    def resolve() -> None:
        try:
            found.append(_lookup(endpoint))
        except (OSError, UnicodeError) as error:
            found.append(_resolver_error(error))

    thread = threading.Thread(target=resolve, name="quicsql-resolve", daemon=True)
    thread.start()
    thread.join(remaining_s(deadline))
    if not found:
        raise TimeoutError("the name was not resolved in time")
    if isinstance(found[0], OSError):
        raise found[0]
    return found[0]


async def _resolve_async(endpoint: Endpoint, deadline: float | None) -> list[_Address]:
    literal = _literal(endpoint)
    if literal:
        return [literal]
    try:
        async with asyncio.timeout(remaining_s(deadline)):
            found = await asyncio.get_running_loop().getaddrinfo(
                endpoint.host, endpoint.port, type=socket.SOCK_STREAM
            )
    except UnicodeError as error:
        raise _resolver_error(error) from error
    return [(family, address) for family, _, _, _, address in found]


def _lookup(endpoint: Endpoint) -> list[_Address]:
    found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]


def _resolver_error(error: OSError | UnicodeError) -> OSError:
    """A name that cannot be encoded is for the caller a name that does not exist."""
    if isinstance(error, OSError):
        return error
    return socket.gaierror(socket.EAI_NONAME, "not a host name")


def _literal(endpoint: Endpoint) -> _Address | None:
    try:
        version = ipaddress.ip_address(endpoint.host).version
    except ValueError:
        return None
    return (socket.AF_INET6 if version == 6 else socket.AF_INET), (endpoint.host, endpoint.port)


def _interleaved(addresses: Sequence[_Address]) -> list[_Address]:
    """One family after the other in turn, so that a dead one costs one try (RFC 8305, 4)."""
    first = [a for a in addresses if a[0] == addresses[0][0]]
    other = [a for a in addresses if a[0] != addresses[0][0]]
    pairs = zip(first, other, strict=False)
    rest = first[len(other) :] + other[len(first) :]
    return [address for pair in pairs for address in pair] + rest


def _share(deadline: float | None, tries_left: int) -> float | None:
    left = remaining_s(deadline)
    return None if left is None else max(left / tries_left, min(left, _LEAST_TRY_S))


def _new_socket(family: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    if family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _connect_one(address: _Address, timeout_s: float | None) -> socket.socket:
    sock = _new_socket(address[0])
    try:
        sock.settimeout(timeout_s)
        sock.connect(address[1])
    except BaseException:
        sock.close()
        raise
    return sock


async def _connect_one_async(address: _Address, timeout_s: float | None) -> socket.socket:
    sock = _new_socket(address[0])
    try:
        sock.setblocking(False)
        async with asyncio.timeout(timeout_s):
            await asyncio.get_running_loop().sock_connect(sock, address[1])
    except BaseException:
        sock.close()
        raise
    return sock


def _readiness(sock: socket.socket) -> Callable[[], bool]:
    """A function that says, without waiting, whether the socket has something to read."""
    if not hasattr(select, "poll"):
        return lambda: bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return lambda: bool(poll.poll(0))
