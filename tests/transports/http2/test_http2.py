"""The HTTP/2 core by itself: what a peer may not send, windows, floods, how streams end."""

from __future__ import annotations

import tracemalloc

import pytest

from quicsql_client.errors import LocalProtocolError, RemoteProtocolError
from quicsql_client.transports.events import BodyPart, RequestNotProcessed, ResponseStarted
from quicsql_client.transports.frames import ErrorCode
from quicsql_client.transports.http2 import HTTP2Connection
from quicsql_client.wire.messages import Request

from .fix_frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    MAX,
    OK,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    data,
    frame,
    head,
    literal,
    numbers,
    settings,
    split,
)
from .fix_talk import GET, POST, Talk, opened

MIB = 1 << 20
ANSWER = head(1) + data(1, b"ok", ends=True)


def update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, numbers(increment))


def goaway(last: int, code: int = 0) -> bytes:
    return frame(GOAWAY, 0, 0, numbers(last, code))


def reset(stream: int, code: int) -> bytes:
    return frame(RST_STREAM, 0, stream, numbers(code))


PROTOCOL, FLOW, CLOSED = (
    *(ErrorCode.PROTOCOL_ERROR, ErrorCode.FLOW_CONTROL_ERROR, ErrorCode.STREAM_CLOSED),
)
SIZE, COMPRESSION, CALM = (
    *(ErrorCode.FRAME_SIZE_ERROR, ErrorCode.COMPRESSION_ERROR, ErrorCode.ENHANCE_YOUR_CALM),
)

