"""The five storage classes: Python objects to values, and values to their two JSON spellings.

Numbers are exact: INTEGER has 64 bits, REAL keeps its shortest digits. Knows no message and no
server. Source: protocol/native.md, "Argument values" and "Cell encoding"; protocol/hrana.md,
"Tagged values".
"""

from __future__ import annotations

import base64
import binascii
import datetime
import decimal
import enum
import math
import operator
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import DataError, ProgrammingError
from ..types import Arguments, Value

__all__ = [
    "INT64_MAX",
    "INT64_MIN",
    "bind_arguments",
    "bind_sql",
    "bind_value",
    "decode_base64",
    "encode_base64",
    "format_hrana_real",
    "format_native_real",
    "is_unicode",
]

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


def bind_sql(sql: Any) -> str:
    """A statement's text as it can be sent. Raises: ProgrammingError for any other object."""
    if not isinstance(sql, str):
        raise ProgrammingError(f"the SQL of a statement must be a str, not {type(sql).__name__}")
    if not is_unicode(sql):
        raise ProgrammingError("the SQL of a statement is a str that is not valid Unicode text")
    return sql


def bind_arguments(args: Arguments) -> tuple[Value, ...] | dict[str, Value]:
    """The arguments of a statement as values: a tuple for a sequence, a dict for a mapping.

    An empty mapping binds nothing, so it is an empty tuple. A name may have its prefix (`:`, `@`,
    `$`), which falls off, for a server binds the bare name to all three.
    Raises: ProgrammingError for an object of a type that has no storage class, DataError for a
    value that SQLite cannot hold; both name the argument's position or name, never its value.
    """
    if isinstance(args, Mapping):
        return _bind_named(args) if args else ()
    if isinstance(args, str | bytes | bytearray | memoryview) or not isinstance(args, Sequence):
        raise ProgrammingError(
            f"arguments must be a sequence or a mapping, not {type(args).__name__}; "
            "write (value,) for a single one"
        )
    return tuple(
        # The common classes pass at once; bool is a subclass of int, so it takes the long way.
        value if type(value) is str and value.isascii() else bind_value(value, position)
        for position, value in enumerate(args)
    )


def _bind_named(args: Mapping[str, Any]) -> dict[str, Value]:
    bound: dict[str, Value] = {}
    for name, value in args.items():
        bare = _bare_name(name)
        if bare in bound:
            raise ProgrammingError(f"the parameter {bare!r} is given twice, with two prefixes")
        bound[bare] = bind_value(value, bare)
    return bound


def _bare_name(name: Any) -> str:
    if not isinstance(name, str):
        raise ProgrammingError(f"a parameter name must be a str, not {type(name).__name__}")
    bare = name[1:] if name[:1] in (":", "@", "$") else name
    if not bare or not is_unicode(bare):
        raise ProgrammingError(f"a parameter name must be non-empty Unicode text, not {name!r}")
    return bare


def bind_value(value: Any, place: int | str = 0) -> Value:
    """One Python object as the value that SQLite stores.

    bool becomes 0 or 1; date, time and datetime ISO 8601 text as SQLite's own functions write it;
    Decimal and UUID text; an Enum its value; bytes-like objects BLOB; NaN NULL, as in SQLite. A
    scalar of numpy or of a library like it is what its `item()` is, any other object with
    `__index__` an integer.
    place: position or name of the argument, for the error text.
    """
    if value is None or type(value) is bytes:
        return value
    if isinstance(value, enum.Enum):
        return bind_value(value.value, place)
    if isinstance(value, int):
        return _bind_integer(int(value), place)
    if isinstance(value, float):
        return _bind_real(float(value), place)
    if isinstance(value, str):
        return _bind_text(str(value), place)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, datetime.datetime):
        # pandas' NaT calls itself a datetime, and equals nothing, as NaN does.
        return value.isoformat(" ") if value == value else None
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal | uuid.UUID):
        return str(value)
    return _bind_foreign(value, place)


