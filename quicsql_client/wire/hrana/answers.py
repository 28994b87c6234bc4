"""Pipeline answers: encoded by the server, decoded by the client.

Source: protocol/hrana.md, "Request and response envelope" and "Request types".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from ...errors import RemoteProtocolError
from ...types import Description, Result
from ..document import write_document
from ..values import decode_base64, encode_base64
from .messages import (
    TYPE_NAMES,
    Batch,
    BatchResult,
    Close,
    CloseSQL,
    Describe,
    Execute,
    GetAutocommit,
    Script,
    SessionChangeset,
    SessionStart,
    StoreSQL,
    StreamError,
    StreamRequest,
    StreamResult,
)
from .results import (
    Col,
    ErrorObject,
    StmtResult,
    encode_error,
    encode_stmt_result,
    with_signed_zeros,
)


class _BatchResult(msgspec.Struct):
    step_results: list[StmtResult | None]
    step_errors: list[ErrorObject | None]

    def decode(self) -> BatchResult:
        return BatchResult(
            tuple(None if r is None else r.decode() for r in self.step_results),
            tuple(None if e is None else e.decode() for e in self.step_errors),
        )


class _Param(msgspec.Struct):
    name: str | None = None


class _DescribeResult(msgspec.Struct):
    params: list[_Param]
    cols: list[Col]
    is_explain: bool
    is_readonly: bool

    def decode(self) -> Description:
        return Description(
            tuple(param.name for param in self.params),
            tuple((col.name or "", col.decltype) for col in self.cols),
            self.is_explain,
            self.is_readonly,
        )


class _ExecuteOk(msgspec.Struct, tag_field="type", tag="execute"):
    result: StmtResult


class _BatchOk(msgspec.Struct, tag_field="type", tag="batch"):
    result: _BatchResult


class _DescribeOk(msgspec.Struct, tag_field="type", tag="describe"):
    result: _DescribeResult


class _SequenceOk(msgspec.Struct, tag_field="type", tag="sequence"):
    pass


class _StoreSQLOk(msgspec.Struct, tag_field="type", tag="store_sql"):
    pass


class _CloseSQLOk(msgspec.Struct, tag_field="type", tag="close_sql"):
    pass


class _SessionStartOk(msgspec.Struct, tag_field="type", tag="session_start"):
    pass


class _SessionChangesetOk(msgspec.Struct, tag_field="type", tag="session_changeset"):
    changeset: str


class _GetAutocommitOk(msgspec.Struct, tag_field="type", tag="get_autocommit"):
    is_autocommit: bool


class _CloseOk(msgspec.Struct, tag_field="type", tag="close"):
    pass


class _Ok(msgspec.Struct, tag_field="type", tag="ok"):
    response: (
        _ExecuteOk
        | _BatchOk
        | _DescribeOk
        | _SequenceOk
        | _StoreSQLOk
        | _CloseSQLOk
        | _SessionStartOk
        | _SessionChangesetOk
        | _GetAutocommitOk
        | _CloseOk
    )


class _Failed(msgspec.Struct, tag_field="type", tag="error"):
    error: ErrorObject


class _PipelineAnswer(msgspec.Struct):
    baton: str | None
    results: list[_Ok | _Failed]


_answers = msgspec.json.Decoder(_PipelineAnswer)

_ANSWERS: dict[type, type] = {
    Execute: _ExecuteOk,
    Batch: _BatchOk,
    Describe: _DescribeOk,
    Script: _SequenceOk,
    StoreSQL: _StoreSQLOk,
    CloseSQL: _CloseSQLOk,
    SessionStart: _SessionStartOk,
    SessionChangeset: _SessionChangesetOk,
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
        answer = _answers.decode(with_signed_zeros(body))
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


def _decode_result(result: _Ok | _Failed) -> StreamResult:
    if isinstance(result, _Failed):
        return result.error.decode()
    match result.response:
        case _ExecuteOk(result=value) | _BatchOk(result=value) | _DescribeOk(result=value):
            return value.decode()
        case _SessionChangesetOk(changeset=text):
            return decode_base64(text)
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
        return {"type": "error", "error": encode_error(result)}
    response: dict[str, Any] = {"type": kind}
    if isinstance(result, Result):
        response["result"] = encode_stmt_result(result)
    elif isinstance(result, BatchResult):
        response["result"] = {
            "step_results": [None if r is None else encode_stmt_result(r) for r in result.results],
            "step_errors": [None if e is None else encode_error(e) for e in result.errors],
        }
    elif isinstance(result, Description):
        response["result"] = _encode_description(result)
    elif isinstance(result, bytes):
        response["changeset"] = encode_base64(result)
    elif isinstance(result, bool):
        response["is_autocommit"] = result
    return {"type": "ok", "response": response}


def _encode_description(description: Description) -> dict[str, Any]:
    return {
        "params": [{"name": name} for name in description.params],
        "cols": [{"name": name, "decltype": declared} for name, declared in description.columns],
        "is_explain": description.is_explain,
        "is_readonly": description.is_readonly,
    }
