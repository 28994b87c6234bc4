"""Token buckets by principal and concurrency by database, on a clock of the test's own.

Odd-case 115.
"""

from __future__ import annotations

import pytest

from quicsql_client.server.limits import Limits


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def limits(clock: Clock, *, rate: float = 0.0, concurrent: int = 0) -> Limits:
    return Limits(rate_per_s=rate, max_concurrent_per_db=concurrent, clock=clock)


def passed(bucket: Limits, name: str, attempts: int) -> int:
    return sum(bucket.take_token(name) == 0.0 for _ in range(attempts))


def test_five_a_second_let_five_pass_and_refill_after_a_second() -> None:
    clock = Clock()
    bucket = limits(clock, rate=5)
    assert passed(bucket, "ann", 6) == 5
    assert passed(bucket, "ben", 6) == 5  # another principal is not affected
    clock.now += 1.0
    assert passed(bucket, "ann", 6) == 5


def test_the_wait_is_the_time_to_the_next_token() -> None:
    clock = Clock()
    bucket = limits(clock, rate=4)
    assert passed(bucket, "ann", 4) == 4
    assert bucket.take_token("ann") == pytest.approx(0.25)
    clock.now += 0.125
    assert bucket.take_token("ann") == pytest.approx(0.125)
    clock.now += 0.125
    assert bucket.take_token("ann") == 0.0


def test_a_rate_below_one_still_holds_one_token() -> None:
    clock = Clock()
    bucket = limits(clock, rate=0.5)
    assert passed(bucket, "", 3) == 1
    assert bucket.take_token("") == pytest.approx(2.0)
    clock.now += 2.0
    assert passed(bucket, "", 3) == 1


def test_a_long_rest_does_not_overfill() -> None:
    clock = Clock()
    bucket = limits(clock, rate=3)
    assert passed(bucket, "ann", 1) == 1
    clock.now += 3600.0
    assert passed(bucket, "ann", 9) == 3


def test_zero_is_unlimited() -> None:
    free = limits(Clock())
    assert passed(free, "ann", 1000) == 1000
    assert all(free.enter("app") for _ in range(1000))


def test_in_flight_requests_are_counted_by_database() -> None:
    gate = limits(Clock(), concurrent=2)
    assert [gate.enter("app") for _ in range(3)] == [True, True, False]
    assert gate.enter("other")
    gate.leave("app")
    assert [gate.enter("app") for _ in range(2)] == [True, False]


def test_replacing_limits_keeps_what_is_in_flight_and_refills_on_another_rate() -> None:
    clock = Clock()
    both = limits(clock, rate=2, concurrent=9)
    assert passed(both, "ann", 3) == 2
    assert all(both.enter("app") for _ in range(3))
    both.replace(rate_per_s=2, max_concurrent_per_db=3)
    assert passed(both, "ann", 3) == 0
    assert not both.enter("app")
    both.replace(rate_per_s=4, max_concurrent_per_db=4)
    assert passed(both, "ann", 9) == 4
    assert both.enter("app")
    for _ in range(4):
        both.leave("app")
    assert [both.enter("app") for _ in range(5)] == [True] * 4 + [False]
