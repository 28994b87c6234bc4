"""Connection: the synchronous connection, with `autocommit` as PEP 249 wants it: to be assigned."""

from __future__ import annotations

from ._sync.connection import Connection as _Connection
from .factories import RowT

__all__ = ["Connection"]


class Connection(_Connection[RowT]):
    """A connection to one database, as PEP 249 and Python's `sqlite3` have them.

    Use `quicsql_dbapi.connect` to make one. client, database: what it talks to. Threads may share
    it, one statement at a time. Without autocommit the first statement opens a transaction, which
    lasts until commit or rollback; only PRAGMA settings, ATTACH, DETACH and VACUUM, which
    transactions do not hold, run before it. A `with` block commits, or rolls back on an
    exception, and does not close, as in `sqlite3`. row_factory: that of the cursors made from now
    on. detect_types: which columns are converted. on_truncated: "raise" or "warn".
    """

    @property
    def autocommit(self) -> bool:
        """Whether each statement commits by itself; assigning True commits an open transaction."""
        return self._runner.autocommit

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        self.set_autocommit(value)
