"""Opens the SQLite connections of one database: place, mode, pragmas, and the settings that make it
safe to serve.

It knows the configuration of a database, but neither statements nor threads.
Source: protocol/config.md, databases[]; reliability/matrix.md, 2.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import threading
from collections.abc import Mapping
from typing import Protocol

import apsw

from .access import Caps
from .turns import WriteTurns

MEMORY_BACKENDS = frozenset({"memory", "memory-shared", "memdb"})
OPENING_BUSY_TIMEOUT_MS = 5_000  # another connection may hold the lock while pragmas are set
MIN_VALUE_BYTES = 16 * 1024 * 1024  # what a request may carry must fit, however small results are
MAX_PROGRAM_OPERATIONS = 25_000_000  # SQLite's own bound is ten times as much, over a GiB of memory
MAX_ATTACHED = 10  # SQLite's own default; each has a page cache and files of its own
STATEMENT_CACHE_SIZE = 128
_FILE_FLAGS = {
    "rwc": apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE,
    "rw": apsw.SQLITE_OPEN_READWRITE,
    "ro": apsw.SQLITE_OPEN_READONLY,
}
_MEMORY_FLAGS = apsw.SQLITE_OPEN_URI | _FILE_FLAGS["rwc"]
# What together bounds the size of a database: SQLite keeps the first for each connection, and the
# second can be set until the first table is made.
_SIZE_PRAGMAS = frozenset({"max_page_count", "page_size"})
_PRAGMA_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN_VALUE = re.compile(r"[+-]?[A-Za-z0-9_.]+")

PragmaSetting = bool | int | float | str


class PoolSettings(Protocol):
    """The part of `databases[].pool` that the engine reads."""

    @property
    def max_open(self) -> int: ...
    @property
    def tx_lock(self) -> str: ...
    @property
    def busy_timeout_s(self) -> float: ...


class DatabaseSettings(Protocol):
    """The part of `databases[]` that the engine reads; a configuration's struct is one."""

    @property
    def name(self) -> str: ...
    @property
    def backend(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def mode(self) -> str: ...
    @property
    def pool(self) -> PoolSettings: ...
    @property
    def effective_pragmas(self) -> Mapping[str, PragmaSetting]: ...


class Opener:
    """Opens connections of one database, each with the same pragmas and settings.

    database: its name. busy_timeout_s: how long a connection waits for a lock. turns: whose turn it
    is to write. file: its path, None: in memory. fixed_pragmas: those that bound the database's
    size, if its settings do: no statement may set them. A memory database lives in a named memory
    file of this process, held by a keeper connection until `close`: connections come and go, rows
    stay.
    """

    def __init__(self, database: DatabaseSettings, data_dir: str) -> None:
        self.database = database.name
        self.turns = WriteTurns()
        self.is_memory = database.backend in MEMORY_BACKENDS
        self.is_read_only = database.mode == "ro" and not self.is_memory
        self._pragmas = {k.lower(): v for k, v in database.effective_pragmas.items()}
        self.busy_timeout_s = database.pool.busy_timeout_s or (
            int(self._pragmas.pop("busy_timeout", 0)) / 1000
        )
        self._pragmas.pop("busy_timeout", None)
        self.fixed_pragmas = _SIZE_PRAGMAS if "max_page_count" in self._pragmas else frozenset()
        self.file: str | None = None
        if self.is_memory:
            self._name = f"file:/quicsql-{secrets.token_hex(16)}?vfs=memdb"
            self._flags = _MEMORY_FLAGS
        else:
            self._name = os.path.join(data_dir, database.path)
            self.file = self._name
            self._flags = _FILE_FLAGS[database.mode or "rwc"]
        self._lock = threading.Lock()
        self._keeper: apsw.Connection | None = None

    def open(self) -> apsw.Connection:
        """A new connection. Raises apsw.Error when the database does not open, or is not one."""
        with self._lock:
            if self.is_memory and self._keeper is None:
                self._keeper = apsw.Connection(self._name, flags=self._flags)
        connection = apsw.Connection(
            self._name, flags=self._flags, statementcachesize=STATEMENT_CACHE_SIZE
        )
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Lets the rows of a memory database go; nothing else to do for a file."""
        with self._lock:
            if self._keeper is not None:
                self._keeper.close()
                self._keeper = None

    def _prepare(self, connection: apsw.Connection) -> None:
        connection.set_busy_timeout(OPENING_BUSY_TIMEOUT_MS)
        connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
        for name, value in self._pragmas.items():
            text = pragma_text(name, value)
            with contextlib.suppress(*([apsw.ReadOnlyError] if self.is_read_only else [])):
                connection.execute(text).fetchall()
        connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
        connection.execute(
            "SELECT 1 FROM sqlite_schema"
        ).fetchall()  # fails now if it is no database


def pragma_text(name: str, value: PragmaSetting) -> str:
    """The PRAGMA that sets a value. Raises ValueError for a name that is no identifier."""
    if not _PRAGMA_NAME.fullmatch(name):
        raise ValueError(f"pragma {name!r} is not an identifier")
    text = str(int(value)) if isinstance(value, bool) else str(value)
    if not _PLAIN_VALUE.fullmatch(text):
        text = "'" + text.replace("'", "''") + "'"
    return f"PRAGMA {name}={text}"


def apply_limits(connection: apsw.Connection, caps: Caps) -> None:
    """Bounds what a statement of this connection can build to what could be sent.

    Source: reliability/matrix.md, 2.4.
    """
    value_bytes = max(caps.max_result_bytes, MIN_VALUE_BYTES)
    connection.limit(apsw.SQLITE_LIMIT_LENGTH, min(value_bytes, 1_000_000_000))
    connection.limit(apsw.SQLITE_LIMIT_SQL_LENGTH, min(value_bytes, 1_000_000_000))
    connection.limit(apsw.SQLITE_LIMIT_VDBE_OP, MAX_PROGRAM_OPERATIONS)
    connection.limit(apsw.SQLITE_LIMIT_WORKER_THREADS, 0)
    connection.limit(apsw.SQLITE_LIMIT_ATTACHED, MAX_ATTACHED)
