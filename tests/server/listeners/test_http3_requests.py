"""HTTP/3 on the wire: requests and answers, legal and not, small and too large."""

from __future__ import annotations

import asyncio
import json

import pytest
from aioquic.h3.connection import ErrorCode, encode_frame
from aioquic.quic.events import StopSendingReceived

from quicsql_client.server.listeners import Receive, Scope, Send
from quicsql_client.server.listeners.settings import (
    MAX_QUIC_STREAMS,
)

from .applications import Gate, answer, read_body, refuse_unread
from .http3_client import (
    TIMEOUT_S,
)
from .quic_server import (
    Opened,
    refused_with,
)

HEAD = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/")]
MIB = 1024 * 1024


async def test_scope_and_answer(h3: Opened) -> None:
    await h3.open()
    async with h3.client() as client:
        extra = (("x-a", "1"), ("x-a", "2"))
        status, headers, body = await client.ask("POST", "/a%20b?q=1", b"hello", extra=extra)
    seen = json.loads(body)
    assert status == 200
    assert (seen["method"], seen["path"], seen["query"]) == ("POST", "/a b", "q=1")
    assert (seen["version"], seen["scheme"], seen["body"]) == ("3", "https", "hello")
    assert seen["headers"] == [["host", "localhost"], ["x-a", "1"], ["x-a", "2"]]
    assert headers["content-length"] == str(len(body))
    assert "date" in headers


async def test_streams_run_side_by_side(h3: Opened) -> None:
    gate = Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            await gate(scope, receive, send)
        else:
            await answer(send, scope["path"].encode())

    await h3.open(app)
    async with h3.client() as client:
        slow = client.request(path="/slow")
        for number in range(2 * MAX_QUIC_STREAMS):
            assert (await client.ask(path=f"/{number}"))[2] == f"/{number}".encode()
        gate.released.set()
        assert (await client.answer(slow))[2] == b"late"


async def test_head_options_and_no_content(h3: Opened) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"four", 200 if scope["method"] == "HEAD" else 204)

    await h3.open(app)
    async with h3.client() as client:
        status, headers, body = await client.ask("HEAD")
        assert (status, headers["content-length"], body) == (200, "4", b"")
        status, headers, body = await client.ask("GET")
        assert (status, headers.get("content-length"), body) == (204, None, b"")
        status, headers, body = await client.ask("OPTIONS", "*")
        assert (status, headers["content-length"], body) == (200, "0", b"")


async def test_connection_headers_of_the_application_are_left_out(h3: Opened) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"connection", b"close"), (b"x-kept", b"1")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x"})

    await h3.open(app)
    async with h3.client() as client:
        _, headers, _ = await client.ask()
    assert "connection" not in headers
    assert headers["x-kept"] == "1"


async def test_streamed_answer_arrives_piece_by_piece(h3: Opened) -> None:
    more = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        await more.wait()
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    await h3.open(app)
    async with h3.client() as client:
        stream = client.request()
        assert (await client.head(stream))[0] == 200
        assert stream not in client.whole
        more.set()
        assert (await client.answer(stream))[2] == b"one"


async def test_request_in_pieces_with_trailers(h3: Opened) -> None:
    await h3.open()
    async with h3.client() as client:
        stream = client.request("POST", end=False)
        for piece in (b"one ", b"two ", b"three"):
            client.send(stream, piece)
        client.http.send_headers(stream, [(b"x-trailer", b"1")], end_stream=True)
        client.transmit()
        seen = json.loads((await client.answer(stream))[2])
    assert seen["body"] == "one two three"
    assert seen["headers"] == [["host", "localhost"]]


async def test_big_bodies(h3: Opened) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, (await read_body(receive))[::-1])

    await h3.open(app)
    payload = bytes(range(256)) * 20_000  # some 5 MB, far over a stream's window
    async with h3.client() as client:
        assert (await client.ask("PUT", "/", payload))[2] == payload[::-1]


# --- illegal requests


@pytest.mark.parametrize(
    "fields",
    [
        [*HEAD[:3], (":path", "/%zz")],
        [*HEAD[:3], (":path", "nowhere")],
        [HEAD[0], HEAD[2]],  # no :path
        [HEAD[0], HEAD[1], (":authority", "a b"), HEAD[3]],
        [(":method", "CONNECT"), *HEAD[1:], (":protocol", "websocket")],
    ],
    ids=["escape", "form", "no path", "authority", "extended CONNECT"],
)
async def test_bad_requests_are_400_text(h3: Opened, fields: list[tuple[str, str]]) -> None:
    await h3.open()
    async with h3.client() as client:
        status, headers, _ = await client.answer(client.send_head(fields))
        assert (status, headers["content-type"]) == (400, "text/plain; charset=utf-8")
        assert (await client.ask())[0] == 200


