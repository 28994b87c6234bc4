"""Notes the rows that one connection changes, and tells them when a transaction is committed.

SQLite has one hook that sees every row, the preupdate hook, and its session extension takes it: as
long as changes are captured the update hook has to do, which misses the rows that REPLACE removes.
What cannot be told row by row is told as "more than can be told", never left out.

    idle --row--> noting --commit hook--> ticket taken --statement ends--> told, idle
                    |                          \\-- rollback hook: the commit failed; idle
                    |-- rollback hook: idle
                    \\-- too many rows: deaf (no hook) until the transaction is over

SQLite calls the commit hook when it has all the locks that it needs: a COMMIT that finds the file
busy does not come so far, and one that fails later is rolled back at once.

Source: protocol/operations.md, GET /<db>/changes; SQLite, sqlite3_preupdate_hook and
sqlite3_update_hook.
"""

from __future__ import annotations

from typing import Final

import apsw

from ...wire.sse import Operation
from .change_log import ChangeLog, RowChange, Ticket

__all__ = ["MAX_NAME_LENGTH", "MAX_ROWS", "ChangeRecorder"]

MAX_ROWS: Final = 8_192  # of one transaction (protocol/operations.md)
MAX_NAME_LENGTH: Final = 1_024  # of a table: each event that is kept has it

_OPERATIONS: Final[dict[int, Operation]] = {
    apsw.SQLITE_INSERT: "insert",
    apsw.SQLITE_UPDATE: "update",
    apsw.SQLITE_DELETE: "delete",
}
_ROWID_NAMES: Final = ("rowid", "oid", "_rowid_")
_OWN_PREFIX: Final = "sqlite_"  # SQLite's own tables: statistics
_REPLACING: Final = (
    "SELECT 1 FROM (SELECT sql FROM sqlite_schema UNION ALL SELECT sql FROM sqlite_temp_schema)"
    " WHERE instr(lower(sql), 'replace') LIMIT 1"
)


class ChangeRecorder:
    """The recorder of an open connection, in whose thread it is used.

    Only rows of the main schema are noted, for a TEMP table is its owner's alone, and none of
    tables WITHOUT ROWID. Rows that ROLLBACK TO has undone stay noted.
    """

    def __init__(self, connection: apsw.Connection, log: ChangeLog) -> None:
        self._connection = connection
        self._log = log
        self._rows: list[RowChange] | None = []  # None: too many, and no hook is set
        self._names: dict[str, str] = {}
        self._has_rowid: dict[str, bool] = {}
        self._ticket: Ticket | None = None  # of a commit that may have failed
        self._committing: list[RowChange] | None = []  # its rows
        self._is_capturing = False
        connection.exec_trace = self._on_statement
        connection.set_commit_hook(self._on_commit, id=self)
        connection.set_rollback_hook(self._on_rollback, id=self)
        self._set_hook()

    def tell(self) -> None:
        """Tells what the last statement committed. Before the connection is closed, too."""
        self._has_rowid.clear()
        self._settle(is_committed=True)
        if self._rows is None and not self._connection.in_transaction:
            self._rows = []
            self._set_hook()

    def begin_capture(self) -> None:
        """Gives the preupdate hook away. Before a session is made: two users of it would crash the
        process.
        """
        self._drop_hook()
        self._is_capturing = True
        if self._rows is not None:
            self._set_hook()

    def end_capture(self) -> None:
        """Takes the preupdate hook again, if it was given away. After the session is closed."""
        if not self._is_capturing:
            return
        self._drop_hook()
        self._is_capturing = False
        if self._rows is not None:
            self._set_hook()

    def look_out(self, sql: str) -> None:
        """Before a statement that changes rows, while changes are captured: what could replace rows
        unseen is not told row by row.
        """
        try:
            replaces = "replace" in sql.lower() or self._connection.execute(_REPLACING).fetchone()
        except apsw.Error:  # the statement itself will find out why
            replaces = True
        if replaces:
            self._give_up()

    # Hooks

    def _on_statement(self, _cursor: apsw.Cursor, _sql: str, _values: object) -> bool:
        """Before a statement of a piece of work that runs its own: the end of the one before."""
        self.tell()
        return True

    def _on_row(self, update: apsw.PreUpdate) -> None:
        is_blob = update.blob_write >= 0  # written in place: SQLite calls it a DELETE
        op = "update" if is_blob else _OPERATIONS[update.opcode]
        self._note(update.database_name, update.table_name, op, update.rowid_new)

    def _on_update(self, code: int, schema: str, table: str, rowid: int) -> None:
        self._note(schema, table, _OPERATIONS[code], rowid)

    def _note(self, schema: str, table: str, op: Operation, rowid: int) -> None:
        rows = self._rows
        if rows is None or schema != "main" or table.startswith(_OWN_PREFIX):
            return
        if rowid == 0 and not self._is_rowid_table(table):
            return
        if len(rows) == MAX_ROWS or len(table) > MAX_NAME_LENGTH:
            self._give_up()
        else:
            rows.append(RowChange(self._names.setdefault(table, table), op, rowid))

    def _is_rowid_table(self, table: str) -> bool:
        """SQLite says 0 for a row of a table WITHOUT ROWID, which lacks one of the names."""
        known = self._has_rowid.get(table)
        if known is None:
            try:
                for name in _ROWID_NAMES:
                    self._connection.column_metadata("main", table, name)
                known = True
            except apsw.SQLError:
                known = False
            self._has_rowid[table] = known
        return known

    def _on_commit(self) -> bool:
        """Under the write lock, just before the commit. False: go on."""
        # The one before was no statement that ended: a blob was written.
        self._settle(is_committed=True)
        if self._rows is None or self._rows:
            self._ticket, self._committing = self._log.take_ticket(), self._rows
        self._begin_anew()
        return False

    def _on_rollback(self) -> None:
        self._settle(is_committed=False)
        self._begin_anew()

    def _settle(self, *, is_committed: bool) -> None:
        ticket, self._ticket = self._ticket, None
        rows, self._committing = self._committing, []
        if ticket is not None:
            told = tuple(rows) if rows is not None else None
            self._log.settle(ticket, told if is_committed else ())

    def _begin_anew(self) -> None:
        self._rows = None if self._rows is None else []
        self._names.clear()

    def _give_up(self) -> None:
        """No hook is left set for nothing: it takes the interpreter's lock for each row."""
        self._rows = None
        self._drop_hook()

    def _set_hook(self) -> None:
        if self._is_capturing:
            self._connection.set_update_hook(self._on_update)
        else:
            self._connection.preupdate_hook(self._on_row, id=self)
            # Statements prepared without the hook may empty a table at once, unseen; SQLite
            # prepares all anew when the authorizer is set.
            self._connection.authorizer = self._connection.authorizer

    def _drop_hook(self) -> None:
        if self._is_capturing:
            self._connection.set_update_hook(None)
        else:
            self._connection.preupdate_hook(None, id=self)
