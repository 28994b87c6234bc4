# Made from quicsql_dbapi/_async/cursor.py
# by tools/async_to_sync.py: do not edit, change the source.
"""Cursor: PEP 249's cursor. Runs statements by its connection; the rows are already here."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from quicsql_client import Arguments

from ..factories import RowFactory, RowT
from ..parameters import prepare, prepare_many, prepare_script
from ..rows import CursorState

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["Cursor"]


class Cursor(CursorState[RowT]):
    """Runs statements and gives their rows, as tuples unless its row_factory makes other ones.

    Made by `Connection.cursor`.
    """

    def __init__(
        self, connection: Connection[Any], row_factory: RowFactory[Any] | None = None
    ) -> None:
        super().__init__(row_factory, connection.detect_types, connection.on_truncated)
        self._connection = connection

    @property
    def connection(self) -> Connection[Any]:
        """The connection that made the cursor."""
        return self._connection

    def execute(self, operation: str, parameters: Arguments | None = (), /) -> Self:
        """Run one statement; its rows are then fetched from the cursor.

        parameters: a sequence for `?`, a mapping of bare names for `:name`, `@name` and `$name`;
        their number must be that of the statement. BEGIN, COMMIT and ROLLBACK do what the
        connection's methods do. Raises: ProgrammingError where the parameters do not fit, and
        nothing ran; else the statement's error by its SQLite code.
        """
        self._start()
        prepared = prepare(operation, parameters)
        self._take(self._connection._run(prepared), prepared.analysis)
        return self

    def executemany(self, operation: str, seq_of_parameters: Iterable[Arguments], /) -> Self:
        """Run a statement once for each set of parameters, in one request where they fit.

        In autocommit all take effect, or none. rowcount is their sum; the rows of RETURNING are
        fetched in the order of the sets. Raises: ProgrammingError for a query, and the error of
        the first set that fails, its position in exc.failed_index.
        """
        self._start()
        analysis, statements = prepare_many(operation, seq_of_parameters)
        self._take_many(self._connection._run_many(statements, analysis), analysis)
        return self

    def executescript(self, script: str, /) -> Self:
        """Run statements separated by semicolons in one request; their rows are dropped.

        In autocommit each commits by itself unless the script has BEGIN and COMMIT, and what ran
        before an error stays. Without autocommit they are part of the open transaction.
        """
        self._start()
        self._connection._run_script(prepare_script(script))
        return self

    def fetchone(self) -> RowT | None:
        """The next row, or None after the last. Raises TruncatedError where the server cut rows."""
        return self._next_row()

    def fetchmany(self, size: int | None = None) -> list[RowT]:
        """The next `size` rows (arraysize when None), fewer at the end, an empty list after it."""
        return self._next_rows(self.arraysize if size is None else size)

    def fetchall(self) -> list[RowT]:
        """The rows that are left. Where the server cut some: TruncatedError, with .rows."""
        return self._rest()

    def close(self) -> None:
        """Drop the rows; counters stay. Every later call but this one raises ProgrammingError."""
        self._is_closed = True
        self._rows = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> RowT:
        row = self._next_row()
        if row is None:
            raise StopIteration
        return row

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _start(self) -> None:
        """Drop what the statement before left."""
        self._require_open()
        self._connection._require_open()
        self._clear()
