"""Bodies of the changeset endpoints, in both directions. A changeset itself is opaque bytes.

Source: protocol/operations.md, Changesets.
"""

from __future__ import annotations

import base64
import binascii
import re

from ..errors import RemoteProtocolError
from .document import fields, read_document, write_document

__all__ = ["decode_concat", "encode_applied", "encode_concat"]

_KINDS: dict[str, type] = {"a": str, "b": str}
_LINE_ENDS = str.maketrans("", "", "\r\n")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")


def encode_concat(first: bytes, second: bytes) -> bytes:
    """The body that asks for first and then second as one changeset."""
    return write_document({"a": _encoded(first), "b": _encoded(second)})


def decode_concat(body: bytes) -> tuple[bytes, bytes]:
    """The two changesets of a concat request; what is missing is empty.

    Keys match in any letter case, unknown ones are ignored.
    Raises: RemoteProtocolError, whose message is the text of the 400 answer.
    """
    found = fields(read_document(body), "body", _KINDS)
    return _decoded(found.get("a", "")), _decoded(found.get("b", ""))


def encode_applied() -> bytes:
    """The answer to a changeset that was applied."""
    return write_document({"status": "ok"})


def _encoded(changeset: bytes) -> str:
    return base64.b64encode(changeset).decode()


def _decoded(text: str) -> bytes:
    """Base64 with padding; line ends in it do not count."""
    joined = text.translate(_LINE_ENDS)
    if _BASE64.fullmatch(joined) and len(joined) % 4 == 0:
        try:
            return base64.b64decode(joined, validate=True)
        except binascii.Error:
            pass
    raise RemoteProtocolError("invalid base64 changeset")
