"""Our core and h2's server side in one memory: random conversations, in random pieces.

h2 is the judge: it must take every byte that we send, and in the end both sides must agree on
every request, every answer, every way an exchange ended, and every window.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.settings
from hypothesis import settings as configured
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from quicsql_client.transports.events import RequestNotProcessed
from quicsql_client.transports.http2 import HTTP2Connection
from quicsql_client.wire.messages import Request

from .fix_frames import GOAWAY, MAX, frame, numbers
from .fix_talk import Answer, Talk

WINDOW_BYTES = 3000
sizes = st.one_of(st.integers(0, 60), st.integers(0, 5000), st.just(100_000))
picks = st.integers(0, 1000)
names = st.sampled_from(["x-a", "x-b", "content-type", "authorization", "accept"])
values = st.text("abcXYZ 0123=/", max_size=20).map(str.strip)
fields = st.lists(st.tuples(names, values), max_size=3)


@dataclass
class Told:
    """What the server saw of a request, and what it said."""

    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    is_asked: bool = False
    to_acknowledge: int = 0
    status: int | None = None
    fields: list[tuple[str, str]] = field(default_factory=list)
    answer: bytes = b""
    length: int | None = None
    is_ended: bool = False
    reset: int | None = None
    is_cancelled: bool = False  # as the server saw it

    @property
    def is_over(self) -> bool:
        return self.is_ended or self.reset is not None or self.is_cancelled


class Conversation(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.talk = Talk(HTTP2Connection("db:1", "https", window_bytes=WINDOW_BYTES))
        self.requests: dict[int, Request] = {}
        self.cancelled: set[int] = set()
        self.server = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding=None)
        )
        self.server.initiate_connection()
        self.told: dict[int, Told] = {}
        self.is_settled = False  # h2 takes any ACK for that of its last SETTINGS
        self.last = MAX  # of the server's GOAWAY
        self.has_gone = False
        self.upward, self.downward = bytearray(), bytearray()

    # The client

    def can_start(self) -> bool:
        return self.talk.core._open_count < self.talk.core.max_streams

    @precondition(can_start)
    @rule(method=st.sampled_from(["GET", "POST", "HEAD"]), size=sizes, headers=fields)
    def start(self, method: str, size: int, headers: list[tuple[str, str]]) -> None:
        body = bytes(number % 251 for number in range(size)) if method == "POST" else b""
        request = Request(method, "/db/query?x=1", tuple(headers), body)
        self.requests[self.talk.start(request)] = request

    def going_on(self) -> list[int]:
        return [
            stream
            for stream, answer in self.talk.answers.items()
            if stream not in self.cancelled and not (answer.is_whole or answer.error)
        ]

    @precondition(lambda self: bool(self.going_on()))
    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        streams = self.going_on()
        stream = streams[pick % len(streams)]
        self.talk.core.cancel(stream)
        self.cancelled.add(stream)

    @precondition(lambda self: bool(self.going_on()))
    @rule(pick=picks)
    def take(self, pick: int) -> None:
        streams = self.going_on()
        self.talk.collect(streams[pick % len(streams)])

    # The way

    @rule(count=st.integers(1, 40))
    def flush(self, count: int) -> None:
        for _ in range(count):
            self.upward += self.talk.core.data_to_send()
        self.downward += self.server.data_to_send()

    @rule(size=st.integers(1, 100_000))
    def upwards(self, size: int) -> None:
        piece = bytes(self.upward[:size])
        del self.upward[:size]
        if piece:
            for event in self.server.receive_data(piece):
                self.see(event)

    @rule(size=st.integers(1, 100_000), is_in_bytes=st.booleans())
    def downwards(self, size: int, is_in_bytes: bool) -> None:
        piece = bytes(self.downward[:size])
        del self.downward[:size]
        for at in range(0, len(piece), 1 if is_in_bytes else size):
            self.talk.core.receive_data(piece[at : at + (1 if is_in_bytes else size)])

    def see(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            headers = [(n.decode(), v.decode("latin-1")) for n, v in event.headers]
            self.told[event.stream_id] = Told(headers)
        elif isinstance(event, h2.events.DataReceived):
            told = self.told[event.stream_id]
            told.body += event.data
            told.to_acknowledge += event.flow_controlled_length
        elif isinstance(event, h2.events.StreamEnded):
            self.told[event.stream_id].is_asked = True
        elif isinstance(event, h2.events.StreamReset):
            told = self.told[event.stream_id]
            assert told.is_ended or event.stream_id in self.cancelled
            told.is_cancelled = True
        elif isinstance(event, h2.events.SettingsAcknowledged):
            self.is_settled = True
        else:
            assert not isinstance(event, h2.events.ConnectionTerminated)

    # The server

    def answerable(self) -> list[int]:
        return [s for s, told in self.told.items() if not told.is_over and s <= self.last]

    def unanswered(self) -> list[int]:
        return [s for s in self.answerable() if self.told[s].status is None]

    def answered(self) -> list[int]:
        return [s for s in self.answerable() if self.told[s].status is not None]

    @precondition(lambda self: bool(self.unanswered()))
    @rule(pick=picks, status=st.sampled_from([200, 204, 304, 400, 503]), headers=fields, n=sizes)
    def respond(self, pick: int, status: int, headers: list[tuple[str, str]], n: int) -> None:
        stream = self.unanswered()[pick % len(self.unanswered())]
        told = self.told[stream]
        is_bodiless = self.requests[stream].method == "HEAD" or status in (204, 304)
        told.status, told.fields = status, headers
        if n % 2:
            told.length = 0 if is_bodiless else n
            told.fields = [*headers, ("content-length", str(n))]
        elif is_bodiless:
            told.length = 0
        self.server.send_headers(stream, [(":status", str(status)), *told.fields])

    @precondition(lambda self: bool(self.unanswered()))
    @rule(pick=picks, status=st.sampled_from(["100", "103"]))
    def respond_interim(self, pick: int, status: str) -> None:
        stream = self.unanswered()[pick % len(self.unanswered())]
        self.server.send_headers(stream, [(":status", status), ("link", "x")])

    @precondition(lambda self: bool(self.answered()))
    @rule(pick=picks, size=sizes, padding=st.sampled_from([None, 0, 1, 255]))
    def send_data(self, pick: int, size: int, padding: int | None) -> None:
        stream = self.answered()[pick % len(self.answered())]
        told = self.told[stream]
        overhead = 0 if padding is None else padding + 1
        window = self.server.local_flow_control_window(stream)
        size = min(size, window - overhead, 16384 - overhead)
        if told.length is not None:
            size = min(size, told.length - len(told.answer))
        if size >= 0:
            piece = bytes((number + stream) % 251 for number in range(size))
            self.server.send_data(stream, piece, pad_length=padding)
            told.answer += piece

    @precondition(lambda self: bool(self.answered()))
    @rule(pick=picks, with_trailers=st.booleans())
    def end(self, pick: int, with_trailers: bool) -> None:
        stream = self.answered()[pick % len(self.answered())]
        told = self.told[stream]
        if told.length is not None and len(told.answer) < told.length:
            return
        if with_trailers:
            self.server.send_headers(stream, [("x-trailer", "1")], end_stream=True)
        else:
            self.server.end_stream(stream)
        told.is_ended = True

    @precondition(lambda self: bool(self.answerable()))
    @rule(pick=picks, code=st.sampled_from([0, 2, 7, 8]))
    def reset(self, pick: int, code: int) -> None:
        stream = self.answerable()[pick % len(self.answerable())]
        self.server.reset_stream(stream, code)
        self.told[stream].reset = code

    @precondition(lambda self: self.is_settled)
    @rule(
        window=st.one_of(st.none(), st.integers(0, 70_000)),
        frame_bytes=st.sampled_from([None, 16384, 20_000]),
        streams=st.sampled_from([None, 1, 3, 100]),
    )
    def change_settings(
        self, window: int | None, frame_bytes: int | None, streams: int | None
    ) -> None:
        self.is_settled = False
        codes = h2.settings.SettingCodes
        changes = {
            codes.INITIAL_WINDOW_SIZE: window,
            codes.MAX_FRAME_SIZE: frame_bytes,
            codes.MAX_CONCURRENT_STREAMS: streams,
        }
        self.server.update_settings({k: v for k, v in changes.items() if v is not None})

    @rule(pick=picks, increment=st.integers(1, 50_000), is_stream=st.booleans())
    def open_window(self, pick: int, increment: int, is_stream: bool) -> None:
        streams = self.answerable()
        stream = streams[pick % len(streams)] if streams and is_stream else None
        self.server.increment_flow_control_window(increment, stream)

    @rule()
    def acknowledge(self) -> None:
        for stream, told in self.told.items():
            if told.to_acknowledge:
                self.server.acknowledge_received_data(told.to_acknowledge, stream)
                told.to_acknowledge = 0

    @rule()
    def ping(self) -> None:
        self.server.ping(b"12345678")

    @precondition(lambda self: self.last == MAX)
    @rule(is_graceful=st.booleans())
    def go_away(self, is_graceful: bool) -> None:
        """By hand: h2 would give up the exchanges that may still end."""
        self.has_gone = True
        if not is_graceful:
            touched = [s for s, told in self.told.items() if told.status or told.is_over]
            self.last = max([0, *touched])
        self.downward += self.server.data_to_send() + frame(GOAWAY, 0, 0, numbers(self.last, 0))

    # What holds

    @invariant()
    def nothing_is_broken(self) -> None:
        core = self.talk.core
        assert not core._is_broken
        assert core._open_count <= 256

    def teardown(self) -> None:
        self.settle()
        for stream, told in self.told.items():
            if not told.is_asked and not told.is_over and stream <= self.last:
                self.server.increment_flow_control_window(200_000, stream)
        self.server.increment_flow_control_window(2_000_000)
        self.settle()
        for stream, request in self.requests.items():
            self.check_request(stream, request)
            self.check_answer(stream, self.talk.answers[stream])
        self.check_windows()

    def settle(self) -> None:
        is_moving = True
        while is_moving:
            self.acknowledge()
            self.flush(1)
            is_moving = bool(self.upward or self.downward)
            self.upwards(1 << 20)
            self.downwards(1 << 20, False)
            for stream in self.going_on():
                self.talk.collect(stream)

    def check_request(self, stream: int, request: Request) -> None:
        told = self.told.get(stream)
        if told is None:
            assert stream in self.cancelled or self.has_gone
            return
        length = [("content-length", str(len(request.body)))] * (request.method == "POST")
        assert told.headers == [
            (":method", request.method),
            (":scheme", "https"),
            (":authority", "db:1"),
            (":path", request.target),
            ("accept-encoding", "identity"),
            *length,
            *request.headers,
        ]
        if told.is_over or stream in self.cancelled or stream > self.last:
            assert request.body.startswith(told.body)
        else:
            assert told.is_asked
            assert told.body == request.body

    def check_answer(self, stream: int, answer: Answer) -> None:
        told = self.told.get(stream, Told())
        if stream > self.last and stream not in self.cancelled:
            assert isinstance(answer.error, RequestNotProcessed)
            return
        if stream in self.cancelled:
            assert answer.status in (None, told.status)
            assert told.answer.startswith(answer.body)
            assert answer.error is None
            return
        assert answer.status == told.status
        assert list(answer.headers) == told.fields
        assert answer.body == told.answer
        assert answer.is_whole is told.is_ended
        assert (answer.error is not None) is (told.reset is not None)
        is_refused = told.reset == 7 and told.status is None
        assert isinstance(answer.error, RequestNotProcessed) is is_refused

    def check_windows(self) -> None:
        core = self.talk.core
        assert core._window._left == self.server.outbound_flow_control_window
        assert core._sender._window == self.server.inbound_flow_control_window
        for stream_id in self.answerable():
            if stream_id in self.cancelled:
                continue
            ours = core._streams[stream_id]
            theirs = self.server._get_stream_by_id(stream_id)
            assert ours.window._left == theirs.outbound_flow_control_window
            if ours.unsent:
                assert ours.send_window == theirs.inbound_flow_control_window


TestConversation = Conversation.TestCase
TestConversation.settings = configured(max_examples=150, stateful_step_count=60, deadline=None)
