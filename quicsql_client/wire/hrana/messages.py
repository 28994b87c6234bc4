"""What Hrana says: requests, results and batch conditions, as data both sides share.

Source: protocol/hrana.md, "Request types".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ...errors import AuthorizationError, DatabaseError, OperationalError
from ...types import Description, Result, Statement, Value
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
class Script:
    """Run a script (`sequence`), or a stored one, and discard its rows."""

    sql: str | None = None
    sql_id: int | None = None


@dataclass(frozen=True, slots=True)
class Describe:
    """Say what a statement, or a stored one, is, without running it."""

    sql: str | None = None
    sql_id: int | None = None


@dataclass(frozen=True, slots=True)
class StoreSQL:
    """Keep a text on the stream under an id."""

    sql_id: int | None
    sql: str | None


@dataclass(frozen=True, slots=True)
class CloseSQL:
    """Forget a stored text; one that is not there is no error."""

    sql_id: int | None


@dataclass(frozen=True, slots=True)
class SessionStart:
    """Begin to record the stream's changes of these tables, or of all when none is named."""

    tables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SessionChangeset:
    """Hand over what was recorded, as a SQLite changeset, and end the recording."""


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


StreamRequest: TypeAlias = (
    Execute
    | Batch
    | Script
    | Describe
    | StoreSQL
    | CloseSQL
    | GetAutocommit
    | SessionStart
    | SessionChangeset
    | Close
    | Unknown
)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """One request body: a baton, or None for a new stream, and what to do in order."""

    baton: str | None
    requests: tuple[StreamRequest, ...] = ()


@dataclass(frozen=True, slots=True)
class Cursor:
    """One request body of a cursor: a baton, or None for a new stream, and the steps.

    steps: None when the body holds no batch, which is refused.
    """

    baton: str | None
    steps: tuple[Step, ...] | None


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


StreamResult: TypeAlias = Result | BatchResult | Description | bytes | bool | StreamError | None
"""The answer to one request: Result of execute, BatchResult of batch, Description of describe,
bytes of session_changeset, bool of get_autocommit, None of the others, or StreamError."""

TYPE_NAMES: dict[type, str] = {
    Execute: "execute",
    Batch: "batch",
    Script: "sequence",
    Describe: "describe",
    StoreSQL: "store_sql",
    CloseSQL: "close_sql",
    SessionStart: "session_start",
    SessionChangeset: "session_changeset",
    GetAutocommit: "get_autocommit",
    Close: "close",
}
