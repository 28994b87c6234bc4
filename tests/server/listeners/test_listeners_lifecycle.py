"""Opening, addresses, Unix sockets, draining, and memory while a side is slow.

Odd-case 139.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived, StreamReset

from quicsql_client.errors import ConfigurationError
from quicsql_client.server.listeners import (
    HTTPTimeouts,
    Listener,
    Receive,
    Scope,
    Send,
    open_listener,
)

from .applications import Gate, answer, echo
from .certificates import PKI
from .clients import TIMEOUT_S, HTTP2Client, connect, hang_up, read_answer, talk
from .conftest import Open

GET = b"GET / HTTP/1.1\r\nHost: l\r\n\r\n"


# --- addresses


@pytest.mark.parametrize("address", ["", ":0", "0.0.0.0:0", "localhost:0", "127.0.0.1:0"])
async def test_addresses_that_ipv4_clients_reach(open_one: Open, address: str) -> None:
    listener = await open_one(address=address)
    port = int(listener.address.rpartition(":")[2])
    assert port > 0
    reader, writer = await connect(f"127.0.0.1:{port}")
    writer.write(GET)
    seen = json.loads((await read_answer(reader))[2])
    assert seen["client"][0] == "127.0.0.1"  # also behind a dual-stack socket


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 on this machine")
async def test_ipv6_address(open_one: Open) -> None:
    listener = await open_one(address="[::1]:0")
    assert listener.address.startswith("[::1]:")
    reader, writer = await connect(listener.address)
    writer.write(GET)
    assert json.loads((await read_answer(reader))[2])["client"][0] == "::1"


async def test_address_in_use(open_one: Open) -> None:
    first = await open_one()
    with pytest.raises(ConfigurationError) as caught:
        await open_one(name="second", address=first.address)
    assert str(caught.value) == (
        f"listener second: listen tcp {first.address}: bind: address already in use"
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"address": "localhost"}, "give host:port"),
        ({"address": "::1"}, "[address]:port"),
        ({"address": "127.0.0.1:http"}, "invalid port"),
        ({"address": "127.0.0.1:70000"}, "invalid port"),
        ({"address": "no-such-host.invalid:1"}, "lookup no-such-host.invalid: no such host"),
        ({"address": "192.0.2.1:0"}, "bind: cannot assign requested address"),
        ({"transport": "ws"}, "unknown transport 'ws'"),
        ({"transport": "h2"}, "needs a TLS context"),
        ({"transport": "h3"}, "needs a QUIC context"),
    ],
)
async def test_listeners_that_cannot_open(options: dict[str, Any], text: str) -> None:
    options = {"name": "l", "transport": "h1", "address": "127.0.0.1:0", **options}
    with pytest.raises(ConfigurationError) as caught:
        await open_listener(app=echo, **options)
    assert str(caught.value).startswith("listener l: ")
    assert text in str(caught.value)


async def test_context_is_ignored_where_there_is_no_tls(open_one: Open, pki: PKI) -> None:
    listener = await open_one(transport="h1", context=pki.context())
    assert (await talk(listener.address, b"GET / HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 200")


async def test_httpx_speaks_both_versions(open_one: Open, pki: PKI) -> None:
    listener = await open_one(transport="h2", context=pki.context())
    for http2 in (True, False):
        trust = pki.client(alpn=("h2", "http/1.1") if http2 else ("http/1.1",))
        async with httpx.AsyncClient(http2=http2, verify=trust, trust_env=False) as client:
            host = f"https://localhost:{listener.address.rpartition(':')[2]}"
            for _ in range(3):
                response = await client.post(f"{host}/x", content=b"y" * 300_000)
                assert response.json()["length"] == 300_000
                assert response.http_version == ("HTTP/2" if http2 else "HTTP/1.1")


# --- Unix sockets


async def test_unix_socket(open_one: Open, tmp_path: Path) -> None:
    path = str(tmp_path / "q.sock")
    listener = await open_one(transport="unix", address=path, socket_mode=0o600)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert listener.address == path
    reader, writer = await connect(path)
    writer.write(GET)
    seen = json.loads((await read_answer(reader))[2])
    assert seen["client"] is None
    assert seen["server"] == [path, None]
    assert seen["extensions"]["unix"] == {"peer_uid": os.getuid()}
    await hang_up(writer)
    assert await listener.drain(5) == 0
    assert "q.sock" not in os.listdir(tmp_path)


async def test_unix_socket_left_over_is_replaced(open_one: Open, tmp_path: Path) -> None:
    path = str(tmp_path / "q.sock")
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(path)
    await open_one(transport="unix", address=path)
    assert (await talk(path, b"GET / HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 200")


async def test_unix_file_that_is_no_socket_is_kept(open_one: Open, tmp_path: Path) -> None:
    path = tmp_path / "precious.db"
    path.write_text("data")
    with pytest.raises(ConfigurationError, match="not a socket"):
        await open_one(transport="unix", address=str(path))
    assert path.read_text() == "data"


async def test_unix_path_too_long_or_nowhere(open_one: Open, tmp_path: Path) -> None:
    for path in (str(tmp_path / ("x" * 200)), str(tmp_path / "no" / "q.sock")):
        with pytest.raises(ConfigurationError, match="listener l: listen unix"):
            await open_one(transport="unix", address=path)


async def test_drain_leaves_the_file_of_a_successor(open_one: Open, tmp_path: Path) -> None:
    path = str(tmp_path / "q.sock")
    old = await open_one(transport="unix", address=path)
    await open_one(transport="unix", address=path)
    await old.drain(1)
    assert (await talk(path, b"GET / HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 200")


# --- drain


async def test_drain_closes_idle_and_finishes_what_is_in_flight_h1(open_one: Open) -> None:
    gate = Gate()
    listener = await open_one(gate)
    idle = await connect(listener.address)
    busy = await connect(listener.address)
    busy[1].write(GET)
    await gate.entered.wait()
    draining = asyncio.create_task(listener.drain(10))
    async with asyncio.timeout(TIMEOUT_S):
        assert await idle[0].read(-1) == b""  # at once, before the busy one is done
    with pytest.raises(ConnectionRefusedError):
        await connect(listener.address)
    assert not draining.done()
    gate.released.set()
    status, headers, body = await read_answer(busy[0])
    assert (status, headers["connection"], body) == (200, "close", b"late")
    await hang_up(busy[1])
    assert await draining == 0


async def test_drain_with_http2_says_goaway_and_finishes(open_one: Open, pki: PKI) -> None:
    gate = Gate()
    listener = await open_one(gate, "h2", context=pki.context())
    idle = await HTTP2Client.open(listener.address, pki.client(alpn=("h2",)))
    busy = await HTTP2Client.open(listener.address, pki.client(alpn=("h2",)))
    stream = busy.request()
    await gate.entered.wait()
    draining = asyncio.create_task(listener.drain(10))
    await idle.read_while(lambda: True)
    assert idle.is_closed
    while not any(isinstance(event, ConnectionTerminated) for event in busy.events):
        await _read_raw_goaway(busy)
    gate.released.set()
    assert await draining == 0
    data = await asyncio.wait_for(busy.reader.read(-1), TIMEOUT_S)
    assert b"late" in data
    assert stream == 1


async def _read_raw_goaway(client: HTTP2Client) -> None:
    """h2's client refuses to read on after GOAWAY, so the frame is looked for in the bytes."""
    async with asyncio.timeout(TIMEOUT_S):
        data = b""
        while b"\x07\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00" not in data:
            data += await client.reader.read(65536)
    client.events.append(ConnectionTerminated())


