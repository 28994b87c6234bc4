"""The file of the meta store: opened, brought up to date, and used by one thread.

Knows SQLite and threads; what the rows mean is for the modules beside it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import apsw

from ...errors import ConfigurationError

T = TypeVar("T")

StoreError = apsw.Error
"""What `MetaStore.run` raises when SQLite fails, for those who must not know SQLite."""

# Each script brings a store from the version of its place to the next; none is ever changed.
_UPGRADES: Final = (
    """
    CREATE TABLE databases (name TEXT PRIMARY KEY, spec TEXT NOT NULL, created_at INTEGER NOT NULL);
    CREATE TABLE grants (
        database TEXT NOT NULL, principal TEXT NOT NULL, level TEXT NOT NULL,
        PRIMARY KEY (database, principal)
    );
    CREATE TABLE enrolled (
        name TEXT PRIMARY KEY, key TEXT NOT NULL UNIQUE,
        created_at INTEGER NOT NULL, last_seen INTEGER NOT NULL
    );
    CREATE TABLE codes (hash TEXT PRIMARY KEY, expires_at INTEGER NOT NULL);
    CREATE TABLE audit (
        id INTEGER PRIMARY KEY, at INTEGER NOT NULL, principal TEXT NOT NULL,
        action TEXT NOT NULL, database TEXT NOT NULL, detail TEXT NOT NULL
    );
    """,
    # The database that a device was given for itself.
    "ALTER TABLE enrolled ADD COLUMN database TEXT NOT NULL DEFAULT ''",
)
_BUSY_TIMEOUT_MS: Final = 5_000
_OWNER_ONLY: Final = 0o600


class MetaStore:
    """A store at path, which is made if it is not there. Times in it are Unix seconds.

    `open` comes first, `close` last. Its methods belong to one event loop.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="quicsql meta store")
        self._opened: apsw.Connection | None = None

    async def open(self) -> None:
        """Opens the file. Raises: ConfigurationError when it cannot be written, is no store, or is
        one of a later version.
        """
        loop = asyncio.get_running_loop()
        try:
            self._opened = await loop.run_in_executor(self._thread, self._open_file)
        except (apsw.Error, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ConfigurationError(f"open meta store: {self._path}: {reason}") from error

    async def run(self, work: Callable[[apsw.Connection], T]) -> T:
        """What work gives, in one write transaction: all that it did is kept, or nothing.

        Raises: whatever work raises, StoreError among it.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._in_transaction, work)

    async def close(self) -> None:
        """Closes the file after the work that was given before; a second call does nothing."""
        connection, self._opened = self._opened, None
        if connection is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, connection.close)
        self._thread.shutdown()

    # In the thread

    def _open_file(self) -> apsw.Connection:
        # An empty file is an empty database; what SQLite puts beside it gets the same mode.
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, _OWNER_ONLY))
        connection = apsw.Connection(self._path)
        try:
            connection.set_busy_timeout(_BUSY_TIMEOUT_MS)
            connection.pragma("journal_mode", "WAL")
            connection.pragma("synchronous", "FULL")
            self._upgrade(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _upgrade(self, connection: apsw.Connection) -> None:
        with connection:
            version = int(connection.pragma("user_version"))
            if version > len(_UPGRADES):
                raise ConfigurationError(
                    f"open meta store: {self._path} has version {version}, this server knows"
                    f" versions up to {len(_UPGRADES)}: use the server that wrote it"
                )
            for script in _UPGRADES[version:]:
                connection.execute(script)
            connection.pragma("user_version", len(_UPGRADES))

    def _in_transaction(self, work: Callable[[apsw.Connection], T]) -> T:
        connection = self._opened
        if connection is None:
            raise RuntimeError("the meta store is not open")
        connection.execute("BEGIN IMMEDIATE")
        try:
            outcome = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return outcome