# After SETTINGS and our request on stream 1: what ends the connection, and with which code.
BREACHES: dict[str, tuple[bytes, ErrorCode]] = {
    # 4.2, 4.3
    "frame too long": (b"\x00\x40\x01" + frame(DATA, 0, 1)[3:], SIZE),
    "unknown frame too long": (b"\x00\x40\x01\xee" + bytes(5), SIZE),
    "bad header block": (head(1, b"\xff\xff\xff\xff\xff\x0f"), COMPRESSION),
    # 5.1
    "DATA on an idle stream": (data(3, b"x"), PROTOCOL),
    "HEADERS on an idle stream": (head(3), PROTOCOL),
    "HEADERS on a stream of the peer": (head(2), PROTOCOL),
    "RST_STREAM on an idle stream": (reset(3, 8), PROTOCOL),
    "WINDOW_UPDATE on an idle stream": (update(3, 1), PROTOCOL),
    "DATA after the end": (ANSWER + data(1, b"x"), CLOSED),
    "HEADERS after the end": (ANSWER + head(1, ends=True), CLOSED),
    "DATA after a reset": (reset(1, 2) + data(1, b"x"), CLOSED),
    "HEADERS after a reset": (reset(1, 2) + head(1), CLOSED),
    # 6.1
    "DATA on stream 0": (data(0, b"x"), PROTOCOL),
    "DATA all padding and more": (head(1) + frame(DATA, PADDED, 1, b"\x05abcd"), PROTOCOL),
    "DATA padded without length": (head(1) + frame(DATA, PADDED, 1), SIZE),
    # 6.2
    "HEADERS on stream 0": (head(0), PROTOCOL),
    "HEADERS all padding": (frame(HEADERS, END_HEADERS | PADDED, 1, b"\x02\x88"), PROTOCOL),
    "HEADERS cut in the priority": (
        frame(HEADERS, END_HEADERS | WITH_PRIORITY, 1, b"\0" * 4),
        SIZE,
    ),
    # 6.3, 6.4
    "PRIORITY on stream 0": (frame(PRIORITY, 0, 0, bytes(5)), PROTOCOL),
    "PRIORITY of 4 bytes": (frame(PRIORITY, 0, 1, bytes(4)), SIZE),
    "RST_STREAM on stream 0": (reset(0, 8), PROTOCOL),
    "RST_STREAM of 3 bytes": (frame(RST_STREAM, 0, 1, bytes(3)), SIZE),
    # 6.5
    "SETTINGS on a stream": (frame(SETTINGS, 0, 1), PROTOCOL),
    "SETTINGS of 5 bytes": (frame(SETTINGS, 0, 0, bytes(5)), SIZE),
    "SETTINGS that acknowledge and set": (frame(SETTINGS, ACK, 0, bytes(6)), SIZE),
    "ENABLE_PUSH 1 of a server": (settings((2, 1)), PROTOCOL),
    "ENABLE_PUSH 2": (settings((2, 2)), PROTOCOL),
    "INITIAL_WINDOW_SIZE 2**31": (settings((4, 2**31)), FLOW),
    "MAX_FRAME_SIZE 16383": (settings((5, 16383)), PROTOCOL),
    "MAX_FRAME_SIZE 2**24": (settings((5, 2**24)), PROTOCOL),
    "ENABLE_CONNECT_PROTOCOL 2": (settings((8, 2)), PROTOCOL),
    "INITIAL_WINDOW_SIZE over a raised window": (update(1, MAX - 65535) + settings((4, MAX)), FLOW),
    # 6.6
    "PUSH_PROMISE": (frame(PUSH_PROMISE, END_HEADERS, 1, numbers(2) + b"\x82"), PROTOCOL),
    "PUSH_PROMISE on stream 0": (frame(PUSH_PROMISE, END_HEADERS, 0, numbers(2)), PROTOCOL),
    # 6.7, 6.8
    "PING on a stream": (frame(PING, 0, 1, bytes(8)), PROTOCOL),
    "PING of 7 bytes": (frame(PING, 0, 0, bytes(7)), SIZE),
    "GOAWAY on a stream": (frame(GOAWAY, 0, 1, bytes(8)), PROTOCOL),
    "GOAWAY of 7 bytes": (frame(GOAWAY, 0, 0, bytes(7)), SIZE),
    "GOAWAY that takes one back": (goaway(1) + goaway(3), PROTOCOL),
    # 6.9
    "WINDOW_UPDATE of 5 bytes": (frame(WINDOW_UPDATE, 0, 0, bytes(5)), SIZE),
    "WINDOW_UPDATE by 0": (update(0, 0), PROTOCOL),
    "WINDOW_UPDATE past 2**31-1": (update(0, MAX), FLOW),
    # 6.10
    "CONTINUATION of nothing": (frame(CONTINUATION, END_HEADERS, 1, OK), PROTOCOL),
    "CONTINUATION after the end of its block": (head(1) + frame(CONTINUATION, 4, 1), PROTOCOL),
    "CONTINUATION on stream 0": (frame(HEADERS, 0, 1) + frame(CONTINUATION, 4, 0, OK), PROTOCOL),
    "CONTINUATION of another stream": (
        frame(HEADERS, 0, 1) + frame(CONTINUATION, 4, 3, OK),
        PROTOCOL,
    ),
    "PING in a header block": (frame(HEADERS, 0, 1, OK) + frame(PING, 0, 0, bytes(8)), PROTOCOL),
    "unknown frame in a header block": (frame(HEADERS, 0, 1, OK) + frame(0xEE, 0, 1), PROTOCOL),
    "header block of too many bytes": (
        frame(HEADERS, 0, 1, OK) + frame(CONTINUATION, 0, 1, bytes(16384)) * 5,
        CALM,
    ),
    "header block of too many frames": (
        frame(HEADERS, 0, 1, OK) + frame(CONTINUATION, 0, 1) * 65,
        CALM,
    ),
    # Floods
    "flood of PING": (frame(PING, 0, 0, bytes(8)) * 10_001, CALM),
    "flood of SETTINGS": (settings() * 10_001, CALM),
    "flood of empty DATA": (head(1) + data(1, b"") * 10_001, CALM),
    "flood of padding": (head(1) + frame(DATA, PADDED, 1, b"\x01\0") * 10_001, CALM),
    "flood of interim answers": (head(1, literal(":status", "103")) * 10_001, CALM),
    "flood of WINDOW_UPDATE": (update(0, 1) * 10_001, CALM),
    "flood of PRIORITY": (frame(PRIORITY, 0, 7, bytes(5)) * 10_001, CALM),
    "flood of unknown frames": (frame(0xEE, 0xFF, 9, b"x") * 10_001, CALM),
    "flood of resets": (ANSWER + reset(1, 8) * 10_001, CALM),
}


