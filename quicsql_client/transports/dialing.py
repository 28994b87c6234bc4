"""From an endpoint to a connected socket: addresses in order, tries that share a deadline.

Raises what the operating system raises (OSError, of which TimeoutError is a kind).
"""

from __future__ import annotations

import asyncio
import socket

from ..endpoint import Endpoint
from .addresses import Address, addresses_of, addresses_of_async, share_s
from .deadlines import remaining_s

__all__ = ["dial", "dial_async"]


def dial(endpoint: Endpoint, deadline: float | None) -> socket.socket:
    """A socket connected to the first address of the endpoint that answers.

    Raises OSError of the last one.
    """
    if endpoint.transport == "unix":
        return _connect((socket.AF_UNIX, endpoint.path), remaining_s(deadline))
    addresses = addresses_of(endpoint, socket.SOCK_STREAM, deadline)
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
    addresses = await addresses_of_async(endpoint, socket.SOCK_STREAM, deadline)
    failure: OSError | None = None
    for index, address in enumerate(addresses):
        try:
            return await _connect_async(address, _share(deadline, len(addresses) - index))
        except OSError as error:
            failure = error
    raise failure or OSError(f"no address for {endpoint.host}")


# Sockets


def _share(deadline: float | None, tries_left: int) -> float | None:
    left = remaining_s(deadline)
    return None if left is None else share_s(left, tries_left)


def _new_socket(family: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    if family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _connect(address: Address, timeout_s: float | None) -> socket.socket:
    sock = _new_socket(address[0])
    try:
        sock.settimeout(timeout_s)
        sock.connect(address[1])
    except BaseException:
        sock.close()
        raise
    return sock


async def _connect_async(address: Address, timeout_s: float | None) -> socket.socket:
    sock = _new_socket(address[0])
    try:
        sock.setblocking(False)
        async with asyncio.timeout(timeout_s):
            await asyncio.get_running_loop().sock_connect(sock, address[1])
    except BaseException:
        sock.close()
        raise
    return sock
