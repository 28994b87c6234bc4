"""Whose turn it is to write to a database, between the connections of this process.

SQLite has one write lock for a database and wakes nobody when it is free: connections ask again and
again, and whoever asks at the right moment wins. Under load a few win every time, and the stateless
requests, which share one connection, starve beside streams. So a connection that is about to need
the lock waits here for its turn first: first come, first served, and between stateless requests and
streams in turn. It grants nothing: SQLite's own lock still decides, also against other processes.
It knows no statement and no connection.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Final

from .waiting import Stopwatch

SHARE_S: Final = 0.005  # about what a short transaction of a stream takes: a handful of writes


class WriteTurns:
    """The turns of one database. Each connection is known by its Stopwatch; for any thread."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._holder: Stopwatch | None = None
        self._streams: deque[Stopwatch] = deque()
        self._stateless: deque[Stopwatch] = deque()
        self._was_stateless = False
        self._since = 0.0

    def take(self, watch: Stopwatch, *, is_stateless: bool) -> None:
        """Returns when it is this connection's turn, or when it has waited for as long as it may.

        Without its turn it will find SQLite's lock taken, and is told so by SQLite.
        """
        queue = self._stateless if is_stateless else self._streams
        with self._mutex:
            if self._holder is None:
                self._was_stateless = is_stateless
                self._grant(watch)
            if self._holder is watch:
                return
            queue.append(watch)
        watch.wait_for_turn(lambda: self._holder is watch)
        with self._mutex:
            if self._holder is not watch:
                queue.remove(watch)

    def give_back(self, watch: Stopwatch, *, needs_more: bool = False) -> None:
        """The connection needs the lock no more; does nothing when it was not its turn.

        needs_more: it will need the lock again at once, and keeps its turn for up to SHARE_S.
        """
        with self._mutex:
            if self._holder is not watch:
                return
            if needs_more and time.monotonic() < self._since + SHARE_S:
                return
            prefers_streams = self._was_stateless and bool(self._streams)
            queue = self._streams if prefers_streams else self._stateless or self._streams
            self._was_stateless = queue is self._stateless
            self._grant(queue.popleft() if queue else None)

    def _grant(self, watch: Stopwatch | None) -> None:
        self._holder, self._since = watch, time.monotonic()
        if watch is not None:
            watch.wake()
