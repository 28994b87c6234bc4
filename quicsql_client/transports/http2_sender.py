"""What an HTTP/2 connection sends: frames in order, bodies as far as the peer's windows allow.

Keeps what the peer has said about itself. Knows nothing of answers. Source: RFC 9113, 5.2, 6.5 and
6.9.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from . import frames
from .frames import (
    INITIAL_WINDOW_BYTES,
    MAX_WINDOW_BYTES,
    ConnectionBreach,
    ErrorCode,
    Setting,
    StreamBreach,
    encode_frame,
    encode_number,
)
from .http2_stream import Stream

__all__ = ["Sender"]

# RFC 9113, 6.5.2: what holds until the peer says something else.
_INITIAL_FRAME_BYTES = 16384
# No limit holds at first; this is what a peer should at least allow (RFC 9113, 6.5.2).
_INITIAL_STREAMS = 100
_NO_LIMIT = 2**32 - 1
# How much of the bodies is turned into frames at a time, and how much of one into one frame.
_MAX_AHEAD_BYTES = 1 << 18
_MAX_PIECE_BYTES = 1 << 16


class Sender:
    """The outgoing half.

    max_streams: how many the peer takes at a time. bytes_queued: all that has been queued so far.
    """

    def __init__(self, opening: bytes) -> None:
        self._out: list[bytes | memoryview] = [opening]
        self.bytes_queued = len(opening)
        self._bodies: deque[Stream] = deque()  # those with something unsent
        self._window = INITIAL_WINDOW_BYTES
        self._has_settings = False
        self._frame_bytes = _INITIAL_FRAME_BYTES
        self.stream_window = INITIAL_WINDOW_BYTES
        self.max_streams = _INITIAL_STREAMS

    def add(self, kind: int, flags: int, stream_id: int, *numbers: int) -> None:
        """Queue a frame whose payload is 32-bit numbers."""
        self._add(encode_frame(kind, flags, stream_id, encode_number(*numbers)))

    def add_pong(self, payload: bytes) -> None:
        """Queue the answer to a PING."""
        self._add(encode_frame(frames.PING, frames.ACK, 0, payload))

    def start(self, stream: Stream, block: bytes) -> None:
        """Queue the head of a request; its body follows as it may."""
        size = self._frame_bytes
        pieces = [block[at : at + size] for at in range(0, len(block), size)]
        kind, flags = frames.HEADERS, 0 if stream.unsent else frames.END_STREAM
        for number, piece in enumerate(pieces, 1):
            flags |= frames.END_HEADERS if number == len(pieces) else 0
            self._add(encode_frame(kind, flags, stream.stream_id, piece))
            kind, flags = frames.CONTINUATION, 0
        if stream.unsent:
            self._bodies.append(stream)

    def _add(self, data: bytes | memoryview) -> None:
        self._out.append(data)
        self.bytes_queued += len(data)

    def take(self) -> bytes:
        """What is to be sent now."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def end_with(self, *last: bytes) -> None:
        """Forget all that is queued; nothing but this is sent any more."""
        self._out = [*last]
        self._bodies.clear()

    def queue_bodies(self) -> bool:
        """Turn a bounded part of the bodies into frames, each stream in its turn.

        True when there was anything that the windows let through.
        """
        ahead = blocked = 0
        while blocked < len(self._bodies) and ahead < _MAX_AHEAD_BYTES:
            stream = self._bodies.popleft()
            if not stream.unsent:  # it was closed meanwhile
                continue
            size = self._queue_piece(stream)
            ahead += size
            blocked += not size
            if stream.unsent:
                self._bodies.append(stream)
        return ahead > 0

    def _queue_piece(self, stream: Stream) -> int:
        most = min(self._window, stream.send_window, self._frame_bytes, _MAX_PIECE_BYTES)
        if most <= 0:
            return 0
        size = min(len(stream.unsent), most)
        piece, stream.unsent = stream.unsent[:size], stream.unsent[size:]
        stream.send_window -= size
        self._window -= size
        flags = 0 if stream.unsent else frames.END_STREAM
        self._add(frames.encode_header(size, frames.DATA, flags, stream.stream_id))
        self._add(piece)
        return size

    # What the peer says

    def open_window(self, increment: int) -> None:
        """A WINDOW_UPDATE of the connection. Raises ConnectionBreach."""
        self._window = _opened(self._window, increment, ConnectionBreach)

    def open_stream_window(self, stream: Stream, increment: int) -> None:
        """A WINDOW_UPDATE of a stream. Raises StreamBreach."""
        stream.send_window = _opened(stream.send_window, increment, StreamBreach)

    def apply(self, payload: bytes, streams: Iterable[Stream]) -> None:
        """The peer's SETTINGS, acknowledged. streams: those that are open.

        Raises ConnectionBreach.
        """
        settings = frames.parse_settings(payload)
        if not self._has_settings:
            self._has_settings = True
            self.max_streams = _NO_LIMIT
        self.max_streams = settings.get(Setting.MAX_CONCURRENT_STREAMS, self.max_streams)
        self._frame_bytes = settings.get(Setting.MAX_FRAME_SIZE, self._frame_bytes)
        window = settings.get(Setting.INITIAL_WINDOW_SIZE, self.stream_window)
        change, self.stream_window = window - self.stream_window, window
        for stream in streams:
            stream.send_window += change
            if stream.send_window > MAX_WINDOW_BYTES:
                raise ConnectionBreach(
                    ErrorCode.FLOW_CONTROL_ERROR, "SETTINGS that make a window too large"
                )
        self.add(frames.SETTINGS, frames.ACK, 0)


def _opened(window: int, increment: int, breach: type[ConnectionBreach | StreamBreach]) -> int:
    """The window after a WINDOW_UPDATE (RFC 9113, 6.9)."""
    if not increment or window + increment > MAX_WINDOW_BYTES:
        code = ErrorCode.FLOW_CONTROL_ERROR if increment else ErrorCode.PROTOCOL_ERROR
        raise breach(code, f"a WINDOW_UPDATE by {increment}")
    return window + increment
