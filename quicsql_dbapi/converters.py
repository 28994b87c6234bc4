"""Converters: Python values from cells, by declared type or by column name. Opt-in.

    connect(..., detect_types=PARSE_DECLTYPES)    a column declared DATE gives datetime.date

A converter is called with the bytes of the cell's text, as `sqlite3` calls it; NULL stays None.
The server tells text in columns declared DATE, DATETIME or TIMESTAMP as RFC 3339, where a time
without a zone gets a Z; here that is undone. UTC that must stay told is for TIMESTAMPTZ columns.
Source: docs.python.org/3/library/sqlite3.html, "detect_types" and "register_converter";
protocol/native.md, "Cell encoding".
"""

from __future__ import annotations

import datetime
import decimal
import re
import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from quicsql_client import DataError, ProgrammingError

from .types import STORAGE_CLASSES

__all__ = [
    "PARSE_COLNAMES",
    "PARSE_DECLTYPES",
    "ColumnConverter",
    "Converter",
    "column_converters",
    "convert_row",
    "register_converter",
    "require_flags",
    "shown_name",
    "type_code",
]

PARSE_DECLTYPES = 1
"""Convert by the first word of the column's declared type."""
PARSE_COLNAMES = 2
"""Convert by the type in brackets of the column's name: `SELECT x AS "x [date]"`."""

Converter: TypeAlias = Callable[[bytes], Any]
ColumnConverter: TypeAlias = tuple[int, str, Converter]
"""Position, type name and converter of a column that has one."""

_NAMED_TYPE = re.compile(r"(.*?)\s*\[([^\]]*)\]", re.DOTALL)
_FIRST_WORD = re.compile(r"[^\s(]+")


def _boolean(raw: bytes) -> bool:
    return {b"0": False, b"1": True}[raw]


def _of_text(read: Callable[[str], Any]) -> Converter:
    return lambda raw: read(raw.decode())


def _date(raw: bytes) -> datetime.date:
    return datetime.date.fromisoformat(raw.decode().removesuffix("T00:00:00Z"))


def _timestamp(raw: bytes) -> datetime.datetime:
    return datetime.datetime.fromisoformat(raw.decode().removesuffix("Z"))


_converters: dict[str, Converter] = {
    "DATE": _date,
    "TIME": _of_text(datetime.time.fromisoformat),
    "DATETIME": _timestamp,
    "TIMESTAMP": _timestamp,
    "TIMESTAMPTZ": _of_text(datetime.datetime.fromisoformat),
    "DECIMAL": _of_text(decimal.Decimal),
    "UUID": _of_text(uuid.UUID),
    "BOOL": _boolean,
    "BOOLEAN": _boolean,
}
_lock = threading.Lock()


def register_converter(typename: str, converter: Converter, /) -> None:
    """Convert cells of this type by `converter`, on every connection that detects types.

    typename: any case; the first word of a declared type, as "DECIMAL" of "DECIMAL(10, 2)".
    """
    with _lock:
        _converters[typename.upper()] = converter


def require_flags(detect_types: int) -> int:
    """The flags, proved. Raises ProgrammingError for anything that is not their sum."""
    if isinstance(detect_types, bool) or detect_types not in range(4):
        raise ProgrammingError("detect_types is PARSE_DECLTYPES, PARSE_COLNAMES, their sum or 0")
    return detect_types


def shown_name(name: str, detect_types: int) -> str:
    """A column's name without the type that PARSE_COLNAMES reads in it."""
    named = _NAMED_TYPE.match(name) if detect_types & PARSE_COLNAMES else None
    return named.group(1) if named else name


def column_converters(
    columns: Iterable[tuple[str, str | None]], detect_types: int
) -> tuple[ColumnConverter, ...]:
    """The converters of a result's columns, given as (name, declared type), by position."""
    found = []
    for position, (name, declared) in enumerate(columns):
        for typename in _typenames(name, declared, detect_types):
            converter = _converters.get(typename.upper())
            if converter is not None:
                found.append((position, typename, converter))
                break
    return tuple(found)


def _typenames(name: str, declared: str | None, detect_types: int) -> Iterable[str]:
    """The type in the name goes before the declared one."""
    named = _NAMED_TYPE.match(name) if detect_types & PARSE_COLNAMES else None
    if named:
        yield named.group(2)
    word = _FIRST_WORD.search(declared or "") if detect_types & PARSE_DECLTYPES else None
    if word:
        yield word.group()


def type_code(declared: str | None, is_converted: bool) -> str | None:
    """What `description` tells of a column: its declared type, where the cells are of it.

    None where a converter would make them so and none is at work: what reads a DATE from the type
    code, as Polars does, must find dates and not text.
    """
    word = _FIRST_WORD.search(declared or "")
    if word and not is_converted and word.group().upper() in _converters:
        return None
    return declared


def convert_row(row: Sequence[Any], converters: tuple[ColumnConverter, ...]) -> tuple[Any, ...]:
    """The row with its cells converted. Raises DataError, which quotes no cell."""
    cells = list(row)
    for position, typename, converter in converters:
        if cells[position] is None:
            continue
        try:
            cells[position] = converter(_as_bytes(cells[position]))
        except Exception as exc:
            # Not chained: the text of the cause would quote the cell.
            raise DataError(
                f"column {position} is of type {typename} and holds a "
                f"{STORAGE_CLASSES.get(type(row[position]), 'BLOB')} "
                f"that its converter does not take ({type(exc).__name__})"
            ) from None
    return tuple(cells)


def _as_bytes(cell: Any) -> bytes:
    return cell if isinstance(cell, bytes) else str(cell).encode()
