"""Whether a file that somebody sent is a whole SQLite database.

The file may be made to do harm: it is opened as one that nobody may change, with nothing of its
schema trusted, and for a bounded time. Nothing is written beside it.
Source: protocol/operations.md, POST /_admin/restore.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import Final
from urllib.parse import quote

import apsw

from .access import Caps
from .opening import apply_limits

__all__ = ["ImageCheck"]

_MAGIC: Final = b"SQLite format 3\0"
_HEADER_BYTES: Final = 100
_PAGE_SIZE: Final = slice(16, 18)  # in the header, big-endian; 1 stands for 65536
_FLAGS: Final = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
_PROGRESS_OPERATIONS: Final = 1_000

# SQLite checks some 30 MiB a second on one core; a sound image needs less than half of this.
MIN_CHECK_S: Final = 60.0
CHECK_BYTES_PER_S: Final = 8 * 1024 * 1024


class ImageCheck:
    """The check of the file at path, for a thread of its own; `stop` ends it from any other."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._stopped = threading.Event()
        self._ends_at = 0.0

    def stop(self) -> None:
        """Nobody wants to know any more."""
        self._stopped.set()

    def run(self) -> str | None:
        """None for a sound database, else what is wrong with it, for the log. Raises: OSError."""
        size_bytes = os.path.getsize(self._path)
        self._ends_at = time.monotonic() + MIN_CHECK_S + size_bytes / CHECK_BYTES_PER_S
        with open(self._path, "rb") as file:
            fault = _fault_of_header(file.read(_HEADER_BYTES), size_bytes)
        if fault is not None:
            return fault
        try:
            with contextlib.closing(self._open()) as connection:
                found = connection.execute("PRAGMA integrity_check(1)").fetchall()
        except (apsw.Error, UnicodeDecodeError) as error:
            return str(error)
        return None if found == [("ok",)] else f"integrity_check: {found!r:.200}"

    def _open(self) -> apsw.Connection:
        name = f"file:{quote(os.path.abspath(self._path))}?immutable=1"
        connection = apsw.Connection(name, flags=_FLAGS)
        connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
        connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
        connection.set_progress_handler(self._is_over, _PROGRESS_OPERATIONS)
        apply_limits(connection, Caps())
        return connection

    def _is_over(self) -> bool:
        return self._stopped.is_set() or time.monotonic() >= self._ends_at


def _fault_of_header(header: bytes, size_bytes: int) -> str | None:
    if not header.startswith(_MAGIC):
        return "it does not begin as a SQLite database"
    page_bytes = int.from_bytes(header[_PAGE_SIZE], "big")
    page_bytes = 65_536 if page_bytes == 1 else page_bytes
    if not page_bytes or size_bytes % page_bytes:
        return "it ends within a page"  # SQLite would read zeros for the rest
    return None
