"""UDP sockets of the client: what must not get lost on our side."""

from __future__ import annotations

import asyncio
import socket
import time

from quicsql_client.transports.datagrams import AsyncDatagramSocket


async def test_a_datagram_that_comes_as_the_time_is_up_is_kept() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        ours = AsyncDatagramSocket((socket.AF_INET, peer.getsockname()))
        ours.send(b"here")
        _, address = peer.recvfrom(100)
        until = time.monotonic() + 0.01
        waiting = asyncio.create_task(ours.receive(until))
        await asyncio.sleep(0)  # it waits
        peer.sendto(b"late", address)
        while time.monotonic() <= until:  # the loop finds both at once
            pass
        received = await waiting
        if not received:
            received = await ours.receive(time.monotonic() + 1.0)
        assert received == [b"late"]
        ours.close()
