"""Where files may be that are named over the network: inside data_dir, and not among the server's
own.

It knows paths and the file system, neither databases nor requests. It looks, and opens nothing.
Source: protocol/config.md, server; protocol/operations.md, Admin.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

__all__ = ["Places"]

# What SQLite keeps beside a database: whoever may write these changes the database itself.
_BESIDE: Final = ("-wal", "-shm", "-journal")


class Places:
    """data_dir: "" has no inside. own: files that are the server's alone."""

    def __init__(self, data_dir: str, own: Sequence[str] = ()) -> None:
        self._data_dir = data_dir
        self._own = own

    def inside(self, path: str) -> str | None:
        """The real path of what a path names, relative to data_dir or absolute; None when it is not
        allowed, wherever symbolic links lead.
        """
        if not self._data_dir or not path or "\0" in path:
            return None
        root = os.path.realpath(self._data_dir)
        real = os.path.realpath(os.path.join(root, path))
        if real == root or os.path.commonpath((root, real)) != root:
            return None
        if real.endswith(_BESIDE) or any(_is_same(real, own) for own in self._own):
            return None
        return real


def _is_same(real: str, own: str) -> bool:
    try:
        return os.path.samefile(real, own)
    except OSError:  # one of them does not exist
        return real == os.path.realpath(own)
