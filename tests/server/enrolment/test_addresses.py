"""How often an address may try."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quicsql_client.server.enrolment.addresses import BURST, MAX_ADDRESSES, AddressRate


class Clock:
    """Stands still until told."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def take(rate: AddressRate, *addresses: str) -> list[bool]:
    return [rate.take(address) == 0.0 for address in addresses]


def test_each_address_has_a_burst_of_its_own(clock: Clock) -> None:  # odd-case 113
    rate = AddressRate(0.1, clock)
    assert take(rate, *["10.0.0.1"] * 5) == [True] * BURST + [False] * 2
    assert take(rate, "10.0.0.2") == [True]


def test_the_wait_is_said_and_is_enough(clock: Clock) -> None:
    rate = AddressRate(0.1, clock)
    take(rate, *["a"] * BURST)
    wait_s = rate.take("a")
    assert wait_s == pytest.approx(10.0)
    clock.now_s += wait_s / 2
    assert rate.take("a") == pytest.approx(5.0)  # an attempt that was refused costs nothing
    clock.now_s += wait_s / 2
    assert take(rate, "a", "a") == [True, False]
    clock.now_s += 1e6
    assert take(rate, *["a"] * 4) == [True] * BURST + [False]


def test_networks_are_one_address(clock: Clock) -> None:
    rate = AddressRate(0.1, clock)
    same = ["2001:db8::1", "2001:db8::ffff:1:2", "2001:0db8:0:0:5::", "2001:db8::9"]
    assert take(rate, *same) == [True] * BURST + [False]
    assert take(rate, "2001:db8:0:1::1") == [True]
    assert take(rate, "10.0.0.1", "::ffff:10.0.0.1", "10.0.0.1", "::ffff:10.0.0.1") == (
        [True] * BURST + [False]
    )
    assert take(rate, "fe80::1%eth0", "", "") == [True] * 3


def test_unix_sockets_share_one_bucket(clock: Clock) -> None:
    rate = AddressRate(0.1, clock)
    assert take(rate, "", "", "", "") == [True] * BURST + [False]


def test_new_addresses_wait_while_as_many_as_can_be_are_tracked(clock: Clock) -> None:
    rate = AddressRate(0.1, clock)
    for number in range(MAX_ADDRESSES):
        assert rate.take(f"a{number}") == 0.0
        clock.now_s += 0.001
    wait_s = rate.take("new")
    assert wait_s == pytest.approx(BURST / 0.1 - MAX_ADDRESSES * 0.001)
    assert take(rate, "a0", "a0", "a0") == [True, True, False]  # those known are not put out
    clock.now_s += wait_s
    assert rate.take("new") > 0.0  # the oldest has just been here again
    clock.now_s += 0.0015  # time for one more
    assert take(rate, "new", "newer") == [True, False]


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0.0, 5.0)), max_size=200))
def test_nobody_gets_more_than_the_burst_and_the_refill(steps: list[tuple[int, float]]) -> None:
    clock, taken = Clock(), dict.fromkeys(range(10), 0)
    rate, began_s = AddressRate(0.5, clock), clock.now_s
    for address, pause_s in steps:
        clock.now_s += pause_s
        taken[address] += rate.take(str(address)) == 0.0
        assert taken[address] <= BURST + (clock.now_s - began_s) * 0.5 + 1e-6


def test_another_rate_begins_with_full_buckets(clock: Clock) -> None:
    rate = AddressRate(0.1, clock)
    take(rate, *["a"] * BURST)
    rate.replace(0.1)
    assert take(rate, "a") == [False]
    rate.replace(1.0)
    assert take(rate, *["a"] * 4) == [True] * BURST + [False]
    clock.now_s += 1.0
    assert take(rate, "a") == [True]
