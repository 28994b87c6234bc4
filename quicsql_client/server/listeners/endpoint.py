"""What the connections of one listener share: the application, the timeouts, who is there.

Must not know HTTP, TLS or sockets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from .asgi import ASGIApplication
from .settings import HTTPTimeouts


class Drainable(Protocol):
    """A connection as the listener sees it."""

    def shutdown(self) -> None:
        """Finish what is in flight, take nothing new, close."""

    def abort(self) -> bool:
        """Close at once; whether a request was cut."""


_CLEANUP_S = 2.0  # for applications that were cancelled at the end of the grace time


class Endpoint:
    """One listener from the inside. kind: h1, h2c, h2, h3 or unix. server: the bound address, for
    scopes."""

    def __init__(
        self,
        *,
        name: str,
        kind: str,
        app: ASGIApplication,
        timeouts: HTTPTimeouts,
        server: tuple[str, int | None],
    ) -> None:
        self.name = name
        self.kind = kind
        self.app = app
        self.timeouts = timeouts
        self.server = server
        self.connections: set[Drainable] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.is_draining = False
        self._all_gone = asyncio.Event()

    @property
    def limits_request_time(self) -> bool:
        """Whether a whole request must come within a time: the two transports without HTTP/2."""
        return self.kind in ("h1", "unix")

    def spawn(
        self, work: Coroutine[Any, Any, None], on_done: Callable[[], None]
    ) -> asyncio.Task[None]:
        """Run a request in a task of its own; on_done is called however it ends."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self.tasks.discard(task)
            on_done()
            self._note()

        task.add_done_callback(ended)
        return task

    def add(self, connection: Drainable) -> None:
        """A connection is there."""
        self.connections.add(connection)

    def remove(self, connection: Drainable) -> None:
        """A connection is gone."""
        self.connections.discard(connection)
        self._note()

    def _note(self) -> None:
        if not self.connections and not self.tasks:
            self._all_gone.set()

    async def wait_until_empty(self, timeout_s: float) -> bool:
        """Wait for the last connection and task; False when time ran out."""
        self._all_gone.clear()
        self._note()
        try:
            async with asyncio.timeout(timeout_s):
                await self._all_gone.wait()
        except TimeoutError:
            return False
        return True

    async def drain(self, grace_s: float) -> int:
        """Let what is in flight end within grace_s seconds, abort the rest; how many connections
        were aborted with a request in flight."""
        self.is_draining = True
        for connection in list(self.connections):
            connection.shutdown()
        if await self.wait_until_empty(grace_s):
            return 0
        aborted = sum(connection.abort() for connection in list(self.connections))
        for task in list(self.tasks):
            task.cancel()
        await self.wait_until_empty(_CLEANUP_S)
        return aborted
