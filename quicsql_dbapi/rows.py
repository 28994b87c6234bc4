"""What a cursor holds between its calls: the result, how far it was read, the counters.

No I/O and no colour: both cursors take their results through it.
Source: peps.python.org/pep-0249, "Cursor attributes"; docs.python.org/3/library/sqlite3.html.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Generic, TypeAlias

from quicsql_client import ProgrammingError, Result, TruncatedError, Warning

from .converters import ColumnConverter, column_converters, convert_row, shown_name
from .factories import RowFactory, RowT, TupleRow
from .statements import Analysis

__all__ = ["Column", "CursorState", "Description", "require_on_truncated", "rows_changed"]

_TRUNCATED = (
    "the server's row or byte cap cut this result: the rows so far are only its beginning; "
    "ask for less (LIMIT) or raise the server's limits"
)

Column: TypeAlias = tuple[str, str | None, None, None, None, None, None]
"""Name and type code (the declared type where the server tells it), and PEP 249's five others."""

Description: TypeAlias = tuple[Column, ...]


class CursorState(Generic[RowT]):
    """The attributes of PEP 249's cursor, and its unread rows.

    arraysize: how many rows fetchmany gives unless told. lastrowid: of the last INSERT or REPLACE
    by execute, else None. row_factory: makes the rows that are fetched; None gives tuples.
    """

    arraysize = 1

    def __init__(
        self, row_factory: RowFactory[Any] | None, detect_types: int, on_truncated: str
    ) -> None:
        self.lastrowid: int | None = None
        self.row_factory = row_factory
        self._detect_types = detect_types
        self._on_truncated = on_truncated
        self._is_closed = False
        self._clear()

    def _clear(self) -> None:
        self._rows: Sequence[TupleRow] | None = None
        self._is_truncated = False
        self._position = 0
        self._rowcount = -1
        self._description: Description | None = None
        self._column_names: tuple[str, ...] = ()
        self._converters: tuple[ColumnConverter, ...] = ()

    @property
    def description(self) -> Description | None:
        """One 7-tuple for each column: name, declared type or None, and five times None.

        None when there is no result set.
        """
        return self._description

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names of the result's columns, in order; empty where there is no result set."""
        return self._column_names

    @property
    def rowcount(self) -> int:
        """Rows that the last INSERT, REPLACE, UPDATE or DELETE changed; -1 for anything else."""
        return self._rowcount

    @property
    def rownumber(self) -> int | None:
        """The index of the next row, from 0; None without a result set."""
        return self._position if self._rows is not None else None

    @property
    def truncated(self) -> bool:
        """True when the server's row or byte cap cut the result: reading to its end will raise."""
        return self._is_truncated

    def setinputsizes(self, sizes: Sequence[Any], /) -> None:
        """Does nothing, as PEP 249 allows: SQLite has no sizes."""

    def setoutputsize(self, size: int, column: int | None = None, /) -> None:
        """Does nothing, as PEP 249 allows: cells come whole."""

    def _take(self, result: Result, analysis: Analysis) -> None:
        """Hold the result of one statement."""
        self._take_many([result], analysis)
        if analysis.inserts and result.last_insert_id:
            self.lastrowid = result.last_insert_id

    def _take_many(self, results: Sequence[Result], analysis: Analysis) -> None:
        """Hold the results of a statement that ran many times as one."""
        if analysis.changes_rows:
            self._rowcount = rows_changed(results)
        if not results or not results[0].columns:
            return
        self._describe(results[0])
        self._rows = (
            results[0].rows if len(results) == 1 else [row for one in results for row in one.rows]
        )
        self._is_truncated = any(result.truncated for result in results)

    def _describe(self, result: Result) -> None:
        decltypes = result.decltypes or (None,) * len(result.columns)
        columns = list(zip(result.columns, decltypes, strict=True))
        if self._detect_types:
            self._converters = column_converters(columns, self._detect_types)
        self._column_names = tuple(shown_name(name, self._detect_types) for name, _ in columns)
        self._description = tuple(
            (name, decltype, None, None, None, None, None)
            for name, decltype in zip(self._column_names, decltypes, strict=True)
        )

    def _require_open(self) -> None:
        if self._is_closed:
            raise ProgrammingError("the cursor is closed; make another one")

    def _next_row(self) -> RowT | None:
        rows = self._next_rows(1)
        return rows[0] if rows else None

    def _next_rows(self, size: int) -> list[RowT]:
        """Up to `size` unread rows. Raises TruncatedError where the cut one would be the first."""
        rows = self._made(self._readable()[self._position : self._position + size])
        if not rows and size and self._is_truncated:
            self._tell_truncated([])
        self._position += len(rows)
        return rows

    def _rest(self) -> list[RowT]:
        """All unread rows. Raises TruncatedError, with them in `rows`, where some are cut."""
        rows = self._made(self._readable()[self._position :])
        self._position += len(rows)
        if self._is_truncated:
            self._tell_truncated(rows)
        return rows

    def _tell_truncated(self, rows: list[RowT]) -> None:
        if self._on_truncated == "raise":
            raise TruncatedError(_TRUNCATED, rows=rows)
        warnings.warn(Warning(_TRUNCATED), stacklevel=4)  # at the caller's fetch

    def _made(self, rows: Sequence[TupleRow]) -> list[Any]:
        """The rows as they are fetched: converted, and made by the factory."""
        if self._converters:
            rows = [convert_row(row, self._converters) for row in rows]
        factory = self.row_factory
        return list(rows) if factory is None else [factory(self, row) for row in rows]

    def _readable(self) -> Sequence[TupleRow]:
        self._require_open()
        if self._rows is None:
            raise ProgrammingError("there are no rows to fetch: execute a query first")
        return self._rows


def rows_changed(results: Sequence[Result]) -> int:
    """How many rows these results of statements that change rows have changed."""
    # A server that classifies RETURNING as a query tells no counter.
    return sum(result.rows_affected or len(result.rows) for result in results)


def require_on_truncated(value: str) -> str:
    """The value, proved. Raises ProgrammingError."""
    if value not in ("raise", "warn"):
        raise ProgrammingError(f'on_truncated is "raise" or "warn", not {value!r:.20}')
    return value
