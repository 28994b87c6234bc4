"""JSON bodies by the server's rules, which are not quite those of Python's `json`.

Reading: keys of known objects match in any letter case and the last one wins; numbers keep their
literal text; invalid UTF-8 and lone surrogates become U+FFFD; NaN and Infinity are no JSON.
Problems are RemoteProtocolError, with the text that the 400 answer carries. Writing: compact, with
the characters that HTML minds escaped.
Source: protocol/native.md, "Request body"; protocol/hrana.md, "JSON rules".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import msgspec

from ..errors import RemoteProtocolError

__all__ = [
    "Number",
    "Pairs",
    "fields",
    "invalid",
    "kind_of",
    "read_document",
    "read_first",
    "read_leading",
    "write_document",
]

_BLANK = " \t\n\r"
_CUT_NUMBER = re.compile(r"\.|(\.[0-9]+)?[eE][+-]?")
_CUT_ESCAPE = re.compile(r"\\?u?[0-9a-fA-F]{0,4}")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Number(str):
    """A JSON number by its literal text."""

    __slots__ = ()


class Pairs(list[tuple[str, Any]]):
    """A JSON object as its members in order, doubles included."""

    __slots__ = ()


def invalid(reason: str) -> RemoteProtocolError:
    """The error for a body that is not the JSON it should be."""
    return RemoteProtocolError(f"invalid JSON: {reason}")


def read_document(body: bytes) -> Any:
    """The one JSON value that is the whole body. Raises RemoteProtocolError."""
    value, rest = _read(body, end="unexpected end of JSON input")
    if rest:
        raise invalid(f"invalid character {rest[0]!r} after top-level value")
    return value


def read_first(body: bytes) -> Any:
    """The first JSON value of the body, after which only blanks may follow.

    A `}` or `]` right behind the value hides all that follows it: upstream's reader stops there.
    Raises RemoteProtocolError.
    """
    value, rest = _read(body, end="unexpected EOF", blank="EOF")
    if rest and rest[0] not in "}]":
        raise RemoteProtocolError("unexpected trailing content after JSON body")
    return value


def read_leading(body: bytes) -> Any:
    """The first JSON value of the body, whatever follows. Raises RemoteProtocolError."""
    value, _ = _read(body, end="unexpected EOF", blank="EOF")
    return value


def _read(body: bytes, *, end: str, blank: str | None = None) -> tuple[Any, str]:
    text = body.decode("utf-8", "replace").lstrip(_BLANK)
    if not text:
        raise invalid(blank or end)
    try:
        value, stop = _DECODER.raw_decode(text)
        if "\\ud" in text or "\\uD" in text:
            value = _without_surrogates(value)
    except json.JSONDecodeError as exc:
        raise invalid(end if _is_cut(text, exc) else exc.msg) from None
    except RecursionError:
        raise invalid("exceeded max depth") from None
    except ValueError as exc:
        raise invalid(str(exc)) from None
    return value, text[stop:].lstrip(_BLANK)


def _is_cut(text: str, problem: json.JSONDecodeError) -> bool:
    """True when the text is the beginning of a JSON value, rather than something else."""
    remainder = text[problem.pos :].strip(_BLANK)
    if not remainder or problem.msg.startswith("Unterminated string"):
        return True
    if problem.msg.startswith("Expecting value"):
        return any(word.startswith(remainder) for word in ("true", "false", "null", "-"))
    if problem.msg.startswith("Expecting ','"):
        return text[problem.pos - 1].isdigit() and bool(_CUT_NUMBER.fullmatch(remainder))
    return problem.msg.startswith("Invalid \\u") and bool(_CUT_ESCAPE.fullmatch(remainder))


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, Pairs):
        return Pairs((_without_surrogates(k), _without_surrogates(v)) for k, v in value)
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, str) and not isinstance(value, Number):
        return _SURROGATE.sub("\ufffd", value)
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"invalid literal {name}")


_DECODER = json.JSONDecoder(
    object_pairs_hook=Pairs,
    parse_int=Number,
    parse_float=Number,
    parse_constant=_refuse_constant,
)


def kind_of(value: Any) -> str:
    """The JSON name of a value's type, for error texts."""
    if value is None:
        return "null"
    kinds: dict[type, str] = {
        bool: "bool",
        Number: "number",
        str: "string",
        Pairs: "object",
        list: "array",
    }
    return kinds[type(value)]


def fields(
    value: Any, what: str, kinds: Mapping[str, type], *, closed: bool = False
) -> dict[str, Any]:
    """The members of an object that `kinds` names, by its spelling; null counts as absent.

    what: the object's name for error texts. kinds: the type that each member must have. closed:
    True refuses other members. Raises RemoteProtocolError.
    """
    if value is None:
        return {}
    if not isinstance(value, Pairs):
        raise invalid(f"{what} must be an object, got {kind_of(value)}")
    found: dict[str, Any] = {}
    for key, member in value:
        name = key if key in kinds else key.casefold()
        if name not in kinds:
            if closed:
                raise invalid(f"json: unknown field {json.dumps(key, ensure_ascii=False)}")
            continue
        if member is None:
            continue
        if type(member) is not kinds[name]:
            raise invalid(f"{what}.{name} must not be {kind_of(member)}")
        found[name] = member
    return found


_HTML_ESCAPES = (
    (b"<", b"\\u003c"),
    (b">", b"\\u003e"),
    (b"&", b"\\u0026"),
    ("\u2028".encode(), b"\\u2028"),
    ("\u2029".encode(), b"\\u2029"),
)


def write_document(value: Any) -> bytes:
    """The JSON text of a value, compact and one line, `<`, `>`, `&`, U+2028, U+2029 escaped.

    All of these can stand only inside strings, so replacing them in the whole text is safe.
    Source: protocol/native.md, "Response".
    """
    encoded = msgspec.json.encode(value)
    for raw, escaped in _HTML_ESCAPES:
        if raw in encoded:
            encoded = encoded.replace(raw, escaped)
    return encoded + b"\n"
