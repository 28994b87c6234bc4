"""A bounded number of places, waited for until a deadline:

For threads, and for tasks of any event loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque

from .deadlines import remaining_s

__all__ = ["AsyncSlots", "Slots"]


class Slots:
    """`count` places for threads."""

    def __init__(self, count: int) -> None:
        self._free = threading.Semaphore(count)

    def acquire(self, deadline: float | None) -> None:
        """Take a place. Raises TimeoutError when none became free before the deadline."""
        if self._free.acquire(blocking=False):
            return
        if not self._free.acquire(timeout=remaining_s(deadline)):
            raise TimeoutError("no place became free")

    def release(self) -> None:
        """Give a place back."""
        self._free.release()


class AsyncSlots:
    """`count` places for tasks, first come, first served.

    Bound to no event loop while nobody waits.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def acquire(self, deadline: float | None) -> None:
        """Take a place. Raises TimeoutError when none became free before the deadline."""
        if self._free and not self._waiting:
            self._free -= 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            async with asyncio.timeout(remaining_s(deadline)):
                await place
        except BaseException:
            if place.done() and not place.cancelled():
                self.release()  # it was given to us in the moment in which we left
            raise

    def release(self) -> None:
        """Give a place back, to the one who waits longest."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._free += 1
