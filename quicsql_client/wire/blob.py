"""Answers of the blob endpoints. Contents of objects are opaque bytes.

Source: protocol/operations.md, Blobs.
"""

from __future__ import annotations

from .document import write_document

__all__ = ["encode_created", "encode_done", "encode_size"]


def encode_created(object_id: int) -> bytes:
    """The answer to create."""
    return write_document({"id": object_id})


def encode_size(size_bytes: int) -> bytes:
    """The answer to size, and to write."""
    return write_document({"size": size_bytes})


def encode_done() -> bytes:
    """The answer to provision and delete."""
    return write_document({"status": "ok"})
