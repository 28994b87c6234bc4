"""One database and its connections: a writer, readers beside it where that is safe, and one for
each stream.

It decides which connection runs what, and when a caller has to wait for one. It knows no principals
and no wire.
Source: design/stack.md, 4; protocol/hrana.md, Streams and batons.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import TypeVar

import apsw

from ...types import Result, Statement
from .access import (
    Access,
    AttachRule,
    BatchFailure,
    Caps,
    DatabaseUnavailable,
    PolicyDenied,
    StatementTimeout,
)
from .authorizer import Touch
from .capture import start_capture, take_changeset
from .change_log import ChangeLog
from .classify import first_token, is_attach, suits_reader
from .describing import Description, describe_step
from .link import Link
from .opening import DatabaseSettings, Opener
from .running import ATTACH_DENIED, execute, look, run_batch, run_sequence
from .turnstile import Turnstile
from .usage import Usage
from .worker import Worker

T = TypeVar("T")

MAX_READERS = 4  # of a file in WAL mode, for each right
MAX_IDLE_STREAMS = 8  # connections of ended streams that are kept for the next ones
RELEASE_TIMEOUT_S = 5.0  # protocol/hrana.md, end of a stream


class Database:
    """A served database. name: as clients say it; kind: its backend. caps: of the statements that
    begin from now on. changes: where committed rows are told. usage: who uses it, and since when
    nobody does; clock: monotonic seconds.

    It opens with its first use, and again after `shut`. Stateless calls leave nothing of their own
    on a connection. Methods raise EngineError (of the engine package) when a statement fails,
    CannotOpen when the database does not open, and DatabaseUnavailable when it is closed.
    """

    def __init__(
        self,
        settings: DatabaseSettings,
        data_dir: str,
        caps: Caps,
        clock: Callable[[], float] = time.monotonic,
        changes: ChangeLog | None = None,
    ) -> None:
        self.name = settings.name
        self.kind = settings.backend
        self.caps = caps
        self.usage = Usage(clock)
        self._opener = Opener(settings, data_dir)
        self._changes = changes
        self._lock_mode = settings.pool.tx_lock.upper()
        max_open = settings.pool.max_open
        self._shared = Turnstile() if self._opener.is_memory or max_open == 1 else None
        self._slots = asyncio.Semaphore(max_open - 1) if max_open > 1 else None
        self._has_readers = False
        self._main: Worker | None = None  # there while the database is open
        self._gate = asyncio.Lock()  # around opening and closing
        self._readers: dict[Access, list[Worker]] = {Access.READ_ONLY: [], Access.READ_WRITE: []}
        self._idle_streams: list[Worker] = []
        self._pinned: set[PinnedConnection] = set()
        self._is_closed = False
        self._max_open = max_open

    @property
    def file(self) -> str | None:
        """The path of its file; None: it is in memory."""
        return self._opener.file

    @property
    def is_read_only(self) -> bool:
        """Whether nobody may write to its file, whatever the grants say (`mode: ro`)."""
        return self._opener.is_read_only

    @property
    def is_open(self) -> bool:
        """Whether it has a connection."""
        return self._main is not None

    @property
    def pinned_count(self) -> int:
        """How many streams hold a connection."""
        return len(self._pinned)

    async def warm(self) -> None:
        """Opens the database, if it is not open. Raises CannotOpen with SQLite's text."""
        async with self._gate:
            if self._main is not None:
                return
            self._refuse_if_closed()
            main = self._worker("main")
            try:
                mode = await main.run(_journal_mode, math.inf, settles=True)
            except BaseException:
                await main.close()
                self._opener.close()
                raise
            self._has_readers = mode == "wal" and self._shared is None and self._max_open == 0
            self._main = main

    async def shut(self) -> None:
        """Closes every connection, after the statements that run, and ends every stream; the next
        use opens the database anew. A memory database loses its rows.
        """
        async with self._gate:
            await self._close_connections()

    async def shut_if_idle(self, limit_s: float) -> None:
        """Shuts the database if it is open and nobody has used it for limit_s."""
        async with self._gate:
            if self._main is not None and self.usage.idle_s >= limit_s:
                await self._close_connections()

    @contextlib.asynccontextmanager
    async def offline(self) -> AsyncIterator[None]:
        """Alone with the file: nobody uses the database meanwhile, and it is shut.

        Raises: DatabaseBusy at once, if somebody uses it.
        """
        self.usage.reserve()
        try:
            await self.shut()
            yield
        finally:
            self.usage.free()

    async def execute(self, statement: Statement, access: Access, deadline: float) -> Result:
        """Runs one statement or script on its own. deadline: an instant of time.monotonic."""
        if is_attach(statement.sql):
            raise PolicyDenied(ATTACH_DENIED)
        work = partial(execute, statement=statement, allow_transactions=False)
        worker = await self._worker_for(access, deadline, reads=suits_reader(statement.sql))
        return await self._run(worker, work, access, deadline)

    async def batch(
        self, statements: Sequence[Statement], access: Access, deadline: float
    ) -> list[Result]:
        """Runs statements in one transaction, all or nothing; one result for each. Raises
        BatchFailure.
        """
        work = partial(run_batch, statements=statements, lock=self._lock_mode)
        worker = await self._worker_for(access, deadline, reads=False)
        try:
            return await self._run(worker, work, access, deadline)
        except StatementTimeout as error:  # before the batch began
            raise BatchFailure(None, error) from error

    async def call(
        self,
        work: Callable[[apsw.Connection], T],
        access: Access,
        deadline: float,
        *,
        leaves_traces: bool = True,
    ) -> T:
        """What work gives for a connection of its own right, which is replaced afterwards if work
        leaves traces on it.

        For what is not a statement: images, changesets, blobs. Raises whatever work raises.
        """

        def on_link(link: Link) -> T:
            if leaves_traces:
                link.touched |= Touch.CONNECTION
            with link.turn_to_write() if access is Access.READ_WRITE else contextlib.nullcontext():
                return work(link.connection)

        worker = await self._worker_for(access, deadline, reads=False)
        return await self._run(worker, on_link, access, deadline)

    async def pin(
        self, access: Access, *, attach_rule: AttachRule | None = None
    ) -> PinnedConnection:
        """A connection of its own for a stream, with that right for life.

        Waits without bound while all are in use: a memory database and `pool.max_open: 1` have one
        in all.
        """
        if self._shared is not None:
            await self._shared.hold()
        elif self._slots is not None:
            await self._slots.acquire()
        try:
            worker = await self._stream_worker()
            pinned = PinnedConnection(self, worker, access, attach_rule=attach_rule)
            self.usage.begin()
            self._pinned.add(pinned)
        except BaseException:
            self._free_slot()
            raise
        try:
            await worker.run(pinned.prepare, math.inf, settles=False)
        except BaseException:
            await pinned.release()
            raise
        return pinned

    async def close(self) -> None:
        """Shuts the database for good."""
        self._is_closed = True
        await self.shut()

    async def _close_connections(self) -> None:
        # Taken out before the first await: whoever comes meanwhile waits, and opens anew.
        main, self._main = self._main, None
        for pinned in tuple(self._pinned):
            pinned.interrupt()
            await pinned.release()
        for workers in (self._idle_streams, *self._readers.values()):
            while workers:
                await workers.pop().close()
        if main is not None:  # last: closing the last connection checkpoints the log
            await main.close()
        self._opener.close()

    async def give_back(self, pinned: PinnedConnection, worker: Worker) -> None:
        """Takes the connection of an ended stream back. For PinnedConnection.release only."""
        self._pinned.discard(pinned)
        try:
            deadline = time.monotonic() + RELEASE_TIMEOUT_S
            await worker.run(Link.settle, deadline, settles=True)
            is_sound = True
        except StatementTimeout:
            is_sound = False
        if self._shared is None:
            if is_sound and not self._is_closed and len(self._idle_streams) < MAX_IDLE_STREAMS:
                self._idle_streams.append(worker)
            else:
                await worker.close()
        self.usage.end()
        self._free_slot()

    def _free_slot(self) -> None:
        if self._shared is not None:
            self._shared.leave_hold()
        elif self._slots is not None:
            self._slots.release()

    async def _run(
        self, worker: Worker, work: Callable[[Link], T], access: Access, deadline: float
    ) -> T:
        def on_link(link: Link) -> T:
            link.use(access, self.caps)
            return work(link)

        if self._shared is None:
            return await worker.run(on_link, deadline, settles=True)
        try:
            await self._shared.enter(deadline)
        except TimeoutError:
            raise StatementTimeout from None
        try:
            return await worker.run(on_link, deadline, settles=True)
        finally:
            self._shared.leave()

    async def _worker_for(self, access: Access, deadline: float, *, reads: bool) -> Worker:
        """A reader for what only reads, the one writer for the rest. A read-only right cannot
        write, so it reads.
        """
        main = self._main or await self._opened(deadline)
        if not self._has_readers or not (reads or access is Access.READ_ONLY):
            return main
        readers = self._readers[access]
        quietest = min(readers, key=lambda worker: worker.pending, default=None)
        if quietest is not None and (quietest.pending == 0 or len(readers) >= MAX_READERS):
            return quietest
        readers.append(self._worker(f"{access.value} reader {len(readers)}"))
        return readers[-1]

    async def _stream_worker(self) -> Worker:
        main = self._main or await self._opened(math.inf)
        if self._shared is not None:
            return main
        return self._idle_streams.pop() if self._idle_streams else self._worker("stream")

    async def _opened(self, deadline: float) -> Worker:
        """The writer of the database, which is opened for it. Raises: what `warm` raises, and
        StatementTimeout when that takes too long.
        """
        wait_s = None if deadline == math.inf else deadline - time.monotonic()
        try:
            async with asyncio.timeout(wait_s):
                while self._main is None:
                    await self.warm()
        except TimeoutError:
            raise StatementTimeout from None
        return self._main

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            raise DatabaseUnavailable(f"database {self.name!r} is not open")

    def _worker(self, role: str) -> Worker:
        return Worker(Link(self._opener, self._changes), name=f"quicsql {self.name} {role}")


