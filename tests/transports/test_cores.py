"""The sans-IO cores: whole and byte by byte, end of stream, floods, one exchange after another."""

from __future__ import annotations

import struct

import h2.config
import h2.connection
import h2.events
import pytest

from quicsql_client.errors import LocalProtocolError, RemoteProtocolError
from quicsql_client.transports.events import (
    BodyPart,
    ConnectionCore,
    RequestNotProcessed,
    ResponseEnded,
    ResponseStarted,
)
from quicsql_client.transports.http1 import HTTP1Connection
from quicsql_client.transports.http2 import HTTP2Connection
from quicsql_client.wire.messages import Request

REQUEST = Request("POST", "/app/query", (("x-a", "1"),), b"body")
ANSWER = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    length = len(payload)
    return struct.pack(">HBBBI", length >> 8, length & 255, kind, flags, stream) + payload


SETTINGS = frame(4, 0, 0)
# ":status 200" of the static table, then DATA with END_STREAM.
H2_ANSWER = SETTINGS + frame(1, 4, 1, b"\x88") + frame(0, 0, 1, b"abc") + frame(0, 1, 1, b"de")


def collect(core: ConnectionCore) -> tuple[int | None, bytes, bool]:
    status, body, is_ended = None, b"", False
    while (event := core.next_event()) is not None:
        if isinstance(event, ResponseStarted):
            status = event.status
        elif isinstance(event, BodyPart):
            body += event.data
        else:
            assert isinstance(event, ResponseEnded)
            is_ended = True
            break
    return status, body, is_ended


def fresh(kind: str) -> tuple[ConnectionCore, bytes]:
    if kind == "h1":
        return HTTP1Connection("db:1"), ANSWER
    return HTTP2Connection("db:1", "https"), H2_ANSWER


@pytest.mark.parametrize("kind", ["h1", "h2"])
def test_whole_and_byte_by_byte_are_the_same(kind: str) -> None:
    core, answer = fresh(kind)
    core.start_request(REQUEST)
    core.receive_data(answer)
    assert collect(core) == (200, b"abcde", True)
    core, answer = fresh(kind)
    core.start_request(REQUEST)
    status, body = None, b""
    for byte in answer:
        core.receive_data(bytes([byte]))
        found, part, is_ended = collect(core)
        status, body = found or status, body + part
    assert (status, body, is_ended) == (200, b"abcde", True)
    assert core.is_reusable
    assert core.has_heard


@pytest.mark.parametrize("kind", ["h1", "h2"])
def test_every_cut_is_an_error_or_not_an_end(kind: str) -> None:
    _, answer = fresh(kind)
    for length in range(1, len(answer)):
        core, _ = fresh(kind)
        core.start_request(REQUEST)
        core.receive_data(answer[:length])
        assert not collect(core)[2]
        with pytest.raises(RemoteProtocolError):  # noqa: PT012  # h1 says it with the next event
            core.receive_data(b"")
            collect(core)
        assert not core.is_reusable


@pytest.mark.parametrize("kind", ["h1", "h2"])
def test_one_request_at_a_time(kind: str) -> None:
    core, _ = fresh(kind)
    core.start_request(REQUEST)
    assert not core.is_reusable
    with pytest.raises(LocalProtocolError):
        core.start_request(REQUEST)


@pytest.mark.parametrize("kind", ["h1", "h2"])
def test_end_of_stream_while_idle(kind: str) -> None:
    core, answer = fresh(kind)
    core.start_request(REQUEST)
    core.receive_data(answer)
    collect(core)
    core.receive_data(b"")
    assert not core.is_reusable


def test_h1_request_bytes() -> None:
    data = HTTP1Connection("db:1").start_request(REQUEST)
    head, _, body = data.partition(b"\r\n\r\n")
    assert body == b"body"
    assert head.split(b"\r\n")[0] == b"POST /app/query HTTP/1.1"
    assert set(head.lower().split(b"\r\n")[1:]) == {
        b"host: db:1",
        b"accept-encoding: identity",
        b"content-length: 4",
        b"x-a: 1",
    }


