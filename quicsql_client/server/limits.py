"""How much at once: requests per second of a principal, requests in flight on a database.

It must not know requests, only names. Not thread-safe: it belongs to the event loop.
Source: protocol/transports.md, Admission.
"""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Limits"]


class Limits:
    """Token buckets by principal and counts by database. A limit of 0 is none.

    rate_per_s: refill of each bucket; it holds max(rate_per_s, 1) tokens and starts full. All
    anonymous callers share the bucket of "". max_concurrent_per_db: requests in flight; more are
    refused, not queued.
    """

    def __init__(
        self,
        *,
        rate_per_s: float,
        max_concurrent_per_db: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate_per_s = rate_per_s
        self._max_concurrent = max_concurrent_per_db
        self._clock = clock
        self._buckets: dict[
            str, tuple[float, float]
        ] = {}  # name -> (tokens, when they were counted)
        self._in_flight: dict[str, int] = {}

    def replace(self, *, rate_per_s: float, max_concurrent_per_db: int) -> None:
        """Set other limits.

        What is in flight stays counted; a changed rate starts with full buckets.
        """
        if rate_per_s != self._rate_per_s:
            self._buckets.clear()
        self._rate_per_s = rate_per_s
        self._max_concurrent = max_concurrent_per_db

    def take_token(self, principal: str) -> float:
        """Spend one token: 0.0 when there was one, else the seconds until there will be."""
        if self._rate_per_s <= 0:
            return 0.0
        now = self._clock()
        capacity = max(self._rate_per_s, 1.0)
        tokens, counted_at = self._buckets.get(principal, (capacity, now))
        tokens = min(capacity, tokens + (now - counted_at) * self._rate_per_s)
        if tokens < 1.0:
            self._buckets[principal] = tokens, now
            return (1.0 - tokens) / self._rate_per_s
        self._buckets[principal] = tokens - 1.0, now
        return 0.0

    def forget(self, principal: str) -> None:
        """Drop the bucket of a principal that is gone for good."""
        self._buckets.pop(principal, None)

    def enter(self, database: str) -> bool:
        """Count a request in; False when the database is full. Every True needs one `leave`."""
        in_flight = self._in_flight.get(database, 0)
        if 0 < self._max_concurrent <= in_flight:
            return False
        self._in_flight[database] = in_flight + 1
        return True

    def leave(self, database: str) -> None:
        """Count a request out."""
        remaining = self._in_flight[database] - 1
        if remaining:
            self._in_flight[database] = remaining
        else:
            del self._in_flight[
                database
            ]  # in open mode names come from requests: keep none of them
