"""Every error that this project raises, in one tree.

    Warning
      TransportWarning            a credential on an exposed channel, certificates that run out
    Error                         .code .extended_code .name   (None where SQLite said nothing)
      InterfaceError              our API was misused
        LocalProtocolError        a call that the protocol does not allow now
        UnsafeCredentialError     a secret would have gone over an exposed channel
        ConfigurationError        a certificate, key, CA, address or option that cannot work
      DatabaseError
        DataError                 too big, out of range
        OperationalError          busy, locked, read-only, interrupted, disk, cannot open
          TransportError          .request   no answer, or not a whole one
            ConnectError          TLSError (.reason)
            ConnectTimeout        ReadTimeout   WriteTimeout   PoolTimeout
            RemoteProtocolError   the peer broke the protocol
            ResponseTooLarge      .limit_bytes
          AuthenticationError     401
          RateLimitedError        429, .retry_after_s
          OverloadedError         503
          StreamExpiredError      baton unknown or reaped; the transaction is gone
          TransactionEndedError   SQLite rolled the transaction back by itself
          OutcomeUnknownError     a write whose answer was lost
        AuthorizationError        403, SQLITE_AUTH
        IntegrityError            unique, foreign key, not null, check, mismatch
        ProgrammingError          wrong SQL, closed object, wrong number of parameters
        InternalError
        NotSupportedError
        TruncatedError            the server's row or byte cap cut the result

The class for a SQLite code is the one that Python's own `sqlite3` picks. `quicsql_dbapi`
exports these same classes, so
one `except` works at every layer. Errors pickle, and say two facts that callers act on:
`is_retryable` and
`is_disconnect`. No message holds a secret or a bound value.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "AuthenticationError",
    "AuthorizationError",
    "ConfigurationError",
    "ConnectError",
    "ConnectTimeout",
    "DataError",
    "DatabaseError",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "LocalProtocolError",
    "NotSupportedError",
    "OperationalError",
    "OutcomeUnknownError",
    "OverloadedError",
    "PoolTimeout",
    "ProgrammingError",
    "RateLimitedError",
    "ReadTimeout",
    "RemoteProtocolError",
    "ResponseTooLarge",
    "StreamExpiredError",
    "TLSError",
    "TransactionEndedError",
    "TransportError",
    "TransportWarning",
    "TruncatedError",
    "UnsafeCredentialError",
    "Warning",
    "WriteTimeout",
]


class Warning(UserWarning):  # the name is PEP 249's, the builtin of that name is its base
    """An important notice that is not a failure (PEP 249)."""


class TransportWarning(Warning):
    """A credential is about to travel over a channel that others can read or forge."""


class Error(Exception):
    """Base of every error of this project (PEP 249).

    message: the text. code, extended_code: SQLite's primary and extended result code; name: its
    symbolic name, such as "SQLITE_CONSTRAINT_UNIQUE"; all None where SQLite said nothing.
    http_status: the status of the answer that carried the error, or None. failed_index: which
    statement of a batch failed, from 0, or None. sql: the text of the statement that failed, where
    the call had a single one, else None.
    """

    is_retryable = False
    is_disconnect = False

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.code: int | None = None
        self.extended_code: int | None = None
        self.name: str | None = None
        self.http_status: int | None = None
        self.failed_index: int | None = None
        self.sql: str | None = None
        self.__dict__.update(facts)

    @property
    def sqlite_errorcode(self) -> int | None:
        """SQLite's extended result code, under the name that `sqlite3` gives it."""
        return self.extended_code

    @property
    def sqlite_errorname(self) -> str | None:
        """SQLite's symbolic result code, under the name that `sqlite3` gives it."""
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.message, self.__dict__)


def _restore(kind: type[Error], message: str, facts: dict[str, Any]) -> Error:
    # Past __init__, which subclasses may give other parameters; `message` is among the facts.
    error = kind.__new__(kind, message)
    error.__dict__.update(facts)
    return error


class InterfaceError(Error):
    """Our API was misused: nothing was sent."""


class LocalProtocolError(InterfaceError):
    """A call that is not allowed in this state, such as a statement on a closed stream."""


class UnsafeCredentialError(InterfaceError):
    """A secret would have travelled over cleartext or unverified TLS, and nobody allowed it."""


class ConfigurationError(InterfaceError):
    """A certificate, key, CA, address or option that cannot work; the message names the file."""


class DatabaseError(Error):
    """The database, or the way to it, refused (PEP 249)."""


class DataError(DatabaseError):
    """A value that SQLite or the wire cannot hold: too big, out of range."""


