"""What a plain YAML word means where a boolean, a number or nothing is wanted.

The key decides the type, never the look of the word: `name: no` is the text "no", `enabled: no` is
false, and `min_version: 1.3` is the text "1.3". It must not know keys, files or the YAML library.
Source: protocol/config.md, File rules.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

__all__ = ["MAX_INTEGER", "is_null", "parse_boolean", "parse_integer", "parse_number"]

MAX_INTEGER: Final = 2**63 - 1
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE: Final = frozenset({"true", "yes", "on", "y"})
_FALSE: Final = frozenset({"false", "no", "off", "n"})
_BASED: Final = re.compile(r"(?P<sign>[-+]?)0(?P<base>[xXoObB]?)(?P<digits>[0-9a-fA-F]+)")
_DECIMAL: Final = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_BASES: Final = {"x": 16, "o": 8, "b": 2, "": 8}
# Nothing that fits 64 bits is longer; it bounds the work that `1e999999999` could ask for.
_MAX_EXPONENT: Final = 20
_MAX_LENGTH: Final = 100


def is_null(word: str) -> bool:
    """Whether an unquoted word says that the key is as good as absent."""
    return word in _NULLS


def parse_boolean(word: str) -> bool:
    """The truth that an unquoted word stands for: true, yes, on, y, or their opposites, in any
    letter case.

    Raises: ValueError for anything else.
    """
    lowered = word.lower()
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    raise ValueError("not a boolean")


def parse_integer(word: str) -> int:
    """The whole number of an unquoted word: `1_000`, `0x10`, `0o17`, `017` (octal), `0b1`, or an
    integral `8e6`.

    Raises: ValueError for anything else, and beyond 64 bits.
    """
    text = _without_underscores(word)
    based = _BASED.fullmatch(text)
    if based is not None:
        number = int(based["digits"], _BASES[based["base"].lower()])
        number = -number if based["sign"] == "-" else number
    else:
        number = _integral(text)
    if not -MAX_INTEGER - 1 <= number <= MAX_INTEGER:
        raise ValueError("beyond 64 bits")
    return number


def _integral(text: str) -> int:
    exact = _decimal(text)
    if exact != exact.to_integral_value():
        raise ValueError("not a whole number")
    return int(exact)


def parse_number(word: str) -> float:
    """The finite number of an unquoted word.

    Raises: ValueError for anything else, infinities and NaN too.
    """
    return float(_decimal(_without_underscores(word)))


def _decimal(text: str) -> Decimal:
    if len(text) > _MAX_LENGTH or not _DECIMAL.fullmatch(text):
        raise ValueError("not a number")
    exact = Decimal(text)
    if exact and abs(exact.adjusted()) > _MAX_EXPONENT:
        raise ValueError("out of range")
    return exact


def _without_underscores(word: str) -> str:
    return word.replace("_", "") if word[:1] in "-+.0123456789" else word
