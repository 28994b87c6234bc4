"""Looks at the headers of HTTP/2 frames before they are parsed, and stops floods.

A peer may send frames that cost it nothing and the server a lot: PING and SETTINGS (each is
answered),
RST_STREAM after HEADERS (rapid reset, CVE-2023-44487), CONTINUATION without end (CVE-2024-27316
and its family), empty DATA, frames larger than announced, which the parser would collect first.
Bytes are only counted here; what they mean is the protocol's business. Must not know sockets.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from h2.errors import ErrorCodes

from .settings import MAX_CONCURRENT_STREAMS, MAX_FRAME_BYTES, MIB

_PREFACE_BYTES = 24
_FRAME_HEADER_BYTES = 9
_END_STREAM = 0x1
_DATA, _HEADERS, _RST_STREAM, _WINDOW_UPDATE, _CONTINUATION = 0, 1, 3, 8, 9
_UNCOUNTED = frozenset({_HEADERS, _WINDOW_UPDATE})

# A client may cancel all its streams at once, and again after a moment; ten thousand times it is
# an attack.
_RESET_BURST, _RESETS_PER_S = 2 * MAX_CONCURRENT_STREAMS, 100.0
_CONTROL_BURST, _CONTROLS_PER_S = 1000, 200.0
_MAX_HEADER_BLOCK_BYTES = MIB + 64 * 1024
_MAX_CONTINUATIONS = 128


class Flood(Exception):
    """The peer must be cut off. error_code: what GOAWAY says."""

    def __init__(self, reason: str, error_code: ErrorCodes = ErrorCodes.ENHANCE_YOUR_CALM) -> None:
        super().__init__(reason)
        self.error_code = error_code


class Allowance:
    """A token bucket: `burst` at once, refilled by `per_s`."""

    def __init__(
        self, burst: float, per_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst, self._per_s, self._clock = burst, per_s, clock
        self._left, self._at = burst, clock()

    def spend(self, reason: str) -> None:
        """Take one. Raises: Flood when none is left."""
        if self._left < 1:
            now = self._clock()
            self._left = min(self._burst, self._left + (now - self._at) * self._per_s)
            self._at = now
            if self._left < 1:
                raise Flood(reason)
        self._left -= 1


class FrameGuard:
    """Watches one connection's incoming bytes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.resets = Allowance(_RESET_BURST, _RESETS_PER_S, clock)
        self._controls = Allowance(_CONTROL_BURST, _CONTROLS_PER_S, clock)
        self._skip_bytes = _PREFACE_BYTES
        self._header = bytearray()
        self._block_bytes = 0
        self._continuations = 0

    def check(self, data: bytes) -> None:
        """Count the frames that begin in data. Raises: Flood."""
        at, end = 0, len(data)
        while at < end:
            if self._skip_bytes:
                step = min(self._skip_bytes, end - at)
                self._skip_bytes -= step
                at += step
                continue
            step = min(_FRAME_HEADER_BYTES - len(self._header), end - at)
            self._header += data[at : at + step]
            at += step
            if len(self._header) == _FRAME_HEADER_BYTES:
                self._skip_bytes = int.from_bytes(self._header[:3], "big")
                self._count(self._header[3], self._header[4], self._skip_bytes)
                self._header.clear()

    def _count(self, kind: int, flags: int, length: int) -> None:
        if length > MAX_FRAME_BYTES:
            raise Flood(f"frame of {length} bytes", ErrorCodes.FRAME_SIZE_ERROR)
        if kind == _HEADERS:
            self._block_bytes, self._continuations = length, 0
        elif kind == _CONTINUATION:
            self._count_continuation(length)
        elif kind == _RST_STREAM:
            self.resets.spend("too many stream resets")
        elif kind == _DATA:
            if length == 0 and not flags & _END_STREAM:
                self._controls.spend("too many empty DATA frames")
        elif kind not in _UNCOUNTED:
            self._controls.spend("too many control frames")

    def _count_continuation(self, length: int) -> None:
        self._block_bytes += length
        self._continuations += 1
        if self._block_bytes > _MAX_HEADER_BLOCK_BYTES or self._continuations > _MAX_CONTINUATIONS:
            raise Flood("header block too long")
