# Made from quicsql_dbapi/_async/connection.py
# by tools/async_to_sync.py: do not edit, change the source.
"""Connection: PEP 249's connection over the public client.

A connection is virtual: making one asks nothing of the server. What a statement costs:

    autocommit            one request, without a stream
    transaction           BEGIN travels with the first statement, COMMIT with the stream's end:
                          n statements are n + 1 requests
    session state         TEMP objects, PRAGMA values, ATTACH: one pinned stream for the rest of
                          the connection's life, transactions included
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Generic, Literal, Self, overload

from quicsql_client import (
    Arguments,
    Client,
    Error,
    OperationalError,
    ProgrammingError,
    Result,
    Statement,
    Transaction,
    Value,
)

from ..converters import PARSE_DECLTYPES, require_flags
from ..exceptions import ErrorAttributes
from ..factories import RowFactory, RowT, T
from ..info import ConnectionInfo
from ..outcomes import lost_writes_are_unknown
from ..parameters import Prepared, fit_one_request
from ..rows import require_on_truncated, rows_changed
from ..statements import Analysis, Control, Session
from ..turns import Turns
from .cursor import Cursor
from .pinned import PinnedStream

__all__ = ["Connection"]

_ENDS = frozenset((Control.COMMIT, Control.ROLLBACK))
_MODES: dict[str, Literal["deferred", "immediate", "exclusive"]] = {
    "DEFERRED": "deferred",
    "IMMEDIATE": "immediate",
    "EXCLUSIVE": "exclusive",
}


class Connection(ErrorAttributes, Generic[RowT]):
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
        client: Client,
        database: str,
        *,
        autocommit: bool = False,
        row_factory: RowFactory[RowT] | None = None,
        detect_types: int = 0,
        on_truncated: str = "raise",
        release: Callable[[], None] | None = None,
    ) -> None:
        """release: called once when the connection is closed, to give its client back."""
        self.client = client
        self.database = database
        self.row_factory: RowFactory[Any] | None = row_factory
        self.detect_types = require_flags(detect_types)
        self.on_truncated = require_on_truncated(on_truncated)
        self._autocommit = _require_bool(autocommit)
        self._release = release
        self._turns = Turns()
        self._transaction: Transaction | None = None
        self._pinned: PinnedStream | None = None
        self._is_closed = False
        self._total_changes = 0
        self._server_version: str | None = None

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else f"in_transaction={self.in_transaction}"
        return f"<{type(self).__name__} {self.database!r} {state}>"

    @property
    def autocommit(self) -> bool:
        """Whether each statement commits by itself. Change it by `set_autocommit`."""
        return self._autocommit

    def set_autocommit(self, value: bool) -> None:
        """Change autocommit; True commits a transaction that is open, as `sqlite3` does."""
        with self._turns:
            self._require_open()
            if _require_bool(value):
                self._commit()
            self._autocommit = value

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open: some statement has run in it, or BEGIN was called."""
        return self._transaction is not None or (
            self._pinned is not None and self._pinned.in_transaction
        )

    @property
    def total_changes(self) -> int:
        """Rows that INSERT, REPLACE, UPDATE and DELETE have changed here, scripts not counted."""
        return self._total_changes

    @property
    def info(self) -> ConnectionInfo:
        """Where the connection leads and as whom: host, port, database, user, certificates."""
        return ConnectionInfo.of(self.client, self.database)

    def server_version(self) -> str:
        """The version of the server's SQLite, such as "3.46.1"; asked for once."""
        if self._server_version is None:
            self._server_version = str(self._ask("SELECT sqlite_version()"))
        return self._server_version

    @property
    def settings(self) -> frozenset[str]:
        """What is set on the connection's pinned stream: "PRAGMA FOREIGN_KEYS", "ATTACH AUX"."""
        return frozenset() if self._pinned is None else self._pinned.settings

    @overload
    def cursor(self, *, row_factory: None = None) -> Cursor[RowT]: ...

    @overload
    def cursor(self, *, row_factory: RowFactory[T]) -> Cursor[T]: ...

    def cursor(self, *, row_factory: RowFactory[Any] | None = None) -> Cursor[Any]:
        """A new cursor, with the connection's row_factory unless it is given one of its own.

        Raises ProgrammingError on a closed connection.
        """
        self._require_open()
        return Cursor(self, row_factory or self.row_factory)

    def execute(self, operation: str, parameters: Arguments = (), /) -> Cursor[RowT]:
        """Run one statement on a new cursor, and return that."""
        return self.cursor().execute(operation, parameters)

    def executemany(
        self, operation: str, seq_of_parameters: Iterable[Arguments], /
    ) -> Cursor[RowT]:
        """Run a statement many times on a new cursor, and return that."""
        return self.cursor().executemany(operation, seq_of_parameters)

    def executescript(self, script: str, /) -> Cursor[RowT]:
        """Run a script on a new cursor, and return that."""
        return self.cursor().executescript(script)

    def commit(self) -> None:
        """Make the open transaction's changes last; does nothing where none is open.

        Raises: SQLite's error, and the transaction is rolled back; TransactionEndedError where
        SQLite had rolled it back before; StreamExpiredError where the server gave it up;
        OutcomeUnknownError where the answer was lost. Where COMMIT was not run (RateLimitedError,
        OverloadedError, ConnectError), the transaction is open still: commit again.
        """
        with self._turns:
            self._require_open()
            self._commit()

    def rollback(self) -> None:
        """Undo the open transaction's changes; does nothing where none is open, or it was lost."""
        with self._turns:
            self._require_open()
            self._rollback()

    def ping(self) -> None:
        """Ask the server for an answer, on the pinned stream where there is one.

        Raises: what a statement would raise; a disconnect has `is_disconnect`.
        """
        self._ask("SELECT 1")

    def close(self) -> None:
        """Roll back what is open and give the stream back. Closing twice does nothing.

        The client is closed only when the connection was opened by URL.
        """
        with self._turns:
            if self._is_closed:
                return
            self._is_closed = True
            try:
                # The server rolls back a stream that is given up; there is nobody to tell.
                with contextlib.suppress(Error):
                    self._rollback()
                if self._pinned is not None:
                    with contextlib.suppress(Error):
                        self._pinned.close()
            finally:
                if self._release is not None:
                    self._release()

    def __enter__(self) -> Self:
        self._require_open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.commit()
            return
        # The caller's exception matters more than one of the way back.
        with contextlib.suppress(Error):
            self.rollback()

    def __del__(self, _warn: Any = warnings.warn) -> None:
        if getattr(self, "_is_closed", True):
            return
        if self.in_transaction or self._release is not None:
            _warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)

    def _ask(self, sql: str) -> Value:
        """The cell of a query, where the connection is; opens no transaction."""
        with self._turns:
            self._require_open()
            statement = Prepared(Statement(sql), Analysis())
            if self._pinned is not None:
                result = self._pinned.run(statement)
            elif self._transaction is not None:
                result = self._run_in_transaction(self._transaction, statement.statement)
            else:
                result = self.client.query(self.database, sql)
            return result.scalar()

    def _require_open(self) -> None:
        if self._is_closed:
            raise ProgrammingError("the connection is closed; make another one")

    def _run(self, prepared: Prepared) -> Result:
        """Run one statement where it belongs."""
        with self._turns:
            self._require_open()
            control = prepared.analysis.control
            if control is Control.BEGIN and not self.in_transaction:
                return self._begin(prepared.analysis.begin_mode)
            if control is not None and control in _ENDS:
                return self._end(control)
            result = self._run_statement(prepared)
            self._count([result], prepared.analysis)
            return result

    def _run_script(self, prepared: Prepared) -> None:
        with self._turns:
            self._require_open()
            analysis = prepared.analysis
            if not analysis.statement_count:
                return
            if analysis.controls or analysis.leaves_state:
                # A script that opens or ends transactions has them in its own hands.
                begin = not (analysis.controls or self._autocommit or self.in_transaction)
                self._pin().run(prepared, begin=begin)
                self._unpin()
            else:
                self._run_statement(prepared)

    def _run_many(self, statements: list[Statement], analysis: Analysis) -> list[Result]:
        """Run statements in one request where they fit, all or nothing in autocommit."""
        with self._turns:
            self._require_open()
            if not statements:
                return []
            results = self._run_all(statements, analysis)
            self._count(results, analysis)
            return results

    def _run_all(self, statements: list[Statement], analysis: Analysis) -> list[Result]:
        begin = not self.in_transaction
        if self._pinned is not None:
            return self._run_many_pinned(self._pinned, statements, begin=begin)
        if self._transaction is not None or not self._autocommit:
            transaction = self._transaction or self.client.transaction(self.database)
            return self._run_many_in_transaction(transaction, statements)
        if fit_one_request(statements):
            with lost_writes_are_unknown(analysis):
                return self.client.batch(self.database, statements)
        with self.client.transaction(self.database) as whole:
            return whole.batch(statements)

    def _count(self, results: list[Result], analysis: Analysis) -> None:
        if analysis.changes_rows:
            self._total_changes += rows_changed(results)

    def _run_many_pinned(
        self, pinned: PinnedStream, statements: list[Statement], *, begin: bool
    ) -> list[Result]:
        if not (begin and self._autocommit):
            return pinned.run_many(statements, begin=begin)
        try:
            results = pinned.run_many(statements, begin=True)
        except BaseException:
            if pinned.in_transaction:
                with contextlib.suppress(Error):
                    pinned.rollback()
            raise
        pinned.commit()
        return results

    def _run_many_in_transaction(
        self, transaction: Transaction, statements: list[Statement]
    ) -> list[Result]:
        self._transaction = transaction
        try:
            return transaction.batch(statements)
        except Error as exc:
            self._drop_unbegun(transaction, exc)
            raise

    def _run_statement(self, prepared: Prepared) -> Result:
        analysis, statement = prepared.analysis, prepared.statement
        if self._pinned is not None or self._needs_pin(analysis):
            is_in_transaction = self._autocommit or self.in_transaction
            pinned = self._pin()
            try:
                return pinned.run(prepared, begin=not (is_in_transaction or analysis.runs_outside))
            finally:
                self._unpin()
        if self._transaction is None:
            if self._autocommit or analysis.runs_outside:
                return self._run_alone(statement, analysis)
            self._transaction = self.client.transaction(self.database)
        return self._run_in_transaction(self._transaction, statement)

    def _run_alone(self, statement: Statement, analysis: Analysis) -> Result:
        # Only Hrana tells declared types; what is neither read nor changed has none.
        decltypes = bool(self.detect_types & PARSE_DECLTYPES) and (
            analysis.only_reads or analysis.changes_rows
        )
        with lost_writes_are_unknown(analysis):
            return self.client.query(
                self.database, statement.sql, statement.args, decltypes=decltypes
            )

    def _needs_pin(self, analysis: Analysis) -> bool:
        is_alone = self._autocommit and self._transaction is None
        if analysis.session is Session.COUNTER or analysis.control is Control.SAVEPOINT:
            return is_alone
        return analysis.session is not None

    def _run_in_transaction(self, transaction: Transaction, statement: Statement) -> Result:
        try:
            return transaction.execute(statement.sql, statement.args)
        except Error as exc:
            self._drop_unbegun(transaction, exc)
            raise

    def _drop_unbegun(self, transaction: Transaction, exc: Error) -> None:
        """Forget a transaction that BEGIN did not open; one that was lost stays until rollback."""
        if transaction.has_begun:
            return
        self._transaction = None
        with contextlib.suppress(Error):
            transaction.rollback()

    def _pin(self) -> PinnedStream:
        """The pinned stream; the open transaction, where there is one, goes on in it."""
        if self._pinned is None:
            self._pinned = PinnedStream(self.client, self.database)
            if self._transaction is not None:
                self._pinned.adopt(self._transaction)
                self._transaction = None
        return self._pinned

    def _unpin(self) -> None:
        """Give a stream back that was only there for a transaction."""
        pinned = self._pinned
        if pinned is not None and not pinned.is_kept and not pinned.in_transaction:
            self._pinned = None
            with contextlib.suppress(Error):
                pinned.close()

    def _begin(self, mode: str) -> Result:
        if self._pinned is not None:
            self._pinned.begin(mode)
            return Result()
        transaction = self.client.transaction(self.database, _MODES[mode])
        self._transaction = transaction
        if mode != "DEFERRED":
            # The lock is asked for now; BEGIN alone has no request of its own.
            self._run_in_transaction(transaction, Statement("SELECT 1"))
        return Result()

    def _end(self, control: Control) -> Result:
        verb = control.name.lower()
        if self._autocommit and not self.in_transaction:
            raise OperationalError(
                f"cannot {verb} - no transaction is active",
                code=1,
                extended_code=1,
                name="SQLITE_ERROR",
            )
        if control is Control.COMMIT:
            self._commit()
        else:
            self._rollback()
        return Result()

    def _commit(self) -> None:
        if self._transaction is not None:
            try:
                self._transaction.commit()
            finally:
                self._drop_ended()
        elif self._pinned is not None and self._pinned.in_transaction:
            try:
                self._pinned.commit()
            finally:
                self._unpin()

    def _rollback(self) -> None:
        if self._transaction is not None:
            try:
                self._transaction.rollback()
            finally:
                self._drop_ended()
        elif self._pinned is not None and self._pinned.in_transaction:
            try:
                self._pinned.rollback()
            finally:
                self._unpin()

    def _drop_ended(self) -> None:
        """Forget a transaction that has ended; one that the server refused to end goes on."""
        if self._transaction is not None and not self._transaction.is_active:
            self._transaction = None


def _require_bool(value: bool) -> bool:
    if not isinstance(value, bool):
        raise ProgrammingError(f"autocommit is True or False, not {type(value).__name__}")
    return value