@pytest.mark.parametrize(
    "fields",
    [
        HEAD[1:],  # no :method
        [*HEAD[:3], (":path", "")],
        [*HEAD, ("X-Upper", "1")],
        [*HEAD, ("connection", "close")],
        [*HEAD, ("transfer-encoding", "chunked")],
        [*HEAD, ("x-a", "line\nbreak")],
        [*HEAD, (":path", "/twice")],
        [("x-first", "1"), *HEAD],
        [*HEAD, ("content-length", "x")],
        [*HEAD, ("content-length", "5")],  # and no body
    ],
)
async def test_malformed_requests_end_the_connection(
    h3: Opened, fields: list[tuple[str, str]]
) -> None:
    gate = Gate()
    await h3.open(gate)
    async with h3.client() as client:
        assert await refused_with(client, client.send_head(fields)) == ErrorCode.H3_MESSAGE_ERROR
    assert not gate.entered.is_set()


async def test_a_body_of_another_length_ends_the_connection_and_the_application(
    h3: Opened,
) -> None:
    ended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await read_body(receive)
        finally:
            ended.set()

    await h3.open(app)
    async with h3.client() as client:
        stream = client.request("POST", end=False, extra=(("content-length", "10"),))
        client.send(stream, b"12345", end=True)
        assert await refused_with(client, stream) == ErrorCode.H3_MESSAGE_ERROR
        async with asyncio.timeout(TIMEOUT_S):
            await ended.wait()


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (encode_frame(0, b"data first"), ErrorCode.H3_FRAME_UNEXPECTED),
        (encode_frame(4, b""), ErrorCode.H3_FRAME_UNEXPECTED),
        (encode_frame(1, b"\x00\x00\xff\xff\xff"), ErrorCode.QPACK_DECOMPRESSION_FAILED),
        (b"\x01\x40", ErrorCode.H3_FRAME_ERROR),
        (b"", ErrorCode.H3_REQUEST_INCOMPLETE),  # of the stream only
        (encode_frame(0x21, b"grease"), ErrorCode.H3_REQUEST_INCOMPLETE),
    ],
)
async def test_illegal_frames(h3: Opened, frames: bytes, code: int) -> None:
    await h3.open()
    async with h3.client() as client:
        stream = client.quic.get_next_available_stream_id()
        client.quic.send_stream_data(stream, frames, True)
        client.transmit()
        assert await refused_with(client, stream) == code
        if code == ErrorCode.H3_REQUEST_INCOMPLETE:
            assert (await client.ask())[0] == 200


# --- limits


def many(kilobytes: int) -> tuple[tuple[str, str], ...]:
    """Fields of about so many kilobytes that Huffman's code does not shorten."""
    return tuple((f"x-{number}", "~" * 10_000) for number in range(kilobytes // 10))


async def test_header_fields_over_the_limit_are_431(h3: Opened) -> None:
    await h3.open(refuse_unread)
    async with h3.client() as client:
        assert (await client.ask(extra=many(1000)))[0] == 401
        assert (await client.ask(extra=many(1060)))[0] == 431
        assert (await client.ask("POST", "/", b"x" * 1000, extra=many(1060)))[0] == 431
        assert (await client.ask())[0] == 401


async def test_an_endless_header_block_is_431_and_no_longer_read(h3: Opened) -> None:
    await h3.open(refuse_unread)
    async with h3.client() as client:
        stream = client.quic.get_next_available_stream_id()
        client.quic.send_stream_data(stream, b"\x01\xc0\x00\x00\x00\xff\xff\xff\xff")  # of 4 GB
        client.quic.send_stream_data(stream, bytes(2 * MIB))
        client.transmit()
        assert (await client.answer(stream))[0] == 431
        stop = await client.until(lambda: client.event(StopSendingReceived, stream))
        assert stop.error_code == ErrorCode.H3_EXCESSIVE_LOAD
        assert (await client.ask())[0] == 401


async def test_endless_trailers_cancel_the_request(h3: Opened) -> None:
    gate = Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            gate.entered.set()
            while (await receive())["type"] == "http.request":
                pass
            gate.cancelled.set()
        else:
            await answer(send, b"fine")

    await h3.open(app)
    async with h3.client() as client:
        stream = client.request("POST", "/", b"body", end=False)
        await gate.entered.wait()
        client.quic.send_stream_data(stream, b"\x01\xc0\x00\x00\x00\xff\xff\xff\xff")
        client.quic.send_stream_data(stream, bytes(2 * MIB))
        client.transmit()
        assert await refused_with(client, stream) == ErrorCode.H3_REQUEST_CANCELLED
        assert (await client.ask())[2] == b"fine"


async def test_too_long_settings_are_not_waited_for(h3: Opened) -> None:
    """A control stream's frame is kept until it is whole, so its window is small, and stays."""
    await h3.open()
    async with h3.client() as client:
        control = client.quic.get_next_available_stream_id(is_unidirectional=True)
        client.quic.send_stream_data(control, b"\x02")  # a QPACK encoder stream, the second one
        client.transmit()
        assert (await client.until_closed()).code == ErrorCode.H3_STREAM_CREATION_ERROR


async def test_streams_over_the_limit_wait(h3: Opened) -> None:
    gate = Gate()
    await h3.open(gate)
    async with h3.client() as client:
        streams = [client.request() for _ in range(MAX_QUIC_STREAMS + 20)]
        await gate.entered.wait()
        gate.released.set()
        for stream in streams:
            assert (await client.answer(stream))[0] == 200
