"""A timer that is armed and disarmed for every request at almost no cost.

Must not know what it times.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Deadline:
    """Calls back once when armed and not disarmed in time.

    Arming later than the pending wake-up only notes the time: the wake-up finds it and goes to
    sleep again. So a connection that serves many requests keeps one entry in the loop's heap.
    """

    __slots__ = ("_at", "_handle", "_loop", "_on_expiry")

    def __init__(self, on_expiry: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_expiry = on_expiry
        self._at: float | None = None
        self._handle: asyncio.TimerHandle | None = None

    def arm(self, delay_s: float) -> None:
        """Expire in delay_s seconds, whatever was armed before."""
        self._at = self._loop.time() + delay_s
        if self._handle is not None:
            if self._handle.when() <= self._at:
                return
            self._handle.cancel()
        self._handle = self._loop.call_at(self._at, self._wake)

    def disarm(self) -> None:
        """Do not expire."""
        self._at = None

    def close(self) -> None:
        """Forget everything, the wake-up too."""
        self._at = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _wake(self) -> None:
        self._handle = None
        if self._at is None:
            return
        if self._loop.time() < self._at:
            self._handle = self._loop.call_at(self._at, self._wake)
            return
        self._at = None
        self._on_expiry()
