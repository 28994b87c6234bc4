"""A transaction on a stream of its own: BEGIN travels with the first statement, COMMIT with close.

So n statements are n + 1 round trips, and a transaction that runs nothing asks nothing. SQLite may
end a transaction by itself (ON CONFLICT ROLLBACK, a full disk); whatever would run after that would
commit alone, so each step runs only while the transaction is open.
Source: protocol/hrana.md; the SQL is SQLite's (sqlite.org/lang_transaction.html).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

from ..errors import (
    Error,
    LocalProtocolError,
    OutcomeUnknownError,
    ProgrammingError,
    StreamExpiredError,
    TransactionEndedError,
)
from ..types import Result, Statement
from ..wire import hrana
from . import Operation
from .answers import results_of
from .query import StatementLike, as_statement, chained_steps
from .splitting import MAX_REQUEST_BYTES, split
from .stream import StreamOperations, StreamState

__all__ = ["TransactionMode", "TransactionOperations"]

TransactionMode: TypeAlias = Literal["deferred", "immediate", "exclusive"]


class TransactionOperations:
    """What may be said in a transaction, and what each call sends."""

    def __init__(
        self,
        database: str,
        mode: TransactionMode = "deferred",
        max_request_bytes: int = MAX_REQUEST_BYTES,
    ) -> None:
        if mode not in ("deferred", "immediate", "exclusive"):
            raise ProgrammingError(
                f'the transaction mode is "deferred", "immediate" or "exclusive", not {mode!r}'
            )
        self.database = database
        self.is_finished = False
        self.is_begun = False
        self.is_ended_by_sqlite = False
        self._begin = hrana.Stmt(f"BEGIN {mode.upper()}")
        self._stream = StreamOperations(database)
        self._max_request_bytes = max_request_bytes

    @property
    def is_lost(self) -> bool:
        """True once the server has given the transaction up, or may have."""
        return self._stream.state is StreamState.LOST

    def execute(self, statement: Statement) -> Operation[Result]:
        """Run one statement in the transaction, which begins with the first."""
        self._require_unfinished()
        try:
            (result,) = yield from self._run_steps([statement])
        except Error as exc:
            exc.failed_index, exc.sql = None, statement.sql
            raise
        return result

    def batch(self, items: Iterable[StatementLike]) -> Operation[list[Result]]:
        """Run statements in as few requests as the server's body cap allows.

        Raises: the error of the first statement that fails, its position in failed_index; those
        before it stay in the transaction.
        """
        self._require_unfinished()
        statements = [as_statement(item) for item in items]
        results: list[Result] = []
        for part in split(statements, self._as_batch, self._max_request_bytes):
            try:
                results += yield from self._run_steps(part)
            except Error as exc:
                if exc.failed_index is not None:
                    exc.failed_index += len(results)
                raise
        return results

    def _as_batch(self, statements: Sequence[Statement]) -> hrana.Batch:
        if self.is_begun:
            return hrana.Batch(chained_steps(statements, first=0, guarded=True))
        # A condition on BEGIN, for else a statement would run by itself where BEGIN has failed.
        chained = chained_steps(statements, first=1, guarded=True)
        return hrana.Batch((hrana.Step(self._begin), *chained))

    def _run_steps(self, statements: Sequence[Statement]) -> Operation[list[Result]]:
        if self.is_ended_by_sqlite:
            raise TransactionEndedError
        first = 0 if self.is_begun else 1
        (result,) = yield from self._stream.run(self._as_batch(statements))
        if (
            first
            and isinstance(result, hrana.BatchResult)
            and any(item is not None for item in result.results[:1])
        ):
            self.is_begun = True
        return self._results_of(result, len(statements), first)

    def _results_of(
        self, result: hrana.StreamResult, expected: int, first: int = 0
    ) -> list[Result]:
        try:
            return results_of(result, expected, first=first, guarded=self.is_begun)
        except TransactionEndedError:
            self.is_ended_by_sqlite = True
            raise

    def commit(self) -> Operation[None]:
        """Make the transaction's changes last, and end it.

        A COMMIT that SQLite refuses (busy, a deferred foreign key) rolls back. Raises:
        OutcomeUnknownError when the answer was lost, for then nobody knows; TransactionEndedError
        when SQLite had rolled it back before. Where COMMIT was not run (RateLimitedError,
        OverloadedError, ConnectError), commit may be called again.
        """
        self._require_unfinished()
        if self.is_ended_by_sqlite:
            yield from self._close()
            raise TransactionEndedError
        if not self.is_begun and not self.is_lost:
            yield from self._close()
            return
        try:
            committed = yield from self._end_by("COMMIT")
        except StreamExpiredError:
            raise  # the baton was refused, so COMMIT did not run
        except Error as exc:
            if not self.is_lost:
                raise
            raise OutcomeUnknownError(
                f"the answer to COMMIT on database {self.database!r} was lost: the transaction "
                "may have taken effect or not; look before you run it again"
            ) from exc
        try:
            self._results_of(committed, 1)
        except Error as exc:
            exc.failed_index = None
            raise

    def hand_over(self) -> StreamOperations:
        """The stream, with the transaction open on it, which is the caller's to end from now on.

        Raises LocalProtocolError for a transaction that has not begun, or has ended.
        """
        self._require_unfinished()
        if not self.is_begun and not self.is_lost:
            raise LocalProtocolError("the transaction has not begun: there is no stream yet")
        self.is_finished = True
        return self._stream

    def rollback(self) -> Operation[None]:
        """Undo the transaction's changes, and end it. Does nothing once it has ended or is lost."""
        if self.is_finished or self.is_lost:
            self.is_finished = True
            return
        if self.is_begun and not self.is_ended_by_sqlite:
            # Explicitly, as close alone rolls back only after its answer.
            yield from self._end_by("ROLLBACK")
        else:
            yield from self._close()

    def _close(self) -> Operation[None]:
        yield from self._stream.close()
        self.is_finished = True

    def _end_by(self, word: str) -> Operation[hrana.StreamResult]:
        """Run COMMIT or ROLLBACK, where the transaction is open, and close the stream.

        Where it was refused or never sent, the server holds the transaction still: end it again.
        """
        steps = chained_steps([Statement(word)], first=0, guarded=True)
        try:
            outcome, _ = yield from self._stream.run(hrana.Batch(steps), hrana.Close())
        except BaseException:
            self.is_finished = self._stream.state is not StreamState.OPEN
            raise
        self.is_finished = True
        return outcome

    def _require_unfinished(self) -> None:
        if self.is_finished:
            raise LocalProtocolError("the transaction has ended; begin another one")
