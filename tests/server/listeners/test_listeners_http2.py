"""HTTP/2 on the wire: streams, windows, resets, floods, limits."""

from __future__ import annotations

import asyncio
import json

import pytest
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamReset,
)
from h2.settings import SettingCodes
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
)

from quicsql_client.server.listeners import HTTPTimeouts, Receive, Scope, Send

from .applications import Gate, answer, read_body, refuse_unread
from .clients import TIMEOUT_S, HTTP2Client, connect, hang_up, talk
from .conftest import Open


async def open_h2c(open_one: Open, *arguments: object, **options: object) -> HTTP2Client:
    listener = await open_one(*arguments, transport="h2c", **options)
    return await HTTP2Client.open(listener.address)


async def test_prior_knowledge_scope(open_one: Open) -> None:
    client = await open_h2c(open_one)
    stream = client.request("POST", "/a%20b?q=1", end=False, extra=(("x-a", "1"),))
    client.machine.send_data(stream, b"hello", end_stream=True, pad_length=10)
    client.flush()
    status, headers, body = await client.answer(stream)
    seen = json.loads(body)
    assert status == 200
    assert (seen["method"], seen["path"], seen["query"]) == ("POST", "/a b", "q=1")
    assert (seen["version"], seen["scheme"], seen["body"]) == ("2", "http", "hello")
    assert seen["headers"] == [["host", "localhost"], ["x-a", "1"]]
    assert headers["content-length"] == str(len(body))
    assert "date" in headers
    await client.close()


async def test_h2c_still_speaks_http11(open_one: Open) -> None:
    listener = await open_one(transport="h2c")
    raw = await talk(listener.address, b"PUT / HTTP/1.1\r\nHost: l\r\nConnection: close\r\n\r\n")
    assert raw.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_preface_in_pieces(open_one: Open) -> None:
    listener = await open_one(transport="h2c")
    client = HTTP2Client(*await connect(listener.address))
    client.machine.initiate_connection()
    for byte in client.machine.data_to_send():
        client.writer.write(bytes([byte]))
        await client.writer.drain()
        await asyncio.sleep(0)
    assert (await client.answer(client.request()))[0] == 200
    await client.close()


async def test_announced_settings(open_one: Open) -> None:
    client = await open_h2c(open_one)
    changed = await client.until(RemoteSettingsChanged)
    announced = {code: change.new_value for code, change in changed.changed_settings.items()}
    assert announced == {
        SettingCodes.MAX_CONCURRENT_STREAMS: 250,
        SettingCodes.INITIAL_WINDOW_SIZE: 1048576,
        SettingCodes.MAX_FRAME_SIZE: 16384,
        SettingCodes.MAX_HEADER_LIST_SIZE: 1048896,
    }
    await client.close()


async def test_streams_run_side_by_side(open_one: Open) -> None:
    gate = Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            await gate(scope, receive, send)
        else:
            await answer(send, scope["path"].encode())

    client = await open_h2c(open_one, app)
    slow = client.request(path="/slow")
    quick = [client.request(path=f"/{number}") for number in range(100)]
    for number, stream in enumerate(quick):
        assert (await client.answer(stream))[2] == f"/{number}".encode()
    gate.released.set()
    assert (await client.answer(slow))[2] == b"late"
    await client.close()


async def test_head_options_and_no_content(open_one: Open) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"four", 200 if scope["method"] == "HEAD" else 204)

    client = await open_h2c(open_one, app)
    status, headers, body = await client.answer(client.request("HEAD"))
    assert (status, headers["content-length"], body) == (200, "4", b"")
    status, headers, body = await client.answer(client.request("GET"))
    assert (status, headers.get("content-length"), body) == (204, None, b"")
    status, headers, body = await client.answer(client.request("OPTIONS", "*"))
    assert (status, headers["content-length"], body) == (200, "0", b"")
    await client.close()


