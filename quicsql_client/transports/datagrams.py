"""UDP sockets, each connected to one address: datagrams by an instant. Knows no QUIC.

Connected, so that the system says when nothing listens there (ICMP): that raises OSError, from
whatever is done next. What the system does not take at once is lost, as it may be on the way: QUIC
sends it again. Neither colour ever blocks in `send`.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import time

from ..endpoint import Endpoint
from .addresses import Address, addresses_of, addresses_of_async

__all__ = ["AsyncDatagramSocket", "DatagramSocket"]

_MAX_DATAGRAM_BYTES = 65536
# The system gives less where it allows less.
_RECEIVE_BUFFER_BYTES = 1 << 21
# Datagrams taken at once, before what they say is looked at.
_BATCH = 64


class _Socket:
    """What both colours do without waiting. sent: how many datagrams have left."""

    def __init__(self, address: Address) -> None:
        family, place = address
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self.sent = 0
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
            self._socket.connect(place)
        except BaseException:
            self._socket.close()
            raise

    def send(self, data: bytes) -> None:
        """Send one datagram. Raises OSError: this one, or an earlier one, found nobody."""
        with contextlib.suppress(BlockingIOError):
            self._socket.send(data)
            self.sent += 1

    def receive_available(self) -> list[bytes]:
        """What has come already. Raises OSError when nothing has, and nobody is there."""
        received: list[bytes] = []
        failure: OSError | None = None
        while len(received) < _BATCH:
            try:
                received.append(self._socket.recv(_MAX_DATAGRAM_BYTES))
            except BlockingIOError:
                break
            except OSError as error:
                # Said once, and before what came earlier than the error.
                if failure is not None:
                    break
                failure = error
        if failure is not None and not received:
            raise failure
        return received

    def close(self) -> None:
        """Close at once. May be called again."""
        self._socket.close()


class DatagramSocket(_Socket):
    """For one thread at a time."""

    @staticmethod
    def addresses_of(endpoint: Endpoint, deadline: float | None) -> list[Address]:
        """The addresses of the endpoint's host, in the order of trying. Raises OSError."""
        return addresses_of(endpoint, socket.SOCK_DGRAM, deadline)

    def receive(self, until: float | None) -> list[bytes]:
        """What has come, at least one datagram unless `until` passes (time.monotonic())."""
        received = self.receive_available()
        if received:
            return received
        left_s = None if until is None else max(0.0, until - time.monotonic())
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(self._socket, select.POLLIN)
            poll.poll(None if left_s is None else left_s * 1000)
        else:
            select.select([self._socket], [], [], left_s)
        return self.receive_available()


class AsyncDatagramSocket(_Socket):
    """For one task at a time. Bound to no event loop between calls."""

    @staticmethod
    async def addresses_of(endpoint: Endpoint, deadline: float | None) -> list[Address]:
        """See DatagramSocket.addresses_of."""
        return await addresses_of_async(endpoint, socket.SOCK_DGRAM, deadline)

    async def receive(self, until: float | None) -> list[bytes]:
        """What has come, at least one datagram unless `until` passes (time.monotonic())."""
        return self.receive_available() or await self._wait(until)

    async def _wait(self, until: float | None) -> list[bytes]:
        # Waiting takes nothing: a datagram that was taken in the moment in which the time is up
        # would be lost with the wait.
        loop, socket_id = asyncio.get_running_loop(), self._socket.fileno()
        woken: asyncio.Future[None] = loop.create_future()
        loop.add_reader(socket_id, _wake, woken)
        timer = None
        if until is not None:
            timer = loop.call_later(max(0.0, until - time.monotonic()), _wake, woken)
        try:
            await woken
        finally:
            if timer is not None:
                timer.cancel()
            loop.remove_reader(socket_id)
        return self.receive_available()


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
