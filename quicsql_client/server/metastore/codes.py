"""Single-use enrolment codes as rows of the meta store: their hashes, never themselves.

Every function works in the transaction of its caller. Times are Unix seconds.
Source: protocol/auth.md, Device enrolment; protocol/config.md, auth.
"""

from __future__ import annotations

import apsw

__all__ = ["add_code", "is_code_usable", "spend_code"]


def add_code(connection: apsw.Connection, digest: str, *, now: int, expires_at: int) -> None:
    """Keeps a code until it is spent or expires; what has expired is forgotten."""
    connection.execute("DELETE FROM codes WHERE expires_at <= ?", (now,))
    connection.execute("INSERT INTO codes (hash, expires_at) VALUES (?, ?)", (digest, expires_at))


def is_code_usable(connection: apsw.Connection, digest: str, *, now: int) -> bool:
    """Whether the code is there, unspent and not expired."""
    query = "SELECT 1 FROM codes WHERE hash = ? AND expires_at > ?"
    return connection.execute(query, (digest, now)).get is not None


def spend_code(connection: apsw.Connection, digest: str, *, now: int) -> bool:
    """Forgets a code; False, and nothing is done, when it was not usable any more."""
    connection.execute("DELETE FROM codes WHERE hash = ? AND expires_at > ?", (digest, now))
    return connection.changes() > 0