@pytest.mark.parametrize("path", ["/%zz", "nowhere"])
async def test_bad_target_is_400_text(open_one: Open, path: str) -> None:
    client = await open_h2c(open_one)
    status, headers, _ = await client.answer(client.request(path=path))
    assert (status, headers["content-type"]) == (400, "text/plain; charset=utf-8")
    assert (await client.answer(client.request()))[0] == 200
    await client.close()


async def test_header_list_over_the_limit_is_431(open_one: Open) -> None:
    client = await open_h2c(open_one)
    await client.until(RemoteSettingsChanged)
    fields = tuple((f"x-{number}", "v" * 10_000) for number in range(103))
    assert (await client.answer(client.request(extra=fields)))[0] == 200
    fields += tuple((f"y-{number}", "v" * 10_000) for number in range(5))
    assert (await client.answer(client.request(extra=fields)))[0] == 431
    await client.close()


async def test_hpack_bomb_ends_the_connection(open_one: Open) -> None:
    client = await open_h2c(open_one)
    repeated = (("x-a", "b" * 4000),) * 16000
    client.request(extra=repeated)
    goaway = await client.until(ConnectionTerminated)
    assert goaway.error_code == ErrorCodes.ENHANCE_YOUR_CALM
    await client.close()


async def test_big_upload_and_download(open_one: Open) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive)
        await answer(send, body[::-1])

    client = await open_h2c(open_one, app)
    stream = client.request("PUT", end=False)
    payload = bytes(range(256)) * 20_000
    left = memoryview(payload)
    while left:
        window = client.machine.local_flow_control_window(stream)
        if not window:
            await client.read_more()
            continue
        size = min(window, client.machine.max_outbound_frame_size, len(left))
        client.machine.send_data(stream, left[:size].tobytes(), end_stream=size == len(left))
        left = left[size:]
        client.flush()
    assert (await client.answer(stream))[2] == payload[::-1]
    await client.close()


async def test_refused_upload_is_told_to_stop(open_one: Open) -> None:
    client = await open_h2c(open_one, refuse_unread)
    stream = client.request("POST", end=False)
    client.machine.send_data(stream, b"x" * 16384)
    client.flush()
    assert (await client.answer(stream))[0] == 401
    reset = await client.until(StreamReset, stream)
    assert reset.error_code == ErrorCodes.NO_ERROR
    await client.close()


@pytest.mark.parametrize("size", [20, 200_000, 300_000])
async def test_a_short_body_that_nobody_read_may_come_to_its_end(open_one: Open, size: int) -> None:
    client = await open_h2c(open_one, refuse_unread)
    for _ in range(50):  # 50 x 200 KB is over the connection's window
        length = (("content-length", str(size)),)
        stream = client.request("POST", end=False, extra=length)
        assert (await client.answer(stream))[0] == 401
        if size > 256 * 1024:
            reset = await client.until(StreamReset, stream)
            assert reset.error_code == ErrorCodes.NO_ERROR
            continue
        for at in range(0, size, 10_000):
            await client.send_data(stream, b"x" * min(10_000, size - at), end=at + 10_000 >= size)
    assert (await client.answer(client.request()))[0] == 401
    resets = [event for event in client.events if isinstance(event, StreamReset)]
    assert len(resets) == (50 if size > 256 * 1024 else 0)
    await client.close()


async def test_a_body_of_another_length_is_no_request(open_one: Open) -> None:
    # h2spec 8.1.2.6: even when the answer is out before the body is.
    client = await open_h2c(open_one, refuse_unread)
    stream = client.request("POST", end=False, extra=(("content-length", "4"),))
    assert (await client.answer(stream))[0] == 401
    client.machine.send_data(stream, b"fours", end_stream=True)
    client.flush()
    goaway = await client.until(ConnectionTerminated)
    assert goaway.error_code == ErrorCodes.PROTOCOL_ERROR
    await client.close()


