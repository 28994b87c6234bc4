"""Deadlines are instants of `time.monotonic()`; waiting takes seconds."""

from __future__ import annotations

import math
import time

__all__ = ["remaining_s", "sooner"]


def remaining_s(deadline: float | None) -> float | None:
    """Seconds until a deadline (an instant of time.monotonic()), None for no limit.

    Raises TimeoutError when past.
    """
    if deadline is None or deadline == math.inf:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the deadline has passed")
    return left


def sooner(deadline: float | None, limit_s: float | None) -> float | None:
    """The deadline, or the instant in `limit_s` from now where that comes first."""
    if limit_s is None:
        return deadline
    soon = time.monotonic() + limit_s
    return soon if deadline is None else min(soon, deadline)
