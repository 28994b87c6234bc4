"""The Hrana pipeline: requests on a pinned connection that a baton brings back.

Knows streams, not HTTP: it resumes or opens one, does what was asked in order, and words every
outcome. Failures of single requests are results; only what concerns the whole body is refused.
Source: protocol/hrana.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from ...types import Result, Statement, Value
from ...wire import hrana
from ...wire.codes import hrana_name
from ...wire.messages import Response
from ..engine import Access, EngineError, PolicyDenied, SQLFailure, StatementTimeout
from ..sessions import ForeignBaton, InvalidBaton, Session, TooManySessions
from .exchange import ClientGone, Exchange, Refusal, decode, json_response, unavailable

__all__ = ["pipeline"]

_MASKED: Final = hrana.StreamError("internal error")
_CLOSED: Final = hrana.StreamError("stream is closed")
_SIGNS: Final = (":", "@", "$")


class _Refused(Exception):
    """A statement that is not run: its error."""

    def __init__(self, error: hrana.StreamError) -> None:
        super().__init__(error.message)
        self.error = error


async def pipeline(exchange: Exchange) -> Response:
    """Serve one request of a stream.

    Order: body (413, 400), its JSON (400 for the whole of it, the baton unspent), the stream (400,
    403, 503), then each request. Raises: Refusal. Source: protocol/hrana.md, Pipeline request
    order.
    """
    asked = decode(hrana.decode_pipeline, await exchange.read_body())
    try:
        baton, results = await _converse(exchange, asked)
    except ClientGone:
        raise Refusal(504, "statement timed out") from None
    return json_response(hrana.encode_answer(baton, asked.requests, results))


async def _converse(
    exchange: Exchange, asked: hrana.Pipeline
) -> tuple[str | None, list[hrana.StreamResult]]:
    """The next baton, None after a close, and a result for each request.

    A client that goes away, or a failure of ours, ends the stream: nobody holds its next baton.
    """
    sessions = exchange.services.sessions
    session = await _lend_stream(exchange, asked.baton)
    stream = _Stream(session)
    try:
        results = await exchange.while_connected(stream.answer_all(asked.requests))
    except BaseException:
        await sessions.end(session)
        raise
    if stream.is_closed:
        await sessions.end(session)
        return None, results
    return sessions.suspend(session), results


async def _lend_stream(exchange: Exchange, baton: str | None) -> Session:
    sessions, principal = exchange.services.sessions, exchange.principal.name
    try:
        if baton is not None:
            session = await sessions.resume(baton, exchange.database, principal)
            return await _still_allowed(exchange, session)
        database = exchange.opened_database()
        return await exchange.while_connected(sessions.open(database, principal, exchange.access))
    except InvalidBaton:
        raise Refusal(400, "invalid or expired baton") from None
    except ForeignBaton:
        raise Refusal(403, "baton belongs to a different principal") from None
    except TooManySessions:
        raise unavailable("too many open sessions") from None


async def _still_allowed(exchange: Exchange, session: Session) -> Session:
    """The stream, unless it may write and its principal no longer may.

    A reload ends such streams one by one; this request may come before it is done.
    Raises: InvalidBaton.
    """
    if session.access is Access.READ_WRITE and exchange.access is Access.READ_ONLY:
        await exchange.services.sessions.end(session)
        raise InvalidBaton
    return session


class _Stream:
    """One pipeline's conversation with its pinned connection."""

    def __init__(self, session: Session) -> None:
        self._connection = session.connection
        self.is_closed = False

    async def answer_all(self, requests: Sequence[hrana.StreamRequest]) -> list[hrana.StreamResult]:
        return [await self._answer(request) for request in requests]

    async def _answer(self, request: hrana.StreamRequest) -> hrana.StreamResult:
        if self.is_closed:
            return _CLOSED
        match request:
            case hrana.Execute(None):
                return hrana.StreamError("execute requires a stmt")
            case hrana.Execute(stmt):
                return await self._run(stmt)
            case hrana.Batch(None):
                return hrana.StreamError("batch requires a batch")
            case hrana.Batch(steps):
                return await self._batch(steps or ())
            case hrana.GetAutocommit():
                return await self._connection.is_autocommit()
            case hrana.Close():
                self.is_closed = True
                return None
            case hrana.Unknown(kind):
                return hrana.StreamError(f"unknown request type: {kind}")

    async def _run(self, stmt: hrana.Stmt | None) -> Result | hrana.StreamError:
        try:
            result = await self._connection.execute(_statement(stmt or hrana.Stmt()))
        except _Refused as exc:
            return exc.error
        except EngineError as exc:
            return _stream_error(exc)
        return result if stmt is None or stmt.want_rows else replace(result, rows=())

    async def _batch(self, steps: Sequence[hrana.Step]) -> hrana.BatchResult:
        """Run the steps whose conditions hold. Source: protocol/hrana.md, batch."""
        results: list[Result | None] = [None] * len(steps)
        errors: list[hrana.StreamError | None] = [None] * len(steps)
        for position, step in enumerate(steps):
            if step.condition is None or await self._holds(step.condition, results, errors):
                outcome = await self._run(step.stmt)
                if isinstance(outcome, hrana.StreamError):
                    errors[position] = outcome
                else:
                    results[position] = outcome
        return hrana.BatchResult(tuple(results), tuple(errors))

    async def _holds(
        self,
        condition: hrana.Condition,
        results: Sequence[Result | None],
        errors: Sequence[hrana.StreamError | None],
    ) -> bool:
        """Whether a condition is true now.

        Steps not run yet, out of range or negative are neither ok nor error.
        """
        match condition.kind:
            case "ok":
                return _is_set(results, condition.step)
            case "error":
                return _is_set(errors, condition.step)
            case "not":
                inner = condition.cond
                return inner is not None and not await self._holds(inner, results, errors)
            case "and":
                return all([await self._holds(c, results, errors) for c in condition.conds])
            case "or":
                return any([await self._holds(c, results, errors) for c in condition.conds])
            case "is_autocommit":
                return await self._connection.is_autocommit()
        return False