class PinnedConnection:
    """A connection that belongs to one stream until `release`. Made by `Database.pin`.

    deadline: an instant of time.monotonic; None: the statement timeout from now on. Methods raise
    EngineError.
    """

    def __init__(
        self,
        database: Database,
        worker: Worker,
        access: Access,
        *,
        attach_rule: AttachRule | None,
    ) -> None:
        self._database = database
        self._worker = worker
        self._access = access
        self._attach_rule = attach_rule
        self._released: asyncio.Task[None] | None = None

    async def execute(self, statement: Statement, deadline: float | None = None) -> Result:
        """Runs one statement or script; BEGIN and its like are for the stream's own transaction."""
        return await self._run(
            partial(execute, statement=statement, allow_transactions=True), deadline
        )

    async def sequence(self, sql: str, deadline: float | None = None) -> None:
        """Runs a script and discards its rows; what ran before a failing statement stays."""
        await self._run(partial(run_sequence, sql=sql), deadline)

    async def describe(self, sql: str) -> Description:
        """The first statement of sql: prepared, never run."""
        is_explain = first_token(sql) == "EXPLAIN"
        step = await self._run(partial(look, sql=sql), math.inf)
        return describe_step(step, is_explain=is_explain)

    async def is_autocommit(self) -> bool:
        """Whether no transaction is open."""
        return await self._run(lambda link: link.is_autocommit, math.inf)

    async def start_capture(self, tables: Sequence[str] = ()) -> bool:
        """Begins to record the changes of tables, or of all; False if a capture is already open."""
        return await self._run(partial(start_capture, tables=tuple(tables)), math.inf)

    async def take_changeset(self) -> bytes | None:
        """What was captured, as a SQLite changeset, and the end of the capture; None if none is
        open.
        """
        return await self._run(take_changeset, math.inf)

    def interrupt(self) -> None:
        """Ends what runs or waits on this connection, with StatementTimeout."""
        self._worker.interrupt()

    async def release(self) -> None:
        """Rolls back, resets, and gives the connection back; a second call waits for the first."""
        if self._released is None:
            self._released = asyncio.ensure_future(self._database.give_back(self, self._worker))
        await asyncio.shield(self._released)

    def prepare(self, link: Link) -> None:
        """Gives the link the stream's right. Runs in the worker."""
        link.use(self._access, self._database.caps, attach_rule=self._attach_rule)

    async def _run(self, work: Callable[[Link], T], deadline: float | None) -> T:
        if self._released is not None:
            raise StatementTimeout

        def on_link(link: Link) -> T:
            self.prepare(link)
            return work(link)

        timeout_s = self._database.caps.statement_timeout_s
        return await self._worker.run(
            on_link,
            time.monotonic() + timeout_s if deadline is None else deadline,
            settles=False,
        )


def _journal_mode(link: Link) -> str:
    return str(link.connection.pragma("journal_mode")).lower()
