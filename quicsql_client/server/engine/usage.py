"""Who uses a database at this moment, and who has it for himself.

Counts and instants only: it knows neither connections nor callers. For one event loop; not
thread-safe.
Source: protocol/operations.md, Sessions and handles.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from .access import DatabaseBusy, DatabaseUnavailable

__all__ = ["Usage"]


class Usage:
    """Requests in flight and open streams of one database. clock: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.count = 0
        self._is_reserved = False
        self._clock = clock
        self._idle_since = clock()

    @property
    def idle_s(self) -> float:
        """For how long nobody has used the database; 0 while somebody does."""
        return 0.0 if self.count or self._is_reserved else self._clock() - self._idle_since

    def begin(self) -> None:
        """One more user. Raises: DatabaseUnavailable while the database is reserved."""
        if self._is_reserved:
            raise DatabaseUnavailable("reserved for an offline operation")
        self.count += 1

    def end(self) -> None:
        """One user less."""
        self.count -= 1
        self._idle_since = self._clock()

    def reserve(self) -> None:
        """Keeps users away until `free`. Raises: DatabaseBusy while there is one."""
        if self.count or self._is_reserved:
            raise DatabaseBusy
        self._is_reserved = True

    def free(self) -> None:
        """Ends a reservation."""
        self._is_reserved = False
        self._idle_since = self._clock()