@pytest.mark.parametrize(
    ("method", "answer", "is_reusable"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n", True),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", True),
        ("GET", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", False),
        ("GET", b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", False),
        ("GET", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nH", False),
    ],
)
def test_h1_when_a_connection_may_be_used_again(
    method: str, answer: bytes, is_reusable: bool
) -> None:
    core = HTTP1Connection("db:1")
    core.start_request(Request(method, "/"))
    core.receive_data(answer)
    assert collect(core)[2]
    assert core.is_reusable is is_reusable


def test_h2_request_is_what_an_h2_server_reads() -> None:
    server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    core = HTTP2Connection("db:1", "https")
    events = server.receive_data(core.start_request(REQUEST))
    (headers,) = [e.headers for e in events if isinstance(e, h2.events.RequestReceived)]
    assert dict(headers or ()) == {
        b":method": b"POST",
        b":scheme": b"https",
        b":authority": b"db:1",
        b":path": b"/app/query",
        b"accept-encoding": b"identity",
        b"content-length": b"4",
        b"x-a": b"1",
    }
    assert server.remote_settings.header_table_size == 0
    assert server.remote_settings.enable_push == 0


@pytest.mark.parametrize(
    "data",
    [
        frame(6, 0, 0, b"12345678"),  # no SETTINGS first
        SETTINGS + frame(0, 0, 3, b"x"),  # DATA on an idle stream
        SETTINGS + frame(0, 0, 1, b"x"),  # body before the head
        SETTINGS + b"\x00\x40\x01\x00\x00\x00\x00\x00\x01",  # 16385 bytes announced
        SETTINGS + frame(1, 4, 1, b"\xff\xff\xff\xff\xff\x0f"),  # an index out of the table
        SETTINGS + frame(1, 4, 1, b"\x82"),  # :method in an answer
        SETTINGS + frame(8, 0, 0, struct.pack(">I", 2**31 - 1)),  # window overflow
        SETTINGS + frame(5, 4, 1, struct.pack(">I", 2) + b"\x82"),  # PUSH_PROMISE
        SETTINGS + frame(7, 0, 0, b"\0\0"),  # GOAWAY too short
        SETTINGS + frame(1, 4, 1, b"\x88\x0f\x0d\x015") + frame(0, 1, 1, b"longer"),
        SETTINGS + frame(1, 0, 1, b"\x88") + frame(9, 0, 1, b"") * 200,  # CONTINUATION flood
        SETTINGS + frame(4, 0, 0) * 10_001,
        SETTINGS + frame(1, 4, 1, b"\x88") + frame(0, 0, 1) * 10_001,
    ],
)
def test_h2_breaches_are_errors(data: bytes) -> None:
    core = HTTP2Connection("db:1", "https")
    core.start_request(REQUEST)
    with pytest.raises(RemoteProtocolError):
        core.receive_data(data)
    assert not core.is_reusable


def test_h2_goaway_says_what_was_not_processed() -> None:
    core = HTTP2Connection("db:1", "https")
    core.start_request(REQUEST)
    with pytest.raises(RequestNotProcessed, match="NO_ERROR"):
        core.receive_data(SETTINGS + frame(7, 0, 0, struct.pack(">II", 0, 0)))


def test_h2_unknown_frames_and_trailers_are_fine() -> None:
    core = HTTP2Connection("db:1", "https")
    core.start_request(REQUEST)
    core.receive_data(
        SETTINGS
        + frame(0xEE, 0, 0, b"whatever")
        + frame(1, 4, 1, b"\x88")
        + frame(0, 0, 1, b"abc")
        + frame(1, 5, 1, b"\x00\x01x\x01y")
    )
    assert collect(core) == (200, b"abc", True)
    assert core.is_reusable
