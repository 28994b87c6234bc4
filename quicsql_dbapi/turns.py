"""Turns: one statement at a time on a connection, and, in asyncio, a way to interrupt it."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Any, Self

from quicsql_client import OperationalError

__all__ = ["AsyncTurns", "Turns"]


class Turns:
    """`with turns:` waits for the thread whose turn it is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class AsyncTurns:
    """`async with turns:` waits for the task whose turn it is; `interrupt` ends that turn."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._holder: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self._is_interrupted = False

    def interrupt(self) -> bool:
        """Cancel what the turn waits for: it raises OperationalError. False where nobody has it."""
        if self._holder is None or self._is_interrupted:
            return False
        self._is_interrupted = True
        return self._holder.cancel()

    async def __aenter__(self) -> Self:
        await self._lock.acquire()
        self._holder = asyncio.current_task()
        self._cancelling = self._holder.cancelling() if self._holder is not None else 0
        self._is_interrupted = False
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        holder, self._holder = self._holder, None
        self._lock.release()
        if not self._is_interrupted or holder is None:
            return
        # As asyncio.timeout does: a cancellation from elsewhere goes on as what it is.
        is_ours = holder.uncancel() <= self._cancelling
        if is_ours and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise OperationalError(
                "interrupted: the connection's cancel() was called; the server stops the statement",
                code=9,
                extended_code=9,
                name="SQLITE_INTERRUPT",
            ) from error
