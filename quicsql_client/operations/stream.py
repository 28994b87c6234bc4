"""A Hrana stream: one connection of the server, pinned for a caller, held by its baton.

    fresh --first request--> open --close--> closed
                              |
                              +--no answer, or the baton refused or withdrawn--> lost

What the server answers before it looks at the baton, and what it never got, changes no state.
A lost stream is never resumed: its baton may be spent, and the server rolls its transaction back.
Source: protocol/hrana.md, "Streams and batons"; protocol/client.md, "Pitfalls".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from types import NoneType
from typing import TypeVar

from ..errors import (
    AuthenticationError,
    AuthorizationError,
    DataError,
    Error,
    LocalProtocolError,
    OverloadedError,
    RateLimitedError,
    RemoteProtocolError,
    StreamExpiredError,
    TransportError,
)
from ..types import Description, Result, Statement
from ..wire import hrana
from ..wire.messages import JSON_HEADERS, Request
from ..wire.values import bind_sql
from . import Operation
from .answers import require_ok, result_of, results_of
from .query import StatementLike, as_statement, as_tables, chained_steps, database_path
from .splitting import MAX_REQUEST_BYTES, split

__all__ = ["StreamOperations", "StreamState"]

_T = TypeVar("_T")


# Answers that the server gives before it looks at the baton: the stream is as it was.
_REFUSED_UNCONSUMED = (
    AuthenticationError,
    AuthorizationError,
    DataError,
    OverloadedError,
    RateLimitedError,
)


_CLOSE = hrana.Close()


class StreamState(Enum):
    """Where a stream is in its life."""

    FRESH = "fresh"
    OPEN = "open"
    CLOSED = "closed"
    LOST = "lost"


class StreamOperations:
    """The conversation of one stream: what may be said when, and with which baton."""

    def __init__(self, database: str) -> None:
        self.target = database_path(database, "v3/pipeline")
        self.state = StreamState.FRESH
        self._baton: str | None = None

    def run(self, *requests: hrana.StreamRequest) -> Operation[list[hrana.StreamResult]]:
        """Send requests in one pipeline. Returns one result for each; failures are among them.

        Raises: LocalProtocolError on a closed stream, StreamExpiredError on a lost one.
        """
        self._require_usable()
        body = hrana.encode_pipeline(hrana.Pipeline(self._baton, requests))
        request = Request("POST", self.target, JSON_HEADERS, body)
        try:
            response = yield request
            require_ok(request, response)
            self._baton, results = hrana.decode_answer(response.body, requests)
        except _REFUSED_UNCONSUMED:
            raise
        except BaseException as exc:
            if isinstance(exc, TransportError) and not exc.may_have_run:
                raise
            # Without a whole answer, cancelling included, nobody knows whether the baton is spent.
            self.state, self._baton = StreamState.LOST, None
            raise
        if self._baton:
            self.state = StreamState.OPEN
        else:  # a server that ends the stream unasked has rolled its transaction back
            self.state = StreamState.CLOSED if _CLOSE in requests else StreamState.LOST
        return results

    def _require_usable(self) -> None:
        if self.state is StreamState.CLOSED:
            raise LocalProtocolError("the stream is closed; open another one")
        if self.state is StreamState.LOST:
            raise StreamExpiredError(
                "the stream was lost, and its transaction with it; open another one and start over"
            )

    def execute(self, statement: Statement) -> Operation[Result]:
        """Run one statement on the stream."""
        try:
            (result,) = yield from self.run(hrana.Execute(hrana.Stmt.of(statement)))
            return result_of(result)
        except Error as exc:
            exc.sql = statement.sql
            raise

    def batch(
        self, items: Iterable[StatementLike], *, in_transaction: bool = False
    ) -> Operation[list[Result]]:
        """Run statements, up to the first that fails; no transaction of its own.

        They take one request, more where the server's cap on a body asks for it. in_transaction:
        run each only while a transaction is open. Raises: the failing statement's error, its
        position in failed_index; TransactionEndedError where none was open.
        """
        self._require_usable()
        statements = [as_statement(item) for item in items]

        def as_batch(part: Sequence[Statement]) -> hrana.Batch:
            return hrana.Batch(chained_steps(part, first=0, guarded=in_transaction))

        results: list[Result] = []
        for part in split(statements, as_batch, MAX_REQUEST_BYTES):
            try:
                (result,) = yield from self.run(as_batch(part))
                results += results_of(result, len(part), guarded=in_transaction)
            except Error as exc:
                if exc.failed_index is not None or results:
                    exc.failed_index = len(results) + (exc.failed_index or 0)
                raise
        return results

    def sequence(self, script: str) -> Operation[None]:
        """Run a script, its rows discarded, up to the first statement that fails."""
        try:
            yield from self._ask(hrana.Script(bind_sql(script)), NoneType)
        except Error as exc:
            exc.sql = script
            raise

    def describe(self, sql: str) -> Operation[Description]:
        """What the first statement of a text is; nothing of it runs."""
        try:
            return (yield from self._ask(hrana.Describe(bind_sql(sql)), Description))
        except Error as exc:
            exc.sql = sql
            raise

    def is_autocommit(self) -> Operation[bool]:
        """Whether the stream is outside a transaction."""
        return (yield from self._ask(hrana.GetAutocommit(), bool))

    def start_capture(self, tables: Sequence[str] = ()) -> Operation[None]:
        """Record the stream's changes from now on, of these tables or of all."""
        yield from self._ask(hrana.SessionStart(as_tables(tables)), NoneType)

    def changeset(self) -> Operation[bytes]:
        """What was recorded since `start_capture`, which ends; empty when nothing was changed."""
        return (yield from self._ask(hrana.SessionChangeset(), bytes))

    def _ask(self, request: hrana.StreamRequest, kind: type[_T]) -> Operation[_T]:
        """One request whose answer is of that kind. Raises: its error."""
        (result,) = yield from self.run(request)
        if isinstance(result, hrana.StreamError):
            raise result.as_error()
        if not isinstance(result, kind):
            raise RemoteProtocolError("the server's answer is of another kind than its request")
        return result

    def close(self) -> Operation[None]:
        """End the stream; what is not committed is rolled back. Asks nothing when none is open."""
        if self.state is StreamState.OPEN:
            yield from self.run(_CLOSE)
        self.state = StreamState.CLOSED
