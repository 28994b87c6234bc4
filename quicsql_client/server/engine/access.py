"""What may be done and how much of it, and how the engine says no: rights, caps and the engine's
own errors.

It knows no SQLite, no HTTP and no principal: the application maps these errors to statuses and
Hrana errors.

    EngineError
      SQLFailure         SQLite refused: message, code, extended_code (23 is a denial)
      StatementTimeout   the deadline passed, or nobody waits for the answer any more
      PolicyDenied       the server's policy refuses the statement: message
        TransactionDenied  ... because it is transaction control in a stateless request
      MaskedFailure      anything whose text is not for clients; the cause is in `__cause__`
      BatchFailure       one of these inside a batch: index, error
    UnknownDatabase, DatabaseBusy
    DatabaseUnavailable    for now: it is reserved, or being closed
      CannotOpen             it does not open
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

DEFAULT_MAX_ROWS = 100_000  # protocol/config.md, limits
DEFAULT_MAX_RESULT_BYTES = 67_108_864  # protocol/config.md, limits
DEFAULT_STATEMENT_TIMEOUT_S = 30.0  # protocol/config.md, limits


AttachRule: TypeAlias = Callable[[str | None], str | None]
"""Why a stream may not attach a file, in words for its client; None: it may.

The file is as the statement names it, None where an expression does. Called in an engine's thread.
"""


class Access(enum.Enum):
    """What a statement may do: read, or read and write."""

    READ_ONLY = "read-only"
    READ_WRITE = "read-write"


@dataclass(frozen=True, slots=True)
class Caps:
    """Bounds of one statement: rows and bytes of its result, and its time.

    slow_after_s: from how long on it is logged; logs_values: with the values of its parameters.
    Source: protocol/native.md, Result caps; protocol/config.md, logging.
    """

    max_rows: int = DEFAULT_MAX_ROWS
    max_result_bytes: int = DEFAULT_MAX_RESULT_BYTES
    statement_timeout_s: float = DEFAULT_STATEMENT_TIMEOUT_S
    slow_after_s: float = math.inf
    logs_values: bool = False


class EngineError(Exception):
    """Base of what a statement can fail with. message: for the client, no bound values."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class SQLFailure(EngineError):
    """SQLite refused. code, extended_code: its result codes; code 23: the authorizer denied."""

    def __init__(self, message: str, code: int, extended_code: int) -> None:
        super().__init__(message)
        self.code = code
        self.extended_code = extended_code


class StatementTimeout(EngineError):
    """The deadline passed before the statement ended, or the one who waited for it went away."""

    def __init__(self) -> None:
        super().__init__("statement timed out")


class PolicyDenied(EngineError):
    """The server's policy refuses this statement, whoever sends it."""


class TransactionDenied(PolicyDenied):
    """Transaction control where every request stands by itself."""


class MaskedFailure(EngineError):
    """A failure whose text is not for clients; what happened is in `__cause__` or in reason."""

    def __init__(self, reason: str = "") -> None:
        super().__init__("internal error")
        self.reason = reason


class BatchFailure(EngineError):
    """A batch failed and was rolled back.

    index: which statement failed, from 0; None when BEGIN or COMMIT did. error: what it failed
    with.
    """

    def __init__(self, index: int | None, error: EngineError) -> None:
        super().__init__(error.message)
        self.index = index
        self.error = error


class UnknownDatabase(Exception):
    """No database of this name is served."""


class DatabaseUnavailable(Exception):
    """The database is served, but cannot be used now."""


class CannotOpen(DatabaseUnavailable):
    """The database does not open; the message is SQLite's, and not for clients."""


class DatabaseBusy(Exception):
    """The database cannot be reserved: somebody uses it."""
