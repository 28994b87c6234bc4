"""What an answer means: its result, or the error of our tree for it, raised.

Source: protocol/README.md, "Shared failure statuses"; protocol/client.md, "Response handling".
"""

from __future__ import annotations

from http import HTTPStatus

from ..errors import (
    AuthenticationError,
    AuthorizationError,
    DatabaseError,
    DataError,
    Error,
    NotSupportedError,
    OperationalError,
    OverloadedError,
    ProgrammingError,
    RateLimitedError,
    RemoteProtocolError,
    StreamExpiredError,
    TransactionEndedError,
)
from ..types import Result
from ..wire import hrana, native
from ..wire.messages import Request, Response

__all__ = ["require_ok", "result_of", "results_of"]

_MESSAGE_BYTES = 200
_OF_STATUS: dict[int, type[Error]] = {
    400: ProgrammingError,
    401: AuthenticationError,
    403: AuthorizationError,
    404: OperationalError,
    405: ProgrammingError,
    409: OperationalError,
    413: DataError,
    422: DatabaseError,
    429: RateLimitedError,
    500: OperationalError,
    501: NotSupportedError,
    503: OverloadedError,
    504: OperationalError,
}
# quicSQL's text, and those of libSQL's server (protocol/libsql-servers.md, "batons").
_BATON_REFUSED = (
    "invalid or expired baton",
    "The stream has expired",
    "Received an invalid baton",
)


def require_ok(request: Request, response: Response) -> None:
    """Return when the answer's status is 200.

    Raises: the error for any other status, with http_status, and retry_after_s where it has one.
    """
    if response.status == 200:
        return
    message = _message(response)
    kind = _OF_STATUS.get(response.status, RemoteProtocolError)
    if response.status == 400 and message.startswith(_BATON_REFUSED):
        kind, message = StreamExpiredError, f"{message}: the stream and its transaction are gone"
    error = kind(
        f"{request}: {_status_line(response.status)}: {message}", http_status=response.status
    )
    if isinstance(error, RateLimitedError | OverloadedError):
        error.retry_after_s = _retry_after_s(response)
    raise error


def _message(response: Response) -> str:
    told = native.decode_error_message(response.body)
    return told or response.body[:_MESSAGE_BYTES].decode("utf-8", "replace").strip()


def _status_line(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _retry_after_s(response: Response) -> float | None:
    text = response.header("retry-after") or ""
    return float(text) if text.isascii() and text.isdigit() else None


def result_of(result: hrana.StreamResult) -> Result:
    """The result of an execute request, or its error, raised."""
    if isinstance(result, hrana.StreamError):
        raise result.as_error()
    if not isinstance(result, Result):
        raise RemoteProtocolError("the server's answer to execute is not a result")
    return result


def results_of(
    result: hrana.StreamResult,
    expected: int,
    *,
    first: int = 0,
    commit: int | None = None,
    guarded: bool = False,
) -> list[Result]:
    """The results of the `expected` chained steps of a batch, the first of them at index `first`.

    Steps before and after them open and end a transaction. commit: index of the step without which
    none of them has taken effect. guarded: whether the steps run in an open transaction only.
    Raises: the error that stopped the batch, with failed_index counted from `first` where it was
    one of the expected steps; TransactionEndedError where a guarded step was skipped.
    """
    if isinstance(result, hrana.StreamError):
        raise result.as_error()
    if not isinstance(result, hrana.BatchResult):
        raise RemoteProtocolError("the server's answer to batch is not a batch result")
    for step, error in enumerate(result.errors):
        if error is not None:
            index = step - first if first <= step < first + expected else None
            raise error.as_error(failed_index=index)
    complete = [item for item in result.results[: first + expected] if item is not None]
    if guarded and first <= len(complete) < len(result.results) == first + expected:
        raise TransactionEndedError(failed_index=len(complete) - first)
    has_ended = commit is None or result.results[commit : commit + 1] not in ((), (None,))
    if len(complete) != first + expected or not has_ended:
        raise RemoteProtocolError(f"the server's answer does not hold {expected} results")
    return complete[first:]
