"""`POST /<db>/query`: one statement or script in autocommit, or one all-or-nothing batch.

Knows no connection and no socket: it decodes, asks the database, and words the outcome.
Source: protocol/native.md.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from ...errors import RemoteProtocolError
from ...types import Statement
from ...wire import native
from ...wire.messages import Response
from ..engine import (
    BatchFailure,
    EngineError,
    PolicyDenied,
    SQLFailure,
    StatementTimeout,
    TransactionDenied,
)
from .exchange import READ_ONLY, ClientGone, Exchange, Refusal, decode, json_response

__all__ = ["query"]

_ERROR_CODE = 1  # SQLITE_ERROR
_AUTH_CODE = 23  # SQLITE_AUTH: the authorizer refused
_TIMED_OUT = "statement timed out"


async def query(exchange: Exchange) -> Response:
    """Serve one request. The statement timeout spans reading, opening and running.

    Order: body (413, 400), its shape (400), the database (404, 503), then arguments (400) and
    execution.
    Raises: Refusal. Source: protocol/native.md, Request handling order.
    """
    deadline = time.monotonic() + exchange.settings.statement_timeout_s
    request = decode(native.decode_request, await exchange.read_body())
    try:
        if request.statement is not None:
            return await _single(exchange, request.statement, deadline)
        return await _batch(exchange, request.statements, deadline)
    except ClientGone:
        raise Refusal(504, _TIMED_OUT) from None


async def _single(exchange: Exchange, raw: native.RawStatement, deadline: float) -> Response:
    database = exchange.opened_database()
    statement = _decoded(raw)
    try:
        result = await exchange.while_connected(
            database.execute(statement, exchange.access, deadline)
        )
    except EngineError as exc:
        return _failure(exc)
    return json_response(native.encode_result(result))


async def _batch(
    exchange: Exchange, members: Sequence[native.RawStatement], deadline: float
) -> Response:
    database = exchange.opened_database()
    statements = [_member(raw) for raw in members]
    try:
        results = await exchange.while_connected(
            database.batch(statements, exchange.access, deadline)
        )
    except BatchFailure as exc:
        return _failure(exc.error, exc.index)
    except EngineError as exc:
        return _failure(exc)
    return json_response(native.encode_results(results))


def _member(raw: native.RawStatement) -> Statement:
    if not raw.sql:
        raise Refusal(400, "batch statement missing 'sql'")
    return _decoded(raw)


def _decoded(raw: native.RawStatement) -> Statement:
    try:
        return raw.decode()
    except RemoteProtocolError as exc:
        raise Refusal(400, exc.message) from None


def _failure(error: EngineError, index: int | None = None) -> Response:
    """The answer to a statement that failed; index is its place in a batch.

    Source: protocol/native.md, Batches and Errors.
    """
    if isinstance(error, StatementTimeout):
        raise Refusal(504, _TIMED_OUT) from error
    if isinstance(error, TransactionDenied):
        # Upstream runs these, so a client expects an answer about SQL, not one about rights.
        return json_response(native.encode_error(error.message, _ERROR_CODE, _ERROR_CODE, index))
    if isinstance(error, PolicyDenied):
        place = "" if index is None else f"batch statement {index}: "
        raise Refusal(403, place + error.message) from error
    if not isinstance(error, SQLFailure):
        return json_response(native.encode_error("internal error", failed_index=index))
    if error.code == _AUTH_CODE:
        raise Refusal(403, READ_ONLY) from error
    return json_response(native.encode_error(error.message, error.code, error.extended_code, index))
