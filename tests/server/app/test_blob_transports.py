"""Blobs over real sockets: large ones, slow ones, and those that change on the way. Odd-cases 119,
180.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

import httpx
import pytest
from h2.errors import ErrorCodes
from h2.events import StreamReset

from quicsql_client.server.config import Config
from quicsql_client.server.config import LimitsConfig as Limits
from quicsql_client.server.listeners import HTTPTimeouts, Listener, open_listener
from tests.fix_application import Start
from tests.fix_principals import stored
from tests.server.listeners.clients import HTTP2Client, connect, hang_up, read_answer

LARGE = 20 * 1024 * 1024
CONFIG = Config(databases=(stored("app"),), limits=Limits(max_request_bytes=8_388_608))
transports = pytest.mark.parametrize("transport", ["h1", "h2c"])
OBJECT = "/app/blob/{}?store=s&id=1"


@contextlib.asynccontextmanager
async def listening(
    start: Start, transport: str, *, pause_s: float = 20.0, request_s: float = 30.0
) -> AsyncIterator[Listener]:
    """pause_s: the longest pause in an upload. request_s: the listener's time for a request."""
    async with start(CONFIG, body_timeout_s=pause_s) as running:
        listener = await open_listener(
            name="l",
            transport=transport,
            address="127.0.0.1:0",
            app=running.application.on(["none"], "l"),
            timeouts=HTTPTimeouts(request_s=request_s, linger_s=0.3),
        )
        try:
            yield listener
        finally:
            await listener.drain(1.0)


def client_of(listener: Listener) -> httpx.AsyncClient:
    is_http2 = listener.transport == "h2c"
    url = f"http://{listener.address}"
    return httpx.AsyncClient(base_url=url, http1=not is_http2, http2=is_http2, trust_env=False)


async def new(client: httpx.AsyncClient, content: bytes) -> None:
    assert (await client.post("/app/blob/create?store=s")).json() == {"id": 1}
    answer = await client.post(OBJECT.format("write"), content=content)
    assert (answer.status_code, answer.json()) == (200, {"size": len(content)})


@transports
async def test_twenty_mebibytes(start: Start, transport: str) -> None:  # 119
    content = os.urandom(LARGE)
    async with listening(start, transport) as listener, client_of(listener) as client:
        await new(client, content)
        answer = await client.get(OBJECT.format("read"))
        assert answer.headers["content-length"] == str(LARGE)
        assert answer.content == content
        assert (await client.get(OBJECT.format("size"))).json() == {"size": LARGE}


@transports
async def test_an_object_that_changes_while_it_is_read(start: Start, transport: str) -> None:
    old, newer = b"o" * LARGE, b"n" * LARGE
    async with listening(start, transport) as listener, client_of(listener) as client:
        await new(client, old)
        got = bytearray()

        async def download() -> None:
            async with client.stream("GET", OBJECT.format("read")) as answer:
                assert answer.headers["content-length"] == str(LARGE)
                async for piece in answer.aiter_raw():
                    if not got:
                        async with client_of(listener) as other:
                            await other.post(OBJECT.format("write"), content=newer)
                    got.extend(piece)

        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await download()
        assert 0 < len(got) < LARGE
        assert set(got) == set(b"o")
        assert (await client.get(OBJECT.format("read"))).content == newer


async def test_a_steady_upload_outlives_the_time_of_a_request(start: Start) -> None:
    async with listening(start, "h1", request_s=0.2) as listener, client_of(listener) as client:
        await new(client, b"old")
        reader, writer = await connect(listener.address)
        head = "POST /app/blob/write?store=s&id=1 HTTP/1.1\r\nHost: l\r\nContent-Length: 6\r\n\r\n"
        writer.write(head.encode())
        for byte in b"steady":
            await asyncio.sleep(0.1)
            writer.write(bytes([byte]))
        status, _, body = await read_answer(reader)
        assert (status, body) == (200, b'{"size":6}\n')
        # The connection goes on, and its next request has its time again.
        writer.write(b"GET /app/blob/read?store=s&id=1 HTTP/1.1\r\nHost: l\r\n\r\n")
        assert (await read_answer(reader))[2] == b"steady"
        await hang_up(writer)


@transports
async def test_a_stalled_upload(start: Start, transport: str) -> None:  # 180
    async with (
        listening(start, transport, pause_s=0.2) as listener,
        client_of(listener) as client,
    ):
        await new(client, b"old")
        stall = stall_over_http2 if transport == "h2c" else stall_over_http1
        status, body = await stall(listener.address)
        assert status == 422
        assert b'"message":"write: ' in body
        assert (await client.get(OBJECT.format("read"))).content == b"old"


async def stall_over_http1(address: str) -> tuple[int, bytes]:
    reader, writer = await connect(address)
    head = f"POST {OBJECT.format('write')} HTTP/1.1\r\nHost: l\r\nContent-Length: 6\r\n\r\n"
    writer.write(head.encode() + b"new")
    status, headers, body = await read_answer(reader)
    assert headers["connection"] == "close"
    assert await reader.read() == b""
    await hang_up(writer)
    return status, body


async def stall_over_http2(address: str) -> tuple[int, bytes]:
    client = await HTTP2Client.open(address)
    stream = client.request("POST", OBJECT.format("write"), end=False)
    client.machine.send_data(stream, b"new")
    client.flush()
    status, _, body = await client.answer(stream)
    reset = await client.until(StreamReset, stream)
    assert reset.error_code == ErrorCodes.NO_ERROR
    assert (await client.answer(client.request()))[0] == 404  # the connection goes on
    await client.close()
    return status, body
