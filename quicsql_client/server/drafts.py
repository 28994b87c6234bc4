"""Files that come to be as a whole: written beside their place under another name, then moved
there in one step.

It knows the file system, neither databases nor requests. Its functions wait for the disk: call them
by `in_thread`.
Source: protocol/operations.md, POST /_admin/maintenance and POST /_admin/restore.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

__all__ = ["Draft", "in_thread", "sweep"]

T = TypeVar("T")

_OWNER_ONLY: Final = 0o600
_MAX_STEM: Final = 100  # of the target's name, so that the draft's own is not too long
_DRAFT: Final = re.compile(r"\..+\.[0-9a-f]{16}\.draft")
_BESIDE: Final = ("-wal", "-shm", "-journal")


class Draft:
    """A new, empty file beside the target, readable by its owner alone.

    Raises: OSError when it cannot be made. `discard` comes last, whatever became of it.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        folder, name = os.path.split(target)
        self.path = os.path.join(folder, f".{name[:_MAX_STEM]}.{secrets.token_hex(8)}.draft")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
        self._descriptor = os.open(self.path, flags, _OWNER_ONLY)

    def write(self, data: bytes) -> None:
        """Appends data. Raises: OSError."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def sync(self) -> int:
        """Puts everything on the disk; its size in bytes. Raises: OSError."""
        os.fsync(self._descriptor)
        return os.fstat(self._descriptor).st_size

    def publish(self) -> None:
        """Gives the file the target's name, which nothing may have. Raises: FileExistsError,
        OSError.
        """
        os.link(self.path, self._target)
        self.discard()
        _sync_folder_of(self._target)

    def replace_database(self) -> None:
        """Puts the file in the place of the database at the target, which nobody may have open.

        What SQLite left beside the old one goes first: it would be taken for the new one's.
        Raises: OSError.
        """
        for suffix in _BESIDE:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._target + suffix)
        os.replace(self.path, self._target)
        _sync_folder_of(self._target)

    def discard(self) -> None:
        """Closes the file, and deletes it under its own name."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)


def sweep(folders: Iterable[str]) -> None:
    """Deletes the drafts that a server which was killed left behind. Not while one is at work."""
    for folder in folders:
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if _DRAFT.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    os.unlink(entry.path)


def _sync_folder_of(path: str) -> None:
    """A new name is on the disk when its folder is."""
    descriptor = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def in_thread(work: Callable[[], T], stop: Callable[[], None] = lambda: None) -> T:
    """What work gives in a thread. It is never left alone: a cancellation calls stop, and waits for
    the end of the work.
    """
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        stop()
        await asyncio.wait([running])
        raise
