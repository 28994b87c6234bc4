"""What a Hrana pipeline says: requests, results and batch conditions, as data both sides share.

Source: protocol/hrana.md, "Request types".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ...errors import AuthorizationError, DatabaseError, OperationalError
from ...types import Result, Statement, Value
from ..codes import code_of_name, sqlite_error
from ..values import bind_arguments, bind_sql


@dataclass(frozen=True, slots=True)
class Stmt:
    """One statement: its text, or the id of a stored one; positional or named arguments."""

    sql: str | None = None
    sql_id: int | None = None
    args: tuple[Value, ...] = ()
    named_args: tuple[tuple[str, Value], ...] = ()
    want_rows: bool = True

    @classmethod
    def of(cls, statement: Statement) -> Stmt:
        """A statement with its arguments bound. Raises: as `values.bind_arguments`."""
        sql, args = bind_sql(statement.sql), bind_arguments(statement.args)
        if isinstance(args, Mapping):
            return cls(sql, named_args=tuple(args.items()))
        return cls(sql, args=args)


@dataclass(frozen=True, slots=True)
class Condition:
    """When a batch step runs. Unknown kinds, and steps out of range, are false."""

    kind: str
    step: int | None = None
    cond: Condition | None = None
    conds: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a batch; without a condition it always runs."""

    stmt: Stmt | None
    condition: Condition | None = None


@dataclass(frozen=True, slots=True)
class Execute:
    """Run one statement."""

    stmt: Stmt | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Run steps under their conditions; no transaction of its own."""

    steps: tuple[Step, ...] | None


@dataclass(frozen=True, slots=True)
class GetAutocommit:
    """Ask whether the stream is outside a transaction."""


@dataclass(frozen=True, slots=True)
class Close:
    """End the stream; an open transaction is rolled back."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A request of a type that this version does not serve."""

    kind: str


StreamRequest: TypeAlias = Execute | Batch | GetAutocommit | Close | Unknown


@dataclass(frozen=True, slots=True)
class Pipeline:
    """One request body: a baton, or None for a new stream, and what to do in order."""

    baton: str | None
    requests: tuple[StreamRequest, ...] = ()


# Refusals that come without a SQLite code: the native API answers them with 504 and 403.
_TIMED_OUT = "statement timed out"
_POLICY_DENIAL = "statement not permitted by server policy"


@dataclass(frozen=True, slots=True)
class StreamError:
    """Why a request or step failed; code is SQLite's symbolic name, or None."""

    message: str
    code: str | None = None

    def as_error(self, **facts: Any) -> DatabaseError:
        """The error of our tree for it: by SQLite code, or as the native API's status says it."""
        number = code_of_name(self.code) if self.code else None
        if not number:
            if self.message == _TIMED_OUT:
                return OperationalError(self.message, http_status=200, **facts)
            if self.message.startswith(_POLICY_DENIAL):
                return AuthorizationError(self.message, http_status=200, **facts)
        return sqlite_error(self.message, number, number, http_status=200, **facts)


@dataclass(frozen=True, slots=True)
class BatchResult:
    """For each step its result, its error, or (skipped) neither."""

    results: tuple[Result | None, ...]
    errors: tuple[StreamError | None, ...]


StreamResult: TypeAlias = Result | BatchResult | bool | StreamError | None
"""The answer to one request: Result of execute, BatchResult of batch, bool of get_autocommit,
None of close, or StreamError."""

TYPE_NAMES: dict[type, str] = {
    Execute: "execute",
    Batch: "batch",
    GetAutocommit: "get_autocommit",
    Close: "close",
}
