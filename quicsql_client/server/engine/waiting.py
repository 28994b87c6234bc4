"""How long a connection may work: the deadline of what runs now, and the wait for locks within it.

It knows clocks and flags, not statements. One instance belongs to one connection and outlives its
replacements.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

FIRST_PAUSE_S = 0.001
LONGEST_PAUSE_S = 0.025


class Stopwatch:
    """Ends what runs on a connection at its deadline, or as soon as it is told to stop.

    busy_timeout_s: the longest wait for a lock. Times are instants of `time.monotonic`.
    """

    def __init__(self, busy_timeout_s: float) -> None:
        self.busy_timeout_s = busy_timeout_s
        self._deadline = math.inf
        self._is_stopped = False
        self._woken = threading.Event()
        self._busy_since = 0.0
        self._turn_since: float | None = None

    def start(self, deadline: float) -> None:
        """Begins a piece of work."""
        self._is_stopped = False
        self._deadline = deadline
        self._turn_since = None

    def stop(self) -> None:
        """Ends the piece of work that runs now; safe from any thread."""
        self._is_stopped = True
        self._woken.set()

    def wake(self) -> None:
        """Makes a wait look again at what it waits for; safe from any thread."""
        self._woken.set()

    @property
    def is_over(self) -> bool:
        """Whether the work must end: its time is up, or it was stopped."""
        return self._is_stopped or time.monotonic() >= self._deadline

    def on_progress(self) -> bool:
        """SQLite's progress handler: True interrupts."""
        return self.is_over

    def wait_for_turn(self, has_turn: Callable[[], bool]) -> None:
        """Waits until has_turn, asked anew after each `wake`; for no longer than for a lock.

        The wait for SQLite's lock that follows counts from here.
        """
        self._turn_since = time.monotonic()
        while not has_turn() and (left_s := self._left_s(self._turn_since)) > 0:
            self._pause(left_s)

    def on_busy(self, tries: int) -> bool:
        """SQLite's busy handler: waits a little and says True to try again, False to give up."""
        if tries == 0:
            self._busy_since = time.monotonic() if self._turn_since is None else self._turn_since
        left_s = self._left_s(self._busy_since)
        if left_s <= 0:
            return False
        self._pause(min(FIRST_PAUSE_S * 2 ** min(tries, 10), LONGEST_PAUSE_S, left_s))
        return not self._is_stopped

    def _left_s(self, since: float) -> float:
        """How long a wait that began then may still last."""
        if self._is_stopped:
            return 0.0
        return min(since + self.busy_timeout_s, self._deadline) - time.monotonic()

    def _pause(self, longest_s: float) -> None:
        self._woken.wait(min(longest_s, threading.TIMEOUT_MAX))
        self._woken.clear()
