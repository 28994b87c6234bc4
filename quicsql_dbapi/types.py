"""PEP 249 type objects and constructors, and adapters for Python types of the caller's.

A column's type code is its declared type, as text ("VARCHAR(20)"), where the server tells it, else
None; type objects compare equal to the declared types of their kind, by SQLite's affinity rules.
Source: peps.python.org/pep-0249, "Type Objects and Constructors"; sqlite.org/datatype3.html,
section 3.1.
"""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from quicsql_client import ProgrammingError

__all__ = [
    "BINARY",
    "DATETIME",
    "NUMBER",
    "ROWID",
    "STORAGE_CLASSES",
    "STRING",
    "Binary",
    "Date",
    "DateFromTicks",
    "Time",
    "TimeFromTicks",
    "Timestamp",
    "TimestampFromTicks",
    "TypeObject",
    "adapt",
    "register_adapter",
]

_T = TypeVar("_T")

STORAGE_CLASSES = {int: "INTEGER", float: "REAL", str: "TEXT", bytes: "BLOB"}
"""SQLite's name of what a cell of this type is stored as."""


class TypeObject:
    """A kind of column: `cursor.description[i][1] == NUMBER`. A type code of None equals none."""

    def __init__(self, name: str, accepts: Callable[[str], bool]) -> None:
        self.name = name
        self._accepts = accepts

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return self._accepts(other.upper())
        return self is other

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"<quicsql_dbapi.{self.name}>"


def _is_datetime(declared: str) -> bool:
    return "DATE" in declared or "TIME" in declared


def _is_text(declared: str) -> bool:
    return "INT" not in declared and any(part in declared for part in ("CHAR", "CLOB", "TEXT"))


def _is_binary(declared: str) -> bool:
    return not declared or ("BLOB" in declared and "INT" not in declared)


def _is_number(declared: str) -> bool:
    return not (_is_datetime(declared) or _is_text(declared) or _is_binary(declared))


STRING = TypeObject("STRING", _is_text)
BINARY = TypeObject("BINARY", _is_binary)
NUMBER = TypeObject("NUMBER", _is_number)
DATETIME = TypeObject(
    "DATETIME", lambda declared: _is_datetime(declared) and not _is_text(declared)
)
ROWID = TypeObject("ROWID", lambda declared: declared == "INTEGER")

Date = datetime.date
Time = datetime.time
Timestamp = datetime.datetime
Binary = bytes


def DateFromTicks(ticks: float) -> datetime.date:
    """The local date at `ticks` seconds since the epoch."""
    return datetime.date(*time.localtime(ticks)[:3])


def TimeFromTicks(ticks: float) -> datetime.time:
    """The local time of day at `ticks` seconds since the epoch, to the second."""
    return datetime.time(*time.localtime(ticks)[3:6])


def TimestampFromTicks(ticks: float) -> datetime.datetime:
    """The local date and time at `ticks` seconds since the epoch, to the second."""
    return datetime.datetime(*time.localtime(ticks)[:6])


_adapters: dict[type, Callable[[Any], Any]] = {}
_adapters_lock = threading.Lock()


def register_adapter(kind: type[_T], adapter: Callable[[_T], Any], /) -> None:
    """Bind objects of exactly this class as what `adapter` makes of them, on every connection.

    What it returns must be an int, float, str, bytes, None, or another type that the client takes.
    It goes before the client's own rule for a class that it takes already, such as Decimal.
    """
    with _adapters_lock:
        _adapters[kind] = adapter


def adapt(value: Any) -> Any:
    """The value that is bound for an argument: what its class's adapter makes of it, or itself.

    Raises ProgrammingError where the adapter fails.
    """
    adapter = _adapters.get(type(value))
    if adapter is None:
        return value
    try:
        return adapter(value)
    except Exception as exc:
        raise ProgrammingError(
            f"the adapter of {type(value).__name__} failed with {type(exc).__name__}"
        ) from exc
