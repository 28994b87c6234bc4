"""Pipeline answers: encoded by the server, decoded by the client.

Source: protocol/hrana.md, "Request and response envelope", "StmtResult" and "Errors".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import msgspec

from ...errors import RemoteProtocolError
from ...types import Result, Row
from ..document import write_document
from ..values import INT64_MAX, INT64_MIN
from .messages import (
    TYPE_NAMES,
    Batch,
    BatchResult,
    Close,
    Execute,
    GetAutocommit,
    StreamError,
    StreamRequest,
    StreamResult,
)
from .values import TaggedValue, decode_integer, encode_value


class _Col(msgspec.Struct):
    name: str | None
    decltype: str | None = None


class _StmtResult(msgspec.Struct):
    cols: list[_Col]
    rows: list[list[TaggedValue]]
    affected_row_count: Annotated[int, msgspec.Meta(ge=INT64_MIN, le=INT64_MAX)] = 0
    last_insert_rowid: str | int | None = None  # libSQL servers send a number in places
    truncated: bool = False

    def decode(self) -> Result:
        if any(len(row) != len(self.cols) for row in self.rows):
            raise ValueError(f"a row has not {len(self.cols)} cells")
        decltypes = tuple(col.decltype for col in self.cols)
        return Result(
            tuple(col.name or "" for col in self.cols),
            tuple(tuple([cell.decode() for cell in row]) for row in self.rows),
            self.affected_row_count,
            decode_integer(str(self.last_insert_rowid or 0)),
            self.truncated,
            decltypes if any(decltypes) else (),
        )


class _Error(msgspec.Struct):
    message: str
    code: str | None = None

    def decode(self) -> StreamError:
        return StreamError(self.message, self.code)


class _BatchResult(msgspec.Struct):
    step_results: list[_StmtResult | None]
    step_errors: list[_Error | None]

    def decode(self) -> BatchResult:
        return BatchResult(
            tuple(None if r is None else r.decode() for r in self.step_results),
            tuple(None if e is None else e.decode() for e in self.step_errors),
        )


class _ExecuteOk(msgspec.Struct, tag_field="type", tag="execute"):
    result: _StmtResult


class _BatchOk(msgspec.Struct, tag_field="type", tag="batch"):
    result: _BatchResult


class _GetAutocommitOk(msgspec.Struct, tag_field="type", tag="get_autocommit"):
    is_autocommit: bool


class _CloseOk(msgspec.Struct, tag_field="type", tag="close"):
    pass


class _Ok(msgspec.Struct, tag_field="type", tag="ok"):
    response: _ExecuteOk | _BatchOk | _GetAutocommitOk | _CloseOk


class _Failed(msgspec.Struct, tag_field="type", tag="error"):
    error: _Error


class _PipelineAnswer(msgspec.Struct):
    baton: str | None
    results: list[_Ok | _Failed]


_answers = msgspec.json.Decoder(_PipelineAnswer)

_ANSWERS: dict[type, type] = {
    Execute: _ExecuteOk,
    Batch: _BatchOk,
    GetAutocommit: _GetAutocommitOk,
    Close: _CloseOk,
}


def decode_answer(
    body: bytes, requests: Sequence[StreamRequest]
) -> tuple[str | None, list[StreamResult]]:
    """Read a pipeline's answer: the next baton, and one result for each request in order.

    Raises: RemoteProtocolError when the body is not of the documented shape or does not answer
    these requests. Errors of single requests are among the results, not raised.
    """
    try:
        answer = _answers.decode(_with_signed_zeros(body))
        results = [_decode_result(result) for result in answer.results]
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        raise RemoteProtocolError(
            f"the server's answer is not a Hrana pipeline result: {type(exc).__name__}"
        ) from None
    asked = [_ANSWERS.get(type(request)) for request in requests]
    told = [type(r.response) if isinstance(r, _Ok) else None for r in answer.results]
    if len(asked) != len(told) or any(t not in (None, a) for a, t in zip(asked, told, strict=True)):
        raise RemoteProtocolError("the server's answer does not match the requests of the pipeline")
    return answer.baton, results


# The JSON reader takes `-0` for the integer 0. Inside a string every quote has a backslash before
# it, so this is always a member of an object.
_MINUS_ZERO = re.compile(rb'("value"[ \t\n\r]*:[ \t\n\r]*-0)(?=[ \t\n\r]*[,}])')


def _with_signed_zeros(body: bytes) -> bytes:
    """The body with REAL -0, as Hrana writes it, in the form -0.0 that keeps its sign."""
    return _MINUS_ZERO.sub(rb"\1.0", body) if b"-0" in body else body


def _decode_result(result: _Ok | _Failed) -> StreamResult:
    if isinstance(result, _Failed):
        return result.error.decode()
    match result.response:
        case _ExecuteOk(result=value) | _BatchOk(result=value):
            return value.decode()
        case _GetAutocommitOk(is_autocommit=value):
            return value
    return None


def encode_answer(
    baton: str | None, requests: Sequence[StreamRequest], results: Iterable[StreamResult]
) -> bytes:
    """The body of a pipeline's 200 answer: one result for each request, in order."""
    encoded = [
        _encode_result(TYPE_NAMES.get(type(request), ""), result)
        for request, result in zip(requests, results, strict=True)
    ]
    return write_document({"baton": baton, "base_url": None, "results": encoded})


def _encode_result(kind: str, result: StreamResult) -> dict[str, Any]:
    if isinstance(result, StreamError):
        return {"type": "error", "error": _encode_error(result)}
    response: dict[str, Any] = {"type": kind}
    if isinstance(result, Result):
        response["result"] = _encode_stmt_result(result)
    elif isinstance(result, BatchResult):
        response["result"] = {
            "step_results": [None if r is None else _encode_stmt_result(r) for r in result.results],
            "step_errors": [None if e is None else _encode_error(e) for e in result.errors],
        }
    elif isinstance(result, bool):
        response["is_autocommit"] = result
    return {"type": "ok", "response": response}


def _encode_error(error: StreamError) -> dict[str, Any]:
    return {"message": error.message, "code": error.code}


def _encode_stmt_result(result: Result) -> dict[str, Any]:
    decltypes = result.decltypes or (None,) * len(result.columns)
    encoded: dict[str, Any] = {
        "cols": [
            {"name": name, "decltype": decltype}
            for name, decltype in zip(result.columns, decltypes, strict=True)
        ],
        "rows": [_encode_row(row) for row in result.rows],
        "affected_row_count": result.rows_affected,
        "last_insert_rowid": str(result.last_insert_id) if result.last_insert_id else None,
    }
    return encoded | {"truncated": True} if result.truncated else encoded


def _encode_row(row: Row) -> list[dict[str, Any]]:
    return [encode_value(value) for value in row]
