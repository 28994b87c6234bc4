"""Frames that a peer might send, right and wrong, in any order, cut and changed anywhere.

Each exchange ends with an answer, or with an error of ours; never otherwise, and never with
another answer than h2's client side reads from the same bytes. Where h2 finds a breach, we find
one.
"""

from __future__ import annotations

from collections.abc import Sequence

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
from hypothesis import given, settings
from hypothesis import strategies as st

from quicsql_client.errors import RemoteProtocolError
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
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    Frame,
    data,
    frame,
    head,
    literal,
    numbers,
    split,
)
from .fix_frames import settings as settings_frame
from .fix_talk import Answer, Talk

REQUESTS = (
    Request("POST", "/", (("x", "y"),), b"body"),
    Request("HEAD", "/"),
    Request("GET", "/"),
    Request("POST", "/", (), b"1234"),
)
# The last one cannot be sent at once.
WITH_LARGE = (*REQUESTS[:3], Request("POST", "/", (), bytes(70_000)))
STREAMS = (1, 3, 5, 7)
WINDOW_BYTES = 1000

streams = st.sampled_from([*STREAMS, *STREAMS, 0, 2, 9, MAX])
flags = st.sampled_from([0, END_STREAM, END_HEADERS, 5, PADDED, WITH_PRIORITY, 0x2D, 0x0D, 0xFF])
blocks = st.sampled_from(
    [
        *(OK, OK, OK, OK + literal("x", "1"), b"\x20" + OK, literal("x-trailer", "1"), b""),
        *(OK + literal("content-length", str(n)) for n in (0, 2, 4, 6)),
        *(b"\x89", b"\x8b", b"\x8d", literal(":status", "100"), literal(":status", "103")),
        *(literal(":status", "101"), OK + literal("connection", "x"), OK + literal("X", "1")),
        *(b"\xbe", b"\x3f\xe1\x1f" + OK, OK + OK, literal("x", "1") + OK, OK + b"\x40\x01a\x01b"),
    ]
)
words = st.sampled_from([0, 1, 2, 3, 5, 7, 8, 1000, 16384, 65535, MAX, 2**31, 2**32 - 1])
bodies = st.sampled_from([b"", b"ab", b"abcd", bytes(600), b"\x01ab\0", b"\xff"])

right_frames = st.one_of(
    st.builds(head, streams, blocks, ends=st.booleans()),
    st.builds(head, streams, blocks, ends=st.booleans()),
    st.builds(data, streams, bodies, ends=st.booleans()),
    st.builds(data, streams, bodies, ends=st.booleans()),
    st.builds(lambda s, b: frame(DATA, PADDED, s, b"\x02" + b + b"\0\0"), streams, bodies),
    st.builds(
        lambda s, b, f: frame(HEADERS, f, s, b[:1]) + frame(CONTINUATION, END_HEADERS, s, b[1:]),
        *(streams, blocks, st.sampled_from([0, 1])),
    ),
    st.builds(lambda s, w: frame(WINDOW_UPDATE, 0, s, numbers(w)), streams, words),
    st.builds(lambda s, w: frame(RST_STREAM, 0, s, numbers(w)), streams, words),
    st.builds(lambda k, w: settings_frame((k, w)), st.integers(1, 8), words),
    st.builds(lambda s, w: frame(GOAWAY, 0, 0, numbers(s, w)), streams, words),
    st.sampled_from(
        [frame(PING, f, 0, bytes(8)) for f in (0, ACK)]
        + [frame(SETTINGS, ACK), frame(PRIORITY, 0, 1, bytes(5)), frame(0xEE, 255, 1, b"x")]
    ),
)
any_frames = st.builds(
    frame,
    st.sampled_from([*range(CONTINUATION + 1), PUSH_PROMISE, 0xEE]),  # h2 knows 10, we do not
    flags,
    streams,
    st.one_of(bodies, blocks, st.builds(numbers, words), st.builds(numbers, words, words)),
)
conversations = st.lists(
    st.one_of(right_frames, right_frames, right_frames, any_frames), min_size=1, max_size=25
)


def begin(requests: Sequence[Request]) -> tuple[Talk, list[int]]:
    talk = Talk(HTTP2Connection("db:1", "https", window_bytes=WINDOW_BYTES))
    started = [talk.start(request) for request in requests]
    talk.sent()
    return talk, started