class OperationalError(DatabaseError):
    """The database could not do it: busy, locked, read-only, interrupted, or not reachable."""


class TransportError(OperationalError):
    """No answer came, or not a whole one.

    request: method and target of what was asked, or None. may_have_run: False when the server
    cannot have acted on it, as nothing of it was sent, or the server said so. answer_began: False
    when certainly no part of an answer came.
    """

    is_disconnect = True
    request: str | None = None
    may_have_run: bool = True
    answer_began: bool = True


class ConnectError(TransportError):
    """No connection could be made: nothing was sent, so the call may be made again."""

    is_retryable = True
    may_have_run = False


class TLSError(TransportError):
    """TLS failed. reason: one of `quicsql_client.tls.TLS_REASONS`; the text says what to do."""

    reason: str = "other"


class ConnectTimeout(ConnectError):
    """The connection was not made in time: nothing was sent."""


class ReadTimeout(TransportError):
    """The answer was not whole before the call's deadline."""


class WriteTimeout(TransportError):
    """The request could not be sent before the call's deadline."""


class PoolTimeout(TransportError):
    """No connection of the pool became free before the call's deadline: nothing was sent."""

    is_retryable = True
    is_disconnect = False
    may_have_run = False


class RemoteProtocolError(TransportError):
    """The peer broke the protocol: not HTTP, not JSON, or not of the documented shape."""


class ResponseTooLarge(TransportError):
    """The answer is larger than `with_max_response` allows. limit_bytes: that cap."""

    limit_bytes: int = 0
    is_disconnect = False


class AuthenticationError(OperationalError):
    """401: no credential of this call maps to a principal."""


class RateLimitedError(OperationalError):
    """429: too many requests of this principal; nothing ran.

    retry_after_s: the wait that the server asks for, or None.
    """

    is_retryable = True
    retry_after_s: float | None = None


class OverloadedError(OperationalError):
    """503: the database is busy or set aside; nothing ran. retry_after_s: as for 429."""

    is_retryable = True
    retry_after_s: float | None = None


class StreamExpiredError(OperationalError):
    """The stream's baton is unknown or was reaped: its transaction is gone, rolled back."""

    is_disconnect = True
    transaction_lost = True


class TransactionEndedError(OperationalError):
    """SQLite has rolled the transaction back by itself, so the statement did not run.

    That is what ON CONFLICT ROLLBACK, RAISE(ROLLBACK), a full disk and an interrupted write do.
    """

    transaction_lost = True

    def __init__(self, message: str = "", **facts: Any) -> None:
        super().__init__(
            message
            or "the transaction is no longer open: SQLite rolled it back after an earlier error "
            "(or a statement of the caller's ended it), so nothing more was run in it; "
            "roll back and start over",
            **facts,
        )


class OutcomeUnknownError(OperationalError):
    """The answer to a write was lost: it may have taken effect or not; it was not sent twice."""

    is_disconnect = True


class AuthorizationError(DatabaseError):
    """403 or SQLITE_AUTH: the principal is known and may not do this."""


class IntegrityError(DatabaseError):
    """A constraint failed: unique, primary key, foreign key, not null, check, data type."""


class ProgrammingError(DatabaseError):
    """The call is wrong: a closed object, a wrong number of parameters, a malformed request."""


class InternalError(DatabaseError):
    """SQLite met an inner inconsistency."""


class NotSupportedError(DatabaseError):
    """The server or this package does not offer what was asked."""


class TruncatedError(DatabaseError):
    """The server's row or byte cap cut the result: what came is only its beginning."""


_CLASS_OF_CODE: dict[int, type[DatabaseError]] = {
    **dict.fromkeys((2, 12), InternalError),
    **dict.fromkeys((1, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 16, 17), OperationalError),
    18: DataError,
    19: IntegrityError,
    20: IntegrityError,
    23: AuthorizationError,
}
_RETRYABLE_CODES = (5, 6)  # SQLITE_BUSY and SQLITE_LOCKED: nothing ran


def class_for_code(code: int) -> type[DatabaseError]:
    """The class for a SQLite result code: the one that Python's `sqlite3` picks.

    Three are set apart: SQLITE_AUTH has a class below DatabaseError, and what Python raises as
    MemoryError (SQLITE_NOMEM) or as its own misuse (SQLITE_MISUSE, SQLITE_RANGE) befell the server.
    """
    return _CLASS_OF_CODE.get(code & 0xFF, DatabaseError)


def is_busy(code: int) -> bool:
    """True for the codes after which the same statement may be tried again."""
    return code & 0xFF in _RETRYABLE_CODES
