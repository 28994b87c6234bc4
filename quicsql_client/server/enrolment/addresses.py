"""How often each address may try to enrol, in bounded memory.

It must not know requests nor what an attempt is. Belongs to one event loop.
Source: protocol/auth.md, Device enrolment, 2.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

__all__ = ["BURST", "MAX_ADDRESSES", "AddressRate"]

BURST: Final = 3
MAX_ADDRESSES: Final = 4096
# What one customer of a network gets: whoever has one of its addresses has all of them.
_SHARED_IPV6_BITS: Final = 64


class AddressRate:
    """A token bucket of BURST for each of at most MAX_ADDRESSES addresses; further ones wait until
    a bucket is full again.

    rate_per_s: refill of each. clock: monotonic seconds.
    """

    def __init__(self, rate_per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate_per_s = rate_per_s
        self._clock = clock
        # (tokens, when they were counted); the one that was counted longest ago is first.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def replace(self, rate_per_s: float) -> None:
        """Set another rate; a changed one begins with full buckets."""
        if rate_per_s != self._rate_per_s:
            self._buckets.clear()
        self._rate_per_s = rate_per_s

    def take(self, address: str) -> float:
        """Spend a token of an address: 0.0 when there was one, else the seconds until there is.

        The addresses of an IPv6 network of /64 are one; "" is one, too.
        """
        now, place = self._clock(), _network_of(address)
        tokens, counted_at = self._buckets.get(place, (BURST, now))
        if place not in self._buckets:
            wait_s = self._wait_for_room(now)
            if wait_s:
                return wait_s
        tokens = min(BURST, tokens + (now - counted_at) * self._rate_per_s)
        is_allowed = tokens >= 1.0
        self._buckets[place] = tokens - is_allowed, now
        self._buckets.move_to_end(place)
        return 0.0 if is_allowed else (1.0 - tokens) / self._rate_per_s

    def _wait_for_room(self, now: float) -> float:
        """0.0 when one more address can be tracked, else the seconds until the oldest bucket is
        surely full.
        """
        refill_s = BURST / self._rate_per_s
        while self._buckets:
            oldest, (_, counted_at) = next(iter(self._buckets.items()))
            remaining_s = counted_at + refill_s - now
            if remaining_s > 0:
                return remaining_s if len(self._buckets) >= MAX_ADDRESSES else 0.0
            del self._buckets[oldest]
        return 0.0


def _network_of(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # a Unix socket has none
        return address
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    network = int(parsed) >> _SHARED_IPV6_BITS << _SHARED_IPV6_BITS
    return str(ipaddress.IPv6Address(network))
