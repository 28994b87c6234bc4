"""What a TLS client offers in its first message: the application protocols (ALPN).

Python's ssl picks no protocol in silence when nothing matches; RFC 7301 3.2 wants the alert
no_application_protocol. Only the offer is read here; OpenSSL still judges the message.
Must not know sockets.
"""

from __future__ import annotations

HANDSHAKE_RECORD = 0x16
RECORD_HEADER_BYTES = 5
MAX_RECORD_BYTES = RECORD_HEADER_BYTES + (1 << 14)

_CLIENT_HELLO = 1
_ALPN_EXTENSION = 16
_VERSION_AND_RANDOM_BYTES = 2 + 32


class _Fields:
    """Reads length-prefixed fields; running off the end raises IndexError."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise IndexError("field runs off the end")
        field, self._at = self._data[self._at : end], end
        return field

    def vector(self, length_bytes: int) -> bytes:
        return self.take(int.from_bytes(self.take(length_bytes), "big"))

    def __bool__(self) -> bool:
        return self._at < len(self._data)


def is_whole_record(data: bytes | bytearray) -> bool:
    """Whether data holds at least one TLS record, or cannot become one."""
    if data[:1] != bytes([HANDSHAKE_RECORD]):
        return True
    if len(data) < RECORD_HEADER_BYTES:
        return False
    length = int.from_bytes(data[3:5], "big")
    return len(data) >= min(RECORD_HEADER_BYTES + length, MAX_RECORD_BYTES)


def offered_protocols(record: bytes) -> tuple[bytes, ...] | None:
    """The ALPN names that a client offers; None when it offers none, or this is no ClientHello."""
    try:
        return _read_offer(record)
    except IndexError:
        return None


def _read_offer(record: bytes) -> tuple[bytes, ...] | None:
    layer = _Fields(record)
    if layer.take(1)[0] != HANDSHAKE_RECORD:
        return None
    layer.take(2)
    message = _Fields(layer.vector(2))
    if message.take(1)[0] != _CLIENT_HELLO:
        return None
    hello = _Fields(message.vector(3))
    hello.take(_VERSION_AND_RANDOM_BYTES)
    for length_bytes in (1, 2, 1):  # session id, cipher suites, compression methods
        hello.vector(length_bytes)
    extensions = _Fields(hello.vector(2))
    while extensions:
        kind = int.from_bytes(extensions.take(2), "big")
        value = extensions.vector(2)
        if kind == _ALPN_EXTENSION:
            return _read_names(_Fields(_Fields(value).vector(2)))
    return None


def _read_names(names: _Fields) -> tuple[bytes, ...]:
    found = []
    while names:
        found.append(names.vector(1))
    return tuple(found)
