"""The server's log on standard error: one record a line, as text or as JSON.

Values come from requests and files, so they are escaped: no value can forge a record or drive a
terminal. A record may have fields beside its message (`fields`): `key=value` in text, members in
JSON. It must not know what is logged; callers keep secrets out.
Source: protocol/config.md, logging.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from typing import Any, Final, TextIO

__all__ = ["LOGGER_NAME", "configure_logging", "escaped", "fields"]

LOGGER_NAME: Final = "quicsql.server"

_FIELDS: Final = "quicsql_fields"
_BARE: Final = re.compile(r"[\w./:@%+-]+", re.ASCII)


def configure_logging(log_format: str, stream: TextIO | None = None) -> None:
    """Send the server's records to stream (standard error) as "text" or "json", in place of what
    was set before.
    """
    logger = logging.getLogger(LOGGER_NAME)
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JSONLines() if log_format == "json" else _TextLines())
    for previous in logger.handlers[:]:
        logger.removeHandler(previous)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def fields(**members: str | float | bool) -> dict[str, Any]:
    """The `extra` of a record that has these fields, in this order."""
    return {_FIELDS: members}


def escaped(text: str) -> str:
    """Text whose control, line-breaking and invisible characters are spelled as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class _TextLines(logging.Formatter):
    """`2026-01-02T03:04:05Z INFO message key=value`; the lines of a traceback follow, each behind a
    bar.
    """

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_instant(record)} {record.levelname} {escaped(record.getMessage())}"
        line += "".join(f" {key}={_word(value)}" for key, value in _fields_of(record).items())
        if record.exc_info:
            trace = self.formatException(record.exc_info)
            line += "".join(f"\n    | {escaped(part)}" for part in trace.splitlines())
        return line


class _JSONLines(logging.Formatter):
    """An object with time, level and msg, its fields, and error where there was an exception."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": _instant(record),
            "level": record.levelname,
            "msg": record.getMessage(),
            **_fields_of(record),
        }
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def _fields_of(record: logging.LogRecord) -> dict[str, Any]:
    members: dict[str, Any] = getattr(record, _FIELDS, {})
    return members


def _word(value: str | float | bool) -> str:
    """A value as one word, in quotes where it could be taken for more."""
    if isinstance(value, str) and _BARE.fullmatch(value):
        return value
    return escaped(json.dumps(value, ensure_ascii=False))


def _instant(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
