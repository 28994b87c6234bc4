"""What a cursor holds between its calls: the result, how far it was read, the counters.

No I/O and no colour: both cursors take their results through it.
Source: peps.python.org/pep-0249, "Cursor attributes"; docs.python.org/3/library/sqlite3.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from quicsql_client import ProgrammingError, Result, Row, TruncatedError

from .statements import Analysis

__all__ = ["Column", "CursorState", "Description"]

Column: TypeAlias = tuple[str, str | None, None, None, None, None, None]
"""Name and type code (the declared type where the server tells it), and PEP 249's five others."""

Description: TypeAlias = tuple[Column, ...]


class CursorState:
    """The attributes of PEP 249's cursor, and its unread rows.

    arraysize: how many rows fetchmany gives unless told. lastrowid: of the last INSERT or REPLACE
    by execute, else None.
    """

    arraysize = 1

    def __init__(self) -> None:
        self.lastrowid: int | None = None
        self._is_closed = False
        self._clear()

    def _clear(self) -> None:
        self._result: Result | None = None
        self._position = 0
        self._rowcount = -1
        self._description: Description | None = None

    @property
    def description(self) -> Description | None:
        """One 7-tuple for each column: name, declared type or None, and five times None.

        None when there is no result set.
        """
        return self._description

    @property
    def rowcount(self) -> int:
        """Rows that the last INSERT, REPLACE, UPDATE or DELETE changed; -1 for anything else."""
        return self._rowcount

    @property
    def rownumber(self) -> int | None:
        """The index of the next row, from 0; None without a result set."""
        return self._position if self._result is not None else None

    @property
    def truncated(self) -> bool:
        """True when the server's row or byte cap cut the result: reading to its end will raise."""
        return self._result is not None and self._result.truncated

    def setinputsizes(self, sizes: Sequence[Any], /) -> None:
        """Does nothing, as PEP 249 allows: SQLite has no sizes."""

    def setoutputsize(self, size: int, column: int | None = None, /) -> None:
        """Does nothing, as PEP 249 allows: cells come whole."""

    def _take(self, result: Result, analysis: Analysis) -> None:
        """Hold the result of one statement."""
        if analysis.changes_rows:
            # A server that classifies RETURNING as a query tells no counter.
            self._rowcount = result.rows_affected or len(result.rows)
        if analysis.inserts and result.last_insert_id:
            self.lastrowid = result.last_insert_id
        if result.columns:
            decltypes = result.decltypes or (None,) * len(result.columns)
            self._description = tuple(
                (name, decltype, None, None, None, None, None)
                for name, decltype in zip(result.columns, decltypes, strict=True)
            )
            self._result = result

    def _take_many(self, results: Sequence[Result], analysis: Analysis) -> None:
        """Hold the counter of a statement that ran many times; its rows are dropped."""
        if analysis.changes_rows:
            self._rowcount = sum(result.rows_affected or len(result.rows) for result in results)

    def _require_open(self) -> None:
        if self._is_closed:
            raise ProgrammingError("the cursor is closed; make another one")

    def _next_row(self) -> Row | None:
        rows = self._next_rows(1)
        return rows[0] if rows else None

    def _next_rows(self, size: int) -> list[Row]:
        """Up to `size` unread rows. Raises TruncatedError where the cut one would be the first."""
        result = self._readable()
        rows = list(result.rows[self._position : self._position + size])
        if not rows and size and result.truncated:
            raise _truncated([])
        self._position += len(rows)
        return rows

    def _rest(self) -> list[Row]:
        """All unread rows. Raises TruncatedError, with them in `rows`, where some are cut."""
        result = self._readable()
        rows = list(result.rows[self._position :])
        self._position = len(result.rows)
        if result.truncated:
            raise _truncated(rows)
        return rows

    def _readable(self) -> Result:
        self._require_open()
        if self._result is None:
            raise ProgrammingError("there are no rows to fetch: execute a query first")
        return self._result


def _truncated(rows: list[Row]) -> TruncatedError:
    return TruncatedError(
        "the server's row or byte cap cut this result: the rows so far are only its beginning; "
        "ask for less (LIMIT) or raise the server's limits",
        rows=rows,
    )
