"""One SQLite connection and its state: whose right it has, how long it may work, what was touched
on it.

It is used by one thread. It knows no SQL of clients, no event loop and no principal. What a user
left behind is undone by `settle`: the connection is rolled back, and replaced by a new one if
anything of its own state was changed.
Source: protocol/auth.md, Read-only enforcement; reliability/matrix.md, 2.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence

import apsw

from .access import Access, AttachRule, CannotOpen, Caps
from .authorizer import Guard, Touch
from .change_log import ChangeLog
from .opening import Opener, apply_limits
from .recorder import ChangeRecorder
from .regexp import install_regexp
from .steps import StepReader
from .waiting import Stopwatch

PROGRESS_OPERATIONS = 1_000  # costs nothing measurable, and looks at the clock about every 0.1 ms


class Link:
    """A connection and what belongs to it. Made in any thread, then used by one; only `stop` is for
    others.

    database: its name. caps: those of the statement that runs. touched: what was touched since the
    connection was as new. changes: where committed rows are told, None for nowhere. is_stateless:
    whether a request of no stream uses it now.
    """

    def __init__(self, opener: Opener, changes: ChangeLog | None = None) -> None:
        self.database = opener.database
        self.caps = Caps()
        self.guard = Guard(opener.fixed_pragmas)
        self.watch = Stopwatch(opener.busy_timeout_s)
        self.touched = Touch.NOTHING
        self.is_stateless = False
        self.capture: apsw.Session | None = None
        self._opener = opener
        self._change_log = changes
        self._recorder: ChangeRecorder | None = None
        self._opened: apsw.Connection | None = None
        self._steps: StepReader | None = None
        self._limited_to: Caps | None = None
        self._changes_before = 0

    @property
    def connection(self) -> apsw.Connection:
        """The open connection; opened now if it is not. Raises CannotOpen."""
        if self._opened is None:
            try:
                opened = self._opener.open()
            except apsw.Error as error:
                raise CannotOpen(str(error)) from error
            self._install(opened)
            self._opened = opened
        return self._opened

    @property
    def steps(self) -> StepReader:
        """Reads the statements of texts for this connection."""
        self.connection  # noqa: B018  (opens it, and the reader with it)
        assert self._steps is not None  # noqa: S101  (made with the connection)
        return self._steps

    @property
    def is_autocommit(self) -> bool:
        """Whether no transaction is open."""
        return not self.connection.in_transaction

    def stop(self) -> None:
        """Ends what runs now, also a wait for a lock. For other threads, while a piece of work
        runs.
        """
        self.watch.stop()
        connection = self._opened
        if connection is not None:
            with contextlib.suppress(apsw.ConnectionClosedError):
                connection.interrupt()

    def use(self, access: Access, caps: Caps, *, attach_rule: AttachRule | None = None) -> None:
        """Sets the right and the caps of what comes next; prepared statements are authorised anew
        if the right changes. attach_rule: what may be attached, None: nothing.

        Raises: CannotOpen.
        """
        connection = self.connection
        self.caps = caps
        if caps != self._limited_to:
            apply_limits(connection, caps)
            self._limited_to = caps
        if access is self.guard.access and attach_rule is self.guard.attach_rule:
            return
        self.guard.access = Access.READ_WRITE  # the switch itself must not be denied
        connection.execute(f"PRAGMA query_only={int(access is Access.READ_ONLY)}")
        self.guard.access, self.guard.attach_rule = access, attach_rule
        connection.authorizer = self.guard  # SQLite expires every prepared statement
        self.steps.forget()

    @contextlib.contextmanager
    def turn_to_write(self) -> Iterator[None]:
        """Around a statement that may need the write lock: waits for the turn of this connection,
        which lasts as long as it has the lock.
        """
        # Who already reads must not wait here: the one whose turn it is may wait for the reader.
        if self.connection.txn_state() == apsw.SQLITE_TXN_NONE:
            self._opener.turns.take(self.watch, is_stateless=self.is_stateless)
        try:
            yield
        finally:
            self.end_turn(needs_more=self.is_stateless)

    def end_turn(self, *, needs_more: bool = False) -> None:
        """Lets the next one write, unless the lock is still this connection's.

        needs_more: more of what may write follows at once.
        """
        connection = self._opened
        if connection is None or connection.txn_state() != apsw.SQLITE_TXN_WRITE:
            self._opener.turns.give_back(self.watch, needs_more=needs_more)

    def settle(self) -> None:
        """Undoes what the last user left behind: the next one finds a connection as new."""
        self.end_capture()
        connection = self._opened
        if connection is None:
            return
        self.watch.start(math.inf)
        self.roll_back()
        if self.touched & Touch.CONNECTION or connection.in_transaction:
            self.close()
            return
        self.touched = Touch.NOTHING
        connection.set_last_insert_rowid(0)
        self._changes_before = connection.total_changes()

    def roll_back(self) -> None:
        """Ends an open transaction; time does not matter for it. If it stays open, `settle` drops
        the connection.
        """
        connection = self._opened
        if connection is None or not connection.in_transaction:
            return
        self.watch.start(math.inf)
        with contextlib.suppress(apsw.Error):
            connection.execute("ROLLBACK")

    def close(self) -> None:
        """Closes the connection; the next use opens a new one."""
        self.end_capture()
        self.tell_changes()
        connection, self._opened, self._recorder = self._opened, None, None
        self.touched = Touch.NOTHING
        if connection is not None:
            connection.close(True)
        self.end_turn()

    def begin_capture(self, tables: Sequence[str]) -> None:
        """Records the changes of tables, or of all if none is named. Raises: apsw.Error."""
        connection = self.connection
        if self._recorder is not None:
            self._recorder.begin_capture()
        try:
            self.capture = apsw.Session(connection, "main")
            for table in tables or (None,):
                self.capture.attach(table)
        except BaseException:
            self.end_capture()
            raise
        # Statements that are prepared already may empty a table at once, unseen.
        connection.authorizer = self.guard

    def end_capture(self) -> None:
        """Ends the capture that is open, if one is."""
        capture, self.capture = self.capture, None
        if capture is not None:
            capture.close()
        if self._recorder is not None:
            self._recorder.end_capture()

    def look_out(self, sql: str) -> None:
        """Before a statement that changes rows: a recorder sees less while changes are captured."""
        if self._recorder is not None and self.capture is not None:
            self._recorder.look_out(sql)

    def tell_changes(self) -> None:
        """Tells what was committed: after every statement, as commits behind it wait for that."""
        if self._recorder is not None:
            self._recorder.tell()

    def note_prepared(self) -> None:
        """Notes what preparing a statement touched; a busy timeout that it set becomes ours."""
        seen = self.guard.seen
        self.touched |= seen
        if seen & Touch.BUSY_TIMEOUT:
            connection = self.connection
            timeout_ms = int(connection.pragma("busy_timeout"))
            connection.set_busy_handler(self.watch.on_busy)
            if timeout_ms:
                self.watch.busy_timeout_s = timeout_ms / 1000

    @contextlib.contextmanager
    def visible_busy_timeout(self) -> Iterator[None]:
        """Around PRAGMA busy_timeout: our busy handler gives way to SQLite's own, which alone the
        PRAGMA reads and sets.
        """
        connection = self.connection
        connection.set_busy_timeout(round(self.watch.busy_timeout_s * 1000))
        try:
            yield
        finally:
            timeout_ms = connection.pragma("busy_timeout")
            connection.set_busy_handler(self.watch.on_busy)
            self.watch.busy_timeout_s = int(timeout_ms) / 1000

    def _install(self, connection: apsw.Connection) -> None:
        self.guard.access, self.guard.attach_rule = Access.READ_WRITE, None
        self.watch.busy_timeout_s = self._opener.busy_timeout_s
        self.touched = Touch.NOTHING
        self._limited_to = None
        self._changes_before = connection.total_changes()
        self._steps = StepReader(connection, self.guard)
        connection.authorizer = self.guard
        if self._change_log is not None:
            self._recorder = ChangeRecorder(connection, self._change_log)
        connection.set_progress_handler(self.watch.on_progress, PROGRESS_OPERATIONS)
        connection.set_busy_handler(self.watch.on_busy)
        install_regexp(connection)
        # SQLite's own counters would tell what somebody else changed on this connection.
        for name, function in (("changes", self._changes), ("total_changes", self._total)):
            connection.create_scalar_function(name, function, 0, flags=apsw.SQLITE_INNOCUOUS)

    def _changes(self, *_: object) -> int:
        return self.connection.changes() if self._total() else 0

    def _total(self, *_: object) -> int:
        return self.connection.total_changes() - self._changes_before
