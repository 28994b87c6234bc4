"""The change feeds: numbered events of each database file, the newest kept, and who follows.

It knows what was committed, by its log, and names of databases and principals; neither HTTP nor how
an event is written. Everything here belongs to the event loop.
Source: protocol/operations.md, GET /<db>/changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Callable, Collection, Sequence
from itertools import islice
from typing import Final

from ..wire.sse import Change, Event, Ready, Reset
from .engine.change_log import ChangeLog, Changes

__all__ = ["MAX_BEHIND", "Feeds", "NoFeed", "Subscription", "TooManySubscribers"]

MAX_BEHIND: Final = 256  # events that wait for a subscriber; one more, and it is disconnected


class NoFeed(Exception):
    """The database is not served, or has no file whose changes could be told."""


class TooManySubscribers(Exception):
    """`changefeed.max_subscribers` follow this database."""


class Subscription:
    """What one subscriber gets. opening: its first event, and those it had missed.

    database, principal: whose it is. tables: exact names, whose changes it wants; none is all.
    on_end: called once, at its end. is_cut: it ended at once, nothing may be sent any more.
    """

    def __init__(
        self,
        database: str,
        principal: str,
        opening: Sequence[Event],
        tables: frozenset[str],
        on_end: Callable[[Subscription], None],
    ) -> None:
        self.database = database
        self.principal = principal
        self._tables = tables
        self.opening = self._wanted(opening)
        self._on_end = on_end
        self._waiting: deque[Event] = deque()
        self._has_news = asyncio.Event()
        self._is_ended = False
        self.is_cut = False

    @property
    def is_over(self) -> bool:
        """Whether all of it has been taken and nothing will follow."""
        return self._is_ended and not self._waiting

    def offer(self, events: Sequence[Event]) -> None:
        """Adds what happened. One who is too far behind gets what there is room for, and the
        end.
        """
        wanted = self._wanted(events)
        room = MAX_BEHIND - len(self._waiting)
        self._waiting.extend(islice(wanted, room))
        if wanted:
            self._has_news.set()
        if len(wanted) > room:
            self.end()

    async def take(self, until: float) -> list[Event]:
        """What happened since it was last asked, at least one event, oldest first; none when the
        loop's clock says `until`, or at the end.
        """
        if not self._waiting and not self._is_ended:
            self._has_news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self._has_news.wait()
        events = list(self._waiting)
        self._waiting.clear()
        return events

    def end(self) -> None:
        """Nothing follows any more; what waits can still be taken."""
        if not self._is_ended:
            self._is_ended = True
            self._has_news.set()
            self._on_end(self)

    def cut(self) -> None:
        """The end at once: nothing can be taken any more."""
        self.is_cut = True
        self._waiting.clear()
        self.end()

    def _wanted(self, events: Sequence[Event]) -> Sequence[Event]:
        if not self._tables:
            return events
        return [e for e in events if not isinstance(e, Change) or e.table in self._tables]


class Feed:
    """The events of one file, numbered from 1. buffer: how many are kept for those who resume."""

    def __init__(self, buffer: int, max_subscribers: int) -> None:
        self.log = ChangeLog(self._publish)
        self._max_subscribers = max_subscribers
        self._seq = 0
        self._kept: deque[Event] = deque(maxlen=buffer)
        self._subscriptions: set[Subscription] = set()

    def subscribe(
        self, database: str, principal: str, since: int, tables: frozenset[str]
    ) -> Subscription:
        """A subscription from now on. Raises: TooManySubscribers."""
        if len(self._subscriptions) >= self._max_subscribers:
            raise TooManySubscribers
        opening = self._opening(since)
        subscription = Subscription(
            database, principal, opening, tables, self._subscriptions.discard
        )
        self._subscriptions.add(subscription)
        return subscription

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """Those that have not ended."""
        return tuple(self._subscriptions)

    def _opening(self, since: int) -> list[Event]:
        """The first event for one who has seen all up to since (0: who only wants what comes), and
        what was missed.
        """
        missed = self._seq - since if since else 0
        if not 0 <= missed <= len(self._kept):
            return [Reset(self._seq, is_opening=True)]
        return [Ready(self._seq), *islice(self._kept, len(self._kept) - missed, None)]

    def _publish(self, commits: list[Changes]) -> None:
        for changes in commits:
            events = self._numbered(changes)
            self._kept.extend(events)
            for subscription in self.subscriptions:
                subscription.offer(events)

    def _numbered(self, changes: Changes) -> list[Event]:
        first = self._seq + 1
        if changes is None:
            self._seq = first
            return [Reset(first)]
        self._seq += len(changes)
        return [Change(seq, *change) for seq, change in enumerate(changes, first)]


class Feeds:
    """The feeds of a server's databases. Two databases on one file share its feed.

    buffer, max_subscribers: of each feed. Made in the event loop that its methods belong to.
    """

    def __init__(self, *, buffer: int, max_subscribers: int) -> None:
        self._buffer = buffer
        self._max_subscribers = max_subscribers
        self._files: dict[str, str] = {}  # of each database
        self._feeds: dict[str, Feed] = {}  # of each file
        self._is_closed = False

    def attach(self, database: str, path: str) -> ChangeLog:
        """The log for the connections of a database on the file at path."""
        file = os.path.realpath(path)
        self._files[database] = file
        feed = self._feeds.get(file)
        if feed is None:
            feed = self._feeds[file] = Feed(self._buffer, self._max_subscribers)
        return feed.log

    def detach(self, database: str) -> None:
        """Ends the subscriptions of a database, and its feed if it was the file's last one."""
        file = self._files.pop(database, None)
        if file is None:
            return
        for subscription in self._feeds[file].subscriptions:
            if subscription.database == database:
                subscription.end()
        if file not in self._files.values():
            del self._feeds[file]

    def subscribe(
        self, database: str, principal: str, since: int = 0, tables: frozenset[str] = frozenset()
    ) -> Subscription:
        """Follows a database. since: the last event that was seen, 0: from now on.

        After `close` it is over with its first event. Raises: NoFeed, TooManySubscribers.
        """
        try:
            feed = self._feeds[self._files[database]]
        except KeyError:
            raise NoFeed(database) from None
        subscription = feed.subscribe(database, principal, since, tables)
        if self._is_closed:
            subscription.end()
        return subscription

    def end_of_principals(self, gone: Collection[str]) -> None:
        """Ends every subscription of principals that are gone, at once."""
        for subscription in self._subscriptions():
            if subscription.principal in gone:
                subscription.cut()

    def close(self) -> None:
        """Ends every subscription, those to come too: the server is about to stop."""
        self._is_closed = True
        for subscription in self._subscriptions():
            subscription.end()

    def _subscriptions(self) -> list[Subscription]:
        return [one for feed in self._feeds.values() for one in feed.subscriptions]
