"""Python's own `sqlite3`, behaving as PEP 249 and this driver say: what our connection is held to.

`sqlite3` of Python 3.11 knows no `autocommit`, so BEGIN is written here, as is the rule that a
transaction which SQLite ended by itself refuses everything until it is rolled back.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

_CHANGES = ("INSERT", "REPLACE", "UPDATE", "DELETE")
_DEFINES = ("CREATE", "DROP", "ALTER")


@dataclass
class Outcome:
    """What a call gave: rows and counters, or the error's PEP 249 class and SQLite code."""

    rows: list[tuple[Any, ...]] | None = None
    columns: list[str] | None = None
    rowcount: int = -1
    lastrowid: int | None = None
    error: str | None = None
    code: int | None = None
    text: str = field(default="", compare=False)


class Standard:
    """A connection to a database in memory."""

    def __init__(self, *, autocommit: bool) -> None:
        self.autocommit = autocommit
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self._is_ended = False

    @property
    def in_transaction(self) -> bool:
        return self._is_ended or self.connection.in_transaction

    def execute(self, sql: str, args: Any = ()) -> Outcome:
        word = sql.split()[0]
        if word == "COMMIT":
            return self._end(self.commit)
        if sql == "ROLLBACK":
            return self._end(self.rollback)
        return self._guarded([(sql, args)], is_begin=word == "BEGIN")

    def script(self, statements: Sequence[str]) -> Outcome:
        outcome = self._guarded([(sql, ()) for sql in statements])
        return Outcome(error=outcome.error, code=outcome.code)

    def executemany(self, sql: str, rows: Sequence[Any]) -> Outcome:
        if not rows:
            return Outcome(rowcount=0)
        is_alone = self.autocommit and not self.in_transaction
        if is_alone:
            self.connection.execute("BEGIN")
        outcome = self._guarded([(sql, row) for row in rows])
        if is_alone:
            self._is_ended = False
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK" if outcome.error else "COMMIT")
        outcome.lastrowid = None
        return outcome

    def commit(self) -> Outcome:
        if self._is_ended:
            self._is_ended = False
            return Outcome(error="OperationalError")
        if self.connection.in_transaction:
            self.connection.execute("COMMIT")
        return Outcome()

    def rollback(self) -> Outcome:
        self._is_ended = False
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
        return Outcome()

    def set_autocommit(self, value: bool) -> Outcome:
        outcome = self.commit() if value else Outcome()
        if outcome.error is None:
            self.autocommit = value
        return outcome

    def _end(self, end: Any) -> Outcome:
        if self.autocommit and not self.in_transaction:
            return Outcome(error="OperationalError", code=1)
        outcome: Outcome = end()
        return outcome

    def _guarded(self, statements: Sequence[tuple[str, Any]], is_begin: bool = False) -> Outcome:
        if self._is_ended:
            return Outcome(error="OperationalError")
        if not (self.autocommit or self.in_transaction or is_begin):
            self.connection.execute("BEGIN")
        was_open = self.connection.in_transaction
        outcome = self._run(statements)
        if outcome.error is not None:
            self._is_ended = was_open and not self.connection.in_transaction
        return outcome

    def _run(self, statements: Sequence[tuple[str, Any]]) -> Outcome:
        outcome = Outcome(rowcount=0)
        with failing_as(outcome):
            for sql, args in statements:
                cursor = self.connection.execute(sql, args)
                rows = cursor.fetchall()
                if cursor.description:
                    outcome.rows = (outcome.rows or []) + rows
                    outcome.columns = [column[0] for column in cursor.description]
                # Not cursor.rowcount, which sqlite3 leaves at -1 for WITH ... INSERT.
                (changed,) = self.connection.execute("SELECT changes()").fetchone()
                outcome.rowcount = outcome.rowcount + changed if self._changes(sql) else -1
                outcome.lastrowid = cursor.lastrowid
        return outcome

    @staticmethod
    def _changes(sql: str) -> bool:
        return any(f"{verb} " in sql for verb in _CHANGES) and sql.split()[0] not in _DEFINES

    def dump(self) -> dict[str, list[Any]]:
        """The rows of each table, TEMP ones left out."""
        names = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
        return {
            name: self.connection.execute(f"SELECT * FROM {name} ORDER BY rowid").fetchall()
            for (name,) in self.connection.execute(names).fetchall()
        }


@contextlib.contextmanager
def failing_as(outcome: Outcome) -> Iterator[None]:
    """Note the error of the block, of whichever driver it is."""
    try:
        yield
    except Exception as exc:
        kinds = (kind.__name__ for kind in type(exc).__mro__)
        outcome.error = next(name for name in kinds if hasattr(sqlite3, name))
        outcome.code = getattr(exc, "sqlite_errorcode", None)
        outcome.text = str(exc)
        outcome.rows = outcome.columns = outcome.lastrowid = None
        outcome.rowcount = -1
