"""Times in columns declared DATE, DATETIME or TIMESTAMP, rendered as RFC 3339.

It knows text and declared types only, neither rows nor SQLite.
Source: protocol/native.md, Cell encoding.
"""

from __future__ import annotations

import re
from datetime import datetime

_TIME_TYPES = frozenset({"DATE", "DATETIME", "TIMESTAMP"})
_MAX_FRACTION_DIGITS = 9
_SPELLING = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)"
    r"(?:[T ](?P<minutes>\d\d:\d\d)(?::(?P<seconds>\d\d)(?:\.(?P<fraction>\d+))?)?"
    r"(?:Z|(?P<sign>[+-])(?P<zone>\d\d:\d\d)| (?P<go_sign>[+-])(?P<go_zone>\d{4}) [A-Z]{1,5})?)?",
    re.ASCII,
)


def is_time_type(decltype: str | None) -> bool:
    """Whether a declared type is exactly one of the three time types, in any case."""
    return decltype is not None and decltype.upper() in _TIME_TYPES


def render_time(text: str) -> str:
    """RFC 3339 with up to nine fractional digits, trailing zeros dropped; text unchanged if it is
    no known time.

    Known: a date alone; a date and a time with `T` or a blank, with or without seconds and their
    fraction; then nothing or `Z` (both are UTC), `+hh:mm`, which is kept, or Go's ` +0000 UTC`.
    """
    match = _SPELLING.fullmatch(text)
    if match is None:
        return text
    clock = f"{match['minutes'] or '00:00'}:{match['seconds'] or '00'}"
    zone = _zone(match)
    try:
        datetime.fromisoformat(f"{match['date']}T{clock}{'+00:00' if zone == 'Z' else zone}")
    except ValueError:  # of the right shape, but no such day or hour
        return text
    fraction = (match["fraction"] or "")[:_MAX_FRACTION_DIGITS].rstrip("0")
    return f"{match['date']}T{clock}{'.' + fraction if fraction else ''}{zone}"


def _zone(match: re.Match[str]) -> str:
    if match["go_zone"] is not None:
        sign, digits = match["go_sign"], match["go_zone"]
        offset = f"{digits[:2]}:{digits[2:]}"
    else:
        sign, offset = match["sign"], match["zone"]
    if offset is None or offset == "00:00":
        return "Z"
    return f"{sign}{offset}"
