"""The ring of a feed, who resumes in it, who falls behind: odd-cases 121, 123-125, 183, 184."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from quicsql_client.server.engine.change_log import ChangeLog, RowChange
from quicsql_client.server.feed import (
    MAX_BEHIND,
    Feeds,
    NoFeed,
    Subscription,
    TooManySubscribers,
)
from quicsql_client.wire.sse import Change, Event, Ready, Reset

LATER_S = 20.0


async def commit(log: ChangeLog, *rows: RowChange) -> None:
    """One transaction; without rows: of too many."""
    log.settle(log.take_ticket(), rows or None)
    await asyncio.sleep(0)


async def write(log: ChangeLog, first: int, last: int, table: str = "t") -> None:
    """Transactions of one row each, whose rowids are the numbers of their events."""
    for rowid in range(first, last + 1):
        await commit(log, RowChange(table, "insert", rowid))


def changes(first: int, last: int, table: str = "t") -> list[Event]:
    return [Change(n, table, "insert", n) for n in range(first, last + 1)]


def is_over(subscription: Subscription) -> bool:
    return subscription.is_over


async def taken(subscription: Subscription) -> list[Event]:
    return await subscription.take(asyncio.get_running_loop().time() + LATER_S)


@pytest.fixture
async def feeds(tmp_path: Path) -> Feeds:
    """Feeds of four events and two subscribers each."""
    return Feeds(buffer=4, max_subscribers=2)


@pytest.fixture
async def log(feeds: Feeds) -> ChangeLog:
    """The log of the database `app`, in which nothing happened yet."""
    return feeds.attach("app", "app.db")


@pytest.mark.parametrize(
    ("since", "opening"),
    [
        (0, [Ready(10)]),
        (10, [Ready(10)]),
        (9, [Ready(10), *changes(10, 10)]),
        (8, [Ready(10), *changes(9, 10)]),
        (6, [Ready(10), *changes(7, 10)]),  # as far as the ring goes
        (5, [Reset(10, is_opening=True)]),
        (1, [Reset(10, is_opening=True)]),
        (11, [Reset(10, is_opening=True)]),
        (2**64 - 1, [Reset(10, is_opening=True)]),
    ],
)
async def test_who_resumes(
    feeds: Feeds, log: ChangeLog, since: int, opening: list[Event]
) -> None:  # 121, 184
    await write(log, 1, 10)
    subscription = feeds.subscribe("app", "p", since)
    assert list(subscription.opening) == opening
    await write(log, 11, 11)
    assert await taken(subscription) == changes(11, 11)


async def test_a_feed_in_which_nothing_happened(feeds: Feeds, log: ChangeLog) -> None:
    assert list(feeds.subscribe("app", "p", 0).opening) == [Ready(0)]
    assert list(feeds.subscribe("app", "p", 1).opening) == [Reset(0, is_opening=True)]


async def test_a_transaction_of_too_many_rows_is_one_event(feeds: Feeds, log: ChangeLog) -> None:
    subscription = feeds.subscribe("app", "p", tables=frozenset({"other"}))
    await write(log, 1, 2)
    await commit(log)
    await write(log, 4, 4)
    assert await taken(subscription) == [Reset(3)]  # 123: no filter keeps it away
    resumed = feeds.subscribe("app", "p", 1)
    assert resumed.opening == [Ready(4), *changes(2, 2), Reset(3), *changes(4, 4)]


async def test_a_filter_skips_events_and_keeps_their_numbers(feeds: Feeds, log: ChangeLog) -> None:
    subscription = feeds.subscribe("app", "p", tables=frozenset({"a", "T"}))
    await write(log, 1, 1, "a")
    await write(log, 2, 2, "t")
    await write(log, 3, 3, "a")
    assert await taken(subscription) == [*changes(1, 1, "a"), *changes(3, 3, "a")]
    resumed = feeds.subscribe("app", "p", 1, frozenset({"t"}))
    assert resumed.opening == [Ready(3), *changes(2, 2, "t")]


@pytest.mark.parametrize("size", [1, 200, 1000])
async def test_who_is_too_far_behind(feeds: Feeds, log: ChangeLog, size: int) -> None:  # 124
    laggard = feeds.subscribe("app", "p")
    filtered = feeds.subscribe("app", "p", tables=frozenset({"other"}))
    await write(log, 1, MAX_BEHIND - 1)
    assert not is_over(laggard)
    rows = [RowChange("t", "insert", MAX_BEHIND + n) for n in range(size + 1)]
    await commit(log, *rows)
    await write(log, MAX_BEHIND + size + 1, MAX_BEHIND + size + 1)
    assert not is_over(laggard)  # something is left to take
    assert await taken(laggard) == changes(1, MAX_BEHIND)
    assert is_over(laggard)
    assert not is_over(filtered)
    feeds.subscribe("app", "q")  # the laggard's place is free


async def test_exactly_as_far_behind_as_allowed(feeds: Feeds, log: ChangeLog) -> None:
    subscription = feeds.subscribe("app", "p")
    await commit(log, *(RowChange("t", "insert", n + 1) for n in range(MAX_BEHIND)))
    assert await taken(subscription) == changes(1, MAX_BEHIND)
    await write(log, MAX_BEHIND + 1, MAX_BEHIND + 1)
    assert await taken(subscription) == changes(MAX_BEHIND + 1, MAX_BEHIND + 1)


async def test_who_waits_is_woken_by_news_alone_and_by_the_end(
    feeds: Feeds, log: ChangeLog
) -> None:
    subscription = feeds.subscribe("app", "p", tables=frozenset({"t"}))
    waiting = asyncio.create_task(taken(subscription))
    await asyncio.sleep(0)
    await write(log, 1, 1, "unwanted")
    await asyncio.sleep(0)
    assert not waiting.done()
    await write(log, 2, 2)
    assert await waiting == changes(2, 2)
    waiting = asyncio.create_task(taken(subscription))
    await asyncio.sleep(0)
    assert not waiting.done()
    subscription.end()
    assert await waiting == []
    assert is_over(subscription)


async def test_who_waits_is_woken_by_the_clock(feeds: Feeds, log: ChangeLog) -> None:
    subscription = feeds.subscribe("app", "p")
    assert await subscription.take(asyncio.get_running_loop().time()) == []
    assert not is_over(subscription)


async def test_the_cap_of_subscribers(feeds: Feeds, log: ChangeLog) -> None:  # 125
    first, _ = (feeds.subscribe("app", "p") for _ in range(2))
    feeds.attach("other", "other.db")
    feeds.subscribe("other", "p")
    with pytest.raises(TooManySubscribers):
        feeds.subscribe("app", "q")
    first.cut()
    first.cut()
    feeds.subscribe("app", "q")
    with pytest.raises(TooManySubscribers):
        feeds.subscribe("app", "q")


async def test_two_databases_on_one_file(feeds: Feeds, tmp_path: Path) -> None:  # 183
    (tmp_path / "link").symlink_to(tmp_path)
    first = feeds.attach("one", str(tmp_path / "same.db"))
    second = feeds.attach("two", str(tmp_path / "link" / ".." / tmp_path.name / "same.db"))
    one, two = feeds.subscribe("one", "p"), feeds.subscribe("two", "p")
    await write(first, 1, 1)
    await write(second, 2, 2)
    assert await taken(one) == await taken(two) == changes(1, 2)
    feeds.detach("one")
    assert is_over(one)
    await write(second, 3, 3)
    assert await taken(two) == changes(3, 3)
    feeds.detach("two")
    assert is_over(two)
    feeds.attach("two", str(tmp_path / "same.db"))
    assert list(feeds.subscribe("two", "p").opening) == [Ready(0)]  # begun anew


async def test_a_database_that_is_detached(feeds: Feeds, log: ChangeLog) -> None:
    subscription = feeds.subscribe("app", "p")
    await write(log, 1, 1)
    feeds.detach("app")
    feeds.detach("app")
    assert await taken(subscription) == changes(1, 1)
    assert is_over(subscription)
    with pytest.raises(NoFeed):
        feeds.subscribe("app", "p")
    await write(log, 2, 2)  # of a statement that still ran


async def test_principals_that_are_gone(feeds: Feeds, log: ChangeLog) -> None:
    gone, stays = feeds.subscribe("app", "gone"), feeds.subscribe("app", "stays")
    await write(log, 1, 1)
    feeds.end_of_principals({"gone", "nobody"})
    assert (is_over(gone), gone.is_cut, await taken(gone)) == (True, True, [])
    assert (is_over(stays), stays.is_cut) == (False, False)


async def test_the_end_of_all(feeds: Feeds, log: ChangeLog) -> None:
    subscription = feeds.subscribe("app", "p")
    await write(log, 1, 1)
    feeds.close()
    assert await taken(subscription) == changes(1, 1)
    assert is_over(subscription)
    late = feeds.subscribe("app", "p", 1)
    assert (list(late.opening), is_over(late)) == ([Ready(1)], True)
