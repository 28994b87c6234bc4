"""Chunks on their way into a store: cut, compressed, spooled, and unpacked again."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quicsql_client.server.engine.blob_spool import (
    DEFAULT_CHUNK_BYTES,
    MAX_CHUNK_BYTES,
    MIN_CHUNK_BYTES,
    BlobOptions,
    Chunk,
    Spool,
    unpacked,
)


@pytest.fixture
def spool() -> Iterator[Spool]:
    with closing(Spool(BlobOptions.of(0, 0))) as spool:
        yield spool


@given(
    pieces=st.lists(st.binary(max_size=3 * MIN_CHUNK_BYTES), max_size=8),
    level=st.integers(0, 9),
)
def test_what_goes_in_comes_out(pieces: list[bytes], level: int) -> None:
    with closing(Spool(BlobOptions(MIN_CHUNK_BYTES, level))) as spool:
        for piece in pieces:
            spool.add(piece)
        spool.finish()
        chunks = list(spool.chunks())
        assert b"".join(unpacked(chunk) or b"" for chunk in chunks) == b"".join(pieces)
        assert spool.size_bytes == sum(chunk.size_bytes for chunk in chunks)
        assert all(chunk.size_bytes == MIN_CHUNK_BYTES for chunk in chunks[:-1])


def test_chunks_are_compressed_only_where_that_helps() -> None:
    noise = os.urandom(MIN_CHUNK_BYTES)
    with closing(Spool(BlobOptions(MIN_CHUNK_BYTES, 6))) as spool:
        spool.add(bytes(MIN_CHUNK_BYTES) + noise)
        first, second = spool.chunks()
    assert len(first.data) < 100
    assert second == (MIN_CHUNK_BYTES, noise)


def test_an_empty_content_has_no_chunk(spool: Spool) -> None:
    spool.add(b"")
    spool.finish()
    assert list(spool.chunks()) == []


def test_much_goes_to_a_file_without_a_name(spool: Spool) -> None:
    open_before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        spool.add(bytes(DEFAULT_CHUNK_BYTES))
    assert len(os.listdir("/proc/self/fd")) == open_before + 1
    spool.close()
    assert len(os.listdir("/proc/self/fd")) == open_before


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ((1, -1), (MIN_CHUNK_BYTES, 0)),
        ((1 << 62, 99), (MAX_CHUNK_BYTES, 9)),
        ((10_000, 5), (10_000, 5)),
    ],
)
def test_options_have_bounds(asked: tuple[int, int], given: tuple[int, int]) -> None:
    options = BlobOptions.of(*asked)
    assert (options.chunk_bytes, options.level) == given


@pytest.mark.parametrize(
    "chunk",
    [
        Chunk(0, b""),
        Chunk(0, zlib.compress(bytes(9_000_000))),  # 0 would be no bound to zlib
        Chunk(-1, b""),
        Chunk(3, b"four"),
        Chunk(4, b"xyz"),
        Chunk(100, zlib.compress(bytes(50))),
        Chunk(9_000_000, zlib.compress(bytes(9_000_000))),
    ],
)
def test_what_no_spool_has_made_is_told(chunk: Chunk) -> None:
    assert unpacked(chunk) is None
