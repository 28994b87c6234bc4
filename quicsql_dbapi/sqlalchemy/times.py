"""DATE and DATETIME as the server tells them.

Columns declared DATE, DATETIME or TIMESTAMP come as RFC 3339 text, whatever spelling was stored:
`2024-01-02 03:04:05` as `2024-01-02T03:04:05Z`. Here that is undone, so that values without a time
zone come back without one. Source: protocol/native.md, "Cell encoding".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from sqlalchemy import types
from sqlalchemy.dialects.sqlite import DATE, DATETIME
from sqlalchemy.engine import Dialect

__all__ = ["COLUMN_TYPES", "QuicsqlDate", "QuicsqlDateTime"]

_RFC_3339_UTC = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d(?:\.\d+)?)Z")
_MIDNIGHT = re.compile(r"00:00:00(?:\.0+)?")

_Processor = Callable[[Any], Any]


def _as_stored(value: Any) -> Any:
    match = _RFC_3339_UTC.fullmatch(value) if isinstance(value, str) else None
    return f"{match[1]} {match[2]}" if match else value


def _as_stored_date(value: Any) -> Any:
    match = _RFC_3339_UTC.fullmatch(value) if isinstance(value, str) else None
    return match[1] if match and _MIDNIGHT.fullmatch(match[2]) else value


class QuicsqlDateTime(DATETIME):
    """SQLite's DATETIME storage, read back without the time zone that the server adds."""

    def result_processor(self, dialect: Dialect, coltype: object) -> _Processor | None:
        """What turns a cell into a datetime."""
        return _after(_as_stored, super().result_processor(dialect, coltype))


class QuicsqlDate(DATE):
    """SQLite's DATE storage, read back without the time of day that the server adds."""

    def result_processor(self, dialect: Dialect, coltype: object) -> _Processor | None:
        """What turns a cell into a date."""
        return _after(_as_stored_date, super().result_processor(dialect, coltype))


def _after(first: _Processor, parse: _Processor | None) -> _Processor | None:
    if parse is None:
        return None
    return lambda value: parse(first(value))


COLUMN_TYPES: dict[type[Any], type[Any]] = {
    types.Date: QuicsqlDate,
    types.DateTime: QuicsqlDateTime,
}
