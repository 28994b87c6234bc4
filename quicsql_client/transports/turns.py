"""Whose turn it is to read a connection that several exchanges share.

One call reads for all; the others wait until it has found something for them, or has enough
itself and leaves the reading to one of them. There is no reading task in the background, so
nothing is left behind when all calls have ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from .deadlines import wait_until

__all__ = ["AsyncTurn", "Turn"]


class Turn:
    """For a connection of one exchange at a time: it is always the caller's.

    is_taken: somebody reads.
    """

    is_taken = False

    def take(self, stream_id: int, deadline: float | None) -> bool:
        """True when the caller has to read, False when something has come for its exchange.

        Raises TimeoutError at the deadline.
        """
        return True

    def tell(self, news: Iterable[int]) -> None:
        """Say for which exchanges something has come."""

    def give(self, *, is_last: bool) -> None:
        """Read no more. is_last: nobody else needs to, all that wait are told."""


class AsyncTurn:
    """The same for many tasks of one event loop."""

    def __init__(self) -> None:
        self.is_taken = False
        self._waiting: dict[int, asyncio.Future[bool]] = {}

    async def take(self, stream_id: int, deadline: float | None) -> bool:
        """See Turn.take."""
        if not self.is_taken:
            self.is_taken = True
            return True
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[stream_id] = waiter
        try:
            return await wait_until(deadline, waiter)
        except asyncio.CancelledError:
            if not waiter.cancelled() and waiter.done() and waiter.exception() is None:
                self._leave(was_turn=waiter.result())
            raise
        finally:
            self._waiting.pop(stream_id, None)

    def _leave(self, *, was_turn: bool) -> None:
        """It became ours, perhaps, in the moment in which we left."""
        if was_turn:
            self.give(is_last=False)

    def tell(self, news: Iterable[int]) -> None:
        """See Turn.tell."""
        for stream_id in news:
            self._answer(stream_id, is_turn=False)

    def give(self, *, is_last: bool) -> None:
        """See Turn.give."""
        self.is_taken = False
        for stream_id in list(self._waiting):
            if self._answer(stream_id, is_turn=not is_last) and not is_last:
                self.is_taken = True
                return

    def _answer(self, stream_id: int, *, is_turn: bool) -> bool:
        """True when there is one who hears it."""
        waiter = self._waiting.pop(stream_id, None)
        if waiter is None or waiter.done():
            return False
        waiter.set_result(is_turn)
        return True
