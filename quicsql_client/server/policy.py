"""Who may do what: a principal's level on a database.

Built once for each configuration; grants made at run time are looked up live. It must not know how
a principal was proved, nor requests.
Source: protocol/auth.md, Authorisation.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .config import Config
from .grants import Level, RuntimeGrants

__all__ = ["WILDCARD", "Level", "Policy", "principals_that_lost"]

WILDCARD: Final = "*"


class Policy:
    """The grants of one configuration, and those made at run time.

    Effective level: the greater of the principal's own grant and the `*` grant on that database.
    Without any principal and any grant (open mode) everyone may read and write every database.
    """

    def __init__(self, config: Config, made: RuntimeGrants | None = None) -> None:
        self._made = made if made is not None else RuntimeGrants()
        self._principals = frozenset(principal.name for principal in config.auth.principals)
        self._levels: dict[str, dict[str, Level]] = {}
        for database in config.databases:
            levels = self._levels.setdefault(database.name, {})
            for grant in database.grants:
                granted = Level.named(grant.level)
                levels[grant.principal] = max(granted, levels.get(grant.principal, Level.NONE))
        self._is_open = config.is_open_mode

    def level(self, database: str, principal: str) -> Level:
        """What the principal ("" is anonymous) may do on the database, served or not."""
        if self._is_open and not self._made:
            return Level.READ_WRITE
        is_overruled = self._made.overrules(database)
        configured = {} if is_overruled else self._levels.get(database, {})
        granted = (configured, self._made.of(database))
        return max(
            levels.get(name, Level.NONE) for levels in granted for name in (principal, WILDCARD)
        )

    @property
    def principals(self) -> frozenset[str]:
        """The declared principals' names."""
        return self._principals

    @property
    def databases(self) -> frozenset[str]:
        """The names of the databases that the configuration declares."""
        return frozenset(self._levels)


def principals_that_lost(old: Policy, new: Policy, others: Iterable[str] = ()) -> frozenset[str]:
    """Names that are no longer declared, or whose level fell on any database; "" when anonymous
    callers lost.

    others: names that no configuration declares; what `*` is granted is theirs, too.
    These are the ones whose streams and feeds end when the new policy takes over.
    """
    databases = old.databases | new.databases
    everyone = {*old.principals, "", *others}
    fallen = {name for name in everyone if _has_fallen(name, databases, old, new)}
    return frozenset((old.principals - new.principals) | fallen)


def _has_fallen(name: str, databases: Iterable[str], old: Policy, new: Policy) -> bool:
    return any(new.level(database, name) < old.level(database, name) for database in databases)
