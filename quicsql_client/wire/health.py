"""`/_health`: one word about the server, in both directions. Source: protocol/operations.md."""

from __future__ import annotations

import msgspec

from .document import write_document
from .shapes import decode_shape

__all__ = ["decode_health", "encode_health"]


class _Health(msgspec.Struct):
    status: str


def encode_health(status: str = "ok") -> bytes:
    """The body of the answer."""
    return write_document({"status": status})


def decode_health(body: bytes) -> str:
    """The server's status, "ok" when it is well. Raises RemoteProtocolError."""
    return decode_shape(body, _Health, "health answer").status
