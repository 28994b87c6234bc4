"""HTTP/2 frames: bytes to frames and back, and what each frame has to be by itself.

Knows no stream and no connection: whether a frame may come now is for `http2` to say. A frame
counts as soon as its header is there, so that one that is too long is never buffered. Source: RFC
9113, 4 and 6.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum

__all__ = [
    "ACK",
    "CONTINUATION",
    "DATA",
    "END_HEADERS",
    "END_STREAM",
    "GOAWAY",
    "HEADERS",
    "INITIAL_WINDOW_BYTES",
    "MAX_FRAME_BYTES",
    "MAX_STREAM_ID",
    "MAX_WINDOW_BYTES",
    "PADDED",
    "PING",
    "PREFACE",
    "PRIORITY",
    "PUSH_PROMISE",
    "RST_STREAM",
    "SETTINGS",
    "WINDOW_UPDATE",
    "ConnectionBreach",
    "ErrorCode",
    "FrameReader",
    "Setting",
    "StreamBreach",
    "encode_frame",
    "encode_header",
    "encode_number",
    "encode_settings",
    "malformed",
    "name_of",
    "parse_number",
    "parse_settings",
    "strip_padding",
]

# RFC 9113, 3.4 and 6.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 5, 6, 7, 8, 9
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, WITH_PRIORITY = 0x4, 0x8, 0x20

# RFC 9113, 4.2: what each side takes at least, and what we take at most.
MAX_FRAME_BYTES = 16384
# RFC 9113, 6.9.2: how much each side may send in all, and on a stream, until the other says more.
INITIAL_WINDOW_BYTES = 65535
MAX_STREAM_ID = MAX_WINDOW_BYTES = 2**31 - 1

# Length (24 bits in two parts), type, flags, stream.
_HEADER = struct.Struct(">HBBBI")
_NUMBER = struct.Struct(">I")
_SETTING = struct.Struct(">HI")
_PRIORITY_BYTES = 5
_ON_STREAM = frozenset({DATA, HEADERS, PRIORITY, RST_STREAM, PUSH_PROMISE, CONTINUATION})
_ON_CONNECTION = frozenset({SETTINGS, PING, GOAWAY})
_LENGTHS = {PRIORITY: _PRIORITY_BYTES, RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}

Frame = tuple[int, int, int, bytes]
"""Type, flags, stream and payload."""


class ErrorCode(IntEnum):
    """RFC 9113, 7."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


_NAMES = {code.value: code.name for code in ErrorCode}


