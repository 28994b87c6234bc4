"""The objects inside answers that a pipeline and a cursor share: results of statements, errors.

Source: protocol/hrana.md, "StmtResult" and "Errors".
"""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeAlias

import msgspec

from ...types import Result, Row
from ..values import INT64_MAX, INT64_MIN
from .messages import StreamError
from .values import TaggedValue, decode_integer, encode_value

AffectedRows: TypeAlias = Annotated[int, msgspec.Meta(ge=INT64_MIN, le=INT64_MAX)]
RowID: TypeAlias = str | int | None  # libSQL servers send a number in places


class Col(msgspec.Struct):
    """How a client reads a column."""

    name: str | None
    decltype: str | None = None


class StmtResult(msgspec.Struct):
    """How a client reads the result of a statement; `.decode()` raises ValueError."""

    cols: list[Col]
    rows: list[list[TaggedValue]]
    affected_row_count: AffectedRows = 0
    last_insert_rowid: RowID = None
    truncated: bool = False

    def decode(self) -> Result:
        if any(len(row) != len(self.cols) for row in self.rows):
            raise ValueError(f"a row has not {len(self.cols)} cells")
        names, decltypes = decode_columns(self.cols)
        return Result(
            names,
            tuple(decode_row(row) for row in self.rows),
            self.affected_row_count,
            decode_row_id(self.last_insert_rowid),
            self.truncated,
            decltypes,
        )


class ErrorObject(msgspec.Struct):
    """How a client reads an error."""

    message: str
    code: str | None = None

    def decode(self) -> StreamError:
        return StreamError(self.message, self.code)


def decode_columns(cols: list[Col]) -> tuple[tuple[str, ...], tuple[str | None, ...]]:
    """Names and declared types, the latter empty when no column has one."""
    decltypes = tuple([col.decltype for col in cols])
    return tuple([col.name or "" for col in cols]), decltypes if any(decltypes) else ()


def decode_row(row: list[TaggedValue]) -> Row:
    """A row's values. Raises ValueError."""
    return tuple([cell.decode() for cell in row])


def decode_row_id(row_id: RowID) -> int:
    """The id of the last inserted row, 0 when there is none. Raises ValueError."""
    return decode_integer(str(row_id or 0))


# The JSON reader takes `-0` for the integer 0. Inside a string every quote has a backslash before
# it, so this is always a member of an object.
_MINUS_ZERO = re.compile(rb'("value"[ \t\n\r]*:[ \t\n\r]*-0)(?=[ \t\n\r]*[,}])')


def with_signed_zeros(body: bytes) -> bytes:
    """The body with REAL -0, as Hrana writes it, in the form -0.0 that keeps its sign."""
    return _MINUS_ZERO.sub(rb"\1.0", body) if b"-0" in body else body


def encode_error(error: StreamError) -> dict[str, Any]:
    return {"message": error.message, "code": error.code}


def encode_stmt_result(result: Result) -> dict[str, Any]:
    return {
        "cols": encode_columns(result),
        "rows": [encode_row(row) for row in result.rows],
        **encode_counters(result),
    }


def encode_columns(result: Result) -> list[dict[str, Any]]:
    decltypes = result.decltypes or (None,) * len(result.columns)
    return [
        {"name": name, "decltype": decltype}
        for name, decltype in zip(result.columns, decltypes, strict=True)
    ]


def encode_counters(result: Result) -> dict[str, Any]:
    """What stands behind the rows: counters, and whether a cap cut them."""
    encoded: dict[str, Any] = {
        "affected_row_count": result.rows_affected,
        "last_insert_rowid": str(result.last_insert_id) if result.last_insert_id else None,
    }
    return encoded | {"truncated": True} if result.truncated else encoded


def encode_row(row: Row) -> list[dict[str, Any]]:
    return [encode_value(value) for value in row]
