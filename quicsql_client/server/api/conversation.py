"""What a stream is asked and answers: every request on its pinned connection, in order.

Knows streams, not HTTP: failures of single requests are results. A pipeline and a cursor run the
steps of a batch alike.
Source: protocol/hrana.md, Request types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeAlias, TypeVar

from ...types import Result, Statement, Value
from ...wire import hrana
from ...wire.codes import hrana_name
from ..engine import EngineError, PolicyDenied, SQLFailure, StatementTimeout
from ..sessions import Session

__all__ = ["Conversation", "Outcomes"]

# What a stream keeps of stored texts at most; far beyond any use.
MAX_STORED_TEXTS: Final = 1_000
MAX_STORED_CHARS: Final = 16_777_216

_MASKED: Final = hrana.StreamError("internal error")
_CLOSED: Final = hrana.StreamError("stream is closed")
_SIGNS: Final = (":", "@", "$")

_Member = TypeVar("_Member")

Outcomes: TypeAlias = list[bool | None]
"""For each step so far: True for a result, False for an error, None when it was skipped."""


class _Refused(Exception):
    """A request that is not run: its error."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.error = hrana.StreamError(message)


class Conversation:
    """One HTTP request's conversation with a stream. is_closed: the client has asked for its end.

    Methods give errors of SQL and of the request itself as results.
    """

    def __init__(self, session: Session) -> None:
        self._connection = session.connection
        self._texts = session.texts
        self.is_closed = False

    async def answer_all(self, requests: Sequence[hrana.StreamRequest]) -> list[hrana.StreamResult]:
        """A result for each request, in order."""
        return [await self._answer(request) for request in requests]

    async def run_step(
        self, step: hrana.Step, outcomes: Outcomes
    ) -> Result | hrana.StreamError | None:
        """Run the next step of a batch if its condition holds; None when it is skipped.

        outcomes: of the steps before it; its own is added. Source: protocol/hrana.md, batch.
        """
        if step.condition is not None and not await self._holds(step.condition, outcomes):
            outcomes.append(None)
            return None
        outcome = await self._run(step.stmt or hrana.Stmt())
        outcomes.append(not isinstance(outcome, hrana.StreamError))
        return outcome

    async def _answer(self, request: hrana.StreamRequest) -> hrana.StreamResult:
        if self.is_closed:
            return _CLOSED
        try:
            return await self._perform(request)
        except _Refused as exc:
            return exc.error
        except EngineError as exc:
            return _stream_error(exc)

    async def _perform(self, request: hrana.StreamRequest) -> hrana.StreamResult:
        match request:
            case hrana.Execute(stmt):
                return await self._run(_required(stmt, "execute requires a stmt"))
            case hrana.Batch(steps):
                return await self._batch(_required(steps, "batch requires a batch"))
            case hrana.Script(sql, sql_id):
                await self._connection.sequence(self._text(sql, sql_id))
            case hrana.Describe(sql, sql_id):
                return await self._describe(self._text(sql, sql_id))
            case hrana.StoreSQL(sql_id, sql):
                self._store(sql_id, sql)
            case hrana.CloseSQL(sql_id):
                self._forget(sql_id)
            case hrana.GetAutocommit():
                return await self._connection.is_autocommit()
            case hrana.SessionStart(tables):
                await self._start_capture(tables)
            case hrana.SessionChangeset():
                return await self._take_changeset()
            case hrana.Close():
                self.is_closed = True
            case hrana.Unknown(kind):
                raise _Refused(f"unknown request type: {kind}")
        return None

    async def _run(self, stmt: hrana.Stmt) -> Result | hrana.StreamError:
        try:
            sql = self._text(stmt.sql, stmt.sql_id)
            args = _named(stmt.named_args) if stmt.named_args else stmt.args
            result = await self._connection.execute(Statement(sql, args))
        except _Refused as exc:
            return exc.error
        except EngineError as exc:
            return _stream_error(exc)
        return result if stmt.want_rows else replace(result, rows=())

    async def _batch(self, steps: Sequence[hrana.Step]) -> hrana.BatchResult:
        outcomes: Outcomes = []
        ran = [await self.run_step(step, outcomes) for step in steps]
        return hrana.BatchResult(
            tuple(one if isinstance(one, Result) else None for one in ran),
            tuple(one if isinstance(one, hrana.StreamError) else None for one in ran),
        )

    async def _holds(self, condition: hrana.Condition, outcomes: Outcomes) -> bool:
        """Whether a condition is true now.

        Steps not run yet, out of range or negative are neither ok nor error.
        """
        match condition.kind:
            case "ok":
                return _came_out(outcomes, condition.step, True)
            case "error":
                return _came_out(outcomes, condition.step, False)
            case "not":
                inner = condition.cond
                return inner is not None and not await self._holds(inner, outcomes)
            case "and":
                return all([await self._holds(cond, outcomes) for cond in condition.conds])
            case "or":
                return any([await self._holds(cond, outcomes) for cond in condition.conds])
            case "is_autocommit":
                return await self._connection.is_autocommit()
        return False

    async def _describe(self, sql: str) -> hrana.Description:
        found = await self._connection.describe(sql)
        return hrana.Description(found.params, found.columns, found.is_explain, found.is_readonly)

    async def _start_capture(self, tables: Sequence[str]) -> None:
        if not await self._connection.start_capture(tables):
            raise _Refused("a capture session is already open on this stream")

    async def _take_changeset(self) -> bytes:
        changeset = await self._connection.take_changeset()
        if changeset is None:
            raise _Refused("no capture session open (send session_start first)")
        return changeset

    def _text(self, sql: str | None, sql_id: int | None) -> str:
        """The SQL that a request means; its own text wins over a stored one. Raises _Refused."""
        if sql is not None:
            return sql
        if sql_id is None:
            raise _Refused("request has neither sql nor sql_id")
        if sql_id not in self._texts:
            raise _Refused("unknown sql_id")
        return self._texts[sql_id]

    def _store(self, sql_id: int | None, sql: str | None) -> None:
        if sql_id is None or sql is None:
            raise _Refused("store_sql requires sql_id and sql")
        if sql_id in self._texts:
            raise _Refused("sql_id already in use")
        chars = len(sql) + sum(map(len, self._texts.values()))
        if len(self._texts) >= MAX_STORED_TEXTS or chars > MAX_STORED_CHARS:
            raise _Refused(
                "too much stored SQL on this stream: at most"
                f" {MAX_STORED_TEXTS} texts and {MAX_STORED_CHARS} characters; send close_sql"
            )
        self._texts[sql_id] = sql

    def _forget(self, sql_id: int | None) -> None:
        if sql_id is not None:
            self._texts.pop(sql_id, None)


def _required(member: _Member | None, message: str) -> _Member:
    """The member of a request. Raises _Refused when it is missing."""
    if member is None:
        raise _Refused(message)
    return member


def _came_out(outcomes: Outcomes, step: int | None, wanted: bool) -> bool:
    return step is not None and 0 <= step < len(outcomes) and outcomes[step] is wanted


def _named(pairs: Sequence[tuple[str, Value]]) -> Mapping[str, Value] | tuple[Value, ...]:
    """Named arguments by bare name; those without any name are positional. Raises _Refused.

    A name starts with a letter, whatever the script, once its sign is off (protocol/hrana.md,
    stmt).
    """
    if not any(name for name, _ in pairs):
        return tuple(value for _, value in pairs)
    named = {_bare(name): value for name, value in pairs}
    if not all(name[:1].isalpha() for name in named):
        raise _Refused(_MASKED.message)
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
