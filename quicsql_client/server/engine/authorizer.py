"""The authorizer of every connection: what a statement may do, and what it would touch.

SQLite asks it about each action when a statement is prepared. It denies what nobody, or a read-only
principal, may do, and notes the facts that isolation and counters need. It knows neither SQL texts
nor principals.
Source: protocol/auth.md, Read-only enforcement.
"""

from __future__ import annotations

import enum

import apsw

from .access import Access, AttachRule


class Touch(enum.IntFlag):
    """What a prepared statement touches, as far as somebody has to know."""

    NOTHING = 0
    CONNECTION = 1  # state that would outlive the request: a PRAGMA that sets, a TEMP object
    TRANSACTION = 2  # BEGIN, SAVEPOINT: what would leave a transaction open
    ROWS = 4  # INSERT, UPDATE, DELETE of a table of the user
    SCHEMA = 8  # CREATE, DROP, ALTER, REINDEX, ANALYZE: their own row changes are not counted
    ROWID_FUNCTION = 16  # it reads last_insert_rowid()
    BUSY_TIMEOUT = 32  # PRAGMA busy_timeout, read or set
    PRAGMA = 64  # any PRAGMA: SQLite carries most of them out when it prepares them
    ATTACH = 128  # ATTACH and DETACH


_ROW_ACTIONS = frozenset({apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE})
_TEMP_ACTIONS = frozenset(
    {
        apsw.SQLITE_CREATE_TEMP_INDEX,
        apsw.SQLITE_CREATE_TEMP_TABLE,
        apsw.SQLITE_CREATE_TEMP_TRIGGER,
        apsw.SQLITE_CREATE_TEMP_VIEW,
        apsw.SQLITE_DROP_TEMP_INDEX,
        apsw.SQLITE_DROP_TEMP_TABLE,
        apsw.SQLITE_DROP_TEMP_TRIGGER,
        apsw.SQLITE_DROP_TEMP_VIEW,
    }
)
_SCHEMA_ACTIONS = _TEMP_ACTIONS | {
    apsw.SQLITE_CREATE_INDEX,
    apsw.SQLITE_CREATE_TABLE,
    apsw.SQLITE_CREATE_TRIGGER,
    apsw.SQLITE_CREATE_VIEW,
    apsw.SQLITE_CREATE_VTABLE,
    apsw.SQLITE_DROP_INDEX,
    apsw.SQLITE_DROP_TABLE,
    apsw.SQLITE_DROP_TRIGGER,
    apsw.SQLITE_DROP_VIEW,
    apsw.SQLITE_DROP_VTABLE,
    apsw.SQLITE_ALTER_TABLE,
    apsw.SQLITE_REINDEX,
    apsw.SQLITE_ANALYZE,
}
_WRITE_ACTIONS = _ROW_ACTIONS | _SCHEMA_ACTIONS
_ATTACH_ACTIONS = frozenset({apsw.SQLITE_ATTACH, apsw.SQLITE_DETACH})
_TRANSACTION_ACTIONS = frozenset({apsw.SQLITE_TRANSACTION, apsw.SQLITE_SAVEPOINT})
_SCHEMA_TABLES = frozenset({"sqlite_master", "sqlite_temp_master"})

# PRAGMAs whose argument names what to look at: nothing is set.
_ASKING_PRAGMAS = frozenset(
    {
        "table_info",
        "table_xinfo",
        "table_list",
        "index_list",
        "index_info",
        "index_xinfo",
        "foreign_key_list",
        "foreign_key_check",
        "integrity_check",
        "quick_check",
    }
)
_READ_ONLY_SETTERS = frozenset(
    {
        "user_version",
        "application_id",
        "schema_version",
        "journal_mode",
        "auto_vacuum",
        "secure_delete",
        "wal_autocheckpoint",
    }
)
_READ_ONLY_NEVER = frozenset({"wal_checkpoint", "incremental_vacuum", "optimize"})
_TRUE_WORDS = frozenset({"on", "yes", "true"})
_MAX_FLAG_DIGITS = 9  # longer numbers overflow SQLite's 32 bits and count as 0


