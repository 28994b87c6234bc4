"""Header blocks of HTTP/2 without a dynamic table: requests to bytes, bytes to checked answers.

No block depends on another one: the peer is told a table size of 0, and we use no table of the
peer's. So blocks can be remembered by their bytes, and one that is wrong spoils no other. What
could be a secret is never indexed on the way (RFC 7541, 7.1.3) and never remembered here. hpack
brings the static table and the Huffman code. Source: RFC 7541; RFC 9113, 8.2 and 8.3.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from typing import NamedTuple, TypeVar

from hpack.exceptions import HPACKDecodingError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from ..wire.messages import Headers, Request
from .base import CONNECTION_FIELDS, FIELD_NAME, FIELD_VALUE, tells_length
from .frames import ConnectionBreach, ErrorCode, StreamBreach, malformed

__all__ = [
    "MAX_FIELD_SECTION_BYTES",
    "RequestEncoder",
    "Section",
    "SectionDecoder",
    "check_fields",
    "check_size",
]

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")

# The fields of one answer, each counted with 32 bytes more than its text (RFC 9113, 6.5.2; RFC
# 9114, 4.2.2).
MAX_FIELD_SECTION_BYTES = 65536
_ENTRY_BYTES = 32
# What is remembered of each connection: so many blocks or fields of at most so many bytes.
_MAX_REMEMBERED = 64
_MAX_REMEMBERED_BYTES = 512

# RFC 7541, 6: the first bits of a representation, and how many bits its number has there.
_INDEXED, _INDEXED_BITS = 0x80, 7
_INDEXING, _INDEXING_BITS = 0x40, 6
_TABLE_SIZE, _TABLE_SIZE_BITS = 0x20, 5
_NEVER_INDEXED, _LITERAL_BITS = 0x10, 4
_HUFFMAN, _LENGTH_BITS = 0x80, 7
# Five bytes hold any number below 2**32; a longer one says nothing that we could take.
_MAX_NUMBER_BYTES = 5
_NO_TABLE = bytes([_TABLE_SIZE])

_STATIC: tuple[tuple[bytes, bytes], ...] = HeaderTable.STATIC_TABLE
_EXACT = {(n.decode(), v.decode()): index for index, (n, v) in enumerate(_STATIC, 1) if v}
_NAMES = {n.decode(): index for index, (n, _) in reversed([*enumerate(_STATIC, 1)])}
# What tells no secret, whatever the value: other fields might.
_PUBLIC = frozenset(
    {":scheme", ":authority", ":path", "accept", "accept-encoding", "content-type", "user-agent"}
)
_STATUS = re.compile(rb"[1-9][0-9]{2}")
_LENGTH = re.compile(r"[0-9]{1,19}")
_NAME = re.compile(FIELD_NAME.encode())
_VALUE = re.compile(FIELD_VALUE.encode("latin-1"))
_FORBIDDEN = CONNECTION_FIELDS | {"te"}


class Section(NamedTuple):
    """The header or trailer fields of an answer, checked.

    status: None in trailers. length: what content-length says, None where it is not there.
    """

    status: int | None
    headers: Headers
    length: int | None


# Requests


class RequestEncoder:
    """The header blocks of one connection's requests."""

    def __init__(self, authority: str, scheme: str) -> None:
        self._shared = _literal(":scheme", scheme) + _literal(":authority", authority)
        self._known: dict[tuple[str, str], bytes] = {}
        self._announced = _NO_TABLE

    def encode(self, request: Request) -> bytes:
        """The block, in the order that RFC 9113, 8.3 asks for."""
        pieces = [
            self._announced,
            _literal(":method", request.method),
            self._shared,
            self._field((":path", request.target)),
            self._field(("accept-encoding", "identity")),
        ]
        # Once is enough, and right whatever table the peer offers (RFC 7541, 4.2).
        self._announced = b""
        if tells_length(request):
            pieces.append(_literal("content-length", str(len(request.body))))
        pieces += [self._field(field) for field in request.headers]
        return b"".join(pieces)

    def _field(self, field: tuple[str, str]) -> bytes:
        known = self._known.get(field)
        if known is not None:
            return known
        if field[0] not in _PUBLIC:
            return _literal(*field, flag=_NEVER_INDEXED)
        encoded = _literal(*field)
        _remember(self._known, field, encoded, len(encoded))
        return encoded


def _literal(name: str, value: str, *, flag: int = 0) -> bytes:
    """One field, by its number in the static table where it has one. flag: how to be indexed."""
    exact = _EXACT.get((name, value))
    if exact is not None and not flag:
        return _number(exact, _INDEXED_BITS, _INDEXED)
    index = _NAMES.get(name, 0)
    start = _number(index, _LITERAL_BITS, flag)
    return (start if index else start + _text(name)) + _text(value)


def _text(text: str) -> bytes:
    raw = text.encode("latin-1")
    return _number(len(raw), _LENGTH_BITS, 0) + raw


def _number(value: int, bits: int, flags: int) -> bytes:
    """RFC 7541, 5.1."""
    most = (1 << bits) - 1
    if value < most:
        return bytes((flags | value,))
    encoded = bytearray((flags | most,))
    value -= most
    while value > 0x7F:
        encoded.append(0x80 | value & 0x7F)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


# Answers