async def test_a_body_without_end_that_nobody_reads_is_stopped(open_one: Open) -> None:
    patient = HTTPTimeouts(linger_s=60.0)
    client = await open_h2c(open_one, refuse_unread, timeouts=patient)
    stream = client.request("POST", end=False)
    assert (await client.answer(stream))[0] == 401
    for _ in range(17):  # 17 x 16 KiB is over what is dropped
        await client.send_data(stream, b"x" * 16_384)
    reset = await client.until(StreamReset, stream)
    assert reset.error_code == ErrorCodes.NO_ERROR
    assert (await client.answer(client.request()))[0] == 401
    await client.close()


@pytest.mark.parametrize(
    ("frames", "kind", "code"),
    [
        # h2spec 6.9.1, 3: the window goes over 2**31-1
        (
            b"\x00\x00\x04\x08\x00\x00\x00\x00\x01\x7f\xff\xff\xff" * 2,
            StreamReset,
            ErrorCodes.FLOW_CONTROL_ERROR,
        ),
        # h2spec 8.1, 1: a second block of fields that does not end the request
        (
            b"\x00\x00\x01\x01\x04\x00\x00\x00\x01\x82",
            ConnectionTerminated,
            ErrorCodes.PROTOCOL_ERROR,
        ),
    ],
)
async def test_a_request_that_was_answered_early_may_still_go_wrong(
    open_one: Open, frames: bytes, kind: type[StreamReset], code: ErrorCodes
) -> None:
    client = await open_h2c(open_one, refuse_unread)
    assert (await client.answer(client.request("POST", end=False)))[0] == 401
    client.writer.write(frames)
    assert (await client.until(kind)).error_code == code
    await client.close()


async def test_a_client_that_says_goaway_is_not_reset(open_one: Open) -> None:
    # h2spec 6.8: what is behind the GOAWAY must not destroy what is on its way to the client.
    client = await open_h2c(open_one, timeouts=HTTPTimeouts(linger_s=60.0))
    assert (await client.answer(client.request()))[0] == 200
    client.writer.write(GoAwayFrame(0).serialize())
    async with asyncio.timeout(TIMEOUT_S):
        assert await client.reader.read() == b""
        for _ in range(50):
            client.writer.write(PingFrame(0, opaque_data=b"12345678").serialize())
            await client.writer.drain()  # ConnectionResetError, once a reset has come
            await asyncio.sleep(0.001)
    await client.close()


async def test_unread_bodies_do_not_use_up_the_connection(open_one: Open) -> None:
    client = await open_h2c(open_one, refuse_unread)
    for _ in range(200):  # 200 x 60 KB is far over the connection's window
        stream = client.request("POST", end=False)
        for at in range(4):
            client.machine.send_data(stream, b"x" * 15_000, end_stream=at == 3)
        client.flush()
        assert (await client.answer(stream))[0] == 401
    await client.close()


async def test_cancelled_stream_stops_the_application(open_one: Open) -> None:
    gate = Gate()
    client = await open_h2c(open_one, gate)
    stream = client.request()
    await gate.entered.wait()
    client.machine.reset_stream(stream, ErrorCodes.CANCEL)
    client.flush()
    async with asyncio.timeout(TIMEOUT_S):
        await gate.cancelled.wait()
    assert gate.messages == ["http.disconnect"]
    gate.released.set()
    assert (await client.answer(client.request()))[2] == b"late"
    await client.close()


async def test_what_is_asked_and_given_up_in_one_breath_begins(open_one: Open) -> None:
    """As it does when the connection ends: a Hrana stream that it speaks of has to end, too."""
    gate = Gate()
    client = await open_h2c(open_one, gate)
    head = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "l")]
    stream = client.machine.get_next_available_stream_id()
    client.machine.send_headers(stream, head)
    client.machine.send_data(stream, b"body", end_stream=True)
    client.machine.reset_stream(stream, ErrorCodes.CANCEL)
    client.flush()
    async with asyncio.timeout(TIMEOUT_S):
        await gate.cancelled.wait()
    assert gate.entered.is_set()
    assert gate.messages == ["http.disconnect"]
    await client.close()


async def test_lost_connection_stops_the_applications(open_one: Open) -> None:
    gate = Gate()
    client = await open_h2c(open_one, gate)
    client.request()
    await gate.entered.wait()
    await client.close()
    async with asyncio.timeout(TIMEOUT_S):
        await gate.cancelled.wait()


