"""The databases of a server, each with its connections: who runs what on which one.

It knows threads and connections, not principals, batons or HTTP.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ConfigurationError
from .engine import Caps, DatabaseUnavailable, UnknownDatabase
from .engine.database import Database, PinnedConnection
from .engine.describing import Description
from .engine.opening import DatabaseSettings

__all__ = [
    "Database",
    "DatabaseSettings",
    "DatabaseUnavailable",
    "Description",
    "PinnedConnection",
    "Registry",
    "UnknownDatabase",
]


class Registry:
    """Serves databases by name. Its methods belong to one event loop.

    data_dir: where relative paths of databases begin; "" is the working directory. caps: of every
    statement.
    """

    def __init__(self, databases: Sequence[DatabaseSettings], *, data_dir: str, caps: Caps) -> None:
        self._data_dir = data_dir
        self._caps = caps
        self._databases = {one.name: Database(one, data_dir, caps) for one in databases}

    async def open(self) -> None:
        """Opens every database once, so that one that cannot work is found at start.

        Raises: ConfigurationError, with the text of protocol/config.md, "Validation order"; nothing
        stays open then.
        """
        for database in self._databases.values():
            try:
                await database.warm()
            except (DatabaseUnavailable, ValueError) as error:
                await self.close()
                raise ConfigurationError(
                    f'open seed databases: registry: warm "{database.name}": {error}'
                ) from error

    async def close(self) -> None:
        """Closes every connection, after the statements that run; the write-ahead log of each file
        is checkpointed.
        """
        for database in self._databases.values():
            await database.close()

    def get(self, name: str) -> Database:
        """The database of that name. Raises UnknownDatabase."""
        try:
            return self._databases[name]
        except KeyError:
            raise UnknownDatabase(name) from None

    def names(self) -> tuple[str, ...]:
        """The names of all databases, in the configuration's order."""
        return tuple(self._databases)

    def served(self) -> tuple[Database, ...]:
        """All databases; for any thread."""
        return tuple(self._databases.values())

    def replace_caps(self, caps: Caps) -> None:
        """Sets new caps for the statements that begin from now on."""
        self._caps = caps
        for database in self._databases.values():
            database.caps = caps

    async def add(self, settings: DatabaseSettings) -> Database:
        """Opens and serves one more database. Raises ValueError for a name in use,
        DatabaseUnavailable.
        """
        if settings.name in self._databases:
            raise ValueError(f"database {settings.name!r} is already served")
        database = Database(settings, self._data_dir, self._caps)
        try:
            await database.warm()
        except BaseException:
            await database.close()
            raise
        self._databases[settings.name] = database
        return database

    async def remove(self, name: str) -> None:
        """Stops serving a database and closes it. Raises UnknownDatabase."""
        database = self.get(name)
        del self._databases[name]
        await database.close()
