"""Answers of one known shape, decoded into their struct. Knows no endpoint."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from ..errors import RemoteProtocolError

__all__ = ["decode_shape", "unknown_shape"]

_T = TypeVar("_T")


def decode_shape(body: bytes, kind: type[_T], what: str) -> _T:
    """The JSON body as a `kind`. what: the answer's name.

    Raises RemoteProtocolError, quoting nothing.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise unknown_shape(what) from None


def unknown_shape(what: str) -> RemoteProtocolError:
    """The error for an answer that is none that we know."""
    return RemoteProtocolError(f"the server's {what} is not of the known shape")
