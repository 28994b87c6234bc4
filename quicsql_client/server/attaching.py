"""Who may ATTACH on a stream, and which files: those of the data folder that are not another's.

A server-admin holds no implicit grants, so ATTACH gives none: a served database is attached with
write access to it alone, and what lies beside it in the data folder is as far as it goes. It must
not know streams, SQL or HTTP.
Source: protocol/hrana.md, Streams and batons (ATTACH is possible only when); protocol/config.md,
server.data_dir (containment root).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Final

from .config import Config, MetaStoreConfig
from .engine import AttachRule
from .policy import Level
from .registry import Database, Registry

__all__ = ["Attaching"]

_IN_MEMORY: Final = frozenset(("", ":memory:"))  # a temporary database is as private
_BESIDE_DATABASES: Final = ("-wal", "-shm", "-journal")
_BY_EXPRESSION: Final = "ATTACH and VACUUM INTO want the file's name as a text in the statement"
_NO_URI: Final = "a file is named by its path, not by a URI"
_NO_FILES: Final = "a memory database attaches '' and ':memory:' only"
_OUTSIDE: Final = "only files inside server.data_dir can be attached"
_NO_DATABASE: Final = "this is no file for a database"
_OF_ANOTHER: Final = "this file needs write access to the database that it is served as"
_OF_THE_SERVER: Final = "this file is the server's own"


class Attaching:
    """The ATTACH policy of a configuration; a reload does not change it.

    registry: whose databases are the served ones, now and later.
    """

    def __init__(self, config: Config, registry: Registry) -> None:
        self._admins = frozenset(config.control_plane.admins)
        self._is_allowed = config.auth.sql_policy.allow_attach
        self._registry = registry
        data_dir = config.server.data_dir
        self._root = os.path.realpath(data_dir) if data_dir else None
        store = config.server.meta_store or MetaStoreConfig()
        self._store = os.path.join(data_dir, store.path)

    def rule(
        self, principal: str, database: Database, level_on: Callable[[str], Level]
    ) -> AttachRule | None:
        """What a stream of a principal on a database may attach; None: nothing at all.

        level_on: the principal's level on a database, by its name; asked when something is
        attached, in another thread.
        """
        if not self._is_allowed or principal not in self._admins:
            return None
        if level_on(database.name) < Level.READ_WRITE:
            return None

        def refusal(filename: str | None) -> str | None:
            if filename is None:
                return _BY_EXPRESSION
            if filename in _IN_MEMORY:
                return None
            return _NO_FILES if database.file is None else self._refusal(filename, level_on)

        return refusal

    def _refusal(self, filename: str, level_on: Callable[[str], Level]) -> str | None:
        if filename.startswith("file:"):
            return _NO_URI
        path = os.path.realpath(filename)
        if self._root is None or os.path.commonpath((self._root, path)) != self._root:
            return _OUTSIDE
        if path.endswith(_BESIDE_DATABASES) or not _can_be_database(path):
            return _NO_DATABASE
        if _is_same(path, self._store):
            return _OF_THE_SERVER
        for one in self._registry.list():
            if one.file is None or not _is_same(path, one.file):
                continue
            if one.is_read_only or level_on(one.name) < Level.READ_WRITE:
                return _OF_ANOTHER
        return None


def _can_be_database(path: str) -> bool:
    """Whether it is a file, or not there yet in a folder that is."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError:
        return os.path.isdir(os.path.dirname(path))
    except OSError:
        return False


def _is_same(path: str, other: str) -> bool:
    """Whether both are one file, by whatever name, or would be if they were there."""
    try:
        return os.path.samefile(path, other)
    except OSError:
        return path == os.path.realpath(other)
