"""Pipeline and cursor requests: encoded by the client, decoded by the server.

Source: protocol/hrana.md, "Request and response envelope", "Request types" and "Cursor".
"""

from __future__ import annotations

from typing import Any

import msgspec

from ...types import Value
from ..document import Number, Pairs, fields, invalid, kind_of, read_document
from .messages import (
    TYPE_NAMES,
    Batch,
    Close,
    CloseSQL,
    Condition,
    Cursor,
    Describe,
    Execute,
    GetAutocommit,
    Pipeline,
    Script,
    SessionChangeset,
    SessionStart,
    Step,
    Stmt,
    StoreSQL,
    StreamRequest,
    Unknown,
)
from .values import decode_value, encode_value


def encode_pipeline(pipeline: Pipeline) -> bytes:
    """The body of a pipeline request."""
    requests = [_encode_request(request) for request in pipeline.requests]
    return msgspec.json.encode({"baton": pipeline.baton, "requests": requests})


def encode_cursor(cursor: Cursor) -> bytes:
    """The body of a cursor request."""
    return msgspec.json.encode({"baton": cursor.baton, "batch": _encode_batch(cursor.steps)})


def _encode_request(request: StreamRequest) -> dict[str, Any]:
    if isinstance(request, Unknown):
        return {"type": request.kind}
    return {"type": TYPE_NAMES[type(request)], **_encode_members(request)}


def _encode_members(request: StreamRequest) -> dict[str, Any]:
    match request:
        case Execute(stmt):
            return {"stmt": _encode_stmt(stmt)}
        case Batch(steps):
            return {"batch": _encode_batch(steps)}
        case Script(sql, sql_id) | Describe(sql, sql_id) | StoreSQL(sql_id, sql):
            return _given(sql=sql, sql_id=sql_id)
        case CloseSQL(sql_id):
            return _given(sql_id=sql_id)
        case SessionStart(tables):
            return {"tables": tables}
    return {}


def _given(**members: Any) -> dict[str, Any]:
    return {name: member for name, member in members.items() if member is not None}


def _encode_batch(steps: tuple[Step, ...] | None) -> dict[str, Any]:
    return {"steps": [_encode_step(step) for step in steps or ()]}


def _encode_step(step: Step) -> dict[str, Any]:
    encoded: dict[str, Any] = {"stmt": _encode_stmt(step.stmt)}
    if step.condition is not None:
        encoded["condition"] = _encode_condition(step.condition)
    return encoded


def _encode_condition(condition: Condition) -> dict[str, Any]:
    encoded: dict[str, Any] = {"type": condition.kind}
    if condition.step is not None:
        encoded["step"] = condition.step
    if condition.cond is not None:
        encoded["cond"] = _encode_condition(condition.cond)
    if condition.kind in ("and", "or"):
        encoded["conds"] = [_encode_condition(cond) for cond in condition.conds]
    return encoded


def _encode_stmt(stmt: Stmt | None) -> dict[str, Any] | None:
    if stmt is None:
        return None
    encoded: dict[str, Any] = {"sql": stmt.sql, "want_rows": stmt.want_rows}
    if stmt.sql_id is not None:
        encoded["sql_id"] = stmt.sql_id
    if stmt.args:
        encoded["args"] = [encode_value(value) for value in stmt.args]
    if stmt.named_args:
        encoded["named_args"] = [
            {"name": name, "value": encode_value(value)} for name, value in stmt.named_args
        ]
    return encoded


_PIPELINE = {"baton": str, "requests": list}
_CURSOR = {"baton": str, "batch": Pairs}
_REQUEST = {
    **{"type": str, "stmt": Pairs, "batch": Pairs},
    **{"sql": str, "sql_id": Number, "tables": list},
}
_STMT = {"sql": str, "sql_id": Number, "args": list, "named_args": list, "want_rows": bool}
_NAMED = {"name": str, "value": Pairs}
_STEP = {"condition": Pairs, "stmt": Pairs}
_CONDITION = {"type": str, "step": Number, "cond": Pairs, "conds": list}

