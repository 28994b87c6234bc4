"""What transactions changed in one database file, told in the order in which they were committed.

Connections work in threads of their own, but only one at a time may commit: whoever takes a ticket
while it holds SQLite's write lock stands in that order, and is told in it, however late its thread
comes to say how the commit went. It knows threads and the event loop, neither SQL nor subscribers.
Source: protocol/operations.md, GET /<db>/changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from ...wire.sse import Operation

__all__ = ["MAX_WAITING_ROWS", "ChangeLog", "Changes", "RowChange", "Ticket"]

# Rows that wait for the event loop, or for a commit before theirs. Past it a transaction is told
# without its rows.
MAX_WAITING_ROWS: Final = 65_536


class RowChange(NamedTuple):
    """One row that was written. rowid: the new one, of a deleted row the old one."""

    table: str
    op: Operation
    rowid: int


Changes: TypeAlias = tuple[RowChange, ...] | None
"""The rows of one transaction in the order of their writing; None: more than can be told."""


class Ticket:
    """The place of one commit among the others."""

    __slots__ = ("changes", "is_settled")

    def __init__(self) -> None:
        self.changes: Changes = ()
        self.is_settled = False


class ChangeLog:
    """The commits of one file. Made in the event loop, in which on_commits is called with the
    changes of the transactions that are there, one after the other.

    `take_ticket` and `settle` are for any thread.
    """

    def __init__(self, on_commits: Callable[[list[Changes]], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_commits = on_commits
        self._lock = threading.Lock()
        self._tickets: deque[Ticket] = deque()
        self._waiting_rows = 0
        self._is_waking = False

    def take_ticket(self) -> Ticket:
        """A place behind all commits so far. Only while the file's write lock is held."""
        ticket = Ticket()
        with self._lock:
            self._tickets.append(ticket)
        return ticket

    def settle(self, ticket: Ticket, changes: Changes) -> None:
        """Says what that commit changed: () if it failed. Every ticket must be settled, once; those
        behind it wait for it.
        """
        with self._lock:
            if changes and self._waiting_rows + len(changes) > MAX_WAITING_ROWS:
                changes = None
            ticket.changes, ticket.is_settled = changes, True
            self._waiting_rows += len(changes or ())
            if self._is_waking or not self._tickets[0].is_settled:
                return
            self._is_waking = True
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        with self._lock:
            self._is_waking = False
            settled: list[Changes] = []
            while self._tickets and self._tickets[0].is_settled:
                changes = self._tickets.popleft().changes
                self._waiting_rows -= len(changes or ())
                settled.append(changes)
        self._on_commits([changes for changes in settled if changes != ()])
