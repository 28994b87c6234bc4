"""SQLite changesets: apply one to a database, turn one round, join two.

Work for `Database.call`. It knows apsw's session extension, neither HTTP nor where a changeset came
from; capturing one is `capture`'s.
Source: protocol/operations.md, Changesets.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection

import apsw

from .access import SQLFailure

__all__ = ["OnConflict", "apply_changeset", "concat_changesets", "invert_changeset"]


class OnConflict(enum.Enum):
    """What becomes of a change that does not fit the rows that are there.

    ABORT: nothing of the changeset is kept. OMIT: that change is left out. REPLACE: the row that is
    there gives way where SQLite can do that, elsewhere the change is left out.
    """

    ABORT = "abort"
    OMIT = "omit"
    REPLACE = "replace"


# SQLite takes REPLACE for these alone; for anything else it would be a misuse.
_REPLACEABLE = frozenset({apsw.SQLITE_CHANGESET_DATA, apsw.SQLITE_CHANGESET_CONFLICT})


def apply_changeset(
    connection: apsw.Connection,
    changeset: bytes,
    *,
    on_conflict: OnConflict,
    tables: Collection[str] = (),
) -> None:
    """Applies all of a changeset or nothing.

    tables: exact names of those whose changes count; none named is all. Changes to tables that the
    database does not have are skipped.
    Raises: SQLFailure: "query aborted" for a conflict under ABORT, "database disk image is
    malformed" for bytes that are no changeset.
    """
    try:
        # The write lock first: a read transaction that becomes a write one may find itself outdated
        # by another connection, and cannot wait then.
        connection.execute("BEGIN IMMEDIATE")
        apsw.Changeset.apply(
            changeset,
            connection,
            filter=tables.__contains__ if tables else None,
            conflict=_decider(on_conflict),
        )
        connection.execute("COMMIT")
    except apsw.Error as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise _failure(error) from error


def _decider(on_conflict: OnConflict) -> Callable[[int, apsw.TableChange], int]:
    def decide(reason: int, _change: apsw.TableChange) -> int:
        if on_conflict is OnConflict.ABORT:
            return apsw.SQLITE_CHANGESET_ABORT
        if on_conflict is OnConflict.REPLACE and reason in _REPLACEABLE:
            return apsw.SQLITE_CHANGESET_REPLACE
        return apsw.SQLITE_CHANGESET_OMIT

    return decide


def invert_changeset(changeset: bytes) -> bytes:
    """The changeset that undoes this one. Raises SQLFailure for bytes that are none."""
    try:
        return bytes(apsw.Changeset.invert(changeset))
    except apsw.Error as error:
        raise _failure(error) from error


def concat_changesets(first: bytes, second: bytes) -> bytes:
    """One changeset that does what first and then second do; empty if that is nothing.

    Raises: SQLFailure for bytes that are no changeset.
    """
    try:
        return bytes(apsw.Changeset.concat(first, second))
    except apsw.Error as error:
        raise _failure(error) from error


def _failure(error: apsw.Error) -> SQLFailure:
    extended_code = getattr(error, "extendedresult", apsw.SQLITE_ERROR)
    return SQLFailure(str(error), extended_code & 0xFF, extended_code)
