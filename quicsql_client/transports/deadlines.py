"""Deadlines are instants of `time.monotonic()`; waiting takes seconds."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TypeVar

__all__ = ["remaining_s", "sooner", "wait_until"]

_T = TypeVar("_T")


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


async def wait_until(deadline: float | None, waiter: asyncio.Future[_T]) -> _T:
    """What somebody sets as the result of `waiter`. Raises TimeoutError at the deadline.

    Where asyncio.timeout would cancel the task, this ends the waiter: what was set stays readable.
    """
    left_s = remaining_s(deadline)
    loop = waiter.get_loop()
    timer = loop.call_later(left_s, _expire, waiter) if left_s is not None else None
    try:
        return await waiter
    finally:
        if timer is not None:
            timer.cancel()


def _expire(waiter: asyncio.Future[_T]) -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError("the deadline has passed"))
