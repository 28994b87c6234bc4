"""A thread that owns one link: takes pieces of work in order, and gives their outcomes back to the
event loop.

It knows threads and the loop, not SQL. Outcomes go back in batches: one wake-up of the loop serves
all that are ready.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from .access import StatementTimeout
from .link import Link

T = TypeVar("T")

ANSWER_GRACE_S = 1.0  # for the outcome of work that was interrupted at its deadline


class _Job:
    __slots__ = ("deadline", "future", "is_dropped", "is_started", "settles", "work")

    def __init__(
        self,
        work: Callable[[Link], Any],
        deadline: float,
        future: asyncio.Future[Any],
        settles: bool,
    ) -> None:
        self.work = work
        self.deadline = deadline
        self.future = future
        self.settles = settles
        self.is_started = False
        self.is_dropped = False


class Worker:
    """One thread with one connection, which opens with the first piece of work.

    name: of the thread. Its methods belong to the event loop
    in which it was made.
    """

    def __init__(self, link: Link, *, name: str) -> None:
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._outcomes: deque[tuple[_Job, Any, BaseException | None]] = deque()
        self._is_waking = False
        self._running_lock = threading.Lock()
        self._running: _Job | None = None
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._unfinished: set[_Job] = set()
        # A daemon: a server that nobody closed must not keep its process from ending.
        self._thread = threading.Thread(target=self._work_off, name=name, daemon=True)
        self._thread.start()

    @property
    def pending(self) -> int:
        """How much work waits or runs."""
        return len(self._unfinished)

    async def run(self, work: Callable[[Link], T], deadline: float, *, settles: bool) -> T:
        """What work gives for the link, in the thread of the worker, after all work that was given
        before.

        deadline: an instant of time.monotonic; work that has not begun by then is dropped. settles:
        whether the link is settled afterwards, as stateless requests need. When the awaiting task
        is cancelled, work is interrupted at once. Raises StatementTimeout, and whatever work
        raises.
        """
        job = _Job(work, deadline, self._loop.create_future(), settles)
        self._unfinished.add(job)
        self._jobs.put(job)
        timer = None
        if deadline != float("inf"):
            timer = self._loop.call_later(
                max(0.0, deadline - time.monotonic()), self._expire, job, deadline
            )
        try:
            outcome: T = await job.future
            return outcome
        except asyncio.CancelledError:
            self._drop(job)
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def interrupt(self) -> None:
        """Ends work that does not settle, running or waiting: that of the stream which has the
        link.
        """
        for job in tuple(self._unfinished):
            if not job.settles:
                self._drop(job)

    async def close(self) -> None:
        """Ends the thread after the work that it has, and closes the connection."""
        self._jobs.put(None)
        await asyncio.shield(self._ended)
        self._thread.join()  # it has nothing left to do but to end

    def _expire(self, job: _Job, deadline: float) -> None:
        self._drop(job)
        if not job.is_started:
            _fail(job, StatementTimeout())
        else:  # its outcome tells the truth, so it is worth a moment
            self._loop.call_later(ANSWER_GRACE_S, _fail, job, StatementTimeout())

    def _drop(self, job: _Job) -> None:
        job.is_dropped = True
        with self._running_lock:
            if self._running is job:
                self._link.stop()

    # In the thread

    def _work_off(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._work_on(job)
        self._link.settle()
        self._link.close()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._end)

    def _work_on(self, job: _Job) -> None:
        outcome: Any = None
        failure: BaseException | None = None
        self._link.watch.start(job.deadline)
        self._link.is_stateless = job.settles
        with self._running_lock:
            self._running = job
        job.is_started = True
        try:
            if job.is_dropped or self._link.watch.is_over:
                raise StatementTimeout
            outcome = job.work(self._link)
        except BaseException as error:  # the border of the thread: the awaiting task gets it
            failure = error
        if not job.settles:
            self._link.end_turn()
        with self._running_lock:
            self._running = None
        self._link.tell_changes()
        self._report(job, outcome, failure)
        if job.settles:
            self._link.settle()
            self._link.end_turn(needs_more=not self._jobs.empty())

    def _report(self, job: _Job, outcome: Any, failure: BaseException | None) -> None:
        self._outcomes.append((job, outcome, failure))
        if not self._is_waking:
            self._is_waking = True
            try:
                self._loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:  # the loop is closed: nobody waits any more
                self._outcomes.clear()

    # In the loop

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    def _deliver(self) -> None:
        self._is_waking = False
        while self._outcomes:
            job, outcome, failure = self._outcomes.popleft()
            self._unfinished.discard(job)
            if job.future.done():
                continue
            if failure is None:
                job.future.set_result(outcome)
            else:
                job.future.set_exception(failure)


def _fail(job: _Job, error: BaseException) -> None:
    if not job.future.done():
        job.future.set_exception(error)