class Judge:
    """What h2's client side makes of the same frames."""

    def __init__(self) -> None:
        codes = h2.settings.SettingCodes
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding=None)
        )
        self.h2.local_settings = h2.settings.Settings(
            client=True,
            initial_values={
                codes.HEADER_TABLE_SIZE: 0,
                codes.ENABLE_PUSH: 0,
                codes.INITIAL_WINDOW_SIZE: WINDOW_BYTES,
                codes.MAX_HEADER_LIST_SIZE: 65536,
            },
        )
        # Blocks are read as of a peer that has taken the table size in.
        self.h2.decoder.header_table_size = self.h2.decoder.max_allowed_table_size = 0
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(WINDOW_BYTES)
        self.answers = {stream: Answer() for stream in STREAMS}
        for stream, request in zip(STREAMS, REQUESTS, strict=True):
            fields = [
                *((":method", request.method), (":scheme", "https")),
                *((":authority", "db:1"), (":path", "/")),
            ]
            self.h2.send_headers(stream, fields, end_stream=not request.body)
            if request.body:
                self.h2.send_data(stream, request.body, end_stream=True)
        self.is_broken = False

    def hear(self, data: bytes) -> None:
        if self.is_broken:
            return
        try:
            for event in self.h2.receive_data(data):
                self.see(event)
        except h2.exceptions.ProtocolError:
            self.is_broken = True

    def see(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            answer = self.answers[event.stream_id]
            answer.status = int(dict(event.headers)[b":status"])
            answer.headers = tuple(
                (name.decode(), value.decode())
                for name, value in event.headers
                if name != b":status"
            )
        elif isinstance(event, h2.events.DataReceived):
            self.answers[event.stream_id].parts.append(event.data)
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.answers[event.stream_id].is_whole = True
        elif isinstance(event, h2.events.StreamReset):
            self.answers[event.stream_id].error = RemoteProtocolError("reset")


def is_beyond(each: Frame) -> bool:
    """True for what the judge sees otherwise than RFC 9113.

    It lets no answer come after a GOAWAY, and minds an increment of 0, or one with the reserved bit
    set, on a stream that has ended.
    """
    increment = int.from_bytes(each.payload, "big") if each.kind == WINDOW_UPDATE else 1
    return each.kind == GOAWAY or (each.stream > 0 and not 0 < increment <= MAX)


def check_ended(talk: Talk, started: list[int]) -> None:
    """After the end of the connection nothing is left in the air."""
    talk.hear(b"")
    for stream in started:
        answer = talk.collect(stream)
        assert answer.is_whole or isinstance(answer.error, RemoteProtocolError)
    assert talk.core.max_streams == 0


@settings(max_examples=400)
@given(conversations)
def test_frames_as_h2_reads_them(conversation: list[bytes]) -> None:
    talk, started = begin(REQUESTS)
    judge = Judge()
    for piece in [settings_frame(), *conversation]:
        talk.hear(piece)
        talk.sent()
        for each in split(piece):
            if not is_beyond(each):
                judge.hear(frame(*each))
        # What we fail on one stream, h2 takes for the end of the connection.
        has_failed = any(answer.error for answer in talk.answers.values())
        if judge.is_broken:
            assert has_failed or not talk.core.max_streams
            break
        for stream in started:
            ours, theirs = talk.answers[stream], judge.answers[stream]
            if ours.is_whole:
                assert (ours.status, ours.headers, ours.body) == (
                    *(theirs.status, theirs.headers, theirs.body),
                )
                assert theirs.is_whole
    check_ended(talk, started)


RECORDED = b"".join(
    (
        settings_frame((3, 100), (4, 1 << 20)),
        frame(SETTINGS, ACK),
        frame(WINDOW_UPDATE, 0, 0, numbers(1 << 20)),
        head(5, literal(":status", "103")),
        head(1, OK + literal("content-length", "6") + literal("content-type", "application/json")),
        data(1, b"abc"),
        frame(HEADERS, END_STREAM, 3, OK[:0]),
        frame(CONTINUATION, END_HEADERS, 3, OK + literal("content-length", "7")),
        frame(PING, 0, 0, b"12345678"),
        frame(HEADERS, END_HEADERS | PADDED | WITH_PRIORITY, 5, b"\x03" + bytes(5) + OK + bytes(3)),
        frame(DATA, PADDED | END_STREAM, 1, b"\x02def\0\0"),
        data(5, b"12345"),
        head(7, b"\x8d" + literal("date", "Mon, 01 Dec 2025 10:00:00 GMT")),
        data(7, b"no such", ends=True),
        frame(RST_STREAM, 0, 7, numbers(0)),
        head(5, literal("x-trailer", "1"), ends=True),
        frame(GOAWAY, 0, 0, numbers(7, 0)),
    )
)
RIGHT = {1: (200, b"abcdef"), 3: (200, b""), 5: (200, b"12345"), 7: (404, b"no such")}


def found_in(data: bytes, sizes: list[int]) -> dict[int, Answer]:
    talk, started = begin(WITH_LARGE)
    at = 0
    for size in sizes:
        talk.hear(data[at : at + size])
        at += size
    talk.hear(data[at:])
    check_ended(talk, started)
    return talk.answers


@given(st.lists(st.integers(1, 60), max_size=40))
def test_pieces_make_no_difference(sizes: list[int]) -> None:
    answers = found_in(RECORDED, sizes)
    assert {s: (a.status, a.body) for s, a in answers.items() if a.is_whole} == RIGHT


def test_every_cut_leaves_right_answers_and_errors() -> None:
    for length in range(len(RECORDED)):
        for stream, answer in found_in(RECORDED[:length], []).items():
            if answer.is_whole:
                assert (answer.status, answer.body) == RIGHT[stream]


@settings(max_examples=400)
@given(st.data())
def test_changed_bytes_end_in_answers_or_errors(draw: st.DataObject) -> None:
    """A changed byte of a body cannot be seen, but a change of lengths and kinds can."""
    changed = bytearray(RECORDED)
    for _ in range(draw.draw(st.integers(1, 3))):
        at = draw.draw(st.integers(0, len(changed) - 1))
        length = draw.draw(st.integers(0, 30))
        new = draw.draw(st.one_of(st.binary(max_size=8), right_frames, any_frames))
        changed[at : at + length] = new
    found_in(bytes(changed), draw.draw(st.lists(st.integers(1, 60), max_size=10)))


@given(st.binary(max_size=200))
def test_noise_ends_in_errors(noise: bytes) -> None:
    answers = found_in(settings_frame() + noise, [])
    assert all(answer.error is not None for answer in answers.values() if not answer.is_whole)


def test_frames_are_split_as_they_were_joined() -> None:
    """The tests' own tools."""
    assert b"".join(frame(*each) for each in split(RECORDED)) == RECORDED
    assert next(split(RECORDED)) == Frame(SETTINGS, 0, 0, RECORDED[9:21])