@pytest.mark.parametrize("is_whole", [True, False], ids=["whole", "in bytes"])
@pytest.mark.parametrize(("breach", "code"), BREACHES.values(), ids=BREACHES)
def test_a_breach_ends_the_connection(breach: bytes, code: ErrorCode, is_whole: bool) -> None:
    talk = opened()
    answer = talk.answers[talk.start()]
    talk.sent()
    step = len(breach) if is_whole else 1 + len(breach) // 10_000
    for at in range(0, len(breach), step):
        talk.hear(breach[at : at + step])
    assert talk.errors_sent() == [("goaway", code)]
    assert answer.is_whole or type(answer.error) is RemoteProtocolError
    assert talk.core.max_streams == 0
    with pytest.raises(RequestNotProcessed):
        talk.core.start_request(GET)
    talk.hear(ANSWER)
    assert talk.sent() == []


# The same, for what fails its own exchange only.
STREAM_BREACHES: dict[str, tuple[bytes, ErrorCode]] = {
    "DATA before the head": (data(1, b"x"), PROTOCOL),
    "interim answer that is the last": (head(1, literal(":status", "100"), ends=True), PROTOCOL),
    "101": (head(1, literal(":status", "101")), PROTOCOL),
    "no :status": (head(1, literal("x", "1")), PROTOCOL),
    "two heads": (head(1) + head(1), PROTOCOL),
    "trailers that are not the last": (head(1) + head(1, literal("x", "1")), PROTOCOL),
    "trailers with :status": (head(1) + head(1, OK, ends=True), PROTOCOL),
    "header field of HTTP/1": (head(1, OK + literal("connection", "close")), PROTOCOL),
    "header fields past all bounds": (head(1, OK + literal("a", "") * 2000), CALM),
    "longer than content-length": (
        head(1, OK + literal("content-length", "1")) + data(1, b"ab"),
        PROTOCOL,
    ),
    "shorter than content-length": (
        head(1, OK + literal("content-length", "3")) + data(1, b"ab", ends=True),
        PROTOCOL,
    ),
    "head that ends where a body was announced": (
        head(1, OK + literal("content-length", "3"), ends=True),
        PROTOCOL,
    ),
    "trailers before the announced end": (
        head(1, OK + literal("content-length", "3")) + head(1, literal("x", "1"), ends=True),
        PROTOCOL,
    ),
    "body of a 204": (head(1, b"\x89") + data(1, b"x"), PROTOCOL),
    "body of a 304": (head(1, b"\x8b") + data(1, b"x"), PROTOCOL),
    "WINDOW_UPDATE by 0": (update(1, 0), PROTOCOL),
    "WINDOW_UPDATE past 2**31-1": (update(1, MAX), FLOW),
}


@pytest.mark.parametrize(("breach", "code"), STREAM_BREACHES.values(), ids=STREAM_BREACHES)
def test_a_breach_on_a_stream_leaves_the_others(breach: bytes, code: ErrorCode) -> None:
    talk = opened()
    first, second = talk.start(), talk.start()
    talk.sent()
    talk.hear(breach)
    assert talk.errors_sent() == [("reset", code)]
    assert type(talk.answers[first].error) is RemoteProtocolError
    # What was on its way when our reset left is no breach.
    talk.hear(head(first) + data(first, b"late") + update(first, 1) + reset(first, 8))
    talk.hear(head(second) + data(second, b"ok", ends=True))
    assert talk.answers[second].is_whole
    assert talk.core.max_streams
    assert talk.errors_sent() == []


@pytest.mark.parametrize(
    "opening",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        frame(PING, 0, 0, bytes(8)),
        frame(SETTINGS, ACK),
        PREFACE + settings(),
    ],
    ids=["HTTP/1.1", "PING", "SETTINGS with ACK", "preface of a client"],
)
def test_a_peer_that_begins_otherwise(opening: bytes) -> None:
    talk = opened(opening)
    assert talk.core.max_streams == 0
    core = HTTP2Connection("db:1", "https")
    stream_id = core.start_request(GET)
    core.receive_data(opening)
    with pytest.raises(RemoteProtocolError, match="does not speak HTTP/2"):
        core.next_event(stream_id)


