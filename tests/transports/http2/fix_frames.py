"""Frames written by hand, from RFC 9113 and not by our own code; answers made of them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 5, 6, 7, 8, 9
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, WITH_PRIORITY = 0x4, 0x8, 0x20
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX = 2**31 - 1
# ":status 200" of the static table.
OK = b"\x88"


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    length = len(payload)
    return struct.pack(">HBBBI", length >> 8, length & 255, kind, flags, stream) + payload


def numbers(*values: int) -> bytes:
    return struct.pack(f">{len(values)}I", *values)


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def literal(name: str, value: str) -> bytes:
    """A field without indexing and Huffman code; both texts shorter than 127 bytes."""
    raw = name.encode(), value.encode("latin-1")
    return b"\0" + b"".join(bytes([len(text)]) + text for text in raw)


def head(stream: int, block: bytes = OK, *, ends: bool = False) -> bytes:
    return frame(HEADERS, END_HEADERS | ends, stream, block)


def data(stream: int, payload: bytes, *, ends: bool = False) -> bytes:
    return frame(DATA, int(ends), stream, payload)


class Frame(NamedTuple):
    kind: int
    flags: int
    stream: int
    payload: bytes


def split(sent: bytes) -> Iterator[Frame]:
    """The frames of what was sent, after the preface if it is there."""
    sent = sent.removeprefix(PREFACE)
    while sent:
        high, low, kind, flags, stream = struct.unpack_from(">HBBBI", sent)
        end = 9 + (high << 8 | low)
        assert len(sent) >= end
        yield Frame(kind, flags, stream, sent[9:end])
        sent = sent[end:]
