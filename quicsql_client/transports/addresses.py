"""The addresses of an endpoint: its name resolved by a deadline, families in turn. Opens no socket.

Raises what the operating system raises (OSError, of which TimeoutError is a kind).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Sequence
from typing import Any, TypeAlias

from ..endpoint import Endpoint
from .deadlines import remaining_s

__all__ = ["Address", "addresses_of", "addresses_of_async", "interleaved", "share_s"]

Address: TypeAlias = tuple[int, Any]
"""Family and socket address."""

# An address that does not answer leaves at least this much to the next one.
_LEAST_TRY_S = 0.25


def addresses_of(
    endpoint: Endpoint, kind: socket.SocketKind, deadline: float | None
) -> list[Address]:
    """The addresses of the endpoint's host for sockets of this kind, in the order of trying.

    Asked in a thread of its own, as the system's resolver knows no deadline.
    """
    literal = _literal(endpoint)
    if literal:
        return [literal]
    found: list[list[Address] | OSError] = []

    def resolve() -> None:
        try:
            found.append(_named(socket.getaddrinfo(endpoint.host, endpoint.port, type=kind)))
        except (OSError, UnicodeError) as error:
            found.append(_resolver_error(error))

    thread = threading.Thread(target=resolve, name="quicsql-resolve", daemon=True)
    thread.start()
    thread.join(remaining_s(deadline))
    if not found:
        raise TimeoutError("the name was not resolved in time")
    if isinstance(found[0], OSError):
        raise found[0]
    return interleaved(found[0])


async def addresses_of_async(
    endpoint: Endpoint, kind: socket.SocketKind, deadline: float | None
) -> list[Address]:
    """The same for a task."""
    literal = _literal(endpoint)
    if literal:
        return [literal]
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(remaining_s(deadline)):
            found = await loop.getaddrinfo(endpoint.host, endpoint.port, type=kind)
    except UnicodeError as error:
        raise _resolver_error(error) from error
    return interleaved(_named(found))


def _named(found: Sequence[tuple[Any, ...]]) -> list[Address]:
    return [(family, address) for family, _, _, _, address in found]


def _resolver_error(error: OSError | UnicodeError) -> OSError:
    """A name that cannot be encoded is for the caller a name that does not exist."""
    if isinstance(error, OSError):
        return error
    return socket.gaierror(socket.EAI_NONAME, "not a host name")


def _literal(endpoint: Endpoint) -> Address | None:
    try:
        version = ipaddress.ip_address(endpoint.host).version
    except ValueError:
        return None
    return (socket.AF_INET6 if version == 6 else socket.AF_INET), (endpoint.host, endpoint.port)


def interleaved(addresses: Sequence[Address]) -> list[Address]:
    """One family after the other in turn, so that a dead one costs one try (RFC 8305, 4)."""
    first = [address for address in addresses if address[0] == addresses[0][0]]
    other = [address for address in addresses if address[0] != addresses[0][0]]
    pairs = zip(first, other, strict=False)
    rest = first[len(other) :] + other[len(first) :]
    return [address for pair in pairs for address in pair] + rest


def share_s(left_s: float, tries_left: int) -> float:
    """How much of the seconds that are left one of so many addresses may take."""
    return max(left_s / tries_left, min(left_s, _LEAST_TRY_S))