# Far beyond any use, and far within Python's recursion: conditions are evaluated recursively.
_MAX_CONDITION_DEPTH = 100
_INT32 = range(-(2**31), 2**31)


def decode_pipeline(body: bytes) -> Pipeline:
    """Read a pipeline request. Raises RemoteProtocolError for the whole body; nothing may run then.

    Source: protocol/hrana.md, "JSON rules" and "Request types".
    """
    top = fields(read_document(body), "pipeline", _PIPELINE)
    requests = tuple(map(_decode_request, top.get("requests", ())))
    return Pipeline(top.get("baton") or None, requests)


def decode_cursor(body: bytes) -> Cursor:
    """Read a cursor request. Raises RemoteProtocolError for the whole body; nothing may run then.

    Source: protocol/hrana.md, "JSON rules" and "Cursor".
    """
    top = fields(read_document(body), "cursor", _CURSOR)
    return Cursor(top.get("baton") or None, _decode_steps(top.get("batch")))


def _decode_request(raw: Any) -> StreamRequest:
    """One request. All members are read, for a bad one refuses the body whatever the type is."""
    found = fields(raw, "request", _REQUEST)
    stmt = _decode_stmt(found["stmt"]) if "stmt" in found else None
    steps = _decode_steps(found.get("batch"))
    sql, sql_id = found.get("sql"), _decode_number(found.get("sql_id"), "sql_id")
    tables = tuple(map(_decode_table, found.get("tables", ())))
    match found.get("type", ""):
        case "execute":
            return Execute(stmt)
        case "batch":
            return Batch(steps)
        case "sequence":
            return Script(sql, sql_id)
        case "describe":
            return Describe(sql, sql_id)
        case "store_sql":
            return StoreSQL(sql_id, sql)
        case "close_sql":
            return CloseSQL(sql_id)
        case "get_autocommit":
            return GetAutocommit()
        case "session_start":
            return SessionStart(tables)
        case "session_changeset":
            return SessionChangeset()
        case "close":
            return Close()
        case kind:
            return Unknown(kind)


def _decode_table(raw: Any) -> str:
    if raw is None:
        return ""
    if type(raw) is not str:  # a number is a str of its own kind
        raise invalid(f"request.tables must hold strings, not {kind_of(raw)}")
    return raw


def _decode_steps(raw: Any) -> tuple[Step, ...] | None:
    if raw is None:
        return None
    steps = fields(raw, "batch", {"steps": list}).get("steps", ())
    return tuple(map(_decode_step, steps))


def _decode_step(raw: Any) -> Step:
    found = fields(raw, "step", _STEP)
    return Step(_decode_stmt(found.get("stmt")), _decode_condition(found.get("condition")))


def _decode_condition(raw: Any, depth: int = 0) -> Condition | None:
    if raw is None:
        return None
    if depth > _MAX_CONDITION_DEPTH:
        raise invalid("exceeded max depth")
    found = fields(raw, "condition", _CONDITION)
    conds = [_decode_condition(cond, depth + 1) for cond in found.get("conds", ())]
    return Condition(
        found.get("type", ""),
        _decode_number(found.get("step"), "step"),
        _decode_condition(found.get("cond"), depth + 1),
        tuple(cond or Condition("") for cond in conds),
    )


def _decode_stmt(raw: Any) -> Stmt:
    found = fields(raw, "stmt", _STMT)
    return Stmt(
        found.get("sql"),
        _decode_number(found.get("sql_id"), "sql_id"),
        tuple(map(decode_value, found.get("args", ()))),
        tuple(map(_decode_named, found.get("named_args", ()))),
        found.get("want_rows", True),
    )


def _decode_named(raw: Any) -> tuple[str, Value]:
    found = fields(raw, "named_args", _NAMED)
    return found.get("name", ""), decode_value(found.get("value"))


def _decode_number(literal: Number | None, what: str) -> int | None:
    if literal is None:
        return None
    try:
        number = int(literal)
    except ValueError:
        raise invalid(f"{what} must be an integer") from None
    if number not in _INT32:
        raise invalid(f"{what} must be an integer of 32 bits")
    return number