def test_what_is_no_breach() -> None:
    talk = opened()
    stream = talk.start()
    talk.hear(
        frame(0xEE, 0xFF, 0, b"whatever")
        + frame(0xEF, 1, 99, b"")
        + frame(PRIORITY, 0, 8, bytes(5))
        + frame(PING, ACK, 0, bytes(8))
        + frame(SETTINGS, ACK)
        + settings((0xFFFF, 7), (4, 100), (4, 65535), (2, 0), (8, 1), (6, 0))
        + head(stream, literal(":status", "100"))
        + head(stream, literal(":status", "103") + literal("link", "x"))
        + frame(HEADERS, WITH_PRIORITY | PADDED, stream, b"\x03" + bytes(5) + OK + bytes(3))
        + frame(CONTINUATION, 0, stream, literal("x", "1"))
        + frame(CONTINUATION, END_HEADERS, stream, literal("x", "2"))
        + frame(DATA, PADDED, stream, b"\x02abc\0\0")
        + frame(DATA, WITH_PRIORITY, stream, b"de")  # no flag of DATA: to be ignored
        + b"\0\0\x01\0\0\x80\0\0\x01f"  # the reserved bit, too
        + update(stream, 5)
        + head(stream, literal("x-trailer", "1"), ends=True)
        + update(stream, 5)
        + reset(stream, 8)
        + frame(PRIORITY, 0, stream, bytes(5))
    )
    answer = talk.answers[stream]
    assert (answer.status, answer.body, answer.is_whole) == (200, b"abcdef", True)
    assert answer.headers == (("x", "1"), ("x", "2"))
    assert [each.kind for each in talk.sent()] == [HEADERS, SETTINGS]


def test_settings_and_pings_are_answered() -> None:
    talk = opened()
    talk.hear(settings((4, 7)) + frame(PING, 0, 0, b"12345678"))
    assert [tuple(frame) for frame in talk.sent()] == [
        (SETTINGS, ACK, 0, b""),
        (PING, ACK, 0, b"12345678"),
    ]


def test_the_opening_says_what_we_take() -> None:
    sent = HTTP2Connection("db:1", "https").data_to_send()
    assert sent.startswith(PREFACE)
    first, second = split(sent)
    pairs = [first.payload[at : at + 6] for at in range(0, len(first.payload), 6)]
    found = {int.from_bytes(p[:2], "big"): int.from_bytes(p[2:], "big") for p in pairs}
    assert (first.kind, first.flags, first.stream) == (SETTINGS, 0, 0)
    assert found == {1: 0, 2: 0, 4: 16 * MIB, 6: 65536}
    assert (second.kind, second.stream) == (WINDOW_UPDATE, 0)


# What the server did not process


def test_goaway_says_what_was_not_processed() -> None:
    talk = opened()
    first, second, third = (talk.start(POST) for _ in range(3))
    talk.sent()
    talk.hear(goaway(MAX) + goaway(first, 2))
    for stream in (second, third):
        error = talk.answers[stream].error
        assert isinstance(error, RequestNotProcessed)
        assert "INTERNAL_ERROR" in str(error)
    assert talk.core.max_streams == 0
    talk.hear(head(first) + data(first, b"ok", ends=True))
    assert talk.answers[first].is_whole
    assert talk.errors_sent() == []


@pytest.mark.parametrize("has_started", [False, True])
@pytest.mark.parametrize("code", [0, 2, 7, 8, 11, 13, 99])
def test_a_reset_of_the_server(code: int, has_started: bool) -> None:
    talk = opened()
    first, second = talk.start(POST), talk.start()
    talk.hear((head(first) if has_started else b"") + reset(first, code))
    error = talk.answers[first].error
    assert isinstance(error, RequestNotProcessed) is (code == 7 and not has_started)
    assert isinstance(error, RemoteProtocolError)
    talk.hear(head(second, ends=True))
    assert talk.answers[second].is_whole
    assert talk.core.max_streams
    assert not talk.errors_sent()


def test_each_exchange_has_its_own_error_at_the_end_of_the_connection() -> None:
    talk = opened()
    first, second, third = (talk.start() for _ in range(3))
    talk.hear(head(first, ends=True) + head(second) + data(second, b"cut"))
    talk.hear(b"")
    errors = [talk.answers[stream].error for stream in (second, third)]
    assert all(type(error) is RemoteProtocolError for error in errors)
    assert errors[0] is not errors[1]
    assert talk.answers[first].is_whole
    assert talk.answers[second].body == b"cut"
    assert talk.core.data_to_send() == b""


# Bodies that we send


def bodies(talk: Talk) -> dict[int, tuple[bytes, bool]]:
    """What is due of the bodies, and whether it is all."""
    found: dict[int, tuple[bytes, bool]] = {}
    for each in talk.sent():
        if each.kind == DATA:
            assert len(each.payload) <= 65536
            before, _ = found.get(each.stream, (b"", False))
            found[each.stream] = (before + each.payload, bool(each.flags & END_STREAM))
    return found


