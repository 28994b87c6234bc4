"""What two equal answers may differ in: volatile values, leftover counters, declared types.

It changes or masks documents before they are compared; it compares nothing itself.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from .recording import ABSENT, Send

VOLATILE = frozenset(
    (
        *("baton", "challenge", "id", "token"),
        *("expires_at", "max_expires_at", "created_at", "last_seen"),
        *("age_seconds", "idle_seconds"),
    )
)
_ENROLMENT_CODE = "ec_"
_COUNTERS = ("rows_affected", "affected_row_count", "last_insert_id", "last_insert_rowid")


def masked(value: Any, volatile: Container[str] = VOLATILE, *, key: str = "") -> Any:
    """The value with types beside scalars, and with the scalars of volatile keys as types alone."""
    if isinstance(value, dict):
        return {name: masked(inner, volatile, key=name) for name, inner in value.items()}
    if isinstance(value, list):
        return [masked(inner, volatile) for inner in value]
    if value is not None and key in volatile:
        return f"<{type(value).__name__}>"
    if key == "code" and isinstance(value, str) and value.startswith(_ENROLMENT_CODE):
        return "<code>"
    return type(value).__name__, value


def shape(value: Any) -> Any:
    """Keys and types; of a list its first element's."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in sorted(value.items())}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def drop_leftover_counters(document: Any, send: Send) -> None:
    """Removes the counters of statements that set none: upstream tells those of an earlier one."""
    asked = send.json if send.json is not ABSENT and isinstance(send.json, dict) else {}
    if isinstance(document, list):
        _drop_in_cursor(document, asked)
    elif not isinstance(document, dict):
        return
    elif "requests" in asked:
        _drop_in_pipeline(document, asked["requests"])
    elif "statements" in asked:
        for statement, result in zip(
            asked["statements"], document.get("results", []), strict=False
        ):
            _drop_counters(result, (statement or {}).get("sql"))
    else:
        _drop_counters(document, asked.get("sql"))


def _drop_in_pipeline(document: dict[str, Any], requests: list[Any]) -> None:
    for request, answer in zip(requests, document.get("results", []), strict=False):
        result = (answer.get("response") or {}).get("result") or {}
        kind = (request or {}).get("type")
        if kind == "execute":
            _drop_counters(result, (request.get("stmt") or {}).get("sql"))
        elif kind == "batch":
            for step, given in zip(
                (request.get("batch") or {}).get("steps") or [],
                result.get("step_results", []),
                strict=False,
            ):
                _drop_counters(given, (step.get("stmt") or {}).get("sql"))


def _drop_in_cursor(entries: list[Any], asked: dict[str, Any]) -> None:
    """A step's SQL is known from its step_begin; the counters stand in its step_end."""
    steps = (asked.get("batch") or {}).get("steps") or []
    sql = None
    for entry in entries:
        if entry.get("type") == "step_begin" and entry.get("step", -1) in range(len(steps)):
            sql = (steps[entry["step"]].get("stmt") or {}).get("sql")
        _drop_counters(entry, sql)


def _drop_counters(result: Any, sql: str | None) -> None:
    if isinstance(result, dict):
        for name in set(_COUNTERS) - set(_counters_set_by(sql or "")):
            result.pop(name, None)


def _counters_set_by(sql: str) -> tuple[str, ...]:
    """Upstream says 0 for RETURNING, where ours says the truth: neither is compared."""
    words = sql.upper().split(None, 1)
    if not words or "RETURNING" in sql.upper():
        return ()
    if words[0] in ("INSERT", "REPLACE"):
        return _COUNTERS
    return _COUNTERS[:2] if words[0] in ("UPDATE", "DELETE") else ()


def forget_added_decltypes(recorded: Any, given: Any) -> None:
    """Sets a declared type to null where the recording has null and the answer says more."""
    if isinstance(recorded, dict) and isinstance(given, dict):
        if recorded.get("decltype", "") is None and "decltype" in given:
            given["decltype"] = None
        for key in recorded.keys() & given.keys():
            forget_added_decltypes(recorded[key], given[key])
    elif isinstance(recorded, list) and isinstance(given, list):
        for one, other in zip(recorded, given, strict=False):
            forget_added_decltypes(one, other)


def picked(document: Any, pick: tuple[str, str, str]) -> dict[str, list[Any]]:
    """Only the elements of a list whose field has that value, in an order of their own."""
    name, field, value = pick
    chosen = [item for item in document[name] if item.get(field) == value]
    return {name: sorted(chosen, key=lambda item: repr(masked(item)))}