async def test_application_that_fails(open_one: Open, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/late":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ValueError("broken")

    client = await open_h2c(open_one, app)
    status, _, body = await client.answer(client.request())
    assert (status, body) == (500, b'{"error":{"message":"internal error"}}\n')
    late = client.request(path="/late")
    reset = await client.until(StreamReset, late)
    assert reset.error_code == ErrorCodes.INTERNAL_ERROR
    assert sum(record.exc_info is not None for record in caplog.records) == 2
    await client.close()


async def test_connection_headers_of_the_application_are_left_out(open_one: Open) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"connection", b"close"), (b"x-kept", b"1")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x"})

    client = await open_h2c(open_one, app)
    _, headers, _ = await client.answer(client.request())
    assert "connection" not in headers
    assert headers["x-kept"] == "1"
    await client.close()


async def test_streams_over_the_limit_are_refused(open_one: Open) -> None:
    gate = Gate()
    client = await open_h2c(open_one, gate)
    streams = [client.request() for _ in range(260)]
    for stream in streams[250:]:
        reset = await client.until(StreamReset, stream)
        assert reset.error_code == ErrorCodes.REFUSED_STREAM
    gate.released.set()
    for stream in streams[:250]:
        assert (await client.answer(stream))[0] == 200
    await client.close()


async def test_idle_connection_is_told_goodbye(open_one: Open) -> None:
    client = await open_h2c(open_one, timeouts=HTTPTimeouts(idle_s=0.2))
    assert (await client.answer(client.request()))[0] == 200
    goaway = await client.until(ConnectionTerminated)
    assert goaway.error_code == ErrorCodes.NO_ERROR
    await client.read_while(lambda: True)
    assert client.is_closed
    await client.close()


# --- floods


async def flooded(client: HTTP2Client, frames: list[Frame]) -> int | None:
    """The code of the GOAWAY that a flood ends in; None when the connection lives on."""
    client.writer.write(b"".join(frame.serialize() for frame in frames))
    marker = asyncio.ensure_future(client.until(ConnectionTerminated))
    try:
        event = await asyncio.wait_for(marker, 3)
    except TimeoutError:
        return None
    return None if event is None else int(event.error_code)


def ping() -> Frame:
    return PingFrame(0, opaque_data=b"12345678")


@pytest.mark.parametrize(
    "frame", [ping(), SettingsFrame(0), Frame(0)], ids=["ping", "settings", "unknown"]
)
async def test_floods_of_control_frames(open_one: Open, frame: Frame) -> None:
    client = await open_h2c(open_one)
    if type(frame) is Frame:
        data = b"\x00\x00\x00\xee\x00\x00\x00\x00\x00" * 5000
        client.writer.write(data)
        assert await flooded(client, []) == ErrorCodes.ENHANCE_YOUR_CALM
    else:
        assert await flooded(client, [frame] * 5000) == ErrorCodes.ENHANCE_YOUR_CALM
    await client.close()


async def test_flood_of_empty_data(open_one: Open) -> None:
    client = await open_h2c(open_one)
    stream = client.request("POST", end=False)
    assert await flooded(client, [DataFrame(stream)] * 5000) == ErrorCodes.ENHANCE_YOUR_CALM
    await client.close()


async def test_flood_of_continuations(open_one: Open) -> None:
    client = await open_h2c(open_one)
    head = HeadersFrame(1, data=b"\x82")
    more = ContinuationFrame(1, data=b"\x40\x01a\x01b" * 1000)
    code = await flooded(client, [head, *[more] * 1000])
    assert code in (ErrorCodes.ENHANCE_YOUR_CALM, ErrorCodes.PROTOCOL_ERROR)
    await client.close()


