"""`POST /<db>/query`: single statements, scripts and batches, in both directions.

The client half raises the error that an answer carries; the server half raises RemoteProtocolError
with the text of the 400 answer. Source: protocol/native.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NoReturn

import msgspec

from ..errors import Error, ProgrammingError, RemoteProtocolError
from ..types import Result, Row, Statement, Value
from .codes import sqlite_error
from .document import Number, Pairs, fields, kind_of, read_first, write_document
from .values import (
    INT64_MAX,
    INT64_MIN,
    bind_arguments,
    bind_sql,
    decode_base64,
    encode_base64,
    format_native_real,
)

__all__ = [
    "QueryRequest",
    "RawStatement",
    "decode_args",
    "decode_error_message",
    "decode_request",
    "decode_result",
    "decode_results",
    "encode_batch",
    "encode_error",
    "encode_query",
    "encode_result",
    "encode_results",
]


# The client: requests out, results in.


class _Blob(msgspec.Struct):
    base64: str


_Integer = Annotated[int, msgspec.Meta(ge=INT64_MIN, le=INT64_MAX)]
_Position = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]
_Cell = None | _Integer | float | str | _Blob


class _Failure(msgspec.Struct):
    message: str = "unknown error"
    code: _Position = 0
    extended_code: _Position = 0


class _Answer(msgspec.Struct):
    """One result, or the error instead of it: upstream sends either under status 200."""

    columns: list[str] | None = None
    rows: list[tuple[_Cell, ...]] = []
    rows_affected: _Integer = 0
    last_insert_id: _Integer = 0
    truncated: bool = False
    results: list[_Answer] | None = None
    error: _Failure | None = None
    failed_index: _Position | None = None


class _Told(msgspec.Struct):
    message: str


class _Envelope(msgspec.Struct):
    """An error body: quicSQL's has error.message, libSQL's server a text in `error` or `message`.

    Source: protocol/libsql-servers.md.
    """

    error: _Told | str | None = None
    message: str | None = None


_envelopes = msgspec.json.Decoder(_Envelope)
_answers = msgspec.json.Decoder(_Answer)


def encode_query(statement: Statement) -> bytes:
    """The body of a single statement or script with positional arguments.

    Raises: ProgrammingError, DataError as `bind_arguments`.
    """
    return msgspec.json.encode(_statement_fields(statement))


def encode_batch(statements: Iterable[Statement]) -> bytes:
    """The body of an all-or-nothing batch with positional arguments.

    Raises: as `encode_query`, with failed_index set to the statement's position.
    """
    encoded = []
    for position, statement in enumerate(statements):
        try:
            encoded.append(_statement_fields(statement))
        except Error as exc:
            exc.failed_index = position
            raise
    return msgspec.json.encode({"statements": encoded})


def _statement_fields(statement: Statement) -> dict[str, Any]:
    sql, args = bind_sql(statement.sql), bind_arguments(statement.args)
    if isinstance(args, Mapping):
        raise ProgrammingError("the native API has no named arguments; they need a Hrana pipeline")
    if not args:
        return {"sql": sql}
    return {"args": [_encode_arg(arg) for arg in args], "sql": sql}


def _encode_arg(value: Value) -> Any:
    return {"base64": encode_base64(value)} if isinstance(value, bytes) else value


def decode_result(body: bytes) -> Result:
    """Read the answer to one statement.

    Rows keep the server's order; each has len(result.columns) cells. INTEGER is exact to 64 bits.
    Raises: RemoteProtocolError if body is not the documented shape; the mapped DatabaseError if it
    carries one. Source: protocol/native.md, "Response" and "Errors".
    """
    answer = _read_answer(body)
    return _result(answer, has_blobs=b'"base64"' in body)


def decode_results(body: bytes, expected: int) -> list[Result]:
    """Read the answer to a batch: one result for each of the `expected` statements.

    Raises: as `decode_result`, with failed_index where the server named the statement.
    """
    answer = _read_answer(body)
    if answer.results is None or len(answer.results) != expected:
        raise RemoteProtocolError(f"the server's answer does not hold {expected} results")
    has_blobs = b'"base64"' in body
    return [_result(item, has_blobs=has_blobs) for item in answer.results]


def decode_error_message(body: bytes) -> str | None:
    """The message of an error envelope, quicSQL's or libSQL's, or None when the body is none."""
    try:
        envelope = _envelopes.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    error = envelope.error
    return error.message if isinstance(error, _Told) else error or envelope.message


def _read_answer(body: bytes) -> _Answer:
    try:
        answer = _answers.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise RemoteProtocolError(
            f"the server's answer is not a quicSQL result: {type(exc).__name__}"
        ) from None
    if answer.error is not None:
        _raise_failure(answer.error, answer.failed_index)
    return answer


def _raise_failure(failure: _Failure, failed_index: int | None) -> NoReturn:
    raise sqlite_error(
        failure.message,
        failure.code,
        failure.extended_code,
        failed_index=failed_index,
        http_status=200,
    )


def _result(answer: _Answer, *, has_blobs: bool) -> Result:
    if answer.columns is None:
        raise RemoteProtocolError("the server's answer holds neither a result nor an error")
    columns = tuple(answer.columns)
    rows: Iterable[tuple[Any, ...]] = answer.rows
    if any(len(row) != len(columns) for row in rows):
        raise RemoteProtocolError(f"a row of the server's answer has not {len(columns)} cells")
    if has_blobs:
        rows = (tuple(map(_decode_cell, row)) for row in rows)
    return Result(
        columns, tuple(rows), answer.rows_affected, answer.last_insert_id, answer.truncated
    )


def _decode_cell(cell: Any) -> Value:
    if not isinstance(cell, _Blob):
        return cell  # type: ignore[no-any-return]  # the decoder has checked it against _Cell
    try:
        return decode_base64(cell.base64)
    except ValueError:
        raise RemoteProtocolError("a BLOB of the server's answer is not base64") from None


# The server: requests in, results out.


@dataclass(frozen=True, slots=True)
class RawStatement:
    """A statement whose arguments are still as they came; `decode_args` reads them."""

    sql: str
    args: Sequence[Any] = ()

    def decode(self) -> Statement:
        """The statement with its values. Raises RemoteProtocolError as `decode_args`."""
        return Statement(self.sql, decode_args(self.args))


@dataclass(frozen=True, slots=True)
class QueryRequest:
    """What a body asks for: one statement or script, or (statement None) a batch."""

    statement: RawStatement | None
    statements: tuple[RawStatement, ...] = ()


_TOP = {"sql": str, "args": list, "statements": list}
_MEMBER = {"sql": str, "args": list}


def decode_request(body: bytes) -> QueryRequest:
    """Read a request's shape; arguments, and the SQL of batch members, are looked at later.

    Raises RemoteProtocolError. Source: protocol/native.md, "Request body".
    """
    top = fields(read_first(body), "request", _TOP, closed=True)
    members = [
        fields(member, f"statements[{position}]", _MEMBER, closed=True)
        for position, member in enumerate(top.get("statements", ()))
    ]
    if top.get("sql") and members:
        raise RemoteProtocolError("set either 'sql' or 'statements', not both")
    if top.get("sql"):
        return QueryRequest(RawStatement(top["sql"], top.get("args", ())))
    if not members:
        raise RemoteProtocolError("request must set 'sql' or 'statements'")
    return QueryRequest(
        None, tuple(RawStatement(m.get("sql", ""), m.get("args", ())) for m in members)
    )


def decode_args(raw: Iterable[Any]) -> tuple[Value, ...]:
    """Read positional arguments. Raises RemoteProtocolError naming the first bad one.

    Source: protocol/native.md, "Argument values".
    """
    return tuple(_decode_arg(value, position) for position, value in enumerate(raw))


def _decode_arg(value: Any, position: int) -> Value:
    if isinstance(value, Number):
        return _decode_number(value)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, Pairs):
        return _decode_blob(dict(value), position)
    raise RemoteProtocolError(f"arg {position}: unsupported arg type []interface {{}}")


def _decode_number(literal: Number) -> Value:
    text = str(literal)
    if not any(mark in text for mark in ".eE") and len(text) <= 20:
        integer = int(text)
        if INT64_MIN <= integer <= INT64_MAX:
            return integer
    real = float(text)
    return text if math.isinf(real) else real


def _decode_blob(members: dict[str, Any], position: int) -> bytes:
    if set(members) != {"base64"}:
        raise RemoteProtocolError(
            f'arg {position}: unsupported object arg (only {{"base64": "..."}} is allowed)'
        )
    if kind_of(members["base64"]) != "string":
        raise RemoteProtocolError(f"arg {position}: base64 arg must be a string")
    try:
        return decode_base64(members["base64"])
    except ValueError as exc:
        raise RemoteProtocolError(f"arg {position}: invalid base64: {exc}") from None


def encode_result(result: Result) -> bytes:
    """The body of a 200 answer to one statement, its newline included."""
    return write_document(_result_fields(result))


def encode_results(results: Iterable[Result]) -> bytes:
    """The body of a 200 answer to a batch, its newline included."""
    return write_document({"results": [_result_fields(result) for result in results]})


def encode_error(
    message: str, code: int = 0, extended_code: int = 0, failed_index: int | None = None
) -> bytes:
    """The error envelope, its newline included; codes that are 0 and an index of None are left out.

    Source: protocol/native.md, "Errors".
    """
    error: dict[str, Any] = {"message": message}
    if code:
        error |= {"code": code, "extended_code": extended_code}
    envelope: dict[str, Any] = {"error": error}
    if failed_index is not None:
        envelope["failed_index"] = failed_index
    return write_document(envelope)


def _result_fields(result: Result) -> dict[str, Any]:
    encoded: dict[str, Any] = {
        "columns": result.columns,
        "rows": [_encode_row(row) for row in result.rows],
        "rows_affected": result.rows_affected,
        "last_insert_id": result.last_insert_id,
    }
    return encoded | {"truncated": True} if result.truncated else encoded


def _encode_row(row: Row) -> Sequence[Any]:
    for cell in row:
        if type(cell) is float or type(cell) is bytes:
            return [_encode_cell(cell) for cell in row]
    return row


def _encode_cell(cell: Value) -> Any:
    if type(cell) is float:
        return msgspec.Raw(format_native_real(cell).encode())
    return _encode_arg(cell)
