"""Bound sockets from the addresses of a configuration.

Must not know HTTP or TLS. Source: protocol/config.md, "listeners[]"; protocol/transports.md, "Unix
sockets".
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Callable
from typing import TypeAlias

from ...errors import ConfigurationError
from .contexts import os_error_text

_BACKLOG = 4096  # the kernel takes less if net.core.somaxconn says so
_DATAGRAM_BUFFER_BYTES = 2 * 1024 * 1024  # the kernel takes less if net.core.rmem_max says so

_OpenSocket: TypeAlias = Callable[[socket.AddressFamily, tuple[object, ...]], socket.socket]


async def bind_tcp(name: str, address: str) -> socket.socket:
    """A listening socket on host:port, [v6]:port, :port (all interfaces), or "" (any port).

    Raises: ConfigurationError `listener <name>: listen tcp <address>: ...`.
    """
    return await _bind(f"listener {name}: listen tcp {address}", address, _listen)


async def bind_udp(name: str, address: str) -> socket.socket:
    """A datagram socket on the addresses that `bind_tcp` takes.

    Raises: ConfigurationError `listener <name>: listen udp <address>: ...`.
    """
    return await _bind(f"listener {name}: listen udp {address}", address, _take_datagrams)


async def _bind(prefix: str, address: str, open_socket: _OpenSocket) -> socket.socket:
    host, port = _split(prefix, address)
    if host == "":
        return _bind_all(prefix, port, open_socket)
    try:
        # Both kinds of socket are looked up as one: an address is an address.
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ConfigurationError(f"{prefix}: lookup {host}: no such host") from error
    family, _, _, _, sockaddr = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    try:
        return open_socket(socket.AddressFamily(family), sockaddr)
    except OSError as error:
        raise ConfigurationError(f"{prefix}: bind: {os_error_text(error)}") from error


def _split(prefix: str, address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if address and (not colon or (":" in host and not host.startswith("["))):
        raise ConfigurationError(f"{prefix}: give host:port, :port, or [address]:port for IPv6")
    if port and not (port.isascii() and port.isdecimal() and int(port) <= 65535):
        raise ConfigurationError(f"{prefix}: invalid port {port!r}, give a number from 0 to 65535")
    return host.removeprefix("[").removesuffix("]"), int(port or 0)


def _bind_all(prefix: str, port: int, open_socket: _OpenSocket) -> socket.socket:
    try:
        if socket.has_dualstack_ipv6():
            return open_socket(socket.AF_INET6, ("::", port))
        return open_socket(socket.AF_INET, ("0.0.0.0", port))  # noqa: S104 - that is what the address says
    except OSError as error:
        raise ConfigurationError(f"{prefix}: bind: {os_error_text(error)}") from error


def _listen(family: socket.AddressFamily, address: tuple[object, ...]) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted ones inherit it
        _bind_to(listening, family, address)
        listening.listen(_BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


def _take_datagrams(family: socket.AddressFamily, address: tuple[object, ...]) -> socket.socket:
    # No SO_REUSEADDR: for UDP it would let two servers bind one port and share its datagrams.
    taking = socket.socket(family, socket.SOCK_DGRAM)
    try:
        taking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _DATAGRAM_BUFFER_BYTES)
        taking.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _DATAGRAM_BUFFER_BYTES)
        _bind_to(taking, family, address)
    except BaseException:
        taking.close()
        raise
    return taking


def _bind_to(
    bound: socket.socket, family: socket.AddressFamily, address: tuple[object, ...]
) -> None:
    if family == socket.AF_INET6:
        only = address[0] != "::"
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(only))
    bound.bind(address)
    bound.setblocking(False)


def bound_address(listening: socket.socket) -> tuple[str, int]:
    """(host, port) that an internet socket is bound to."""
    host, port = listening.getsockname()[:2]
    return host, port


def join_address(host: str, port: int) -> str:
    """host:port, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bind_unix(name: str, path: str, mode: int | None) -> socket.socket:
    """A listening Unix socket; a socket file that is already there is removed first.

    mode: permissions of the file, set before anybody can connect; None: as the umask says.
    Raises: ConfigurationError `listener <name>: listen unix <path>: ...`, also when something
    else than a socket is there.
    """
    prefix = f"listener {name}: listen unix {path}"
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise ConfigurationError(
                f"{prefix}: the file exists and is not a socket; remove it or choose another path"
            )
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise ConfigurationError(f"{prefix}: {os_error_text(error)}") from error
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(path)
        if mode is not None:
            os.chmod(path, mode)
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise ConfigurationError(f"{prefix}: bind: {os_error_text(error)}") from error
    return listening


def file_identity(path: str) -> tuple[int, int] | None:
    """Device and inode of a path, to know later whether it is still the same file."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
