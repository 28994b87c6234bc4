"""HTTP/3 on the wire: windows, slow readers, cancelled requests, floods."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aioquic.h3.connection import ErrorCode
from aioquic.quic.events import StopSendingReceived

from quicsql_client.server.listeners import HTTPTimeouts, Receive, Scope, Send
from quicsql_client.server.listeners.settings import (
    CONNECTION_BACKLOG_BYTES,
    MAX_QUIC_STREAMS,
    QUIC_STREAM_WINDOW_BYTES,
    STREAM_BACKLOG_BYTES,
)

from .applications import Gate, answer, refuse_unread
from .certificates import PKI
from .http3_client import (
    TIMEOUT_S,
    HTTP3Client,
    NeverReading,
)
from .quic_server import (
    Opened,
    refused_with,
)

HEAD = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/")]
MIB = 1024 * 1024


# --- bodies that nobody reads


async def test_refused_upload_is_told_to_stop(h3: Opened) -> None:
    await h3.open(refuse_unread)
    async with h3.client() as client:
        stream = client.request("POST", end=False)
        client.send(stream, b"x" * 16384)
        assert (await client.answer(stream))[0] == 401
        stop = await client.until(lambda: client.event(StopSendingReceived, stream))
        assert stop.error_code == ErrorCode.H3_NO_ERROR


async def test_unread_bodies_do_not_use_up_the_connection(h3: Opened) -> None:
    await h3.open(refuse_unread)
    async with h3.client() as client:
        for _ in range(30):  # 30 x 300 KB is over the connection's window
            assert (await client.ask("POST", "/", bytes(300_000)))[0] == 401


async def test_upload_that_nobody_reads_stays_in_its_window(h3: Opened) -> None:
    gate, started = asyncio.Event(), asyncio.Event()
    total = 4 * MIB
    largest = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal largest
        started.set()
        await gate.wait()
        size, more = 0, True
        while more:
            message = await receive()
            largest = max(largest, len(message["body"]))
            size, more = size + len(message["body"]), message["more_body"]
        await answer(send, str(size).encode())

    await h3.open(app)
    async with h3.client() as client:
        stream = client.request("POST", "/", bytes(total))
        await started.wait()
        sender = client.quic._streams[stream].sender
        await client.until(lambda: sender.highest_offset >= QUIC_STREAM_WINDOW_BYTES)
        assert sender.highest_offset < QUIC_STREAM_WINDOW_BYTES + 1000  # its head was read
        gate.set()  # and it goes on where it stopped
        assert (await client.answer(stream))[2] == str(total).encode()
    assert largest <= QUIC_STREAM_WINDOW_BYTES


# --- answers that nobody reads


class Fountain:
    """An application whose answer does not end. standing: has it waited since it began?"""

    def __init__(self) -> None:
        self.produced = 0
        self.error: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        piece = bytes(16 * 1024)
        try:
            while True:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                self.produced += len(piece)
        except (ConnectionError, asyncio.CancelledError) as error:
            if not self.error.done():
                self.error.set_result(type(error).__name__)
            raise

    async def until_it_stands(self) -> None:
        before = -1
        while before != self.produced:
            before = self.produced
            await asyncio.sleep(0.2)


async def test_a_slow_reader_costs_little(h3: Opened) -> None:
    fountain = Fountain()
    await h3.open(fountain)
    window = 100_000
    async with h3.client(NeverReading, max_stream_data=window) as client:
        stream = client.request()
        await fountain.until_it_stands()
        assert 0 < fountain.produced <= window + STREAM_BACKLOG_BYTES + 32 * 1024
        assert len(client.bodies[stream]) < window
        # The reader's machine reads on, and so does the application write on.
        before = fountain.produced
        client.quic._streams[stream].max_stream_data_local += MIB
        client.quic._write_stream_limits = super(NeverReading, client.quic)._write_stream_limits
        client.quic._local_max_data.value += MIB
        client.transmit()
        await client.until(lambda: len(client.bodies[stream]) > MIB // 2)
        assert fountain.produced > before


async def test_many_slow_readers_of_one_connection_share_what_it_may_cost(h3: Opened) -> None:
    fountain = Fountain()
    await h3.open(fountain)
    async with h3.client(NeverReading, max_stream_data=1000) as client:
        for _ in range(MAX_QUIC_STREAMS):
            client.request()
        await fountain.until_it_stands()
    assert fountain.produced < 5 * CONNECTION_BACKLOG_BYTES  # not 100 times a stream's


async def test_a_reader_that_stops_for_good_is_cut(
    h3: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    fountain = Fountain()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/":
            await fountain(scope, receive, send)
        else:
            await answer(send, b"fine")

    await h3.open(app, timeouts=HTTPTimeouts(write_stall_s=0.3))
    async with h3.client(NeverReading, max_stream_data=50_000) as client:
        stream = client.request()
        assert await asyncio.wait_for(fountain.error, TIMEOUT_S) == "ConnectionResetError"
        assert await refused_with(client, stream) == ErrorCode.H3_REQUEST_CANCELLED
        assert (await client.ask(path="/other"))[2] == b"fine"
    assert not caplog.records


async def test_a_slow_reader_that_reads_is_not_cut(h3: Opened) -> None:
    """It takes longer than the stall time in all, and never so long for nothing."""
    total = 1_000_000

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, bytes(total))

    class Sipping(HTTP3Client):
        def datagram_received(self, data: bytes | str, addr: Any) -> None:
            asyncio.get_running_loop().call_later(0.02, super().datagram_received, data, addr)

    await h3.open(app, timeouts=HTTPTimeouts(write_stall_s=0.2))
    async with h3.client(max_stream_data=20_000) as client:
        client.__class__ = Sipping
        assert len((await client.ask())[2]) == total


# --- ends


@pytest.mark.parametrize("way", ["stop", "reset"])
async def test_a_cancelled_request_stops_the_application(h3: Opened, way: str) -> None:
    entered, cancelled = asyncio.Event(), asyncio.Event()
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "GET":
            await answer(send, b"fine")
            return
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append((await receive())["type"])
            cancelled.set()
            raise

    await h3.open(app)
    async with h3.client() as client:
        stream = client.request("POST", end=False)
        await entered.wait()
        if way == "stop":
            client.quic.stop_stream(stream, ErrorCode.H3_REQUEST_CANCELLED)
        else:
            client.quic.reset_stream(stream, ErrorCode.H3_REQUEST_CANCELLED)
        client.transmit()
        async with asyncio.timeout(TIMEOUT_S):
            await cancelled.wait()
        assert seen == ["http.disconnect"]
        assert await refused_with(client, stream) == ErrorCode.H3_REQUEST_CANCELLED
        if way == "stop":  # nobody reads what it goes on to send
            await client.until(lambda: client.event(StopSendingReceived, stream))
        assert (await client.ask())[2] == b"fine"


@pytest.mark.parametrize("way", ["close", "vanish"])
async def test_a_lost_connection_stops_its_applications(h3: Opened, way: str) -> None:
    gate = Gate()
    await h3.open(gate, timeouts=HTTPTimeouts(quic_idle_s=0.5))
    async with h3.client() as client:
        client.request()
        await gate.entered.wait()
        if way == "close":
            client.close()
        else:
            client.datagram_received = lambda *arguments: None
            client.transmit = lambda: None
        async with asyncio.timeout(TIMEOUT_S):
            await gate.cancelled.wait()
    assert gate.messages == ["http.disconnect"]


async def test_application_that_fails(h3: Opened, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/late":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ValueError("broken")

    await h3.open(app)
    async with h3.client() as client:
        status, _, body = await client.ask()
        assert (status, body) == (500, b'{"error":{"message":"internal error"}}\n')
        late = client.request(path="/late")
        assert await refused_with(client, late) == ErrorCode.H3_INTERNAL_ERROR
    assert sum(record.exc_info is not None for record in caplog.records) == 2


async def test_a_silent_client_is_gone_after_the_idle_time(h3: Opened) -> None:
    await h3.open(timeouts=HTTPTimeouts(quic_idle_s=0.3))
    async with h3.client() as client:
        assert (await client.ask())[0] == 200
        assert "Idle timeout" in (await client.until_closed()).reason


async def test_work_that_takes_longer_than_the_idle_time_goes_on(h3: Opened) -> None:
    gate = Gate()
    await h3.open(gate, timeouts=HTTPTimeouts(quic_idle_s=0.4))
    async with h3.client() as client:
        stream = client.request()
        await gate.entered.wait()
        await asyncio.sleep(1.0)  # more than twice the time
        gate.released.set()
        assert (await client.answer(stream))[2] == b"late"


# --- floods


async def test_rapid_reset(h3: Opened) -> None:
    started = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal started
        started += 1
        await asyncio.Event().wait()

    await h3.open(app)
    async with h3.client() as attacker:
        while not attacker.is_closed:
            stream = attacker.request("POST", end=False)
            attacker.quic.reset_stream(stream, ErrorCode.H3_REQUEST_CANCELLED)
            attacker.transmit()
            assert await refused_with(attacker, stream) in (
                ErrorCode.H3_REQUEST_CANCELLED,
                ErrorCode.H3_EXCESSIVE_LOAD,
            )
        assert (await attacker.until_closed()).code == ErrorCode.H3_EXCESSIVE_LOAD
    assert started < 1000
    async with h3.client() as other:
        assert (await other.ask(path="*", method="OPTIONS"))[0] == 200


async def test_a_client_that_cancels_all_its_requests_is_no_attacker(h3: Opened) -> None:
    gate = Gate()
    await h3.open(gate)
    async with h3.client() as client:
        streams = [client.request() for _ in range(MAX_QUIC_STREAMS)]
        await gate.entered.wait()
        for stream in streams:
            client.quic.stop_stream(stream, ErrorCode.H3_REQUEST_CANCELLED)
        client.transmit()
        async with asyncio.timeout(TIMEOUT_S):
            await gate.cancelled.wait()
        gate.released.set()
        assert (await client.ask())[0] == 200


async def test_nothing_is_kept_of_requests_that_are_over(h3: Opened, pki: PKI) -> None:
    kept: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/fail":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            return
        if scope["path"] == "/slow":
            await asyncio.Event().wait()
        await answer(send, b"fine")

    await h3.open(app)
    async with h3.client() as client:
        for _ in range(5):
            await client.ask()
            await client.ask("POST", "/", b"x" * 100_000)
            await refused_with(client, client.request(path="/fail"))
            stream = client.request("POST", "/slow", b"x", end=False)
            client.quic.reset_stream(stream, ErrorCode.H3_REQUEST_CANCELLED)
            client.transmit()
            await refused_with(client, stream)
        (connection,) = h3.listener._endpoint.connections
        kept = [connection._streams, connection._unread, connection._quic._held]
        machines = [
            [key for key in connection._h3._stream if not key & 3],
            [key for key in connection._quic._streams if not key & 3],
        ]
        await client.ask()  # by now the last of them is acknowledged
    assert kept == [{}, set(), {}]
    assert [len(left) for left in machines] <= [0, 2]
