# Made from quicsql_dbapi/_async/pinned.py
# by tools/async_to_sync.py: do not edit, change the source.
"""PinnedStream: one connection of the server, kept for a connection of the DB-API.

It holds what is bound to it: TEMP tables, PRAGMA values, attached databases, a transaction. The
server gives an idle stream up; outside a transaction another one is opened, with PRAGMA values
and attached databases set again, and nobody notices.
Source: protocol/hrana.md, "Streams and batons".
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from quicsql_client import (
    Client,
    Error,
    OutcomeUnknownError,
    Result,
    Statement,
    Stream,
    StreamExpiredError,
    Transaction,
    TransactionEndedError,
    TransportError,
)

from ..parameters import Prepared
from ..statements import Analysis, Control, Session

__all__ = ["PinnedStream"]

# Statuses that the server gives before it looks at the stream (protocol/README.md).
_NOTHING_RAN = frozenset((401, 403, 429, 503))
_MAY_END = frozenset((Control.RELEASE, Control.COMMIT, Control.ROLLBACK))


class PinnedStream:
    """A stream that is opened again when the server gave it up. Not for concurrent use.

    in_transaction: whether a transaction is open on it. is_kept: whether it holds state that must
    outlive its transaction.
    """

    def __init__(self, client: Client, database: str) -> None:
        self._client = client
        self._database = database
        self._stream: Stream | None = None
        self._owes_begin = False
        self._settings: dict[str, Statement] = {}
        self._holds_state = False
        self.in_transaction = False
        self.is_kept = False

    @property
    def settings(self) -> frozenset[str]:
        """Names of what is set again on another stream."""
        return frozenset(self._settings)

    def adopt(self, transaction: Transaction) -> None:
        """Go on with the stream of a transaction; BEGIN is still to come where nothing has run."""
        self.in_transaction = True
        self._owes_begin = not transaction.has_begun
        if transaction.has_begun:
            self._stream = transaction.hand_over()

    def run(self, prepared: Prepared, *, begin: bool = False) -> Result:
        """Run one statement or script; begin: with a BEGIN before it, in the same request."""
        try:
            (result,) = self._send([prepared.statement], "BEGIN" if begin else None)
        except Error as exc:
            exc.failed_index, exc.sql = None, prepared.statement.sql
            is_ended = exc.is_disconnect or isinstance(exc, TransactionEndedError)
            if prepared.analysis.controls and not is_ended:
                self._ask_transaction()
            raise
        self._note(prepared.analysis, prepared.statement)
        return result

    def run_many(self, statements: list[Statement], *, begin: bool) -> list[Result]:
        """Run statements in as few requests as they fit in; a failure carries its failed_index.

        begin: with a BEGIN before the first.
        """
        return self._send(statements, "BEGIN" if begin else None)

    def begin(self, mode: str) -> None:
        """Open a transaction now."""
        self._send([], f"BEGIN {mode}")

    def commit(self) -> None:
        """End the transaction; one that SQLite refuses to commit is rolled back.

        Raises OutcomeUnknownError when the answer was lost, TransactionEndedError when SQLite had
        rolled back before.
        """
        is_begun, self.in_transaction = not self._owes_begin, False
        self._owes_begin = False
        try:
            if is_begun and self._stream is not None:
                self._stream.batch(["COMMIT"], in_transaction=True)
        except TransportError as exc:
            if not exc.may_have_run:
                self.in_transaction = True  # as before
                raise
            raise OutcomeUnknownError(
                f"the answer to COMMIT on database {self._database!r} was lost: the transaction "
                "may have taken effect or not; look before you run it again"
            ) from exc
        except StreamExpiredError:
            self._forget()
            raise
        except Error as exc:
            exc.failed_index = None
            if exc.http_status in _NOTHING_RAN:
                self.in_transaction = True
                raise
            with contextlib.suppress(Error):
                self.rollback()
            raise

    def rollback(self) -> None:
        """Undo the transaction; one that is lost has been rolled back by the server."""
        is_begun, self.in_transaction = not self._owes_begin, False
        self._owes_begin = False
        try:
            if is_begun and self._stream is not None:
                self._stream.batch(["ROLLBACK"], in_transaction=True)
        except TransactionEndedError:
            pass  # by SQLite itself, after an error in the transaction
        except StreamExpiredError:
            self._forget()

    def close(self) -> None:
        """End the stream; what is not committed is rolled back."""
        stream, self._stream = self._stream, None
        self.in_transaction = self._owes_begin = False
        if stream is not None:
            stream.close()

    def _forget(self) -> None:
        self._stream = None
        self._holds_state = False

    def _send(self, statements: Sequence[Statement], begin: str | None) -> list[Result]:
        if self._owes_begin:
            begin, self._owes_begin, self.in_transaction = "BEGIN", False, False
        try:
            return self._send_once(statements, begin)
        except StreamExpiredError as exc:
            if self.in_transaction:
                raise
            is_state_lost = self._holds_state
            self._forget()
            if is_state_lost:
                raise StreamExpiredError(
                    "the server gave this connection's stream up, and its TEMP objects with it; "
                    "make them again",
                    transaction_lost=False,
                ) from exc
        # The baton was refused, so nothing has run.
        return self._send_once(statements, begin)

    def _send_once(self, statements: Sequence[Statement], begin: str | None) -> list[Result]:
        first: list[Statement] = []
        if self._stream is None:
            self._stream = self._client.stream(self._database)
            first += self._settings.values()
        if begin is not None:
            first.append(Statement(begin))
        try:
            results = self._ask([*first, *statements])
        except BaseException as exc:
            self._note_failure(exc, len(first), is_begin=begin is not None)
            raise
        if begin is not None:
            self.in_transaction = True
        return results[len(first) :]

    def _ask(self, statements: Sequence[Statement]) -> list[Result]:
        if self._stream is None or not statements:
            return []
        if len(statements) == 1 and not self.in_transaction:
            return [self._stream.execute(statements[0].sql, statements[0].args)]
        return self._stream.batch(statements, in_transaction=self.in_transaction)

    def _note_failure(self, exc: BaseException, first: int, *, is_begin: bool) -> None:
        """Put the state right after a failure; `first`: statements before the caller's."""
        index = exc.failed_index if isinstance(exc, Error) else None
        if isinstance(exc, Error) and index is not None:
            exc.failed_index = index - first if index >= first else None
        is_refused = isinstance(exc, StreamExpiredError)
        is_lost = not isinstance(exc, Error) or (exc.is_disconnect and not exc.is_retryable)
        if is_begin and not is_refused:
            # Where no answer came, the transaction may be open: it counts as lost until a rollback.
            self.in_transaction = is_lost or (index is not None and index >= first)

    def _note(self, analysis: Analysis, statement: Statement) -> None:
        if analysis.statement_count > 1:
            self._holds_state |= analysis.leaves_state
            self.is_kept |= analysis.leaves_state
            if analysis.controls:
                self._ask_transaction()
            return
        match analysis.session:
            case Session.SETTING:
                self._settings.pop(analysis.setting, None)
                self._settings[analysis.setting] = statement
            case Session.DETACH:
                self._settings.pop(analysis.setting, None)
            case Session.TEMP:
                self._holds_state = True
        self.is_kept |= analysis.session is not None
        if analysis.control is Control.SAVEPOINT:
            self.in_transaction = True
        elif analysis.control in _MAY_END:
            self._ask_transaction()

    def _ask_transaction(self) -> None:
        """Ask the server whether a transaction is open: savepoints and scripts end one, too."""
        if self._stream is not None:
            self.in_transaction = not self._stream.is_autocommit()