@pytest.mark.parametrize("transport", ["h1", "h2c"])
async def test_drain_aborts_what_does_not_end(open_one: Open, transport: str) -> None:
    gate = Gate()
    listener = await open_one(gate, transport)
    if transport == "h1":
        _, writer = await connect(listener.address)
        writer.write(GET)
    else:
        (await HTTP2Client.open(listener.address)).request()
    await gate.entered.wait()
    assert await listener.drain(0.1) == 1
    assert gate.cancelled.is_set()
    assert await listener.drain(0.1) == 0


async def test_drain_ends_unfinished_handshakes_and_headers(open_one: Open, pki: PKI) -> None:
    for options in ({"transport": "h2", "context": pki.context()}, {"transport": "h1"}):
        listener = await open_one(**options)
        reader, writer = await connect(listener.address)
        writer.write(b"\x16\x03" if options["transport"] == "h2" else b"GET / HT")
        other = await connect(listener.address)  # by its turn the first has been accepted
        async with asyncio.timeout(TIMEOUT_S):
            assert await listener.drain(5) == 0
            for end in (reader, other[0]):
                with contextlib.suppress(ConnectionResetError):
                    assert await end.read(-1) == b""


# --- a side that is slow

MANY = 64 * 1024 * 1024
KERNEL_BYTES = 16 * 1024 * 1024  # what socket buffers on both sides may hold