class SectionDecoder:
    """The header blocks of one connection's answers."""

    def __init__(self) -> None:
        self._known: dict[bytes, Section] = {}

    def decode(self, block: bytes) -> Section:
        """What the block says.

        Raises StreamBreach for fields that no answer may have, or too many of them, and
        ConnectionBreach for bytes that are no header block of a peer without a table.
        """
        section = self._known.get(block)
        if section is None:
            fields, is_private = _BlockReader(block).read()
            section = check_fields(fields)
            if not is_private:  # what the peer wants indexed nowhere is not kept here, either
                _remember(self._known, block, section, len(block))
        return section


class _BlockReader:
    """One header block, read from its start to its end."""

    def __init__(self, block: bytes) -> None:
        self._block = block
        self._at = 0

    def read(self) -> tuple[list[tuple[bytes, bytes]], bool]:
        """Its fields, and whether one of them is never to be indexed."""
        block, end = self._block, len(self._block)
        fields: list[tuple[bytes, bytes]] = []
        is_private = False
        size = 0
        while self._at < end:
            first = block[self._at]
            if first & _INDEXED:
                field = self._entry(self._number(_INDEXED_BITS))
            elif first & _INDEXING:
                field = self._literal(_INDEXING_BITS)
            elif first & _TABLE_SIZE:
                if self._number(_TABLE_SIZE_BITS) or fields:
                    raise _undecodable("a table, which we have none of")
                continue
            else:
                is_private = is_private or bool(first & _NEVER_INDEXED)
                field = self._literal(_LITERAL_BITS)
            size += len(field[0]) + len(field[1]) + _ENTRY_BYTES
            if size > MAX_FIELD_SECTION_BYTES:
                raise _too_large()
            fields.append(field)
        return fields, is_private

    def _literal(self, bits: int) -> tuple[bytes, bytes]:
        index = self._number(bits)
        name = self._entry(index)[0] if index else self._text()
        return name, self._text()

    def _entry(self, index: int) -> tuple[bytes, bytes]:
        if not 0 < index <= len(_STATIC):
            raise _undecodable(f"entry {index} of a table that has {len(_STATIC)}")
        return _STATIC[index - 1]

    def _text(self) -> bytes:
        if self._at >= len(self._block):
            raise _undecodable("a cut field")
        is_huffman = self._block[self._at] & _HUFFMAN
        length = self._number(_LENGTH_BITS)
        start, self._at = self._at, self._at + length
        if self._at > len(self._block):
            raise _undecodable("a cut text")
        text = self._block[start : self._at]
        if not is_huffman:
            return text
        try:
            return decode_huffman(text)
        except HPACKDecodingError as error:
            raise _undecodable("a text that is no Huffman code") from error

    def _number(self, bits: int) -> int:
        """RFC 7541, 5.1."""
        most = (1 << bits) - 1
        value = self._block[self._at] & most
        self._at += 1
        if value < most:
            return value
        for position, byte in enumerate(self._block[self._at : self._at + _MAX_NUMBER_BYTES]):
            value += (byte & 0x7F) << 7 * position
            if byte < 0x80:
                self._at += position + 1
                return value
        raise _undecodable("a number that is cut or too large")


def _undecodable(what: str) -> ConnectionBreach:
    return ConnectionBreach(ErrorCode.COMPRESSION_ERROR, f"a header block with {what}")


def check_fields(fields: list[tuple[bytes, bytes]]) -> Section:
    """What the fields of one section say.

    Raises StreamBreach for fields that no answer may have. Source: RFC 9113, 8.2 and 8.3.2; RFC
    9114, 4.2 and 4.3.2, which says the same.
    """
    status: int | None = None
    if fields and fields[0][0] == b":status":
        if not _STATUS.fullmatch(fields[0][1]):
            raise malformed("a :status that is no number of three digits")
        status = int(fields[0][1])
        fields = fields[1:]
    headers: list[tuple[str, str]] = []
    length: str | None = None
    for raw_name, raw_value in fields:
        if not (_NAME.fullmatch(raw_name) and _VALUE.fullmatch(raw_value)):
            # A pseudo-header field in a wrong place is one of these, too.
            raise malformed("a field whose name or value may not be there")
        name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
        if name in _FORBIDDEN:
            raise malformed(f"the field {name}, which belongs to HTTP/1")
        if name == "content-length":
            if not _LENGTH.fullmatch(value) or length not in (None, value):
                raise malformed("a content-length that is no number, or two different ones")
            length = value
        headers.append((name, value))
    return Section(status, tuple(headers), None if length is None else int(length))


def check_size(fields: Iterable[tuple[bytes, bytes]]) -> None:
    """Prove that a section is not larger than we allow. Raises StreamBreach."""
    size = sum(len(name) + len(value) + _ENTRY_BYTES for name, value in fields)
    if size > MAX_FIELD_SECTION_BYTES:
        raise _too_large()


def _too_large() -> StreamBreach:
    return StreamBreach(ErrorCode.ENHANCE_YOUR_CALM, "more header fields than we allow")


def _remember(known: dict[_Key, _Value], key: _Key, value: _Value, size: int) -> None:
    """Keep a value, the oldest one giving way."""
    if size <= _MAX_REMEMBERED_BYTES:
        if len(known) >= _MAX_REMEMBERED:
            del known[next(iter(known))]
        known[key] = value
