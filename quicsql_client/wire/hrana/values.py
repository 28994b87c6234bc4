"""Tagged values: SQLite's five storage classes as Hrana spells them.

Source: protocol/hrana.md, "Tagged values".
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import msgspec

from ...types import Value
from ..document import Number, fields, invalid, kind_of
from ..values import INT64_MAX, INT64_MIN, decode_base64, encode_base64, format_hrana_real


def encode_value(value: Value) -> dict[str, Any]:
    if value is None:
        return {"type": "null"}
    if isinstance(value, int):
        return {"type": "integer", "value": str(value)}
    if isinstance(value, float):
        if not math.isfinite(value):
            return {"type": "null"}
        return {"type": "float", "value": msgspec.Raw(format_hrana_real(value).encode())}
    if isinstance(value, str):
        return {"type": "text", "value": value}
    return {"base64": encode_base64(value), "type": "blob"}


class _Null(msgspec.Struct, tag_field="type", tag="null"):
    def decode(self) -> Value:
        return None


class _Integer(msgspec.Struct, tag_field="type", tag="integer"):
    value: str

    def decode(self) -> Value:
        return decode_integer(self.value)


class _Float(msgspec.Struct, tag_field="type", tag="float"):
    value: float | None  # libSQL servers send null for an infinity

    def decode(self) -> Value:
        return self.value


class _Text(msgspec.Struct, tag_field="type", tag="text"):
    value: str

    def decode(self) -> Value:
        return self.value


class _Blob(msgspec.Struct, tag_field="type", tag="blob"):
    base64: str

    def decode(self) -> Value:
        return decode_base64(self.base64, padded=False)  # libSQL servers leave the padding out


TaggedValue = _Null | _Integer | _Float | _Text | _Blob
"""How a client reads a tagged value; `.decode()` gives the Value or raises ValueError."""


_VALUE = {"type": str, "base64": str}
_S = TypeVar("_S", str, Number)


def decode_value(raw: Any) -> Value:
    if raw is None:
        return None
    found = fields(raw, "value", _VALUE)
    kind = found.get("type", "")
    if kind in ("", "null"):
        return None
    if kind == "blob":
        return _decode_blob(found.get("base64", ""))
    if kind not in ("integer", "float", "text"):
        raise invalid(f'hrana: unknown value type "{kind}"')
    members = [member for key, member in raw if key.casefold() == "value"]
    if not members:
        raise invalid("unexpected end of JSON input")
    return _decode_tagged(kind, members[-1])


def _decode_tagged(kind: str, member: Any) -> Value:
    if kind == "float":
        return _decode_float(_typed(kind, member, Number("0.0")))
    text = _typed(kind, member, "")
    if kind == "text":
        return text
    try:
        return decode_integer(text)
    except ValueError as exc:
        raise invalid(
            f'hrana: bad integer value: strconv.ParseInt: parsing "{text[:40]}": {exc}'
        ) from None


def _typed(kind: str, member: Any, empty: _S) -> _S:
    if member is None:
        return empty
    if type(member) is not type(empty):
        raise invalid(f"hrana: {kind} value must not be {kind_of(member)}")
    return member


def decode_integer(text: str) -> int:
    """The integer of 64 bits that decimal digits write, signed or not. Raises ValueError."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError("invalid syntax")
    significant = digits.lstrip("0") or "0"
    number = int(significant[:20])  # 20 digits are out of range already
    number = -number if text[0] == "-" else number
    if not INT64_MIN <= number <= INT64_MAX:
        raise ValueError("value out of range")
    return number


def _decode_float(literal: Number) -> float:
    real = float(literal)
    if real in (float("inf"), float("-inf")):
        raise invalid(f"hrana: bad float value: {literal[:40]} overflows a double")
    return real


def _decode_blob(text: str) -> bytes:
    try:
        # Other Hrana clients leave the padding out, which upstream refuses.
        return decode_base64(text, padded=False)
    except ValueError as exc:
        raise invalid(f"hrana: bad blob base64: {exc}") from None
