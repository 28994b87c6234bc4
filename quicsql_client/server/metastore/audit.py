"""The audit: what was administered, by whom, and what was refused.

Rows are written, never read by the server: no endpoint shows them. Texts of callers are cut, and
old refusals make room for new ones, so that nobody can fill the disk with them.
Source: protocol/operations.md, Audit.
"""

from __future__ import annotations

import logging
import time
from typing import Final

import apsw

from .store import MetaStore

__all__ = ["DENIED", "FAILED", "record"]

_log = logging.getLogger("quicsql.server")

DENIED: Final = ".denied"
FAILED: Final = ".failed"
"""What follows the action's name when it was refused to the caller, or did not succeed."""

MAX_TEXT: Final = 200
MAX_UNDONE_ROWS: Final = 100_000
_TRIM_EVERY: Final = 1_000


async def record(
    store: MetaStore, principal: str, action: str, database: str = "", detail: str = ""
) -> None:
    """Adds a row with the time of now. principal: "" is anonymous.

    Never fails: what cannot be written is logged, as the action itself is over.
    """
    texts = tuple(text[:MAX_TEXT] for text in (principal, action, database, detail))

    def insert(connection: apsw.Connection) -> None:
        connection.execute(
            "INSERT INTO audit (at, principal, action, database, detail) VALUES (?, ?, ?, ?, ?)",
            (int(time.time()), *texts),
        )
        if connection.last_insert_rowid() % _TRIM_EVERY == 0:
            _trim(connection)

    try:
        await store.run(insert)
    except apsw.Error:
        _log.exception("audit: a row was lost: principal=%r action=%r database=%r", *texts[:3])


def _trim(connection: apsw.Connection) -> None:
    """Deletes the oldest rows about what was not done, past a number of them."""
    undone = "(action LIKE '%.denied' OR action LIKE '%.failed')"
    connection.execute(
        f"DELETE FROM audit WHERE {undone} AND id <= (SELECT id FROM audit WHERE {undone}"  # noqa: S608
        " ORDER BY id DESC LIMIT 1 OFFSET ?)",
        (MAX_UNDONE_ROWS,),
    )
