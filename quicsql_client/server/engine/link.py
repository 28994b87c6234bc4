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
from collections.abc import Iterator

import apsw

from .access import Access, AttachRule, CannotOpen, Caps
from .authorizer import Guard, Touch
from .opening import Opener, apply_limits
from .regexp import install_regexp
from .steps import StepReader
from .waiting import Stopwatch

PROGRESS_OPERATIONS = 1_000  # costs nothing measurable, and looks at the clock about every 0.1 ms


class Link:
    """A connection and what belongs to it. Made in any thread, then used by one; only `stop` is for
    others.

    database: its name. caps: those of the statement that runs. touched: what was touched since the
    connection was as new.
    """

    def __init__(self, opener: Opener) -> None:
        self.database = opener.database
        self.caps = Caps()
        self.guard = Guard(opener.fixed_pragmas)
        self.watch = Stopwatch(opener.busy_timeout_s)
        self.touched = Touch.NOTHING
        self.capture: apsw.Session | None = None
        self._opener = opener
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

    def settle(self) -> None:
        """Undoes what the last user left behind: the next one finds a connection as new."""
        self.capture = None
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
        connection, self._opened = self._opened, None
        self.capture = None
        self.touched = Touch.NOTHING
        if connection is not None:
            connection.close(True)

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
