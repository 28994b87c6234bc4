"""From an endpoint to a connected socket: names, addresses in order, tries that share a deadline.

Raises what the operating system raises (OSError, of which TimeoutError is a kind).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Sequence
from typing import Any

from ..endpoint import Endpoint
from .deadlines import remaining_s

__all__ = ["dial", "dial_async"]

# An address that does not answer leaves at least this much to the next one.
_LEAST_TRY_S = 0.25

_Address = tuple[int, Any]


def dial(endpoint: Endpoint, deadline: float | None) -> socket.socket:
    """A socket connected to the first address of the endpoint that answers.

    Raises OSError of the last one.
    """
    if endpoint.transport == "unix":
        return _connect((socket.AF_UNIX, endpoint.path), remaining_s(deadline))
    addresses = _interleaved(_resolve(endpoint, deadline))
    failure: OSError | None = None
    for index, address in enumerate(addresses):
        try:
            return _connect(address, _share(deadline, len(addresses) - index))
        except OSError as error:
            failure = error
    raise failure or OSError(f"no address for {endpoint.host}")


async def dial_async(endpoint: Endpoint, deadline: float | None) -> socket.socket:
    """The same for a task: a socket that does not block."""
    if endpoint.transport == "unix":
        return await _connect_async((socket.AF_UNIX, endpoint.path), remaining_s(deadline))
    addresses = _interleaved(await _resolve_async(endpoint, deadline))
    failure: OSError | None = None
    for index, address in enumerate(addresses):
        try:
            return await _connect_async(address, _share(deadline, len(addresses) - index))
        except OSError as error:
            failure = error
    raise failure or OSError(f"no address for {endpoint.host}")


# Names


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


# Sockets


def _share(deadline: float | None, tries_left: int) -> float | None:
    left = remaining_s(deadline)
    return None if left is None else max(left / tries_left, min(left, _LEAST_TRY_S))


def _new_socket(family: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    if family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _connect(address: _Address, timeout_s: float | None) -> socket.socket:
    sock = _new_socket(address[0])
    try:
        sock.settimeout(timeout_s)
        sock.connect(address[1])
    except BaseException:
        sock.close()
        raise
    return sock


async def _connect_async(address: _Address, timeout_s: float | None) -> socket.socket:
    sock = _new_socket(address[0])
    try:
        sock.setblocking(False)
        async with asyncio.timeout(timeout_s):
            await asyncio.get_running_loop().sock_connect(sock, address[1])
    except BaseException:
        sock.close()
        raise
    return sock
