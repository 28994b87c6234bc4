"""Whole databases as SQLite images: one value in memory, or a copy in a file made step by step.

Work for `Database.call`, on a connection that is replaced afterwards. It knows no HTTP and not who
asks.
Source: protocol/operations.md, GET /<db>/export and GET /<db>/backup.
"""

from __future__ import annotations

import threading
from typing import Final

import apsw

from .access import EngineError, MaskedFailure, StatementTimeout

__all__ = ["ImageCopy", "ImageTooLarge", "SizeUnknown", "serialise"]

PAGES_PER_STEP: Final = 1_000  # protocol/operations.md, GET /<db>/backup


class ImageTooLarge(EngineError):
    """The image would have more bytes than it may."""


class SizeUnknown(MaskedFailure):
    """SQLite did not say how large the database is."""


def serialise(connection: apsw.Connection, *, max_bytes: int) -> bytes:
    """The image of the main database, as SQLite serialises it; never empty.

    Its size is looked at first, in the same read transaction.
    Raises: ImageTooLarge, SizeUnknown; MaskedFailure when SQLite fails.
    """
    size_bytes = _begin_and_measure(connection)
    if size_bytes > max_bytes:
        raise ImageTooLarge(f"the image has {size_bytes} bytes, at most {max_bytes} are allowed")
    if not size_bytes:
        return _empty_image()
    try:
        return connection.serialize("main") or _empty_image()
    except apsw.Error as error:
        raise MaskedFailure("the database could not be serialised") from error


def _begin_and_measure(connection: apsw.Connection) -> int:
    try:
        connection.execute("BEGIN")
        return int(connection.pragma("page_count")) * int(connection.pragma("page_size"))
    except apsw.Error as error:
        raise SizeUnknown("the size of the database could not be read") from error


def _empty_image() -> bytes:
    """A database that nothing was ever written to has no page; its image has the first one."""
    empty = apsw.Connection(":memory:")
    try:
        empty.pragma("user_version", 0)  # writes the first page
        return empty.serialize("main")
    finally:
        empty.close()


class ImageCopy:
    """A copy of a database into the file at path, which is empty or does not exist.

    `run` is work for `Database.call`; `stop` ends it before its next step, from any thread.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Nobody wants the copy any more."""
        self._stopped.set()

    def run(self, connection: apsw.Connection) -> None:
        """Copies by SQLite's online backup, some pages at a time.

        Raises: StatementTimeout after `stop`; MaskedFailure when SQLite fails. What the file holds
        then is no image.
        """
        try:
            self._copy(connection)
        except apsw.Error as error:
            raise MaskedFailure("the copy failed") from error

    def _copy(self, source: apsw.Connection) -> None:
        if source.pragma("journal_mode") == "wal":
            # One snapshot from the first step to the last: a write by another connection would
            # make SQLite begin anew. In the other modes it would have to wait for us instead.
            source.execute("BEGIN")
            source.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
        target = apsw.Connection(self._path)
        try:
            # A copy that was cut off is thrown away, so it needs neither journal nor sync.
            target.pragma("journal_mode", "OFF")
            target.pragma("synchronous", "OFF")
            with target.backup("main", source, "main") as backup:
                while not backup.done:
                    if self._stopped.is_set():
                        raise StatementTimeout
                    backup.step(PAGES_PER_STEP)
        finally:
            target.close(True)