def _bind_foreign(value: Any, place: int | str) -> Value:
    """An object that says itself which plain one it is."""
    is_array = hasattr(value, "dtype")
    if is_array and getattr(value, "shape", None) == ():
        plain = value.item()
        # A time finer than Python's is a bare count, whose unit nobody would know later.
        is_count = type(plain) is int and getattr(value.dtype, "kind", "") in ("M", "m")
        if type(plain) is not type(value) and not is_count:
            return bind_value(plain, place)
    elif hasattr(type(value), "__index__") and not is_array:
        return _bind_integer(operator.index(value), place)
    raise ProgrammingError(
        f"argument {place!r} is of type {type(value).__name__}, which has no SQLite storage class; "
        "pass int, float, str, bytes, None, or one of the standard date, Decimal, UUID, Enum types"
    )


def _bind_integer(value: int, place: int | str) -> int:
    if not INT64_MIN <= value <= INT64_MAX:
        raise DataError(
            f"argument {place!r} is an integer outside 64 bits, which SQLite cannot hold; "
            "pass a float or str if that is meant"
        )
    return value


def _bind_real(value: float, place: int | str) -> float | None:
    if math.isinf(value):
        raise DataError(f"argument {place!r} is an infinity, which quicSQL's JSON cannot carry")
    return None if math.isnan(value) else value


def _bind_text(value: str, place: int | str) -> str:
    if not is_unicode(value):
        raise DataError(f"argument {place!r} is a str that is not valid Unicode text")
    return value


def is_unicode(text: str) -> bool:
    """False when the text holds a lone surrogate, which UTF-8 cannot carry."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def encode_base64(value: bytes) -> str:
    """Standard alphabet, padded."""
    return base64.b64encode(value).decode("ascii")


def decode_base64(text: str, *, padded: bool = True) -> bytes:
    """The bytes of standard base64; CR and LF are ignored.

    padded: False accepts text without its padding, too. Raises ValueError.
    """
    compact = text.replace("\r", "").replace("\n", "")
    if not padded:
        compact = compact.rstrip("=")
        compact += "=" * (-len(compact) % 4)
    if len(compact) % 4 or compact.endswith("==="):  # which Python lets pass behind whole groups
        raise ValueError("illegal base64 data")
    try:
        return base64.b64decode(compact, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("illegal base64 data") from None


def format_native_real(value: float) -> str:
    """REAL as the native API writes it: shortest digits, always with a `.` or an exponent.

    NaN and infinities are `null`. Source: protocol/native.md, "Cell encoding".
    """
    if 1e-4 <= abs(value) < 1e6 or value == 0:
        return repr(value)  # the same digits in the same form, many times as fast
    if not math.isfinite(value):
        return "null"
    sign, digits, exponent = _shortest(value)
    if -4 <= exponent < 6:
        text = _positional(digits, exponent)
        return sign + (text if "." in text else text + ".0")
    return f"{sign}{_scientific(digits)}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def format_hrana_real(value: float) -> str:
    """REAL as Hrana writes it: an ECMAScript number, so 100.0 is `100`. NaN and infinities: `null`.

    Source: protocol/hrana.md, "Tagged values".
    """
    if 1e-4 <= abs(value) < 1e16 or value == 0:
        return repr(value).removesuffix(".0")  # the same digits, many times as fast
    if not math.isfinite(value):
        return "null"
    sign, digits, exponent = _shortest(value)
    if -6 <= exponent < 21:
        return sign + _positional(digits, exponent)
    return f"{sign}{_scientific(digits)}e{'-' if exponent < 0 else '+'}{abs(exponent)}"


def _shortest(value: float) -> tuple[str, str, int]:
    """(sign, digits, exponent) with value = sign d.ddd * 10**exponent, in the fewest digits."""
    number = decimal.Decimal(repr(value)).as_tuple()
    text = "".join(map(str, number.digits)).lstrip("0")
    exponent = int(number.exponent) + len(text) - 1 if text else 0
    return "-" if number.sign else "", text.rstrip("0") or "0", exponent


def _positional(digits: str, exponent: int) -> str:
    if exponent < 0:
        return "0." + "0" * (-exponent - 1) + digits
    whole = digits[: exponent + 1].ljust(exponent + 1, "0")
    fraction = digits[exponent + 1 :]
    return f"{whole}.{fraction}" if fraction else whole


def _scientific(digits: str) -> str:
    return f"{digits[0]}.{digits[1:]}" if len(digits) > 1 else digits
