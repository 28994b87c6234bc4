"""Values, statements and results: what goes in and what comes out of every layer."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from .errors import ProgrammingError, TruncatedError

__all__ = [
    "Arguments",
    "Description",
    "Enrollment",
    "Result",
    "Row",
    "SessionToken",
    "Statement",
    "Value",
]

Value: TypeAlias = int | float | str | bytes | None
"""A cell: one of SQLite's five storage classes (NULL, INTEGER, REAL, TEXT, BLOB)."""

Row: TypeAlias = tuple[Value, ...]
"""One row, in the order of the result's columns."""

Arguments: TypeAlias = Sequence[Any] | Mapping[str, Any]
"""Bound arguments: a sequence for `?`, a mapping of bare names for `:name`, `@name` and `$name`."""


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with its arguments: a sequence for `?`, a mapping for `:name`, `@name` and `$name`."""

    sql: str
    args: Arguments = ()


@dataclass(frozen=True, slots=True)
class Result:
    """What one statement gave.

    columns: names as the server sent them, duplicates kept. rows: tuples of len(columns) cells,
    in the server's order.
    rows_affected, last_insert_id: SQLite's counters where the statement changed rows, else 0.
    truncated: True when the
    server's row or byte cap cut the rows. decltypes: declared type of each column where the
    server told it, else empty.
    Iterating gives the rows.
    """

    columns: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    rows_affected: int = 0
    last_insert_id: int = 0
    truncated: bool = False
    decltypes: tuple[str | None, ...] = ()

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def one(self) -> Row:
        """The only row. Raises ProgrammingError when there is none or more than one."""
        self._require_complete()
        if len(self.rows) != 1:
            raise ProgrammingError(f"expected exactly one row, the statement gave {len(self.rows)}")
        return self.rows[0]

    def scalar(self) -> Value:
        """The first cell of the only row. Raises ProgrammingError when there is none."""
        row = self.one()
        if not row:
            raise ProgrammingError("expected a cell, the statement gave a row without columns")
        return row[0]

    def dicts(self) -> list[dict[str, Value]]:
        """The rows by column name. Raises ProgrammingError when two columns share a name."""
        if len(set(self.columns)) != len(self.columns):
            raise ProgrammingError(f"column names are not unique: {', '.join(self.columns)}")
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def _require_complete(self) -> None:
        if self.truncated:
            raise TruncatedError(
                "the server's row or byte cap cut this result; its rows are only the beginning"
            )


@dataclass(frozen=True, slots=True)
class Description:
    """What a statement is, by `describe`.

    params: for each place of binding the name with its sign, or None for `?`. columns: name, and
    declared type or None. is_readonly: SQLite's own flag.
    """

    params: tuple[str | None, ...] = ()
    columns: tuple[tuple[str, str | None], ...] = ()
    is_explain: bool = False
    is_readonly: bool = False


@dataclass(frozen=True, slots=True)
class SessionToken:
    """A session token: a bearer token of short life that stands for its principal.

    principal: "" where the server did not say it. expires_at: when it ends unless it is renewed,
    in UTC. max_expires_at: when no renewal helps any more; None when it is not renewable.
    """

    token: str = field(repr=False)
    principal: str
    expires_at: datetime.datetime
    max_expires_at: datetime.datetime | None = None


@dataclass(frozen=True, slots=True)
class Enrollment:
    """Who an enrolled key is. created: False when it had been enrolled before."""

    principal: str
    created: bool
