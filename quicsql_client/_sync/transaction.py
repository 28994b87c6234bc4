# Made from quicsql_client/_async/transaction.py
# by tools/async_to_sync.py: do not edit, change the source.
"""Transaction: BEGIN to COMMIT on one pinned stream."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from ..errors import Error
from ..operations.query import StatementLike
from ..operations.transaction import TransactionMode, TransactionOperations
from ..types import Arguments, Result, Statement
from .channel import Channel
from .stream import Stream

__all__ = ["Transaction"]


class Transaction:
    """One transaction: use it in a `with` block, which commits, or rolls back on an exception.

    Nothing is sent until the first statement, which BEGIN travels with; COMMIT travels with the end
    of the stream: n statements are n + 1 round trips. Without a `with` block, end it by `commit`
    or `rollback`. A transaction that the server gave up (idle too long, restarted, the answer lost)
    raises StreamExpiredError and is never run again behind the caller's back. Not for concurrent
    use.
    """

    def __init__(self, channel: Channel, database: str, mode: TransactionMode = "deferred") -> None:
        self._channel = channel
        self._operations = TransactionOperations(database, mode)
        self.database = database

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.database!r} active={self.is_active}>"

    @property
    def is_active(self) -> bool:
        """True from the first statement to the end: the server holds this transaction open."""
        operations = self._operations
        is_over = operations.is_finished or operations.is_lost or operations.is_ended_by_sqlite
        return operations.is_begun and not is_over

    @property
    def has_begun(self) -> bool:
        """Whether BEGIN was sent and not refused; it travels with the first statement."""
        return self._operations.is_begun or self._operations.is_lost

    def execute(self, sql: str, args: Arguments = ()) -> Result:
        """Run one statement in the transaction. Raises: its error; the transaction goes on.

        Where SQLite has ended it (ON CONFLICT ROLLBACK, a full disk): TransactionEndedError from
        each later call but rollback, and nothing runs.
        """
        return self._channel.run(self._operations.execute(Statement(sql, args)))

    def batch(self, statements: Iterable[StatementLike]) -> list[Result]:
        """Run statements in one request (more where the server's body cap asks for it).

        Stops at the first that fails (exc.failed_index); those before it stay in the transaction.
        """
        return self._channel.run(self._operations.batch(statements))

    def hand_over(self) -> Stream:
        """The stream that the transaction runs on, which is the caller's to commit and close.

        This object has ended then. Raises LocalProtocolError before the first statement.
        """
        return Stream(self._channel, self.database, self._operations.hand_over())

    def commit(self) -> None:
        """Make the changes last.

        Raises OutcomeUnknownError when the answer was lost, TransactionEndedError when SQLite had
        rolled back before.
        """
        self._channel.run(self._operations.commit())

    def rollback(self) -> None:
        """Undo the changes. Does nothing when the transaction has ended or was lost."""
        self._channel.run(self._operations.rollback())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._operations.is_finished:
            return
        try:
            if kind is None:
                self.commit()
        finally:
            # The exception on its way matters more than one of the way back: the server rolls a
            # stream back that is given up, too. After a commit there is nothing left to do.
            with contextlib.suppress(Error):
                self.rollback()
