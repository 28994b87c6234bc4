"""Durations as upstream writes them: `30s`, `1h30m`, `1.5h`.

Pure text and numbers; it must not know keys, files or YAML.
Source: protocol/config.md, File rules.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["format_duration", "parse_duration", "to_nanoseconds"]

_UNITS_NS: Final = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,  # the micro sign and the Greek letter both stand for "micro"
    "\u03bcs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
# Longer units first: "m" is the beginning of "ms".
_TERM: Final = re.compile(
    r"(?P<whole>[0-9]*)(?:\.(?P<part>[0-9]*))?(?P<unit>ns|us|\u00b5s|\u03bcs|ms|s|m|h)"
)
# Upstream keeps durations in a signed 64-bit count of nanoseconds (about 292 years).
_MAX_NS: Final = 2**63 - 1
_MAX_LENGTH: Final = 100


def parse_duration(text: str) -> int:
    """The nanoseconds that a text such as "1h30m", "1.5h" or "-2s" stands for.

    Raises: ValueError for anything else: no unit, a unit such as "d", blanks, a bare number (0
    too), or more than about 292 years.
    """
    sign = -1 if text.startswith("-") else 1
    body = text[1:] if text[:1] in ("-", "+") else text
    if not body or len(body) > _MAX_LENGTH:
        raise ValueError("not a duration")
    total = position = 0
    while position < len(body):
        term = _TERM.match(body, position)
        if term is None:
            raise ValueError("not a duration")
        total += _term_nanoseconds(term)
        position = term.end()
    if total > _MAX_NS:
        raise ValueError("longer than about 292 years")
    return sign * total


def _term_nanoseconds(term: re.Match[str]) -> int:
    whole, part = term["whole"], term["part"] or ""
    if not whole and not part:
        raise ValueError("not a duration")
    unit = _UNITS_NS[term["unit"]]
    fraction = int(part) * unit // 10 ** len(part) if part else 0
    return int(whole or "0") * unit + fraction


def format_duration(nanoseconds: int) -> str:
    """The shortest text in upstream's style: "1h0m0s", "15m0s", "1.5s", "100ms", "0s"."""
    if nanoseconds < 0:
        return "-" + format_duration(-nanoseconds)
    if nanoseconds == 0:
        return "0s"
    for unit in ("\u00b5s", "ms", "s"):
        if nanoseconds < _UNITS_NS[unit]:
            smaller = {"\u00b5s": "ns", "ms": "\u00b5s", "s": "ms"}[unit]
            return _decimal(nanoseconds, _UNITS_NS[smaller]) + smaller
    minutes, rest = divmod(nanoseconds, _UNITS_NS["m"])
    hours, minutes = divmod(minutes, 60)
    seconds = _decimal(rest, _UNITS_NS["s"]) + "s"
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds


def _decimal(nanoseconds: int, unit: int) -> str:
    whole, rest = divmod(nanoseconds, unit)
    if not rest:
        return str(whole)
    digits = len(str(unit)) - 1
    return f"{whole}.{rest:0{digits}d}".rstrip("0")


def to_nanoseconds(seconds: float) -> int:
    """Seconds of a configuration as whole nanoseconds."""
    return round(seconds * _UNITS_NS["s"])
