"""Databases that were made at run time, and the grants on databases.

A database is kept as its configuration in JSON, a level by the configuration's word. It must not
know what is served.
Source: protocol/operations.md, Admin; protocol/config.md, Reconcile with the meta store.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import apsw
import msgspec

from ..config import DatabaseConfig

__all__ = ["Grant", "Stored", "delete_database", "read_databases", "read_grants", "save_database"]


class Grant(NamedTuple):
    """One row of the grants. level: a word of the configuration."""

    database: str
    principal: str
    level: str


class Stored(NamedTuple):
    """A stored database. settings: None when the row cannot be read, as one of a later version."""

    name: str
    settings: DatabaseConfig | None


def save_database(
    connection: apsw.Connection,
    settings: DatabaseConfig,
    levels: Mapping[str, str],
    *,
    now: int,
) -> None:
    """Keeps a database with the levels of principals on it, in place of all that was kept by this
    name. now: Unix seconds.
    """
    delete_database(connection, settings.name)
    connection.execute(
        "INSERT INTO databases (name, spec, created_at) VALUES (?, ?, ?)",
        (settings.name, msgspec.json.encode(settings).decode(), now),
    )
    connection.executemany(
        "INSERT INTO grants (database, principal, level) VALUES (?, ?, ?)",
        [Grant(settings.name, principal, level) for principal, level in levels.items()],
    )


def delete_database(connection: apsw.Connection, name: str) -> None:
    """Forgets a database and every grant on it, whether it was made at run time or not."""
    connection.execute("DELETE FROM databases WHERE name = ?", (name,))
    connection.execute("DELETE FROM grants WHERE database = ?", (name,))


def read_databases(connection: apsw.Connection) -> list[Stored]:
    """Every stored database, oldest first."""
    rows = connection.execute("SELECT name, spec FROM databases ORDER BY created_at, rowid")
    return [Stored(str(name), _settings(str(spec))) for name, spec in rows]


def read_grants(connection: apsw.Connection) -> list[Grant]:
    """Every stored grant."""
    rows: Iterable[tuple[str, str, str]] = connection.execute(
        "SELECT database, principal, level FROM grants"
    )
    return [Grant(*row) for row in rows]


def _settings(spec: str) -> DatabaseConfig | None:
    try:
        return msgspec.json.decode(spec, type=DatabaseConfig, strict=True)
    except msgspec.MsgspecError:
        return None