def _is_set(outcomes: Sequence[object | None], step: int | None) -> bool:
    return step is not None and 0 <= step < len(outcomes) and outcomes[step] is not None


def _statement(stmt: hrana.Stmt) -> Statement:
    """What the engine is to run. Raises _Refused."""
    if stmt.sql is None:
        missing = "request has neither sql nor sql_id" if stmt.sql_id is None else "unknown sql_id"
        raise _Refused(hrana.StreamError(missing))
    if stmt.named_args:
        return Statement(stmt.sql, _named(stmt.named_args))
    return Statement(stmt.sql, stmt.args)


def _named(pairs: Sequence[tuple[str, Value]]) -> Mapping[str, Value] | tuple[Value, ...]:
    """Named arguments by bare name; those without any name are positional. Raises _Refused.

    A name starts with a letter, whatever the script, once its sign is off (protocol/hrana.md,
    stmt).
    """
    if not any(name for name, _ in pairs):
        return tuple(value for _, value in pairs)
    named = {_bare(name): value for name, value in pairs}
    if not all(name[:1].isalpha() for name in named):
        raise _Refused(_MASKED)
    return named


def _bare(name: str) -> str:
    return name[1:] if name.startswith(_SIGNS) else name


def _stream_error(error: EngineError) -> hrana.StreamError:
    """The error object of a statement that failed. Source: protocol/hrana.md, Errors."""
    if isinstance(error, SQLFailure):
        return hrana.StreamError(error.message, hrana_name(error.extended_code or error.code))
    if isinstance(error, StatementTimeout):
        return hrana.StreamError("statement timed out")
    if isinstance(error, PolicyDenied):
        return hrana.StreamError(error.message)
    return _MASKED
