"""HTTP/2 client core: many exchanges on one connection, every frame of the peer checked.

Bytes in, events out; no socket, no clock. The peer can neither fill our memory (all that is kept
is bounded by a window or a count) nor keep us busy (frames that bring no answer further are
counted). What it does wrong on one stream fails that exchange; anything else fails all that are
going on, each with an error of its own. Source: RFC 9113; protocol/transports.md.

    frames        bytes <-> frames           http2_stream  one exchange
    fields        header blocks <-> fields   http2_sender  what goes out, and when
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import LocalProtocolError, RemoteProtocolError
from ..wire.messages import Request
from . import frames
from .events import BodyPart, Event, RequestNotProcessed, ResponseEnded
from .fields import MAX_FIELD_SECTION_BYTES, RequestEncoder, SectionDecoder
from .frames import (
    INITIAL_WINDOW_BYTES,
    MAX_STREAM_ID,
    ConnectionBreach,
    ErrorCode,
    FrameReader,
    Setting,
    StreamBreach,
    encode_frame,
    encode_number,
    name_of,
    parse_number,
)
from .http2_sender import Sender
from .http2_stream import ReceiveWindow, Stream

__all__ = ["HTTP2Connection"]

_WINDOW_BYTES = 1 << 24
# More exchanges at a time are not for us to ask for, whatever the peer allows.
_MAX_STREAMS = 256
# Frames that bring an answer no further (PING, SETTINGS, empty DATA ...) before it is a flood.
_MAX_IDLE_FRAMES = 10_000
# Into how many frames a header block may be cut: one of the size that we allow needs five.
_MAX_BLOCK_FRAMES = 64
# Streams that we reset, of which frames may still be on their way.
_MAX_RESETS = 1_000


@dataclass(slots=True)
class _Block:
    """A header block that is not whole yet."""

    stream_id: int
    is_last: bool
    data: bytearray
    count: int = 1


class HTTP2Connection:
    """One HTTP/2 connection; see ConnectionCore for what its caller does.

    authority, scheme: what the requests say in their pseudo-header fields. window_bytes: how much
    the peer may send ahead of our taking it, of one answer; of all together a little more.
    """

    def __init__(self, authority: str, scheme: str, *, window_bytes: int = _WINDOW_BYTES) -> None:
        self._encoder = RequestEncoder(authority, scheme)
        self._decoder = SectionDecoder()
        self._reader = FrameReader()
        self._sender = Sender(_opening(window_bytes))
        self._window_bytes = window_bytes
        self._window = ReceiveWindow(INITIAL_WINDOW_BYTES + window_bytes)
        self._streams: dict[int, Stream] = {}  # until their last event is taken
        self._open_count = 0  # of them, those that are not over
        self._resets: dict[int, ReceiveWindow] = {}
        self._news: set[int] = set()
        self._next_id = 1
        self._block: _Block | None = None
        self._last_processed: int | None = None  # by the peer's GOAWAY
        self._idle_frames = 0
        self._is_broken = False
        self._has_heard = False

    @property
    def max_streams(self) -> int:
        is_closing = self._is_broken or self._last_processed is not None
        if is_closing or self._next_id > MAX_STREAM_ID:
            return 0
        return min(self._sender.max_streams, _MAX_STREAMS)

    @property
    def has_heard(self) -> bool:
        return self._has_heard

    @property
    def bytes_queued(self) -> int:
        return self._sender.bytes_queued

    # What the caller does

    def start_request(self, request: Request) -> int:
        if self._open_count >= self.max_streams:
            raise RequestNotProcessed("the connection is closing or full; nothing was sent")
        stream = Stream(self._next_id, request, self._sender.stream_window, self._window_bytes)
        self._next_id += 2
        self._open_count += 1
        self._streams[stream.stream_id] = stream
        self._sender.start(stream, self._encoder.encode(request))
        return stream.stream_id

    def data_to_send(self) -> bytes:
        if self._sender.queue_bodies():
            self._idle_frames = 0
        return self._sender.take()

    def receive_data(self, data: bytes) -> None:
        if self._is_broken:
            return
        if not data:
            self._break("the connection was closed before the answer was whole")
            return
        self._has_heard = True
        try:
            for frame in self._reader.read(data):
                self._take_frame(*frame)
        except ConnectionBreach as breach:
            # RFC 9113, 6.8: of the peer's streams none was processed, as we let it open none.
            farewell = encode_frame(frames.GOAWAY, 0, 0, encode_number(0, breach.code))
            self._break(f"the peer breaks HTTP/2: {breach}", farewell)

    def next_event(self, stream_id: int) -> Event | None:
        stream = self._streams.get(stream_id)
        if stream is None:
            raise LocalProtocolError("no exchange of this number is going on")
        if not stream.events:
            return None
        event = stream.events.popleft()
        if isinstance(event, BodyPart):
            self._give_back(stream, len(event.data))
        elif isinstance(event, RemoteProtocolError):
            self._forget(stream)
            raise event
        elif isinstance(event, ResponseEnded):
            self._forget(stream)
        return event

    def has_answered(self, stream_id: int) -> bool:
        stream = self._streams.get(stream_id)
        return stream is not None and stream.has_started

    def take_news(self) -> set[int]:
        news, self._news = self._news, set()
        return news

    def cancel(self, stream_id: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        if not stream.is_over:
            self._reset(stream, ErrorCode.CANCEL)
        self._forget(stream)
        self._give_back(stream, stream.untaken_bytes)

    # How exchanges end

    def _forget(self, stream: Stream) -> None:
        del self._streams[stream.stream_id]
        self._news.discard(stream.stream_id)

    def _close(self, stream: Stream) -> None:
        stream.close()
        self._open_count -= 1

    def _reset(self, stream: Stream, code: ErrorCode) -> None:
        self._close(stream)
        self._sender.add(frames.RST_STREAM, 0, stream.stream_id, code)
        if len(self._resets) >= _MAX_RESETS:
            del self._resets[next(iter(self._resets))]
        self._resets[stream.stream_id] = stream.window

    def _fail(self, stream: Stream, error: RemoteProtocolError) -> None:
        if not stream.is_over:
            self._close(stream)
        stream.events.append(error)
        self._news.add(stream.stream_id)
        self._idle_frames = 0

    def _break(self, what: str, *farewell: bytes) -> None:
        """Nothing goes on here any more; answers that are whole can still be taken."""
        self._is_broken = True
        self._block = None
        self._sender.end_with(*farewell)
        for stream in self._open_streams():
            self._fail(stream, RemoteProtocolError(what))

    def _open_streams(self) -> list[Stream]:
        return [stream for stream in self._streams.values() if not stream.is_over]

    def _give_back(self, stream: Stream | None, size: int) -> None:
        """Open the windows again by what was taken; only the connection's without a stream."""
        if self._is_broken:
            return
        increment = self._window.give_back(size)
        if increment:
            self._sender.add(frames.WINDOW_UPDATE, 0, 0, increment)
        if stream is not None and not stream.is_over:
            increment = stream.window.give_back(size)
            if increment:
                self._sender.add(frames.WINDOW_UPDATE, 0, stream.stream_id, increment)

    # What the peer does

    def _take_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        block = self._block
        if block is not None and (kind != frames.CONTINUATION or stream_id != block.stream_id):
            raise _wrong("a frame within a header block")
        self._idle_frames += 1
        if self._idle_frames > _MAX_IDLE_FRAMES:
            raise _flood("frames that bring no answer further")
        take = _TAKERS.get(kind)
        if take is None:  # to be ignored: unknown (RFC 9113, 5.5), or PRIORITY (5.3.2)
            return
        try:
            take(self, flags, stream_id, payload)
        except StreamBreach as breach:
            stream = self._streams[stream_id]
            self._reset(stream, breach.code)
            self._fail(stream, RemoteProtocolError(f"the peer breaks HTTP/2: {breach}"))

    def _stream(self, stream_id: int) -> Stream | None:
        """The stream, None when it is over. Raises ConnectionBreach when it never was open."""
        if stream_id >= self._next_id or not stream_id & 1:
            raise _wrong("a frame on a stream that was never opened")
        stream = self._streams.get(stream_id)
        return None if stream is None or stream.is_over else stream

    def _pass_over(self, stream_id: int, size: int, *, is_last: bool) -> None:
        """A frame on a stream that is over: it crossed our reset on its way, or is a breach.

        RFC 9113, 5.1.
        """
        window = self._resets.get(stream_id)
        if window is None:
            raise ConnectionBreach(ErrorCode.STREAM_CLOSED, "a frame after the end of its stream")
        if not window.use(size):
            raise _too_much()
        if is_last:
            del self._resets[stream_id]

    def _progress(self, stream: Stream, *, is_last: bool) -> None:
        self._news.add(stream.stream_id)
        self._idle_frames = 0
        if is_last:
            if stream.unsent:  # answered before all was sent: nobody reads the rest
                self._sender.add(frames.RST_STREAM, 0, stream.stream_id, ErrorCode.CANCEL)
            self._close(stream)

    def _take_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)  # with its padding: RFC 9113, 6.9.1
        if not self._window.use(size):
            raise _too_much()
        stream = self._stream(stream_id)
        data = frames.strip_padding(flags & frames.PADDED, payload)
        is_last = bool(flags & frames.END_STREAM)
        if stream is None:
            self._pass_over(stream_id, size, is_last=is_last)
            self._give_back(None, size)
            self._idle_frames -= bool(size)  # no flood: the stream's window bounds it
            return
        try:
            stream.take_data(data, size, is_last=is_last)
        except StreamBreach:
            self._give_back(None, size)
            raise
        if data or is_last:
            self._progress(stream, is_last=is_last)
        if size > len(data):
            self._give_back(stream, size - len(data))

    def _take_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._stream(stream_id)
        data = frames.strip_padding(flags, payload)
        is_last = bool(flags & frames.END_STREAM)
        if flags & frames.END_HEADERS:
            self._take_section(stream_id, data, is_last=is_last)
        else:
            self._block = _Block(stream_id, is_last, bytearray(data))

    def _take_continuation(self, flags: int, _: int, payload: bytes) -> None:
        block = self._block
        if block is None:
            raise _wrong("a CONTINUATION of nothing")
        block.data += payload
        block.count += 1
        if len(block.data) > MAX_FIELD_SECTION_BYTES or block.count > _MAX_BLOCK_FRAMES:
            raise _flood("header fields")
        if flags & frames.END_HEADERS:
            self._block = None
            self._take_section(block.stream_id, bytes(block.data), is_last=block.is_last)

    def _take_section(self, stream_id: int, block: bytes, *, is_last: bool) -> None:
        stream = self._stream(stream_id)
        if stream is None:
            self._pass_over(stream_id, 0, is_last=is_last)
            return
        stream.take_section(self._decoder.decode(block), is_last=is_last)
        if stream.has_started:
            self._progress(stream, is_last=is_last)

    def _take_reset(self, _: int, stream_id: int, payload: bytes) -> None:
        stream = self._stream(stream_id)
        self._resets.pop(stream_id, None)
        if stream is None:
            return
        code = parse_number(payload)
        if code == ErrorCode.REFUSED_STREAM and not stream.has_started:
            what = "the server refused the stream and did not process it"
            self._fail(stream, RequestNotProcessed(what))
        else:
            what = f"the server reset the stream ({name_of(code)})"
            self._fail(stream, RemoteProtocolError(what))

    def _take_settings(self, flags: int, _: int, payload: bytes) -> None:
        if not flags & frames.ACK:
            self._sender.apply(payload, self._open_streams())
        elif payload:
            raise ConnectionBreach(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS that say yes and more")

    def _take_push(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise _wrong("a pushed stream, which we have switched off")

    def _take_ping(self, flags: int, _: int, payload: bytes) -> None:
        if not flags & frames.ACK:
            self._sender.add_pong(payload)

    def _take_goaway(self, _: int, __: int, payload: bytes) -> None:
        """RFC 9113, 6.8: streams above the last one named were not processed."""
        if len(payload) < 8:
            raise ConnectionBreach(ErrorCode.FRAME_SIZE_ERROR, "a GOAWAY that is too short")
        last, code = parse_number(payload) & MAX_STREAM_ID, parse_number(payload, 1)
        if self._last_processed is not None and last > self._last_processed:
            raise _wrong("a GOAWAY that takes another one back")
        self._last_processed = last
        what = f"the server is leaving (GOAWAY {name_of(code)}) and did not process the request"
        for stream in self._open_streams():
            if stream.stream_id > last:
                self._fail(stream, RequestNotProcessed(what))

    def _take_window_update(self, _: int, stream_id: int, payload: bytes) -> None:
        increment = parse_number(payload) & frames.MAX_WINDOW_BYTES
        if not stream_id:
            self._sender.open_window(increment)
        elif (stream := self._stream(stream_id)) is not None:
            self._sender.open_stream_window(stream, increment)


_TAKERS: dict[int, Callable[[HTTP2Connection, int, int, bytes], None]] = {
    frames.DATA: HTTP2Connection._take_data,
    frames.HEADERS: HTTP2Connection._take_headers,
    frames.RST_STREAM: HTTP2Connection._take_reset,
    frames.SETTINGS: HTTP2Connection._take_settings,
    frames.PUSH_PROMISE: HTTP2Connection._take_push,
    frames.PING: HTTP2Connection._take_ping,
    frames.GOAWAY: HTTP2Connection._take_goaway,
    frames.WINDOW_UPDATE: HTTP2Connection._take_window_update,
    frames.CONTINUATION: HTTP2Connection._take_continuation,
}


def _opening(window_bytes: int) -> bytes:
    settings = {
        # Stateless header blocks: nothing that the peer chooses is kept between answers.
        Setting.HEADER_TABLE_SIZE: 0,
        Setting.ENABLE_PUSH: 0,
        Setting.INITIAL_WINDOW_SIZE: window_bytes,
        Setting.MAX_HEADER_LIST_SIZE: MAX_FIELD_SECTION_BYTES,
    }
    return b"".join(
        (
            frames.PREFACE,
            encode_frame(frames.SETTINGS, 0, 0, frames.encode_settings(settings)),
            encode_frame(frames.WINDOW_UPDATE, 0, 0, encode_number(window_bytes)),
        )
    )


def _wrong(what: str) -> ConnectionBreach:
    return ConnectionBreach(ErrorCode.PROTOCOL_ERROR, what)


def _too_much() -> ConnectionBreach:
    return ConnectionBreach(ErrorCode.FLOW_CONTROL_ERROR, "more data than we allowed")


def _flood(of_what: str) -> ConnectionBreach:
    return ConnectionBreach(ErrorCode.ENHANCE_YOUR_CALM, f"a flood of {of_what}")
