"""QUIC listeners that end: GOAWAY, requests in flight, the port."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from .applications import Gate, answer
from .http3_client import NeverReading, Refused, connected
from .quic_server import (
    Clients,
    OpenQUIC,
)


async def test_drain_says_goaway_and_finishes(open_quic: OpenQUIC, clients: Clients) -> None:
    gate = Gate()
    listener = await open_quic(app=gate)
    async with (
        connected(listener.address, clients()) as idle,
        connected(listener.address, clients()) as busy,
    ):
        first, second = busy.request(), busy.request()
        await gate.entered.wait()
        await idle.until(lambda: idle.http.received_settings)
        draining = asyncio.create_task(listener.drain(10))
        assert (await idle.until_closed()).code == 0x100  # at once, before the busy one is done
        assert idle.goaways == [0]
        assert await busy.until(lambda: busy.goaways) == [second + 4]
        late = busy.request("POST", "/", b"with a body")
        with pytest.raises(Refused) as rejected:
            await busy.answer(late)
        assert rejected.value.code == 0x10B  # H3_REQUEST_REJECTED: it may be sent elsewhere
        assert not draining.done()
        gate.released.set()
        for stream in (first, second):
            assert (await busy.answer(stream))[2] == b"late"
        assert (await busy.until_closed()).code == 0x100
    assert await draining == 0


async def test_drain_waits_until_answers_have_arrived(
    open_quic: OpenQUIC, clients: Clients
) -> None:
    """The application is done long before its client has read what it said."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, bytes(200_000))

    listener = await open_quic(app=app)
    async with connected(listener.address, clients(max_stream_data=20_000)) as client:
        stream = client.request()
        await client.head(stream)
        draining = asyncio.create_task(listener.drain(10))
        assert len((await client.answer(stream))[2]) == 200_000
        assert (await client.until_closed()).code == 0x100
    assert await draining == 0


async def test_drain_aborts_what_does_not_end(open_quic: OpenQUIC, clients: Clients) -> None:
    gate = Gate()
    listener = await open_quic(app=gate)
    async with connected(listener.address, clients()) as client:
        client.request()
        await gate.entered.wait()
        assert await listener.drain(0.1) == 1
        assert gate.cancelled.is_set()
        assert await listener.drain(0.1) == 0
        assert (await client.until_closed()).code == 0x100


async def test_drain_does_not_wait_for_a_client_that_has_gone(
    open_quic: OpenQUIC, clients: Clients
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, bytes(100_000))

    listener = await open_quic(app=app)
    async with connected(listener.address, clients(max_stream_data=20_000), NeverReading) as one:
        await one.head(one.request())
        assert await listener.drain(0.1) == 0  # its answer was given


async def test_after_a_drain_the_port_is_free(open_quic: OpenQUIC, clients: Clients) -> None:
    listener = await open_quic()
    for _ in range(3):
        address = listener.address
        async with connected(address, clients()) as client:
            assert (await client.ask())[0] == 200
            assert await listener.drain(5) == 0
        listener = await open_quic(address=address)


async def test_newcomers_are_not_heard_while_it_drains(
    open_quic: OpenQUIC, clients: Clients
) -> None:
    gate = Gate()
    listener = await open_quic(app=gate)
    async with connected(listener.address, clients()) as busy:
        stream = busy.request()
        await gate.entered.wait()
        draining = asyncio.create_task(listener.drain(10))
        await busy.until(lambda: busy.goaways)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3), connected(listener.address, clients()):
                pass
        gate.released.set()
        assert (await busy.answer(stream))[0] == 200
    assert await draining == 0
