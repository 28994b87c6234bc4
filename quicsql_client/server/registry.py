"""The databases of a server, each with its connections: who runs what on which one.

It knows threads and connections, not principals, batons or HTTP.
Source: protocol/operations.md, Sessions and handles.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from ..errors import ConfigurationError
from .engine import Caps, DatabaseUnavailable, UnknownDatabase
from .engine.database import Database, PinnedConnection
from .engine.describing import Description
from .engine.opening import DatabaseSettings
from .feed import Feeds

__all__ = [
    "REAP_INTERVAL_S",
    "Database",
    "DatabaseSettings",
    "DatabaseUnavailable",
    "Description",
    "PinnedConnection",
    "Registry",
    "UnknownDatabase",
]

_log = logging.getLogger("quicsql.server")

REAP_INTERVAL_S: Final = 15.0  # protocol/operations.md, Sessions and handles


class Registry:
    """Serves databases by name. Its methods belong to one event loop.

    data_dir: where relative paths of databases begin; "" is the working directory. caps: of every
    statement. feeds: which the databases on files belong to as long as they are served; None: no
    change is noted. idle_timeout_s: a database that nobody has used for so long is shut, 0: never;
    clock: monotonic seconds; reap_interval_s: how often that is looked at.
    """

    def __init__(
        self,
        databases: Sequence[DatabaseSettings],
        *,
        data_dir: str,
        caps: Caps,
        feeds: Feeds | None = None,
        idle_timeout_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        reap_interval_s: float = REAP_INTERVAL_S,
    ) -> None:
        self.feeds = feeds
        self._data_dir = data_dir
        self._caps = caps
        self._idle_timeout_s = idle_timeout_s
        self._clock = clock
        self._reap_interval_s = reap_interval_s
        self._reaper: asyncio.Task[None] | None = None
        self._adding: set[str] = set()
        self._databases = {one.name: self._make(one) for one in databases}

    async def open(self, *, lazily: frozenset[str] = frozenset()) -> None:
        """Opens every database once, so that one that cannot work is found at start; those of the
        names in lazily open with their first use.

        Raises: ConfigurationError, with the text of protocol/config.md, "Validation order"; nothing
        stays open then.
        """
        for database in self._databases.values():
            if database.name in lazily:
                continue
            try:
                await database.warm()
            except (DatabaseUnavailable, ValueError) as error:
                await self.close()
                raise ConfigurationError(
                    f'open seed databases: registry: warm "{database.name}": {error}'
                ) from error
        if self._idle_timeout_s > 0:
            self._reaper = asyncio.get_running_loop().create_task(self._reap_forever())

    async def close(self) -> None:
        """Closes every connection, after the statements that run; the write-ahead log of each file
        is checkpointed.
        """
        if self._reaper is not None:
            self._reaper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reaper
            self._reaper = None
        for database in tuple(self._databases.values()):
            await self._end(database)

    def get(self, name: str) -> Database:
        """The database of that name. Raises UnknownDatabase."""
        try:
            return self._databases[name]
        except KeyError:
            raise UnknownDatabase(name) from None

    def names(self) -> tuple[str, ...]:
        """The names of all databases, in the configuration's order."""
        return tuple(self._databases)

    def list(self) -> tuple[Database, ...]:
        """All databases, in the same order; for any thread."""
        return tuple(self._databases.values())

    def replace_caps(self, caps: Caps) -> None:
        """Sets new caps for the statements that begin from now on."""
        self._caps = caps
        for database in self._databases.values():
            database.caps = caps

    def declare(self, settings: DatabaseSettings) -> None:
        """Serves a database that opens with its first use, in place of one of the same name that
        was not opened yet.
        """
        if self.feeds is not None:
            self.feeds.detach(settings.name)
        self._databases[settings.name] = self._make(settings)

    async def add(self, settings: DatabaseSettings) -> Database:
        """Opens and serves one more database. Raises ValueError for a name in use, CannotOpen."""
        if settings.name in self._databases or settings.name in self._adding:
            raise ValueError(f"database {settings.name!r} is already served")
        database = self._make(settings)
        # Two openings of one new file could refuse each other.
        self._adding.add(settings.name)
        try:
            await database.warm()
        except BaseException:
            await self._end(database)
            raise
        finally:
            self._adding.discard(settings.name)
        self._databases[settings.name] = database
        return database

    async def remove(self, name: str) -> None:
        """Stops serving a database and closes it; its file stays. Raises UnknownDatabase."""
        database = self.get(name)
        del self._databases[name]
        await self._end(database)

    async def detach(self, name: str) -> None:
        """Removes a database that nobody uses. Raises: UnknownDatabase; DatabaseBusy."""
        self.get(name).usage.reserve()
        await self.remove(name)

    @contextlib.asynccontextmanager
    async def offline(self, name: str) -> AsyncIterator[Database]:
        """Alone with a database's file: it is shut, and so is every other database of that file.

        Raises: UnknownDatabase; DatabaseBusy at once, if somebody uses one of them.
        """
        database = self.get(name)
        async with contextlib.AsyncExitStack() as stack:
            for one in self._of_one_file(database):
                await stack.enter_async_context(one.offline())
            yield database

    async def reap(self) -> None:
        """Shuts every database that nobody has used for the idle timeout."""
        for database in tuple(self._databases.values()):
            await database.shut_if_idle(self._idle_timeout_s)

    def _make(self, settings: DatabaseSettings) -> Database:
        changes = None
        if self.feeds is not None and settings.backend == "file":
            path = os.path.join(self._data_dir, settings.path)
            changes = self.feeds.attach(settings.name, path)
        return Database(settings, self._data_dir, self._caps, self._clock, changes)

    async def _end(self, database: Database) -> None:
        if self.feeds is not None:
            self.feeds.detach(database.name)
        await database.close()

    def _of_one_file(self, database: Database) -> Sequence[Database]:
        if database.file is None:
            return (database,)
        path = os.path.realpath(database.file)
        others = (one for one in self._databases.values() if one.file is not None)
        return tuple(one for one in others if os.path.realpath(one.file or "") == path)

    async def _reap_forever(self) -> None:
        while True:
            await asyncio.sleep(self._reap_interval_s)
            try:
                await self.reap()
            except Exception:  # the border of the task: one database must not stop the reaper
                _log.exception("an idle database could not be closed")
