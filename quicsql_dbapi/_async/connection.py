"""AsyncConnection: PEP 249's connection over the public client.

A connection is virtual: making one asks nothing of the server.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any, Generic, Self, overload

from quicsql_client import (
    Arguments,
    AsyncClient,
    Error,
    ProgrammingError,
    Result,
    Statement,
    Value,
)

from ..converters import PARSE_DECLTYPES, require_flags
from ..exceptions import ErrorAttributes
from ..factories import RowFactory, RowT, T
from ..info import ConnectionInfo
from ..parameters import Prepared
from ..rows import require_on_truncated
from ..statements import Analysis
from ..turns import AsyncTurns
from .cursor import AsyncCursor
from .runner import AsyncRunner

__all__ = ["AsyncConnection"]


class AsyncConnection(ErrorAttributes, Generic[RowT]):
    """A connection to one database, as PEP 249 and Python's `sqlite3` have them.

    Use `quicsql_dbapi.aio.connect` to make one. client, database: what it talks to. Tasks may
    share it, one statement at a time. Without autocommit the first statement opens a transaction,
    which lasts until commit or rollback; only PRAGMA settings, ATTACH, DETACH and VACUUM,
    which transactions do not hold, run before it. A `with` block commits, or rolls back on an
    exception, and does not close, as in `sqlite3`. row_factory: that of the cursors made from now
    on. detect_types: which columns are converted. on_truncated: "raise" or "warn".
    """

    def __init__(
        self,
        client: AsyncClient,
        database: str,
        *,
        autocommit: bool = False,
        row_factory: RowFactory[RowT] | None = None,
        detect_types: int = 0,
        on_truncated: str = "raise",
        release: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """release: called once when the connection is closed, to give its client back."""
        self.client = client
        self.database = database
        self.row_factory: RowFactory[Any] | None = row_factory
        self.detect_types = require_flags(detect_types)
        self.on_truncated = require_on_truncated(on_truncated)
        self._runner = AsyncRunner(
            client,
            database,
            autocommit=_require_bool(autocommit),
            tells_decltypes=bool(detect_types & PARSE_DECLTYPES),
        )
        self._release = release
        self._turns = AsyncTurns()
        self._is_closed = False
        self._server_version: str | None = None

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else f"in_transaction={self.in_transaction}"
        return f"<{type(self).__name__} {self.database!r} {state}>"

    @property
    def autocommit(self) -> bool:
        """Whether each statement commits by itself. Change it by `set_autocommit`."""
        return self._runner.autocommit

    async def set_autocommit(self, value: bool) -> None:
        """Change autocommit; True commits a transaction that is open, as `sqlite3` does."""
        async with self._turns:
            self._require_open()
            if _require_bool(value):
                await self._runner.commit()
            self._runner.autocommit = value

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open: some statement has run in it, or BEGIN was called."""
        return self._runner.in_transaction

    @property
    def total_changes(self) -> int:
        """Rows that INSERT, REPLACE, UPDATE and DELETE have changed here, scripts not counted."""
        return self._runner.total_changes

    @property
    def info(self) -> ConnectionInfo:
        """Where the connection leads and as whom: host, port, database, user, certificates."""
        return ConnectionInfo.of(self.client, self.database)

    async def server_version(self) -> str:
        """The version of the server's SQLite, such as "3.46.1"; asked for once."""
        if self._server_version is None:
            self._server_version = str(await self._ask("SELECT sqlite_version()"))
        return self._server_version

    @property
    def settings(self) -> frozenset[str]:
        """What is set on the connection's pinned stream: "PRAGMA FOREIGN_KEYS", "ATTACH AUX"."""
        return self._runner.settings

    @overload
    def cursor(self, *, row_factory: None = None) -> AsyncCursor[RowT]: ...

    @overload
    def cursor(self, *, row_factory: RowFactory[T]) -> AsyncCursor[T]: ...

    def cursor(self, *, row_factory: RowFactory[Any] | None = None) -> AsyncCursor[Any]:
        """A new cursor, with the connection's row_factory unless it is given one of its own.

        Raises ProgrammingError on a closed connection.
        """
        self._require_open()
        return AsyncCursor(self, row_factory or self.row_factory)

    async def execute(self, operation: str, parameters: Arguments = (), /) -> AsyncCursor[RowT]:
        """Run one statement on a new cursor, and return that."""
        return await self.cursor().execute(operation, parameters)

    async def executemany(
        self, operation: str, seq_of_parameters: Iterable[Arguments], /
    ) -> AsyncCursor[RowT]:
        """Run a statement many times on a new cursor, and return that."""
        return await self.cursor().executemany(operation, seq_of_parameters)

    async def executescript(self, script: str, /) -> AsyncCursor[RowT]:
        """Run a script on a new cursor, and return that."""
        return await self.cursor().executescript(script)

    async def commit(self) -> None:
        """Make the open transaction's changes last; does nothing where none is open.

        Raises: SQLite's error, and the transaction is rolled back; TransactionEndedError where
        SQLite had rolled it back before; StreamExpiredError where the server gave it up;
        OutcomeUnknownError where the answer was lost. Where COMMIT was not run (RateLimitedError,
        OverloadedError, ConnectError), the transaction is open still: commit again.
        """
        async with self._turns:
            self._require_open()
            await self._runner.commit()

    async def rollback(self) -> None:
        """Undo the open transaction's changes; does nothing where none is open, or it was lost."""
        async with self._turns:
            self._require_open()
            await self._runner.rollback()

    async def ping(self) -> None:
        """Ask the server for an answer, on the pinned stream where there is one.

        Raises: what a statement would raise; a disconnect has `is_disconnect`.
        """
        await self._ask("SELECT 1")

    # async-only
    def cancel(self) -> bool:
        """Interrupt what another task runs on this connection; False where nothing runs.

        Its call raises OperationalError (SQLITE_INTERRUPT) and leaves the server, which stops the
        statement. A transaction that it was in is lost: roll back, and the connection goes on.
        """
        return self._turns.interrupt()

    async def aclose(self) -> None:
        """Roll back what is open and give the stream back. Closing twice does nothing.

        The client is closed only when the connection was opened by URL.
        """
        async with self._turns:
            if self._is_closed:
                return
            self._is_closed = True
            try:
                await self._runner.aclose()
            finally:
                if self._release is not None:
                    await self._release()

    # async-only
    close = aclose

    # async-only
    def abandon(self) -> None:
        """Close without asking the server, which rolls back after its tx_idle_timeout.

        For a connection that is let go where nothing can be awaited. A client of its own stays.
        """
        self._is_closed = True
        self._runner.abandon()

    async def __aenter__(self) -> Self:
        self._require_open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            await self.commit()
            return
        # The caller's exception matters more than one of the way back.
        with contextlib.suppress(Error):
            await self.rollback()

    def __del__(self, _warn: Any = warnings.warn) -> None:
        if getattr(self, "_is_closed", True):
            return
        if self.in_transaction or self._release is not None:
            _warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)

    def _require_open(self) -> None:
        if self._is_closed:
            raise ProgrammingError("the connection is closed; make another one")

    async def _ask(self, sql: str) -> Value:
        async with self._turns:
            self._require_open()
            return await self._runner.ask(sql)

    async def _run(self, prepared: Prepared) -> Result:
        async with self._turns:
            self._require_open()
            return await self._runner.run(prepared)

    async def _run_script(self, prepared: Prepared) -> None:
        async with self._turns:
            self._require_open()
            await self._runner.run_script(prepared)

    async def _run_many(self, statements: list[Statement], analysis: Analysis) -> list[Result]:
        async with self._turns:
            self._require_open()
            return await self._runner.run_many(statements, analysis)


def _require_bool(value: bool) -> bool:
    if not isinstance(value, bool):
        raise ProgrammingError(f"autocommit is True or False, not {type(value).__name__}")
    return value
