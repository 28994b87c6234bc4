"""Looks at an encoded header block before it is decoded, and says when it would blow up.

With no dynamic table a field of a few dozen bytes still takes one byte on the wire, and in Python
some 250: a block of a megabyte would become a quarter of a gigabyte. Fields are only counted here;
what they are is the decoder's business. Must not know streams.
Source: RFC 9204 4.5.
"""

from __future__ import annotations

from .settings import DECODED_HEADER_LIST_BYTES, KIB

_HARMLESS_BYTES = 16 * KIB  # a block up to this long cannot decode to more than a few megabytes
_FIELD_OVERHEAD_BYTES = 32  # RFC 9114 4.2.2
_MAX_INTEGER_BYTES = 10


def blows_up(block: bytes) -> bool:
    """Whether a block for the static table decodes to more than DECODED_HEADER_LIST_BYTES.

    False also where it is malformed: the decoder will say so.
    """
    if len(block) <= _HARMLESS_BYTES:
        return False
    try:
        return _Lines(block).decoded_bytes(DECODED_HEADER_LIST_BYTES) > DECODED_HEADER_LIST_BYTES
    except IndexError:
        return False


class _Lines:
    """The field lines of a block; running off its end raises IndexError."""

    def __init__(self, block: bytes) -> None:
        self._block = block
        self._at = 0

    def decoded_bytes(self, enough: int) -> int:
        """At least so many bytes come out; counting ends at enough."""
        self._integer(8)  # required insert count
        self._integer(7)  # base
        total = 0
        while self._at < len(self._block) and total <= enough:
            total += _FIELD_OVERHEAD_BYTES + self._line()
        return total

    def _line(self) -> int:
        first = self._block[self._at]
        if first & 0x80:  # indexed
            self._integer(6)
            return 0
        if first & 0x40:  # a name of the table, a literal value
            self._integer(4)
            return self._string(7)
        if first & 0x20:  # a literal name and value
            return self._string(3) + self._string(7)
        raise IndexError("refers to the dynamic table, which does not exist")

    def _string(self, prefix_bits: int) -> int:
        length = self._integer(prefix_bits)
        self._at += length
        return length

    def _integer(self, prefix_bits: int) -> int:
        mask = (1 << prefix_bits) - 1
        value = self._block[self._at] & mask
        self._at += 1
        if value < mask:
            return value
        for shift in range(0, 7 * _MAX_INTEGER_BYTES, 7):
            byte = self._block[self._at]
            self._at += 1
            value += (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise IndexError("integer too long")
