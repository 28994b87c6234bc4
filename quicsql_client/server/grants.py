"""Levels, and the grants that were made at run time: beside those of the configuration, and
outliving its reloads.

Who keeps them over a restart is not known here.
Source: protocol/auth.md, Authorisation; protocol/operations.md, Admin.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

__all__ = ["Level", "RuntimeGrants"]


class Level(enum.IntEnum):
    """What a principal may do on one database; a higher level holds the lower ones."""

    NONE = 0
    READ_ONLY = 1
    READ_WRITE = 2
    ADMIN = 3

    @classmethod
    def named(cls, name: str) -> Level:
        """The level of the configuration's word: "none", "read-only", "read-write" or "admin"."""
        return cls[name.replace("-", "_").upper()]

    @property
    def word(self) -> str:
        """The configuration's word for it."""
        return self.name.replace("_", "-").lower()


class RuntimeGrants:
    """What principals were granted on databases; a change holds for the next request."""

    def __init__(self) -> None:
        self._levels: dict[str, dict[str, Level]] = {}
        self._overruled: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._levels)

    def of(self, database: str) -> Mapping[str, Level]:
        """The levels on a database, by principal."""
        return self._levels.get(database) or {}

    def overrule(self, database: str) -> None:
        """From now on the configuration's grants on a database count for nothing: its name was
        given away at run time, or taken.
        """
        self._overruled.add(database)

    def overrules(self, database: str) -> bool:
        """Whether the configuration's grants on a database count for nothing."""
        return database in self._overruled

    def set(self, database: str, principal: str, level: Level) -> None:
        """Grants a level, in place of the one that was granted before."""
        self._levels.setdefault(database, {})[principal] = level

    def replace_database(self, database: str, levels: Mapping[str, Level]) -> None:
        """Grants these levels on a database and no others; none at all revokes them."""
        if levels:
            self._levels[database] = dict(levels)
        else:
            self._levels.pop(database, None)

    def revoke_principal(self, principal: str) -> None:
        """Takes everything that the principal was granted."""
        for database in list(self._levels):
            self._levels[database].pop(principal, None)
            if not self._levels[database]:
                del self._levels[database]
