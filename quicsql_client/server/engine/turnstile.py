"""Order at a single connection: passers share it request by request, a holder has it alone.

It knows the event loop, neither SQL nor threads. Everyone is served in the order of arrival.
Source: protocol/hrana.md, Streams and batons (Open).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque


class Turnstile:
    """Lets any number of passers in, or one holder. For one event loop; not thread-safe."""

    def __init__(self) -> None:
        self._is_held = False
        self._passers = 0
        self._waiting: deque[tuple[asyncio.Future[None], bool]] = deque()

    async def enter(self, deadline: float) -> None:
        """Returns as a passer, when nobody holds or waits before; `leave` ends that.

        deadline: an instant of time.monotonic. Raises TimeoutError when it passes.
        """
        if not self._is_held and not self._waiting:
            self._passers += 1
        elif deadline == math.inf:
            await self._wait(holds=False)
        else:
            async with asyncio.timeout(deadline - time.monotonic()):
                await self._wait(holds=False)

    async def hold(self) -> None:
        """Returns as the only one inside; `leave_hold` ends that."""
        if self._is_held or self._passers or self._waiting:
            await self._wait(holds=True)
        else:
            self._is_held = True

    def leave(self) -> None:
        """Ends the turn of a passer."""
        self._passers -= 1
        self._admit()

    def leave_hold(self) -> None:
        """Ends the turn of the holder."""
        self._is_held = False
        self._admit()

    async def _wait(self, *, holds: bool) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, holds))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._admit()  # who stood behind may be next
            elif holds:
                self.leave_hold()  # the turn came in the moment of the cancellation
            else:
                self.leave()
            raise

    def _admit(self) -> None:
        while self._waiting and not self._is_held:
            turn, holds = self._waiting[0]
            if not turn.done():
                if holds and self._passers:
                    return
                self._is_held = holds
                self._passers += not holds
                turn.set_result(None)
            self._waiting.popleft()
