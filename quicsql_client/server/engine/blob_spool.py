"""The content of an object on its way into a store: chunks, compressed as they come, in a temporary
file.

So a slow upload holds no lock, and what is done under the lock is nothing but inserting. It knows
neither SQLite nor where the bytes come from.
"""

from __future__ import annotations

import struct
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

__all__ = ["BlobOptions", "Chunk", "Spool", "unpacked"]

MIN_CHUNK_BYTES: Final = 4 * 1024  # smaller ones make more rows than content
MAX_CHUNK_BYTES: Final = 4 * 1024 * 1024  # a whole chunk is in memory, of each reader and writer
DEFAULT_CHUNK_BYTES: Final = 256 * 1024
_IN_MEMORY_BYTES: Final = 256 * 1024
_HEADER: Final = struct.Struct(">II")


@dataclass(frozen=True, slots=True)
class BlobOptions:
    """How a store keeps what is written to it from now on. level: of zlib, 0 is not compressed."""

    chunk_bytes: int = DEFAULT_CHUNK_BYTES
    level: int = 0

    @classmethod
    def of(cls, chunk_bytes: int, level: int) -> BlobOptions:
        """The nearest options within the bounds, whoever asks."""
        chunk_bytes = min(max(chunk_bytes, MIN_CHUNK_BYTES), MAX_CHUNK_BYTES)
        return cls(chunk_bytes, min(max(level, 0), zlib.Z_BEST_COMPRESSION))


class Chunk(NamedTuple):
    """A part of an object. data has size_bytes bytes, or is compressed when it has fewer."""

    size_bytes: int
    data: bytes


class Spool:
    """A temporary file of chunks. Its methods may block on the disk, and raise OSError."""

    def __init__(self, options: BlobOptions) -> None:
        self.size_bytes = 0
        self._options = options
        self._pending = bytearray()
        # Small contents stay in memory; a file has no name, and only its owner may read it.
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115

    def add(self, data: bytes) -> None:
        """Append bytes to the content."""
        self.size_bytes += len(data)
        self._pending += data
        size = self._options.chunk_bytes
        while len(self._pending) >= size:
            self._write(bytes(self._pending[:size]))
            del self._pending[:size]

    def finish(self) -> None:
        """That was all."""
        if self._pending:
            self._write(bytes(self._pending))
            self._pending.clear()

    def chunks(self) -> Iterator[Chunk]:
        """All that was added before `finish`, in order."""
        self._file.seek(0)
        while header := self._file.read(_HEADER.size):
            size_bytes, stored_bytes = _HEADER.unpack(header)
            yield Chunk(size_bytes, self._file.read(stored_bytes))

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def _write(self, raw: bytes) -> None:
        level = self._options.level
        packed = zlib.compress(raw, level) if level else raw
        data = packed if len(packed) < len(raw) else raw
        self._file.write(_HEADER.pack(len(raw), len(data)) + data)


def unpacked(chunk: Chunk) -> bytes | None:
    """The bytes of a chunk; None for one that no spool has made."""
    size_bytes, data = chunk
    if not 0 < size_bytes <= MAX_CHUNK_BYTES or len(data) > size_bytes:
        return None
    if len(data) == size_bytes:
        return data
    try:
        raw = zlib.decompressobj().decompress(data, size_bytes)
    except zlib.error:
        return None
    return raw if len(raw) == size_bytes else None
