"""The devices that enrolled themselves, and what they were granted, as rows of the meta store.

Every function works in the transaction of its caller. It must not know what a key proves, nor how a
device came to enrol.
Source: protocol/auth.md, Device enrolment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import apsw

from .codes import spend_code

__all__ = ["EnrolledRow", "add_enrolled", "list_enrolled", "note_seen", "remove_enrolled"]


@dataclass(frozen=True, slots=True)
class EnrolledRow:
    """One device. key: its canonical line of authorized keys. Times are Unix seconds.

    database: its own, "" for none.
    """

    name: str
    key: str
    created_at: int
    last_seen: int
    database: str = ""


def list_enrolled(connection: apsw.Connection) -> list[EnrolledRow]:
    """Every device, oldest first."""
    rows = connection.execute(
        "SELECT name, key, created_at, last_seen, database FROM enrolled ORDER BY created_at, rowid"
    )
    return [EnrolledRow(*row) for row in rows]


def add_enrolled(
    connection: apsw.Connection,
    row: EnrolledRow,
    levels: Iterable[tuple[str, str]],
    code: str | None = None,
) -> bool:
    """Keeps a device with its grants: (database, level word) each, in place of any that its name
    had.

    code: the hash of the code to spend for it, None: none. False, and nothing is done, when that is
    not usable. Raises: apsw.ConstraintError when the name or the key is there already.
    """
    if code is not None and not spend_code(connection, code, now=row.created_at):
        return False
    connection.execute(
        "INSERT INTO enrolled (name, key, created_at, last_seen, database) VALUES (?, ?, ?, ?, ?)",
        (row.name, row.key, row.created_at, row.last_seen, row.database),
    )
    _revoke(connection, row.name)
    connection.executemany(
        "INSERT OR REPLACE INTO grants (database, principal, level) VALUES (?, ?, ?)",
        [(database, row.name, level) for database, level in levels],
    )
    return True


def remove_enrolled(connection: apsw.Connection, name: str) -> bool:
    """Forgets a device and all that it was granted; False when there is none of that name."""
    connection.execute("DELETE FROM enrolled WHERE name = ?", (name,))
    was_there = connection.changes() > 0
    if was_there:
        _revoke(connection, name)
    return was_there


def note_seen(connection: apsw.Connection, seen: Mapping[str, int]) -> None:
    """Keeps when devices were last seen, by name; those that are gone meanwhile stay gone."""
    connection.executemany(
        "UPDATE enrolled SET last_seen = max(last_seen, ?) WHERE name = ?",
        [(at, name) for name, at in seen.items()],
    )


def _revoke(connection: apsw.Connection, name: str) -> None:
    connection.execute("DELETE FROM grants WHERE principal = ?", (name,))
