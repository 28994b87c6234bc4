"""Header blocks, judged before they are decoded."""

from __future__ import annotations

import pylsqpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quicsql_client.server.listeners.qpack_guard import _Lines, blows_up
from quicsql_client.server.listeners.settings import DECODED_HEADER_LIST_BYTES, MIB

NAMES = st.sampled_from([b":method", b"content-type", b"x-a", b"a" * 300])
FIELDS = st.lists(st.tuples(NAMES, st.binary(max_size=300)), max_size=40)


def encode(fields: list[tuple[bytes, bytes]]) -> bytes:
    block: bytes = pylsqpack.Encoder().encode(0, fields)[1]
    return block


@given(FIELDS)
def test_counts_as_the_decoder_reads(fields: list[tuple[bytes, bytes]]) -> None:
    count = _Lines(encode(fields)).decoded_bytes(MIB)
    whole = sum(32 + len(name) + len(value) for name, value in fields)
    assert 32 * len(fields) <= count
    # Names of the table count nothing, and Huffman's code may take four times its text.
    assert count <= 32 * len(fields) + 4 * whole
    assert not blows_up(encode(fields))


@given(st.binary(max_size=40_000))
def test_anything_is_judged(block: bytes) -> None:
    blows_up(block)


@pytest.mark.parametrize(
    "line",
    [
        b"\xd1",  # indexed, ":method: GET"
        b"\xff\x00",  # indexed, of two bytes
        b"\x51\x01a",  # a name of the table
        b"\x21a\x01b",  # a literal name
    ],
)
def test_a_bomb_is_told_from_many_fields(line: bytes) -> None:
    assert blows_up(b"\x00\x00" + line * (DECODED_HEADER_LIST_BYTES // 32 + 1))
    assert not blows_up(b"\x00\x00" + line * (DECODED_HEADER_LIST_BYTES // 40))


def test_long_values_are_no_bomb() -> None:
    fields = [(b"x-%d" % number, b"~" * 10_000) for number in range(100)]
    assert not blows_up(encode(fields))
    assert len(encode(fields)) > 900_000


@pytest.mark.parametrize("tail", [b"\xff" * 20, b"\x7f" + b"\xff" * 20, b"\x10", b"\x5f"])
def test_malformed_blocks_are_the_decoders_business(tail: bytes) -> None:
    block = b"\x00\x00" + b"\xd1" * 20_000 + tail
    assert not blows_up(block)
    with pytest.raises(pylsqpack.DecompressionFailed):
        pylsqpack.Decoder(0, 0).feed_header(0, block)