def test_a_body_waits_for_both_windows() -> None:
    talk = opened(settings((4, 10)))
    stream = talk.start(Request("POST", "/", (), b"x" * 100_000))
    assert bodies(talk) == {stream: (b"x" * 10, False)}
    talk.hear(update(stream, 5))
    assert bodies(talk) == {stream: (b"x" * 5, False)}
    talk.hear(settings((4, 100_000)))
    assert bodies(talk) == {stream: (b"x" * (65535 - 15), False)}
    talk.hear(settings((4, 5)))  # now the stream's window is below 0
    talk.hear(update(0, 100_000))
    assert bodies(talk) == {}
    talk.hear(update(stream, 65525))
    assert bodies(talk) == {}
    talk.hear(update(stream, 1))
    assert bodies(talk) == {stream: (b"x", False)}
    talk.hear(update(stream, 100_000))
    assert bodies(talk) == {stream: (b"x" * (100_000 - 65536), True)}


def test_frames_are_as_large_as_the_peer_takes_them() -> None:
    talk = opened(settings((4, MIB)) + update(0, MIB))
    talk.start(Request("POST", "/", (("x", "y" * 40_000),), b"x" * 40_000))
    sizes = [(each.kind, len(each.payload)) for each in talk.sent()]
    assert [size for kind, size in sizes if kind == DATA] == [16384, 16384, 7232]
    assert [kind for kind, _ in sizes[:3]] == [HEADERS, CONTINUATION, CONTINUATION]
    assert all(size <= 16384 for _, size in sizes)
    talk.hear(settings((5, 1 << 20)))
    talk.start(Request("POST", "/", (("x", "y" * 40_000),), b"x" * 80_000))
    assert [each.kind for each in talk.sent()] == [SETTINGS, HEADERS, DATA, DATA]


def test_large_bodies_take_turns_and_leave_in_parts() -> None:
    talk = opened(settings((4, 8 * MIB)) + update(0, 64 * MIB))
    streams = [talk.start(Request("POST", "/", (), bytes(4 * MIB))) for _ in range(2)]
    part = talk.core.data_to_send()
    assert len(part) < MIB
    begun = {stream: 0 for stream in streams}
    for each in split(part):
        begun[each.stream] += len(each.payload) if each.kind == DATA else 0
    assert all(begun.values())
    rest = bodies(talk)
    assert [begun[stream] + len(rest[stream][0]) for stream in streams] == [4 * MIB] * 2
    assert all(is_last for _, is_last in rest.values())


def test_an_early_answer_ends_the_sending() -> None:
    talk = opened()
    stream = talk.start(Request("POST", "/", (), bytes(MIB)))
    assert len(bodies(talk)[stream][0]) == 65535
    other = talk.start(Request("POST", "/", (), b"abc"))
    talk.hear(head(stream) + data(stream, b"too large", ends=True) + reset(stream, 0))
    assert talk.answers[stream].body == b"too large"
    assert talk.errors_sent() == [("reset", ErrorCode.CANCEL)]
    talk.hear(update(0, MIB))
    assert bodies(talk) == {other: (b"abc", True)}
    talk.hear(head(other, ends=True))
    assert talk.answers[other].is_whole


def test_a_cancelled_body_is_not_sent() -> None:
    talk = opened(settings((4, 10)))
    stream = talk.start(Request("POST", "/", (), bytes(100)))
    talk.sent()
    talk.core.cancel(stream)
    talk.core.cancel(stream)
    assert talk.errors_sent() == [("reset", ErrorCode.CANCEL)]
    talk.hear(update(stream, 1000) + settings((4, 1000)))
    assert bodies(talk) == {}


def test_progress_of_a_body_is_no_flood() -> None:
    talk = opened(settings((4, 1)))
    stream = talk.start(Request("POST", "/", (), bytes(11_000)))
    sent = 0
    for _ in range(11_000):
        sent += sum(len(part) for part, _ in bodies(talk).values())
        talk.hear(update(stream, 1))
    assert sent == 11_000
    assert talk.core.max_streams


# Bodies that we take


