"""The log of slow statements: one record for each that ran for a given time or longer.

Time is what a statement ran in its thread, waits for locks and the reading of its rows included,
waits for its turn not. Values are told only where that was asked for. It knows a link, not who
asks.
Source: protocol/operations.md, Slow log; protocol/config.md, logging.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from types import TracebackType
from typing import Any, Final

import apsw

from ...types import Value
from ..logs import LOGGER_NAME, fields
from .access import StatementTimeout
from .link import Link

__all__ = ["Timed"]

_log = logging.getLogger(LOGGER_NAME)

MAX_SQL_CHARS: Final = 4_096
MAX_VALUE_LENGTH: Final = 256  # characters of a text, bytes of a blob


class Timed:
    """Around the run of one statement: logs it when it was slow, however it ended.

    sql: its own text, with placeholders; values: what they stand for.
    """

    __slots__ = ("_begun_s", "_link", "_sql", "_values")

    def __init__(self, link: Link, sql: str, values: tuple[Value, ...] = ()) -> None:
        self._link = link
        self._sql = sql
        self._values = values
        self._begun_s = 0.0

    def __enter__(self) -> None:
        self._begun_s = time.monotonic()

    def __exit__(
        self, _kind: object, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        duration_s = time.monotonic() - self._begun_s
        if duration_s >= self._link.caps.slow_after_s:
            self._report(duration_s, error)

    def _report(self, duration_s: float, error: BaseException | None) -> None:
        sql = self._sql
        if self._values and self._link.caps.logs_values:
            if isinstance(error, StatementTimeout):
                self._link.watch.start(math.inf)  # nothing of this work is run any more
            sql = _expanded(self._link.connection, sql, self._values)
        told: dict[str, Any] = {
            "slow": True,
            "duration_ms": round(duration_s * 1000, 1),
            "database": self._link.database,
            "sql": _shortened(sql.strip()),
        }
        if error is not None:
            told["failed"] = True
        _log.warning("slow statement", extra=fields(**told))


def _expanded(connection: apsw.Connection, sql: str, values: tuple[Value, ...]) -> str:
    """The statement with values in the place of parameters, as SQLite writes them; with its
    parameters when it no longer prepares.
    """
    found: list[str] = []

    def note(cursor: apsw.Cursor, _sql: str, _bindings: Any) -> bool:
        found.append(cursor.expanded_sql)
        return False  # it is not run again

    cursor = connection.cursor()
    cursor.exec_trace = note
    with contextlib.suppress(apsw.Error, TypeError, OverflowError, UnicodeError):
        cursor.execute(sql, tuple(_short_value(value) for value in values), can_cache=False)
    cursor.close(True)
    return found[0] if found else sql


def _short_value(value: Value) -> Value:
    if isinstance(value, (str, bytes)) and len(value) > MAX_VALUE_LENGTH:
        start = value[:MAX_VALUE_LENGTH]
        return f"{start}\u2026" if isinstance(start, str) else start
    return value


def _shortened(sql: str) -> str:
    surplus = len(sql) - MAX_SQL_CHARS
    return f"{sql[:MAX_SQL_CHARS]}\u2026 ({surplus} more characters)" if surplus > 0 else sql
