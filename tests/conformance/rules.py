"""The rules by which an answer is compared with the recorded one, one function each (README.md).

A rule gives None for an equal answer, else what differs, in words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from .frames import relative
from .leniency import (
    VOLATILE,
    drop_leftover_counters,
    forget_added_decltypes,
    masked,
    picked,
    shape,
)
from .placeholders import Placeholders
from .recording import Recorded, Send, read_lines
from .ways import Answer

Difference = str | None
Rule = Callable[[Send, Recorded, Answer], Difference]

_SHOWN_CHARACTERS = 300
_SQLITE_IMAGE = b"SQLite format 3"
_INTERRUPTED = (9, "SQLITE_INTERRUPT")


def difference(send: Send, recorded: Recorded, answer: Answer, names: Placeholders) -> Difference:
    """What differs, or None. names: for the placeholders of `pick`."""
    if send.pick is not None:
        answer = _only_picked(answer, (send.pick[0], send.pick[1], names.fill(send.pick[2])))
    if send.compare == "timeout" and {answer.status, recorded.status} <= {200, 504}:
        return _timeout(send, recorded, answer)
    found = _head_difference(send, recorded, answer)
    return found or RULES[send.compare](send, recorded, answer)


def _only_picked(answer: Answer, pick: tuple[str, str, str]) -> Answer:
    try:
        chosen = picked(answer.document(), pick)
    except (ValueError, LookupError, TypeError, AttributeError):
        return answer  # the rule says what is wrong with it
    return Answer(answer.status, answer.headers, json.dumps(chosen).encode())


def _head_difference(send: Send, recorded: Recorded, answer: Answer) -> Difference:
    if answer.status != recorded.status:
        return f"status {answer.status}, recorded {recorded.status}: {_shown(answer.text)}"
    wanted, given = (_media_type(one.headers) for one in (recorded, answer))
    if wanted and given != wanted and send.compare not in ("status", "sqlite"):
        return f"media type {given!r}, recorded {wanted!r}"
    names = ["www-authenticate"] if recorded.status == 401 else []
    for name in (*names, *send.head):
        want, got = _header(recorded.headers, name), _header(answer.headers, name)
        if want != got:
            return f"header {name} {got!r}, recorded {want!r}"
    return None


def _media_type(headers: Any) -> str:
    return str(headers.get("content-type", "")).partition(";")[0]


def _header(headers: Any, name: str) -> str | bool | None:
    """A header as it is compared: whether it is there, for `name?`; the port of Alt-Svc aside."""
    value = headers.get(name.removesuffix("?"))
    if name.endswith("?"):
        return value is not None
    return value if value is None else re.sub(r'":\d+"', '":<port>"', value)


def _nothing_more(_send: Send, _recorded: Recorded, _answer: Answer) -> Difference:
    return None


def _truncated(_send: Send, _recorded: Recorded, answer: Answer) -> Difference:
    return None if answer.document().get("truncated") is True else "truncated is not set"


def _sqlite(_send: Send, _recorded: Recorded, answer: Answer) -> Difference:
    is_image = answer.content.startswith(_SQLITE_IMAGE)
    return None if is_image else f"no SQLite image: {answer.content[:20]!r}"


def _bytes(_send: Send, recorded: Recorded, answer: Answer) -> Difference:
    if answer.content == recorded.content:
        return None
    return f"{answer.content[:60]!r}, recorded {recorded.content[:60]!r}"


def _metrics(_send: Send, recorded: Recorded, answer: Answer) -> Difference:
    missing = _series(recorded.text) - _series(answer.text)
    return f"series missing: {sorted(missing)}" if missing else None


def _series(text: str) -> set[str]:
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return {re.split(r"[{ ]", line)[0] for line in lines}


def _lines(send: Send, recorded: Recorded, answer: Answer) -> Difference:
    want, got = (_matching(text, send.match) for text in (recorded.text, answer.text))
    return None if want == got else f"lines {got}, recorded {want}"


def _matching(text: str, match: str) -> list[str]:
    chosen = (line for line in text.splitlines() if match in line)
    return sorted(re.sub(r"(_sum\S*) \S+", r"\1 <number>", line) for line in chosen)


def _sse(send: Send, recorded: Recorded, answer: Answer) -> Difference:
    if recorded.status != 200:
        return _exact(send, recorded, answer)
    want, got = relative(recorded.frames), relative(answer.frames)
    if masked(want, ()) != masked(got, ()):
        return _unequal(want, got)
    if recorded.ended != answer.ended:
        return f"the stream ended: {answer.ended}, recorded {recorded.ended}"
    return None


def _timeout(_send: Send, _recorded: Recorded, answer: Answer) -> Difference:
    for code, _, message in errors_of(answer.document()):
        if "timed out" in message or code in _INTERRUPTED:
            return None
    return f"it did not run out of time: {_shown(answer.text)}"


def _shape(_send: Send, recorded: Recorded, answer: Answer) -> Difference:
    want, got = shape(recorded.document()), shape(answer.document())
    return None if want == got else f"shape {got}, recorded {want}"


def _exact(send: Send, recorded: Recorded, answer: Answer) -> Difference:
    if recorded.is_empty or not answer.content:
        return _both_empty(recorded, answer)
    return _documents(send, recorded.document(), answer.document())


def _sqlerror(send: Send, recorded: Recorded, answer: Answer) -> Difference:
    if recorded.is_empty or not answer.content:
        return _both_empty(recorded, answer)
    want, got = recorded.document(), answer.document()
    return _errors(want, got, _contains) or _documents(send, _silent(want), _silent(got))


def _errprefix(send: Send, recorded: Recorded, answer: Answer) -> Difference:
    if recorded.is_empty or not answer.content:
        return _both_empty(recorded, answer)
    want, got = recorded.document(), answer.document()
    return _errors(want, got, _begins_alike) or _documents(send, _silent(want), _silent(got))


def _ndjson(send: Send, recorded: Recorded, answer: Answer) -> Difference:
    if recorded.status != 200:
        return _sqlerror(send, recorded, answer)
    want, got = recorded.document_lines(), read_lines(answer.text)
    return _errors(want, got, _contains) or _documents(send, _silent(want), _silent(got))


def _both_empty(recorded: Recorded, answer: Answer) -> Difference:
    if recorded.is_empty and not answer.content:
        return None
    return f"body {_shown(answer.text)}, recorded {'none' if recorded.is_empty else 'some'}"


def _documents(send: Send, want: Any, got: Any) -> Difference:
    drop_leftover_counters(want, send)
    drop_leftover_counters(got, send)
    forget_added_decltypes(want, got)
    volatile = VOLATILE | send.mask
    if masked(want, volatile) == masked(got, volatile):
        return None
    return _unequal(want, got)


def _errors(want: Any, got: Any, alike: Callable[[str, str], bool]) -> Difference:
    wanted, given = errors_of(want), errors_of(got)
    if len(wanted) != len(given):
        return f"{len(given)} errors, recorded {len(wanted)}: {_shown(json.dumps(got))}"
    for (*want_codes, want_text), (*got_codes, got_text) in zip(wanted, given, strict=True):
        if want_codes != got_codes:
            return f"error codes {got_codes}, recorded {want_codes} ({got_text!r})"
        if not alike(want_text, got_text):
            return f"error message {got_text!r}, recorded {want_text!r}"
    return None


def errors_of(value: Any) -> list[tuple[Any, Any, str]]:
    """Every error object of an answer in its order: code, extended code and message."""
    found: list[tuple[Any, Any, str]] = []
    if isinstance(value, dict):
        if isinstance(value.get("message"), str):
            found.append((value.get("code"), value.get("extended_code"), value["message"]))
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            found += errors_of(inner)
    return found


def _silent(value: Any) -> Any:
    """The value without the texts of its messages."""
    if isinstance(value, dict):
        return {k: "<message>" if k == "message" else _silent(v) for k, v in value.items()}
    return [_silent(inner) for inner in value] if isinstance(value, list) else value


def _contains(want: str, got: str) -> bool:
    return want in got or (got != "" and got in want)


def _begins_alike(want: str, got: str) -> bool:
    return want.partition(":")[0] == got.partition(":")[0]


def _unequal(want: Any, got: Any) -> str:
    return f"{_shown(json.dumps(got))}\n  recorded {_shown(json.dumps(want))}"


def _shown(text: str) -> str:
    return text[:_SHOWN_CHARACTERS]


RULES: dict[str, Rule] = {
    "exact": _exact,
    "sqlerror": _sqlerror,
    "errprefix": _errprefix,
    "ndjson": _ndjson,
    "shape": _shape,
    "status": _nothing_more,
    "status+truncated": _truncated,
    "bytes": _bytes,
    "sqlite": _sqlite,
    "sse": _sse,
    "timeout": _timeout,
    "lines": _lines,
    "metrics": _metrics,
}
"""Every rule but `refused`, which is the player's: there is no answer to compare."""
