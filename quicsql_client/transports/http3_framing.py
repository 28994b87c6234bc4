"""aioquic's HTTP/3 framing as a client needs it: bounded, without tables, with GOAWAY.

    dynamic tables, pushes   switched off: they turn a byte into kilobytes and outlive a request
    what waits for its rest  at most a field section on each stream; aioquic sets no bound
    GOAWAY                   aioquic passes it over
    the size of a body       aioquic misses it in answers to HEAD; `http2_stream` counts instead

Must not know sockets or requests. Source: RFC 9114, RFC 9204.
"""

from __future__ import annotations

from typing import Any

import pylsqpack
from aioquic.buffer import Buffer, BufferReadError  # type: ignore[attr-defined]
from aioquic.h3.connection import (
    ErrorCode,
    FrameType,
    FrameUnexpected,
    H3Connection,
    H3Stream,
    ProtocolError,
    Setting,
)
from aioquic.h3.events import H3Event
from aioquic.quic.connection import QuicConnection

from .fields import MAX_FIELD_SECTION_BYTES

__all__ = ["Framing"]

# Longer than any GOAWAY, whose payload is one number of at most eight bytes.
_MAX_NUMBER_BYTES = 8
_REQUEST_SPACING = 4


class _ExcessiveLoad(ProtocolError):
    error_code = ErrorCode.H3_EXCESSIVE_LOAD


class _IdError(ProtocolError):
    error_code = ErrorCode.H3_ID_ERROR


class Framing(H3Connection):
    """The frames of one connection.

    goaway: requests from this stream on are not processed; None while the server stays.
    """

    def __init__(self, quic: QuicConnection) -> None:
        super().__init__(quic)
        self._decoder = pylsqpack.Decoder(0, 0)
        self._control = b""
        self._skipped_bytes = 0  # of a frame's payload that is still to come
        self._has_control_type = False
        self.goaway: int | None = None

    def _init_connection(self) -> None:
        self._max_push_id = None  # no pushes
        super()._init_connection()

    def _get_local_settings(self) -> dict[int, int]:
        return {
            Setting.QPACK_MAX_TABLE_CAPACITY: 0,
            Setting.QPACK_BLOCKED_STREAMS: 0,
            Setting.MAX_FIELD_SECTION_SIZE: MAX_FIELD_SECTION_BYTES,
        }

    def _validate_settings(self, settings: dict[int, int]) -> None:
        super()._validate_settings(settings)
        # aioquic gives its encoder the table that these settings offer, however large.
        settings[Setting.QPACK_MAX_TABLE_CAPACITY] = 0
        settings[Setting.QPACK_BLOCKED_STREAMS] = 0

    def _decode_headers(self, stream_id: int, frame_data: bytes | None) -> Any:
        if frame_data is not None and len(frame_data) > MAX_FIELD_SECTION_BYTES:
            raise _ExcessiveLoad("more header fields than we allow")
        return super()._decode_headers(stream_id, frame_data)

    def _check_content_length(self, stream: H3Stream) -> None:
        """Not here."""

    def _receive_request_or_push_data(
        self, stream: H3Stream, data: bytes, stream_ended: bool
    ) -> list[H3Event]:
        events = super()._receive_request_or_push_data(stream, data, stream_ended)
        _check_held(stream)
        return events

    def _receive_stream_data_uni(
        self, stream: H3Stream, data: bytes, stream_ended: bool
    ) -> list[H3Event]:
        events = super()._receive_stream_data_uni(stream, data, stream_ended)
        if stream.stream_id == self._peer_control_stream_id:
            self._read_control(data)
        _check_held(stream)
        return events

    def forget(self, stream_id: int) -> None:
        """Drop what is kept for a stream; no event of it may be handled any more."""
        self._stream.pop(stream_id, None)

    # GOAWAY

    def _read_control(self, data: bytes) -> None:
        """Follow the frames of the control stream, whose payloads aioquic has checked."""
        self._control += data
        if not self._has_control_type:
            # The type may come byte by byte, and is one byte where the peer is sane.
            try:
                self._control = _after_number(self._control)
            except BufferReadError:
                return
            self._has_control_type = True
        while self._read_frame():
            pass

    def _read_frame(self) -> bool:
        skipped = min(self._skipped_bytes, len(self._control))
        self._control = self._control[skipped:]
        self._skipped_bytes -= skipped
        if self._skipped_bytes or not self._control:
            return False
        buffer = Buffer(data=self._control)
        try:
            kind, size = buffer.pull_uint_var(), buffer.pull_uint_var()
            if kind == FrameType.GOAWAY:
                self._take_goaway(buffer, size)
        except BufferReadError:
            return False
        at = buffer.tell()
        self._control = self._control[at:]
        self._skipped_bytes = 0 if kind == FrameType.GOAWAY else size
        return True

    def _take_goaway(self, buffer: Buffer, size: int) -> None:
        """RFC 9114, 5.2 and 7.2.6."""
        if not 0 < size <= _MAX_NUMBER_BYTES:
            raise FrameUnexpected("a GOAWAY that is no number")
        payload = Buffer(data=buffer.pull_bytes(size))
        stream_id = payload.pull_uint_var()
        if not payload.eof() or stream_id % _REQUEST_SPACING:
            raise _IdError("a GOAWAY that names no request")
        if self.goaway is not None and stream_id > self.goaway:
            raise _IdError("a GOAWAY that takes another one back")
        self.goaway = stream_id


def _after_number(data: bytes) -> bytes:
    buffer = Buffer(data=data)
    buffer.pull_uint_var()
    return data[buffer.tell() :]


def _check_held(stream: H3Stream) -> None:
    if len(stream.buffer) > MAX_FIELD_SECTION_BYTES:
        raise _ExcessiveLoad("a frame that is longer than we allow")