def test_windows_open_as_the_body_is_taken() -> None:
    talk = opened()
    stream = talk.start()
    talk.sent()
    talk.core.receive_data(head(stream))
    for _ in range(1024):
        talk.core.receive_data(data(stream, bytes(16384)))
    assert talk.sent() == []  # nothing taken yet
    talk.core.receive_data(data(stream, b"x"))
    assert talk.errors_sent() == [("reset", FLOW)]
    assert len(talk.collect(stream).body) == 16 * MIB
    assert isinstance(talk.answers[stream].error, RemoteProtocolError)

    stream = talk.start()
    talk.hear(head(stream))
    talk.sent()
    for _ in range(3 * 1024):
        talk.hear(data(stream, bytes(16384)))
    increments: dict[int, int] = {0: 0, stream: 0}
    for each in talk.sent():
        assert each.kind == WINDOW_UPDATE
        increments[each.stream] += int.from_bytes(each.payload, "big")
    assert len(talk.answers[stream].body) == 48 * MIB
    assert increments[stream] == 48 * MIB
    assert increments[0] >= 40 * MIB


def test_the_window_of_a_stream_that_has_ended_stays_shut() -> None:
    talk = opened()
    stream = talk.start()
    talk.sent()
    talk.core.receive_data(head(stream) + data(stream, bytes(16384)) * 600)
    talk.core.receive_data(data(stream, b"", ends=True))
    assert talk.collect(stream).is_whole
    assert [(each.kind, each.stream) for each in talk.sent()] == [(WINDOW_UPDATE, 0)]


def test_the_connection_window_bounds_all_answers_together() -> None:
    talk = opened()
    streams = [talk.start() for _ in range(2)]
    talk.core.receive_data(b"".join(head(stream) for stream in streams))
    for _ in range(1024):
        talk.core.receive_data(data(streams[0], bytes(16384)))
    for _ in range(4):
        talk.core.receive_data(data(streams[1], bytes(16384)))
    assert talk.errors_sent() == [("goaway", FLOW)]
    for stream in streams:
        assert talk.collect(stream).error is not None


def test_padding_and_unwanted_data_are_given_back_at_once() -> None:
    talk = opened()
    stream = talk.start()
    other = talk.start()
    talk.hear(head(stream))
    padded = frame(DATA, PADDED, stream, bytes([255]) + b"x" + bytes(255))
    for _ in range(700):
        talk.hear(padded * 100)
        talk.sent()
    assert len(talk.answers[stream].body) == 70_000
    talk.core.cancel(stream)
    for _ in range(500):
        talk.hear(data(stream, bytes(16384)))
    talk.hear(head(other) + data(other, b"ok", ends=True))
    assert talk.answers[other].is_whole
    for _ in range(1000):  # more than the stream was ever allowed
        talk.hear(data(stream, bytes(16384)))
    assert ("goaway", FLOW) in talk.errors_sent()


@pytest.mark.parametrize("when", ["before", "after"])
def test_cancelling_gives_back_what_was_not_taken(when: str) -> None:
    """Else the window of the connection would close for good."""
    talk = opened()
    for _ in range(5):
        stream = talk.start()
        talk.core.receive_data(head(stream))
        if when == "before":
            talk.core.cancel(stream)
        for _ in range(1000):
            talk.core.receive_data(data(stream, bytes(16384)))
        talk.core.cancel(stream)
        assert talk.errors_sent() == [("reset", ErrorCode.CANCEL)]
    assert talk.core.max_streams


def test_a_breach_gives_back_what_it_brought() -> None:
    talk = opened()
    for _ in range(2000):
        stream = talk.start()
        talk.hear(head(stream, OK + literal("content-length", "1")) + data(stream, bytes(16384)))
        assert talk.errors_sent() == [("reset", PROTOCOL)]
    assert talk.core.max_streams


def test_what_is_on_its_way_after_our_reset_is_no_flood() -> None:
    talk = opened()
    stream = talk.start()
    talk.hear(head(stream))
    talk.core.cancel(stream)
    talk.hear(data(stream, b"x") * 10_001)
    assert talk.core.max_streams
    talk.hear(data(stream, b"") * 10_001)
    assert ("goaway", CALM) in talk.errors_sent()


