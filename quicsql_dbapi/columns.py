"""Columns of a result as Arrow keeps them: one type each, values side by side, NULLs in a bitmap.

Knows no C interface and no cursor. Source: arrow.apache.org/docs/format/Columnar.html.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeAlias

from quicsql_client import DataError

from .types import STORAGE_CLASSES

__all__ = ["Buffer", "ColumnData", "column_data"]

Buffer: TypeAlias = "array[int] | array[float] | bytes | None"

_FORMATS = {int: "l", float: "g", str: "u", bytes: "z"}
_MOST_BYTES = 2**31 - 1  # of all texts or blobs of a column: the offsets are of 32 bits
_EXACT = 2**53  # integers beyond are not all exact as REAL
_NO_TYPE = "n"


@dataclass(frozen=True, slots=True)
class ColumnData:
    """One column. format: Arrow's: "l" int64, "g" float64, "u" utf8, "z" binary, "n" null.

    buffers: as the format has them, the bitmap of what is not NULL first; None without NULLs.
    """

    name: str
    format: str
    length: int
    null_count: int
    buffers: tuple[Buffer, ...]


def column_data(name: str, declared: str | None, cells: Sequence[Any]) -> ColumnData:
    """The column of these cells. Raises DataError for cells that no one type holds.

    Integers among REALs become REAL while that is exact. Without a cell that is not NULL the type
    is that of the declaration, as SQLite reads it, or null.
    """
    types = set(map(type, cells)) - {type(None)}
    if not types:
        kind = _declared_type(declared)
        if kind is None:
            return ColumnData(name, _NO_TYPE, len(cells), len(cells), ())
    elif len(types) == 1:
        (kind,) = types
    else:
        kind = _common_type(name, types, cells)
    null_count = sum(cell is None for cell in cells)
    validity = _bitmap(cells) if null_count else None
    buffers = (validity, *_values(name, kind, cells))
    return ColumnData(name, _FORMATS[kind], len(cells), null_count, buffers)


def _declared_type(declared: str | None) -> type | None:
    # The rules of sqlite.org/datatype3.html, "Determination Of Column Affinity"; times are text.
    upper = (declared or "").upper()
    for parts, kind in (
        (("INT",), int),
        (("CHAR", "CLOB", "TEXT", "DATE", "TIME"), str),
        (("BLOB",), bytes),
        (("REAL", "FLOA", "DOUB"), float),
    ):
        if any(part in upper for part in parts):
            return kind
    return None


def _common_type(name: str, types: set[type], cells: Sequence[Any]) -> type:
    if types != {int, float}:
        found = ", ".join(sorted(STORAGE_CLASSES[one] for one in types))
        raise DataError(
            f"column {name!r} holds {found}, and an Arrow column has one type: "
            "CAST it in the statement"
        )
    if any(type(cell) is int and abs(cell) > _EXACT for cell in cells):
        raise DataError(
            f"column {name!r} holds REAL and integers that REAL cannot hold exactly: "
            "CAST it in the statement"
        )
    return float


def _bitmap(cells: Sequence[Any]) -> bytes:
    """One bit for each cell, the first one lowest: 1 where it is not NULL."""
    digits = "".join("0" if cell is None else "1" for cell in reversed(cells))
    return int(digits, 2).to_bytes((len(cells) + 7) // 8, "little")


def _values(name: str, kind: type, cells: Sequence[Any]) -> tuple[Buffer, ...]:
    if kind is int:
        return (array("q", [0 if cell is None else cell for cell in cells]),)
    if kind is float:
        return (array("d", [0.0 if cell is None else cell for cell in cells]),)
    if kind is str:
        cells = [None if cell is None else cell.encode() for cell in cells]
    parts: list[bytes] = [cell or b"" for cell in cells]
    data = b"".join(parts)
    if len(data) > _MOST_BYTES:
        raise DataError(f"column {name!r} holds more than 2 GiB: ask for fewer rows at a time")
    return array("i", [0, *accumulate(map(len, parts))]), data
