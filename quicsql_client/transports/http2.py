"""HTTP/2 client core, one request at a time: `h2` inside, behind a frame splitter of our own.

The splitter bounds frames before they are buffered, and keeps GOAWAY away from `h2`, which would
give the answers up that a graceful GOAWAY still lets come. No socket, no clock. Every foreign
exception ends here as RemoteProtocolError. Source: RFC 9113; protocol/transports.md.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings

from ..errors import LocalProtocolError, RemoteProtocolError
from ..wire.messages import Headers, Request
from .events import BodyPart, Event, RequestNotProcessed, ResponseEnded, ResponseStarted

__all__ = ["HTTP2Connection"]

# RFC 9113, 4.1 and 6: length (24 bits), type, flags, stream. 16384 is the frame size that we leave
# in place.
_HEADER_BYTES = 9
_MAX_FRAME_BYTES = 16384
_DATA, _GOAWAY, _SETTINGS = 0, 7, 4
_STREAM_MASK = 0x7FFFFFFF
# How much the peer may send of one answer ahead of our reading, and of its header block.
_WINDOW_BYTES = 1 << 24
_MAX_HEADER_BLOCK_BYTES = 65536
# Frames that bring an answer no further (PING, SETTINGS, empty DATA ...) before it is a flood.
_MAX_IDLE_FRAMES = 10_000
_CODES = {code.value: code.name for code in h2.errors.ErrorCodes}


class HTTP2Connection:
    """One HTTP/2 connection.

    Authority and scheme: what the requests say in their pseudo-header fields.
    """

    def __init__(self, authority: str, scheme: str) -> None:
        self._authority = authority
        self._scheme = scheme
        self._h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding=None)
        )
        self._frames = _FrameSplitter()
        self._events: deque[Event] = deque()
        self._stream = 0
        self._unsent = memoryview(b"")
        self._is_started = False
        self._is_active = False
        self._is_broken = False
        self._is_going_away = False
        self._heard = False
        self._idle_frames = 0
        self._has_status = False

    @property
    def is_reusable(self) -> bool:
        return not (self._is_active or self._is_broken or self._is_going_away)

    @property
    def has_heard(self) -> bool:
        return self._heard

    def start_request(self, request: Request) -> bytes:
        if not self.is_reusable:
            raise LocalProtocolError("the connection is busy or of no more use")
        self._is_active = True
        self._has_status = False
        self._idle_frames = 0
        if not self._is_started:
            self._start_connection()
        self._stream = self._h2.get_next_available_stream_id()
        self._h2.send_headers(self._stream, self._fields(request), end_stream=not request.body)
        self._unsent = memoryview(request.body)
        self._send_body()
        return self._h2.data_to_send()

    def receive_data(self, data: bytes) -> bytes:
        if not data:
            self._take_end()
            return b""
        self._heard = True
        try:
            for kind, stream, payload, frame in self._frames.split(data):
                self._take_frame(kind, stream, payload, frame)
            self._send_body()
        except RemoteProtocolError:
            self._is_broken = True
            raise
        except Exception as error:
            # h2 and what is under it parse the peer's bytes: whatever they raise, the peer is to
            # blame.
            self._is_broken = True
            raise RemoteProtocolError(
                f"the peer breaks HTTP/2: {type(error).__name__}: {error!s:.120}"
            ) from error
        return self._h2.data_to_send()

    def next_event(self) -> Event | None:
        return self._events.popleft() if self._events else None

    # Sending

    def _start_connection(self) -> None:
        self._is_started = True
        settings = {
            # Stateless header blocks: nothing that the peer chooses is kept between answers.
            h2.settings.SettingCodes.HEADER_TABLE_SIZE: 0,
            h2.settings.SettingCodes.ENABLE_PUSH: 0,
            h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW_BYTES,
            h2.settings.SettingCodes.MAX_FRAME_SIZE: _MAX_FRAME_BYTES,
            h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: _MAX_HEADER_BLOCK_BYTES,
        }
        self._h2.local_settings = h2.settings.Settings(client=True, initial_values=settings)
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_WINDOW_BYTES)

    def _fields(self, request: Request) -> list[tuple[str, str]]:
        fields = [
            (":method", request.method),
            (":scheme", self._scheme),
            (":authority", self._authority),
            (":path", request.target),
            ("accept-encoding", "identity"),
        ]
        if request.body or request.method in ("POST", "PUT", "PATCH"):
            fields.append(("content-length", str(len(request.body))))
        return [*fields, *request.headers]

    def _send_body(self) -> None:
        """Hand over as much of the body as the peer's windows allow."""
        while self._unsent and self._is_active:
            allowed = min(
                self._h2.local_flow_control_window(self._stream),
                self._h2.max_outbound_frame_size,
                len(self._unsent),
            )
            if allowed <= 0:
                return
            self._idle_frames = 0
            piece, self._unsent = self._unsent[:allowed], self._unsent[allowed:]
            self._h2.send_data(self._stream, piece.tobytes(), end_stream=not self._unsent)

    # Receiving

    def _take_end(self) -> None:
        self._is_broken = True
        if self._is_active:
            raise RemoteProtocolError("the connection was closed before the answer was whole")

    def _take_frame(self, kind: int, stream: int, payload: bytes, frame: bytes) -> None:
        if kind == _GOAWAY:
            self._take_goaway(payload)
            return
        if kind == _DATA and stream != self._stream:
            raise RemoteProtocolError("DATA on a stream that is not open")
        before = len(self._events)
        for event in self._h2.receive_data(frame):
            self._take_event(event)
        if len(self._events) > before:
            self._idle_frames = 0
        else:
            self._count_idle_frame()

    def _count_idle_frame(self) -> None:
        self._idle_frames += 1
        if self._idle_frames > _MAX_IDLE_FRAMES:
            raise RemoteProtocolError("the peer floods us with frames that bring no answer")

    def _take_goaway(self, payload: bytes) -> None:
        """RFC 9113, 6.8: streams above the last one named were not processed."""
        if len(payload) < 8:
            raise RemoteProtocolError("a GOAWAY frame that is too short")
        last, code = struct.unpack_from(">II", payload)
        self._is_going_away = True
        if self._is_active and (last & _STREAM_MASK) < self._stream:
            raise RequestNotProcessed(
                f"the server is leaving (GOAWAY {_CODES.get(code, code)}) and did not process the "
                "request"
            )

    def _take_event(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            self._take_head(event)
        elif isinstance(event, h2.events.DataReceived):
            self._take_data(event)
        elif isinstance(event, h2.events.StreamEnded):
            self._take_stream_end()
        elif isinstance(event, h2.events.StreamReset):
            self._take_reset(event)
        elif isinstance(event, h2.events.PushedStreamReceived):
            raise RemoteProtocolError("a pushed stream, which we have switched off")

    def _take_head(self, event: h2.events.ResponseReceived) -> None:
        pairs = [(bytes(name), bytes(value)) for name, value in event.headers or ()]
        status = next((value for name, value in pairs if name == b":status"), b"")
        if not (len(status) == 3 and status.isdigit()):
            raise RemoteProtocolError("an answer without a :status of three digits")
        headers: Headers = tuple(
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in pairs
            if not name.startswith(b":")
        )
        self._has_status = True
        self._events.append(ResponseStarted(int(status), headers))

    def _take_data(self, event: h2.events.DataReceived) -> None:
        if not self._has_status:
            raise RemoteProtocolError("a body before the header fields")
        length = event.flow_controlled_length or 0
        if length:
            self._h2.acknowledge_received_data(length, self._stream)
        if event.data:
            self._events.append(BodyPart(bytes(event.data)))

    def _take_stream_end(self) -> None:
        self._is_active = False
        if self._unsent:  # answered before all was sent: what is left would be a surplus there
            self._is_broken = True
        self._events.append(ResponseEnded())

    def _take_reset(self, event: h2.events.StreamReset) -> None:
        if not self._is_active:
            return  # after a whole answer: the server wants no more of the request's body
        self._is_broken = True
        code = int(event.error_code or 0)
        if code == h2.errors.ErrorCodes.REFUSED_STREAM and not self._has_status:
            raise RequestNotProcessed("the server refused the stream and did not process it")
        raise RemoteProtocolError(f"the server reset the stream ({_CODES.get(code, code)})")


class _FrameSplitter:
    """Bytes to whole frames, each at most 16384 bytes of payload."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._is_first = True

    def split(self, data: bytes) -> Iterator[tuple[int, int, bytes, bytes]]:
        """Type, stream, payload and the whole frame of each that is complete."""
        self._buffer += data
        while len(self._buffer) >= _HEADER_BYTES:
            high, low, kind, _, stream = struct.unpack_from(">HBBBI", self._buffer)
            length = high << 8 | low
            self._check(length, kind)
            end = _HEADER_BYTES + length
            if len(self._buffer) < end:
                return
            frame = bytes(self._buffer[:end])
            del self._buffer[:end]
            yield kind, stream & _STREAM_MASK, frame[_HEADER_BYTES:], frame

    def _check(self, length: int, kind: int) -> None:
        if self._is_first and kind != _SETTINGS:
            raise RemoteProtocolError(
                "the peer does not speak HTTP/2 here (its first bytes are no SETTINGS frame)"
            )
        self._is_first = False
        if length > _MAX_FRAME_BYTES:
            raise RemoteProtocolError(f"a frame of {length} bytes, more than we allow")
