"""How long a connection may work: the deadline of what runs now, and the wait for locks within it.

It knows clocks and flags, not statements. One instance belongs to one connection and outlives its
replacements.
"""

from __future__ import annotations

import math
import threading
import time

FIRST_PAUSE_S = 0.001
LONGEST_PAUSE_S = 0.025


class Stopwatch:
    """Ends what runs on a connection at its deadline, or as soon as it is told to stop.

    busy_timeout_s: the longest wait for a lock. Times are instants of `time.monotonic`.
    """

    def __init__(self, busy_timeout_s: float) -> None:
        self.busy_timeout_s = busy_timeout_s
        self._deadline = math.inf
        self._stopped = threading.Event()
        self._busy_since = 0.0

    def start(self, deadline: float) -> None:
        """Begins a piece of work."""
        self._stopped.clear()
        self._deadline = deadline

    def stop(self) -> None:
        """Ends the piece of work that runs now; safe from any thread."""
        self._stopped.set()

    @property
    def is_over(self) -> bool:
        """Whether the work must end: its time is up, or it was stopped."""
        return self._stopped.is_set() or time.monotonic() >= self._deadline

    def on_progress(self) -> bool:
        """SQLite's progress handler: True interrupts."""
        return self.is_over

    def on_busy(self, tries: int) -> bool:
        """SQLite's busy handler: waits a little and says True to try again, False to give up."""
        now = time.monotonic()
        if tries == 0:
            self._busy_since = now
        left_s = min(self._busy_since + self.busy_timeout_s, self._deadline) - now
        if left_s <= 0 or self._stopped.is_set():
            return False
        pause_s = min(FIRST_PAUSE_S * 2 ** min(tries, 10), LONGEST_PAUSE_S, left_s)
        return not self._stopped.wait(pause_s)
