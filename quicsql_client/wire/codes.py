"""SQLite's result codes: names to numbers and back, and the error for one.

Source: sqlite.org/rescode.html; protocol/hrana.md, "Errors".
"""

from __future__ import annotations

from typing import Any

from ..errors import DatabaseError, class_for_code, is_busy

__all__ = ["code_of_name", "hrana_name", "name_of_code", "sqlite_error"]

_PRIMARY = (  # noqa: SIM905 - a list of 29 quoted words reads worse
    "OK ERROR INTERNAL PERM ABORT BUSY LOCKED NOMEM READONLY INTERRUPT IOERR CORRUPT NOTFOUND FULL "
    "CANTOPEN PROTOCOL EMPTY SCHEMA TOOBIG CONSTRAINT MISMATCH MISUSE NOLFS AUTH FORMAT RANGE "
    "NOTADB NOTICE WARNING"
).split()

# Extended code = primary | position << 8, positions counted from 1.
_EXTENDED = {
    "ERROR": "MISSING_COLLSEQ RETRY SNAPSHOT RESERVESIZE KEY UNABLE",
    "BUSY": "RECOVERY SNAPSHOT TIMEOUT",
    "LOCKED": "SHAREDCACHE VTAB",
    "READONLY": "RECOVERY CANTLOCK ROLLBACK DBMOVED CANTINIT DIRECTORY",
    "IOERR": "READ SHORT_READ WRITE FSYNC DIR_FSYNC TRUNCATE FSTAT UNLOCK RDLOCK DELETE BLOCKED "
    "NOMEM ACCESS CHECKRESERVEDLOCK LOCK CLOSE DIR_CLOSE SHMOPEN SHMSIZE SHMLOCK SHMMAP SEEK "
    "DELETE_NOENT MMAP GETTEMPPATH CONVPATH VNODE AUTH BEGIN_ATOMIC COMMIT_ATOMIC ROLLBACK_ATOMIC "
    "DATA CORRUPTFS IN_PAGE BADKEY CODEC",
    "CORRUPT": "VTAB SEQUENCE INDEX",
    "CANTOPEN": "NOTEMPDIR ISDIR FULLPATH CONVPATH DIRTYWAL SYMLINK",
    "CONSTRAINT": "CHECK COMMITHOOK FOREIGNKEY FUNCTION NOTNULL PRIMARYKEY TRIGGER UNIQUE VTAB "
    "ROWID PINNED DATATYPE",
    "AUTH": "USER",
    "NOTICE": "RECOVER_WAL RECOVER_ROLLBACK RBU",
    "WARNING": "AUTOINDEX",
}
_CODES = {f"SQLITE_{name}": code for code, name in enumerate(_PRIMARY)} | {
    f"SQLITE_{primary}_{detail}": _PRIMARY.index(primary) | position << 8
    for primary, details in _EXTENDED.items()
    for position, detail in enumerate(details.split(), 1)
}
_CODES["SQLITE_ABORT_ROLLBACK"] = 516  # the only detail of ABORT is its second
_NAMES = {code: name for name, code in _CODES.items()}

# Hrana names these in full, a handful of others by their primary code, and the rest SQLITE_ERROR.
_HRANA_EXTENDED = {2067, 1555, 787, 1299, 275}
_HRANA_PRIMARY = {1, 5, 6, 8, 9, 11, 19, 20, 23}


def name_of_code(code: int) -> str | None:
    """The symbolic name of an extended or primary code, or None when SQLite has no such code."""
    return _NAMES.get(code) or _NAMES.get(code & 0xFF)


def code_of_name(name: str) -> int | None:
    """The number of a symbolic name, extended where the name is, or None when it is unknown."""
    return _CODES.get(name)


def hrana_name(extended_code: int) -> str:
    """The name that a Hrana answer carries for a code. Source: protocol/hrana.md, "Errors"."""
    if extended_code in _HRANA_EXTENDED:
        return _NAMES[extended_code]
    primary = extended_code & 0xFF
    return _NAMES[primary] if primary in _HRANA_PRIMARY else "SQLITE_ERROR"


def sqlite_error(
    message: str, code: int | None, extended_code: int | None, **facts: Any
) -> DatabaseError:
    """The error for a SQL failure: its class by code, with code, extended_code and name set.

    Without a code (the server masked the cause) it is a plain DatabaseError.
    """
    extended = extended_code or code
    if not extended:
        return DatabaseError(message, **facts)
    error = class_for_code(extended)(
        message,
        code=extended & 0xFF,
        extended_code=extended,
        name=name_of_code(extended),
        **facts,
    )
    error.is_retryable = is_busy(extended)
    return error