@pytest.mark.parametrize("last", [data(1, b"x", ends=True), head(1, ends=True), reset(1, 8)])
def test_after_our_reset_the_peer_ends_its_side_once(last: bytes) -> None:
    talk = opened()
    talk.core.cancel(talk.start())
    talk.hear(data(1, b"x") + last)
    assert talk.core.max_streams
    talk.hear(data(1, b"x"))
    assert ("goaway", CLOSED) in talk.errors_sent()


def test_nothing_is_said_after_the_farewell() -> None:
    talk = opened()
    streams = [talk.start() for _ in range(2)]
    talk.sent()
    for stream in streams:
        talk.core.receive_data(head(stream) + data(stream, bytes(16384)) * 500)
    talk.core.receive_data(data(0, b""))
    assert talk.errors_sent() == [("goaway", PROTOCOL)]
    for stream in streams:
        talk.collect(stream)
    assert len(talk.answers[streams[0]].body) == 500 * 16384
    assert talk.sent() == []


def test_head_and_304_announce_what_they_do_not_bring() -> None:
    talk = opened()
    first, second = talk.start(Request("HEAD", "/")), talk.start()
    length = literal("content-length", "99")
    talk.hear(head(first, OK + length, ends=True) + head(second, b"\x8b" + length, ends=True))
    assert talk.answers[first].is_whole
    assert talk.answers[second].is_whole
    third = talk.start(Request("HEAD", "/"))
    talk.hear(head(third, OK + length) + data(third, b"x"))
    assert talk.errors_sent() == [("reset", PROTOCOL)]


# Numbers


def test_how_many_at_a_time() -> None:
    core = HTTP2Connection("db:1", "https")
    assert core.max_streams == 100
    core.receive_data(settings())
    assert core.max_streams == 256
    core.receive_data(settings((3, 2)))
    assert core.max_streams == 2
    core.receive_data(settings((4, 5)))
    assert core.max_streams == 2
    first, _ = core.start_request(GET), core.start_request(GET)
    with pytest.raises(RequestNotProcessed):
        core.start_request(GET)
    core.receive_data(head(first, ends=True))
    core.start_request(GET)


def test_numbers_of_streams_run_out() -> None:
    core = HTTP2Connection("db:1", "https")
    core._next_id = MAX
    stream = core.start_request(GET)
    assert stream == MAX
    assert core.max_streams == 0
    core.receive_data(settings() + head(stream, ends=True))
    assert isinstance(core.next_event(stream), ResponseStarted)


def test_an_unknown_number_is_the_callers_fault() -> None:
    with pytest.raises(LocalProtocolError):
        HTTP2Connection("db:1", "https").next_event(1)


def test_many_exchanges_leave_nothing_behind() -> None:
    """One after the other, given up in every state, and news that nobody asks for."""
    talk = opened(settings() + update(0, MAX - 65535))
    core = talk.core

    def one(number: int) -> None:
        stream = core.start_request(POST)
        core.data_to_send()
        core.receive_data(head(stream, OK + literal("x", str(number))))
        if number % 3 == 0:
            core.cancel(stream)
        core.receive_data(data(stream, b"x" * 100, ends=True))
        core.receive_data(reset(stream, 8))
        if number % 3 == 1:
            core.cancel(stream)
        elif number % 3 == 2:
            assert [type(core.next_event(stream)) for _ in range(2)] == [ResponseStarted, BodyPart]
            core.next_event(stream)

    for number in range(300):
        one(number)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(300, 3300):
            one(number)
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert after - before < 30_000
    assert core.max_streams


def test_tiny_parts_of_a_body_take_little_memory() -> None:
    core = HTTP2Connection("db:1", "https")
    stream = core.start_request(GET)
    core.receive_data(settings() + head(stream))
    tiny = data(stream, b"ab") * 1000
    tracemalloc.start()
    try:
        for _ in range(100):
            core.receive_data(tiny)
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert used < 2 * 200_000
    event = core.next_event(stream)
    body = b""
    while event := core.next_event(stream):
        assert isinstance(event, BodyPart)
        body += event.data
    assert body == b"ab" * 100_000


def test_streams_that_we_reset_are_remembered_up_to_a_bound() -> None:
    talk = opened()
    streams = []
    for _ in range(1500):
        streams.append(talk.core.start_request(GET))
        talk.core.cancel(streams[-1])
    talk.hear(data(streams[-1000], b"x") + data(streams[-1], b"x"))
    assert talk.core.max_streams
    talk.hear(data(streams[0], b"x"))
    assert talk.core.max_streams == 0
