"""Files that may change while the server runs: when they have settled into something new.

A change is what `stat` tells of the file that a path leads to: renamed over, written in place, or
behind a symbolic link that was swapped, as Kubernetes does. It must not know what is in the files,
nor who uses them.
Source: design/decisions.md, 4 (reload by SIGHUP and by watching).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeAlias, TypeVar

from ..errors import ConfigurationError
from .config import Config, ListenerConfig, TLSProfile
from .logs import LOGGER_NAME

__all__ = ["WATCH_INTERVAL_S", "Watch", "WatchedFiles", "certificate_files", "roster_file"]

_log = logging.getLogger(LOGGER_NAME)

_Made = TypeVar("_Made")
_State: TypeAlias = tuple[tuple[str, int, int, int] | None, ...]

WATCH_INTERVAL_S: Final = 2.0
"""Between two looks; a change is taken by the second look that finds it."""


class WatchedFiles:
    """Some files that make one thing together, such as a certificate and its key.

    what: they are for, in the log. The state they have now is the one in use: make this before
    they are read.
    """

    def __init__(self, what: str, paths: Iterable[str]) -> None:
        self._what = what
        self._paths = tuple(paths)
        self._seen = self._in_use = _state(self._paths)
        self._complaint: tuple[_State, str] | None = None

    async def look(self, make: Callable[[], _Made]) -> _Made | None:
        """What make gives for files that have changed and are as they were at the last look; None
        while there is nothing new.

        make: called in a thread. While it raises ConfigurationError, it is tried again at each
        look, and each reason is logged once.
        """
        state = await asyncio.to_thread(_state, self._paths)
        has_settled, self._seen = state == self._seen, state
        if not has_settled or state == self._in_use:
            return None
        try:
            made = await asyncio.to_thread(make)
        except ConfigurationError as error:
            self._complain(state, str(error))
            return None
        if await asyncio.to_thread(_state, self._paths) != state:
            return None  # it was read while it changed: the next looks will tell
        self._in_use, self._complaint = state, None
        _log.info("%s: changed files are in use now", self._what)
        return made

    def _complain(self, state: _State, reason: str) -> None:
        if self._complaint != (state, reason):
            _log.warning(
                "%s: changed files cannot be used, what was in them before stays: %s",
                *(self._what, reason),
            )
        self._complaint = state, reason


def certificate_files(listener: ListenerConfig, config: Config) -> WatchedFiles:
    """Those of a listener's TLS profile; none where it has no TLS, or is not made of files."""
    profile = config.tls.get(listener.tls or "", TLSProfile())
    paths = (profile.cert, profile.key, profile.client_ca) if profile.mode == "files" else ()
    return WatchedFiles(f"listener {listener.name}", filter(None, paths))


def roster_file(config: Config) -> WatchedFiles:
    """The key roster; none where there is none."""
    return WatchedFiles("auth.authorized_keys", filter(None, (config.auth.authorized_keys,)))


class Watch:
    """Looks again and again, interval_s seconds after each look, until it is stopped. Made in an
    event loop.
    """

    def __init__(self, look: Callable[[], Awaitable[None]], interval_s: float) -> None:
        self._look = look
        self._interval_s = interval_s
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """No further look begins; one that runs is given up."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                await self._look()
            except Exception:  # the border of the task: the files may be better at the next look
                _log.exception("files could not be watched")


def _state(paths: Iterable[str]) -> _State:
    return tuple(map(_state_of, paths))


def _state_of(path: str) -> tuple[str, int, int, int] | None:
    """Where the path leads, and modification time, inode and size there; None: nowhere."""
    try:
        resolved = os.path.realpath(path)
        found = os.stat(resolved)
    except OSError:
        return None
    return resolved, found.st_mtime_ns, found.st_ino, found.st_size