class Guard:
    """The authorizer callback of one connection. access: the right it enforces now. seen: what was
    touched since it was last emptied. attach_rule: what ATTACH may name, and with it VACUUM, which
    attaches inside; None: nothing. attach_refusal: what the rule said of the last one that it
    refused. fixed_pragmas: those that nobody sets.

    A new access reaches statements that are already prepared only when the connection's authorizer
    is set again: SQLite then expires them. `Link.use` does both.
    """

    __slots__ = ("access", "attach_refusal", "attach_rule", "fixed_pragmas", "seen")

    def __init__(self, fixed_pragmas: frozenset[str] = frozenset()) -> None:
        self.access = Access.READ_WRITE
        self.attach_rule: AttachRule | None = None
        self.attach_refusal: str | None = None
        self.fixed_pragmas = fixed_pragmas
        self.seen = Touch.NOTHING

    def __call__(
        self,
        action: int,
        first: str | None,
        second: str | None,
        schema: str | None,
        trigger: str | None,
    ) -> int:
        if action in _ATTACH_ACTIONS and not self._may_attach(action, first):
            return apsw.SQLITE_DENY
        if action == apsw.SQLITE_PRAGMA and self._is_fixed(first, second):
            return apsw.SQLITE_DENY
        self.seen |= _touched(action, first, second, schema, trigger)
        if self.access is Access.READ_ONLY and _is_write(action, first, second):
            return apsw.SQLITE_DENY
        return apsw.SQLITE_OK

    def _may_attach(self, action: int, filename: str | None) -> bool:
        if self.attach_rule is None:
            return False
        if action == apsw.SQLITE_ATTACH:
            self.attach_refusal = self.attach_rule(filename)
            return self.attach_refusal is None
        return True

    def _is_fixed(self, name: str | None, argument: str | None) -> bool:
        return argument is not None and (name or "").lower() in self.fixed_pragmas


def _touched(
    action: int, first: str | None, second: str | None, schema: str | None, trigger: str | None
) -> Touch:
    if action == apsw.SQLITE_READ or action == apsw.SQLITE_SELECT:
        return Touch.NOTHING
    touched = Touch.NOTHING
    if action in _ROW_ACTIONS and trigger is None and first not in _SCHEMA_TABLES:
        touched |= Touch.ROWS
    if action in _SCHEMA_ACTIONS:
        touched |= Touch.SCHEMA
    if action in _TEMP_ACTIONS or (schema == "temp" and action in _WRITE_ACTIONS):
        touched |= Touch.CONNECTION
    if action in _ATTACH_ACTIONS:
        touched |= Touch.CONNECTION | Touch.ATTACH
    if action in _TRANSACTION_ACTIONS and first == "BEGIN":  # SAVEPOINT begins a savepoint
        touched |= Touch.TRANSACTION
    if action == apsw.SQLITE_FUNCTION and second == "last_insert_rowid":
        touched |= Touch.ROWID_FUNCTION
    if action == apsw.SQLITE_PRAGMA:
        touched |= _pragma_touched((first or "").lower(), second)
    return touched


def _pragma_touched(name: str, argument: str | None) -> Touch:
    touched = Touch.PRAGMA
    if name == "busy_timeout":
        touched |= Touch.BUSY_TIMEOUT
    if argument is not None and name not in _ASKING_PRAGMAS:
        touched |= Touch.CONNECTION
    return touched


def _is_write(action: int, first: str | None, second: str | None) -> bool:
    if action == apsw.SQLITE_PRAGMA:
        return _is_pragma_write((first or "").lower(), second)
    return action in _WRITE_ACTIONS or action in _ATTACH_ACTIONS


def _is_pragma_write(name: str, argument: str | None) -> bool:
    if name in _READ_ONLY_NEVER:
        return True
    if argument is None:
        return False
    if name == "query_only":
        return not _is_true(argument)
    return name in _READ_ONLY_SETTERS


def _is_true(argument: str) -> bool:
    """Whether SQLite reads the argument as true; what it reads as neither counts as false, so it is
    denied.
    """
    word = argument.strip("'\"").lower()
    if word in _TRUE_WORDS:
        return True
    if not (word.isascii() and word.isdecimal()) or len(word) > _MAX_FLAG_DIGITS:
        return False
    return int(word) % 256 != 0  # SQLite keeps the low byte of the number