class Setting(IntEnum):
    """RFC 9113, 6.5.2; the last one RFC 8441."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6
    ENABLE_CONNECT_PROTOCOL = 8


class _Breach(Exception):
    """The peer breaks the protocol. Never leaves the core: callers get RemoteProtocolError."""

    def __init__(self, code: ErrorCode, what: str) -> None:
        super().__init__(what)
        self.code = code


class StreamBreach(_Breach):
    """On one stream: that one is reset, the others go on."""


class ConnectionBreach(_Breach):
    """On the whole connection, which is of no more use."""


def malformed(what: str) -> StreamBreach:
    """A message that is none (RFC 9113, 8.1.1)."""
    return StreamBreach(ErrorCode.PROTOCOL_ERROR, what)


def name_of(code: int) -> str:
    """The name of an error code, or its number when nobody gave it one."""
    return _NAMES.get(code, str(code))


class FrameReader:
    """Bytes to whole frames, of which it keeps less than one."""

    def __init__(self) -> None:
        self._rest = b""
        self._has_read = False

    def read(self, data: bytes) -> Iterator[Frame]:
        """Each frame that is complete now. Raises ConnectionBreach, and is then of no more use."""
        data = self._rest + data if self._rest else data
        start, size = 0, len(data)
        while size - start >= _HEADER.size:
            high, low, kind, flags, stream_id = _HEADER.unpack_from(data, start)
            length = high << 8 | low
            stream_id &= MAX_STREAM_ID
            self._check_header(kind, flags, stream_id, length)
            end = start + _HEADER.size + length
            if end > size:
                break
            yield kind, flags, stream_id, data[start + _HEADER.size : end]
            start = end
        self._rest = data[start:]

    def _check_header(self, kind: int, flags: int, stream_id: int, length: int) -> None:
        if not self._has_read:
            if kind != SETTINGS or flags & ACK:
                raise ConnectionBreach(
                    ErrorCode.PROTOCOL_ERROR,
                    "it does not speak HTTP/2 here (its first bytes are no SETTINGS frame)",
                )
            self._has_read = True
        if length > MAX_FRAME_BYTES:
            raise ConnectionBreach(
                ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes, more than we allow"
            )
        if length != _LENGTHS.get(kind, length):
            raise ConnectionBreach(
                ErrorCode.FRAME_SIZE_ERROR, f"a frame of type {kind} with {length} bytes"
            )
        if (kind in _ON_STREAM and not stream_id) or (kind in _ON_CONNECTION and stream_id):
            raise ConnectionBreach(
                ErrorCode.PROTOCOL_ERROR, f"a frame of type {kind} on stream {stream_id}"
            )


def strip_padding(flags: int, payload: bytes) -> bytes:
    """What a HEADERS frame carries, or a DATA frame, which has no flag of these but PADDED.

    RFC 9113, 6.1 and 6.2. Raises ConnectionBreach.
    """
    start, end = 0, len(payload)
    if flags & PADDED:
        if not payload:
            raise ConnectionBreach(ErrorCode.FRAME_SIZE_ERROR, "a padded frame without its length")
        start, end = 1, end - payload[0]
        if end < start:
            raise ConnectionBreach(ErrorCode.PROTOCOL_ERROR, "more padding than frame")
    if flags & WITH_PRIORITY:
        start += _PRIORITY_BYTES
        if end < start:
            raise ConnectionBreach(ErrorCode.FRAME_SIZE_ERROR, "a HEADERS frame cut in its head")
    return payload[start:end]


def parse_settings(payload: bytes) -> dict[int, int]:
    """Value by identifier, each within its bounds; of several for one the last. RFC 9113, 6.5.2.

    Raises ConnectionBreach.
    """
    if len(payload) % _SETTING.size:
        raise ConnectionBreach(ErrorCode.FRAME_SIZE_ERROR, "a SETTINGS frame with a cut entry")
    settings = list(_SETTING.iter_unpack(payload))
    for key, value in settings:
        if key == Setting.INITIAL_WINDOW_SIZE and value > MAX_WINDOW_BYTES:
            raise ConnectionBreach(ErrorCode.FLOW_CONTROL_ERROR, f"a window of {value} bytes")
        is_wrong = (
            (key == Setting.ENABLE_PUSH and value != 0)  # 1 is not for servers to say
            or (key == Setting.ENABLE_CONNECT_PROTOCOL and value > 1)
            or (key == Setting.MAX_FRAME_SIZE and not MAX_FRAME_BYTES <= value < 1 << 24)
        )
        if is_wrong:
            raise ConnectionBreach(
                ErrorCode.PROTOCOL_ERROR, f"SETTINGS that set {Setting(key).name} to {value}"
            )
    return dict(settings)


def encode_header(size: int, kind: int, flags: int, stream_id: int) -> bytes:
    """What stands before a payload of so many bytes."""
    return _HEADER.pack(size >> 8, size & 0xFF, kind, flags, stream_id)


def encode_frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return encode_header(len(payload), kind, flags, stream_id) + payload


def encode_number(*values: int) -> bytes:
    """32 bits each: an error code, a window's increment, a last stream."""
    return b"".join(map(_NUMBER.pack, values))


def parse_number(payload: bytes, index: int = 0) -> int:
    """One of them."""
    number: int = _NUMBER.unpack_from(payload, index * _NUMBER.size)[0]
    return number


def encode_settings(settings: dict[Setting, int]) -> bytes:
    """The payload of a SETTINGS frame."""
    return b"".join(_SETTING.pack(key, value) for key, value in settings.items())