async def test_rapid_reset(open_one: Open) -> None:
    started = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal started
        started += 1
        await answer(send, b"x")

    listener = await open_one(app, "h2c")
    attacker = await HTTP2Client.open(listener.address)
    block = attacker.machine.encoder.encode(
        [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "l")]
    )
    flags = ["END_HEADERS", "END_STREAM"]
    frames: list[Frame] = []
    for stream in range(1, 20001, 2):
        frames += [HeadersFrame(stream, data=block, flags=flags), RstStreamFrame(stream, 8)]
    assert await flooded(attacker, frames) == ErrorCodes.ENHANCE_YOUR_CALM
    assert started < 1000
    other = await HTTP2Client.open(listener.address)
    assert (await other.answer(other.request()))[0] == 200
    await attacker.close()
    await other.close()


async def test_a_client_that_cancels_all_its_streams_is_no_attacker(open_one: Open) -> None:
    gate = Gate()
    client = await open_h2c(open_one, gate)
    streams = [client.request() for _ in range(250)]
    await gate.entered.wait()
    for stream in streams:
        client.machine.reset_stream(stream, ErrorCodes.CANCEL)
    client.flush()
    async with asyncio.timeout(TIMEOUT_S):
        await gate.cancelled.wait()
    gate.released.set()
    assert (await client.answer(client.request()))[0] == 200
    await client.close()


async def test_oversized_frame_is_refused_by_its_header(open_one: Open) -> None:
    client = await open_h2c(open_one)
    client.writer.write(b"\xff\xff\xff\x00\x00\x00\x00\x00\x01")
    goaway = await client.until(ConnectionTerminated)
    assert goaway.error_code == ErrorCodes.FRAME_SIZE_ERROR
    await client.close()


async def test_a_header_block_larger_than_a_frame_may_be(open_one: Open) -> None:
    # h2spec 4.2, 3: it is refused whole, though its fields alone would be welcome.
    client = await open_h2c(open_one)
    client.machine.max_outbound_frame_size = 1 << 20
    client.request(extra=(("x-a", "~" * 16384),))
    goaway = await client.until(ConnectionTerminated)
    assert goaway.error_code == ErrorCodes.FRAME_SIZE_ERROR
    await client.close()


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x00\x01\x00\x01\x00\x00\x00\x05x",  # DATA on an idle stream
        b"\x00\x00\x01\x01\x05\x00\x00\x00\x02\x82",  # HEADERS on an even stream
        b"\x00\x00\x05\x01\x05\x00\x00\x00\x01\xff\xff\xff\xff\x0f",  # a bad HPACK index
        b"\x00\x00\x03\x04\x00\x00\x00\x00\x00\x00\x00\x00",  # SETTINGS of three bytes
        b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x7f\xff\xff\xff" * 2,  # window over 2**31-1
    ],
)
async def test_illegal_frames_end_the_connection(open_one: Open, data: bytes) -> None:
    client = await open_h2c(open_one)
    client.writer.write(data)
    assert (await client.until(ConnectionTerminated)).error_code != ErrorCodes.NO_ERROR
    await client.read_while(lambda: True)
    assert client.is_closed
    await client.close()


async def test_broken_preface_over_tls_is_closed(open_one: Open, pki) -> None:  # type: ignore[no-untyped-def]
    listener = await open_one(transport="h2", context=pki.context())
    reader, writer = await connect(listener.address, pki.client(alpn=("h2",)))
    writer.write(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + b"\0" * 64)
    async with asyncio.timeout(TIMEOUT_S):
        assert b"200" not in await reader.read(-1)
    await hang_up(writer)


async def test_slow_reader_of_one_stream_does_not_stop_another(open_one: Open) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"x" * (1_000_000 if scope["path"] == "/big" else 10))

    client = await open_h2c(open_one, app)
    big = client.request(path="/big")
    await client.until(DataReceived, big, credit=False)
    received = client.machine.remote_flow_control_window(big)
    assert received < 65535
    client.machine.increment_flow_control_window(1_000_000)  # of the connection, not of that stream
    client.flush()
    small = client.request(path="/small")
    assert await client.until(ResponseReceived, small, credit=False) is not None
    assert await client.until(DataReceived, small, credit=False) is not None
    await client.close()