async def _send_until_stuck(writer: asyncio.StreamWriter) -> int:
    """How many bytes go out before the other side takes no more for half a second."""
    piece, sent = b"x" * 65536, 0
    while sent < MANY:
        writer.write(piece)
        try:
            await asyncio.wait_for(writer.drain(), 0.5)
        except TimeoutError:
            break
        sent += len(piece)
    return sent


@pytest.mark.parametrize("tls", [False, True])
async def test_upload_that_nobody_reads_stays_in_the_sockets(
    open_one: Open, pki: PKI, tls: bool
) -> None:
    gate, started = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        started.set()
        await gate.wait()
        size = 0
        while (message := await receive())["type"] == "http.request":
            size += len(message["body"])
            assert len(message["body"]) < 1_000_000
            if not message["more_body"]:
                break
        await answer(send, str(size).encode())

    listener = await open_one(
        app, "h2" if tls else "h1", context=pki.context(), timeouts=HTTPTimeouts(request_s=60)
    )
    reader, writer = await connect(listener.address, pki.client() if tls else None)
    writer.write(b"POST / HTTP/1.1\r\nHost: l\r\nContent-Length: %d\r\n\r\n" % MANY)
    await started.wait()
    sent = await _send_until_stuck(writer)
    assert sent < KERNEL_BYTES
    gate.set()  # and it goes on where it stopped
    writer.write(b"x" * (MANY - sent - 65536))
    status, _, body = await read_answer(reader)
    assert (status, body) == (200, str(MANY).encode())


@pytest.mark.parametrize("transport", ["h1", "h2", "h2c"])
async def test_download_to_a_slow_reader_waits(open_one: Open, pki: PKI, transport: str) -> None:
    produced = 0
    total = (32 if transport == "h1" else 8) * 1024 * 1024

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal produced
        await send({"type": "http.response.start", "status": 200, "headers": []})
        piece = b"x" * 65536
        while produced < total:
            produced += len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})

    listener = await open_one(app, transport, context=pki.context())
    trust = pki.client(alpn=("h2",) if transport == "h2" else ()) if transport == "h2" else None
    if transport == "h1":
        _, writer = await connect(listener.address)
        writer.write(GET)
        limit = KERNEL_BYTES
    else:
        client = await HTTP2Client.open(listener.address, trust)
        stream = client.request()
        limit = 1_000_000  # the client's windows are 65535 bytes
    before = -1
    while before != produced:  # until the application stands still
        before = produced
        await asyncio.sleep(0.3)
    assert 0 < produced < limit
    if transport != "h1":  # with the windows open again it goes on to the end
        _, _, body = await client.answer(stream)
        assert len(body) == total


@pytest.mark.parametrize("transport", ["h1", "h2c"])
async def test_reader_that_stops_for_good_is_cut(open_one: Open, transport: str) -> None:
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
        except (ConnectionError, asyncio.CancelledError) as error:
            ended.set_result(type(error).__name__)
            raise

    listener = await open_one(app, transport, timeouts=HTTPTimeouts(write_stall_s=0.3))
    if transport == "h1":
        _, writer = await connect(listener.address)
        writer.write(GET)
        await asyncio.wait_for(ended, TIMEOUT_S)
        return
    client = await HTTP2Client.open(listener.address)
    stream = client.request()
    assert await asyncio.wait_for(ended, TIMEOUT_S) == "ConnectionResetError"
    assert await client.until(DataReceived, stream, credit=False) is not None
    reset = await client.until(StreamReset, stream, credit=False)
    assert reset.error_code == ErrorCodes.INTERNAL_ERROR


async def test_many_idle_and_half_open_connections_leave_room(open_one: Open, pki: PKI) -> None:
    listener: Listener = await open_one(transport="h2", context=pki.context())
    for number in range(100):
        _, writer = await connect(listener.address)
        if number % 2:
            writer.write(b"\x16\x03\x01\x00\xff\x01")
    client = await HTTP2Client.open(listener.address, pki.client(alpn=("h2",)))
    async with asyncio.timeout(2):
        assert (await client.answer(client.request()))[0] == 200
