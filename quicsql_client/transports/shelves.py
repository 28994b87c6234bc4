"""The connections of a pool, and which of them a call gets. Opens and closes none itself.

A call takes the newest connection that has room; else a place for a new one; else it waits. Where
connections are shared there is one for all calls (RFC 9113, 9.1), beside those that only end what
they have: so calls wait for room there, and for one that is being opened. If opening it fails,
those that waited find out each for itself.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import Generic, Protocol, TypeVar

from ..errors import LocalProtocolError
from .deadlines import remaining_s

__all__ = ["AsyncShelf", "Lendable", "Shelf"]


class Lendable(Protocol):
    """A connection as a shelf sees it.

    calls: how many have it now. capacity: how many may, 0 when it is of no more use. was_used:
    an exchange on it has ended well.
    """

    calls: int

    @property
    def capacity(self) -> int: ...

    @property
    def was_used(self) -> bool: ...

    def close(self) -> None: ...


C = TypeVar("C", bound=Lendable)


class _Shelf(Generic[C]):
    """What both colours decide alike. None stands for a place that was kept for a new connection.

    most: connections at a time. is_shared: they take more than one call each, as far as is known.
    """

    def __init__(self, most: int, *, is_shared: bool) -> None:
        self._most = most
        self._is_shared = is_shared
        self._connections: list[C] = []
        self._opening = 0
        self._has_failed = False
        self._is_closed = False

    @property
    def idle(self) -> list[C]:
        """Those that no call has."""
        return [connection for connection in self._connections if not connection.calls]

    @property
    def all(self) -> list[C]:
        """Each of them."""
        return list(self._connections)

    def _choose(self, *, is_fresh: bool) -> tuple[C | None] | None:
        """A connection, or a place for one; None for neither.

        is_fresh: not one that has been idle, as another one of those was found dead. One that is
        shared says by its capacity whether it is.
        """
        for connection in reversed(self._connections):
            if self._has_room(connection) and (not is_fresh or self._is_trusted(connection)):
                connection.calls += 1
                return (connection,)
        if self._is_full() and not (is_fresh and self._drop_idle()):
            return None
        self._opening += 1
        return (None,)

    def _is_full(self) -> bool:
        if not self._is_shared:
            return self._opening + len(self._connections) >= self._most
        is_there = any(connection.capacity for connection in self._connections)
        will_be = self._opening and not self._has_failed
        return bool(is_there or will_be) or self._opening >= self._most

    def _has_room(self, connection: C) -> bool:
        if connection.calls and not self._is_shared:
            return False  # without a look at a connection that another thread is busy with
        return connection.calls < connection.capacity

    def _is_trusted(self, connection: C) -> bool:
        return self._is_shared or bool(connection.calls) or not connection.was_used

    def _drop_idle(self) -> bool:
        """Make room at the cost of an idle connection that is not trusted, if there is one."""
        idle = [] if self._is_shared else self.idle
        for connection in idle[:1]:
            self._connections.remove(connection)
            connection.close()
        return bool(idle)

    def _add(self, connection: C | None) -> None:
        """What became of a place: a connection, lent to the call that opened it, or nothing."""
        self._opening -= 1
        self._has_failed = connection is None
        if connection is not None:
            connection.calls = 1
            self._is_shared = self._is_shared and connection.capacity > 1
            self._connections.append(connection)

    def _return(self, connection: C) -> bool:
        """True when it is of no more use to anybody."""
        connection.calls -= 1
        is_kept = connection.calls or (connection.capacity and not self._is_closed)
        if is_kept or connection not in self._connections:
            return False
        self._connections.remove(connection)
        return True

    def _end(self) -> list[C]:
        """Those that are to be closed now; the others are of no more use once they are idle."""
        self._is_closed = True
        idle = self.idle
        self._connections = [connection for connection in self._connections if connection.calls]
        return idle


class Shelf(_Shelf[C]):
    """For threads."""

    def __init__(self, most: int, *, is_shared: bool) -> None:
        super().__init__(most, is_shared=is_shared)
        self._changed = threading.Condition()

    def take(self, deadline: float | None, *, is_fresh: bool) -> C | None:
        """A connection, now used by one call more, or None: open one, and `add` what comes of it.

        Raises TimeoutError when there was neither before the deadline.
        """
        with self._changed:
            while (chosen := self._choose(is_fresh=is_fresh)) is None:
                self._changed.wait(remaining_s(deadline))
            return chosen[0]

    def add(self, connection: C | None) -> None:
        """The connection that was opened, lent to its opener; None where that failed."""
        with self._changed:
            self._add(connection)
            self._changed.notify()

    def give_back(self, connection: C) -> None:
        """End a call's use of it; what is of no more use is closed."""
        with self._changed:
            is_over = self._return(connection)
            self._changed.notify()
        if is_over:
            connection.close()

    def close(self) -> None:
        """Close what is idle now, and everything else when it is given back."""
        with self._changed:
            idle = self._end()
        for connection in idle:
            connection.close()


class AsyncShelf(_Shelf[C]):
    """For tasks of one event loop at a time; those that wait get their turn in order."""

    def __init__(self, most: int, *, is_shared: bool) -> None:
        super().__init__(most, is_shared=is_shared)
        self._waiting: deque[_Waiter[C]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def take(self, deadline: float | None, *, is_fresh: bool) -> C | None:
        """See Shelf.take. Raises LocalProtocolError while another event loop uses connections."""
        self._check_loop()
        if not self._waiting and (chosen := self._choose(is_fresh=is_fresh)) is not None:
            return chosen[0]
        waiter = _Waiter[C](is_fresh)
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(remaining_s(deadline)):
                return (await waiter.chosen)[0]
        except BaseException:
            self._leave(waiter)
            raise

    def _leave(self, waiter: _Waiter[C]) -> None:
        if waiter in self._waiting:
            self._waiting.remove(waiter)
        elif waiter.chosen.done() and not waiter.chosen.cancelled():
            (connection,) = waiter.chosen.result()  # it became ours in the moment in which we left
            if connection is None:
                self._opening -= 1
            else:
                self.give_back(connection)
        self._hand_out()

    def _check_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        used = [connection for connection in self._connections if connection.calls]
        if self._loop is not None and (used or self._opening):
            if not self._loop.is_closed():
                raise LocalProtocolError(
                    "the client is in use in another event loop; use one client for each"
                )
            # Its calls were left unfinished, and will never give back what they have.
            self._opening = 0
            for connection in used:
                self._connections.remove(connection)
                connection.close()
        self._waiting.clear()
        self._loop = loop

    def add(self, connection: C | None) -> None:
        """See Shelf.add."""
        self._add(connection)
        self._hand_out()

    def give_back(self, connection: C) -> None:
        """See Shelf.give_back."""
        if self._return(connection):
            connection.close()
        self._hand_out()

    def _hand_out(self) -> None:
        while self._waiting:
            waiter = self._waiting[0]
            if not waiter.chosen.done():
                chosen = self._choose(is_fresh=waiter.is_fresh)
                if chosen is None:
                    return
                waiter.chosen.set_result(chosen)
            self._waiting.popleft()

    def close(self) -> None:
        """See Shelf.close."""
        for connection in self._end():
            connection.close()


class _Waiter(Generic[C]):
    """A call that waits, in the order of coming."""

    def __init__(self, is_fresh: bool) -> None:
        self.is_fresh = is_fresh
        self.chosen: asyncio.Future[tuple[C | None]] = asyncio.get_running_loop().create_future()
