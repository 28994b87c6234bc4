"""Database images that callers give: bytes, or the path of a file. Reads files; nothing else."""

from __future__ import annotations

import os
from typing import TypeAlias

from .errors import ConfigurationError

__all__ = ["Image", "read_image"]

Image: TypeAlias = bytes | str | os.PathLike[str]
"""The bytes of a SQLite file, or its path."""


def read_image(image: Image) -> bytes:
    """The bytes. Raises ConfigurationError, naming the file."""
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if not isinstance(image, str | os.PathLike):
        raise ConfigurationError(f"image: expected bytes or a path, got {type(image).__name__}")
    try:
        with open(image, "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise ConfigurationError(f"image {os.fspath(image)!r} cannot be read: {reason}") from error
