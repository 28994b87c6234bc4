"""The judge is just: it finds every recorded answer equal to itself, and sees what differs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from .leniency import VOLATILE
from .placeholders import Placeholders
from .recording import VARIANTS, Recorded, Send, every_step, load_cases
from .rules import RULES, difference
from .ways import Answer

NAMES = Placeholders()


def compare(rule: str, recorded: Any, given: Any, **keys: Any) -> str | None:
    """What a rule says of two documents, or of two texts."""
    status = keys.pop("status", 200)
    send = Send(listener="h1", identity="tok", target="/app/query", compare=rule, **keys)
    one = {"text": recorded} if isinstance(recorded, str) else {"json": recorded}
    body = given if isinstance(given, str) else json.dumps(given)
    answer = Answer(status, {"content-type": "application/json"}, body.encode())
    return difference(send, Recorded(status=200, **one), answer, NAMES)


def answer_of(recorded: Recorded) -> Answer:
    """A server's answer that equals a recorded one."""
    if recorded.lines is not None:
        content = "\n".join(map(json.dumps, recorded.lines)).encode()
    elif recorded.is_empty:
        content = b""
    else:
        content = recorded.content or json.dumps(recorded.json).encode()
    return Answer(recorded.status, dict(recorded.headers), content, recorded.frames, recorded.ended)


def every_recorded() -> Iterator[tuple[str, Send, Recorded]]:
    """Every answer whose recording is all that its rule looks at, with its case."""
    for variant in VARIANTS:
        for case in load_cases(variant):
            for step in every_step(case.steps):
                is_whole = step.send.compare not in ("sqlite", "status+truncated")
                if step.answer is not None and is_whole and step.send.pick is None:
                    yield case.id, step.send, step.answer


def test_every_recorded_answer_equals_itself() -> None:
    found = [
        (case, said)
        for case, send, recorded in every_recorded()
        if (said := difference(send, recorded, answer_of(recorded), NAMES))
    ]
    assert not found


def test_every_other_status_is_a_difference() -> None:
    for case, send, recorded in every_recorded():
        answer = answer_of(recorded)
        other = Answer(418, answer.headers, answer.content)
        assert difference(send, recorded, other, NAMES), case


def test_every_further_key_of_a_document_is_a_difference() -> None:
    seen = 0
    for case, send, recorded in every_recorded():
        if send.compare not in ("exact", "sqlerror", "errprefix"):
            continue
        if recorded.is_empty or not isinstance(document := recorded.document(), dict):
            continue
        seen += 1
        more = json.dumps({**document, "more": 1}).encode()
        answer = Answer(recorded.status, recorded.headers, more)
        assert difference(send, recorded, answer, NAMES), case
    assert seen > 1000


def test_every_rule_is_used_and_known() -> None:
    used = {send.compare for _, send, _ in every_recorded()}
    assert used | {"sqlite", "status+truncated"} == set(RULES)


@pytest.mark.parametrize(
    ("recorded", "given"),
    [
        ({"rows": [[1]]}, {"rows": [[1.0]]}),
        ({"rows": [[1]]}, {"rows": [[True]]}),
        ({"rows": [[1]]}, {"rows": [["1"]]}),
        ({"rows": [[1]]}, {"rows": [[1], [1]]}),
        ({"rows": [[0.0]]}, {"rows": [[1e-9]]}),
        ({"rows": None}, {"rows": []}),
        ({"token": "a"}, {"token": None}),
        ({"error": {"message": "a"}}, {"error": {"message": "a b"}}),
        ({"decltype": "TEXT"}, {"decltype": None}),
        ({"a": 1}, ""),
        ("", {"a": 1}),
    ],
)
def test_exact_sees(recorded: Any, given: Any) -> None:
    assert compare("exact", recorded, given)


@pytest.mark.parametrize(
    ("recorded", "given"),
    [
        ({"token": "a", "expires_at": "x"}, {"token": "b", "expires_at": "y"}),
        ({"baton": None}, {"baton": None}),
        ({"code": "ec_1"}, {"code": "ec_2"}),
        ({"cols": [{"decltype": None}]}, {"cols": [{"decltype": "TEXT"}]}),
        ("", ""),
    ],
)
def test_exact_passes_over(recorded: Any, given: Any) -> None:
    assert compare("exact", recorded, given) is None


def test_a_body_that_is_no_document_raises() -> None:
    with pytest.raises(ValueError, match="Expecting"):
        compare("exact", {"a": 1}, '{"a": ')


@pytest.mark.parametrize(
    ("sql", "counter", "is_compared"),
    [
        ("INSERT INTO t VALUES(1)", "last_insert_id", True),
        ("UPDATE t SET x = 1", "rows_affected", True),
        ("UPDATE t SET x = 1", "last_insert_id", False),
        ("INSERT INTO t VALUES(1) RETURNING x", "rows_affected", False),
        ("CREATE TABLE t(x)", "rows_affected", False),
        ("", "rows_affected", False),
    ],
)
def test_counters_count_where_the_statement_sets_them(
    sql: str, counter: str, is_compared: bool
) -> None:
    assert bool(compare("exact", {counter: 1}, {counter: 2}, json={"sql": sql})) is is_compared


def test_counters_within_pipelines_batches_and_cursors() -> None:
    steps = {
        "batch": {"steps": [{"stmt": {"sql": "SELECT 1"}}, {"stmt": {"sql": "DELETE FROM t"}}]}
    }
    pipeline = {"requests": [{"type": "batch", **steps}]}
    for counts, differs in (([1, 1], False), ([2, 1], False), ([1, 2], True)):
        one, other = (_batch_answer(*these) for these in ([1, 1], counts))
        assert bool(compare("exact", one, other, json=pipeline)) is differs
        lines = [_cursor_lines(*these) for these in ([1, 1], counts)]
        assert bool(compare("ndjson", *lines, json=steps)) is differs


def _batch_answer(*counts: int) -> Any:
    results = [{"affected_row_count": count} for count in counts]
    return {"results": [{"response": {"result": {"step_results": results}}}]}


def _cursor_lines(*counts: int) -> str:
    entries = []
    for step, count in enumerate(counts):
        entries += [{"type": "step_begin", "step": step}]
        entries += [{"type": "step_end", "affected_row_count": count}]
    return "\n".join(map(json.dumps, entries))


@pytest.mark.parametrize("rule", ["sqlerror", "errprefix"])
def test_codes_of_errors_count(rule: str) -> None:
    def error(message: str, code: Any) -> Any:
        return {"error": {"message": message, "code": code}}

    one = error("near: x", 1)
    assert compare(rule, one, error("near: x", 19))
    assert compare(rule, one, error("other", 1))
    assert compare(rule, one, {"error": {}})
    assert compare(rule, one, error("near: x", 1)) is None
    assert bool(compare(rule, one, error("near: y", 1))) is (rule == "sqlerror")
    assert bool(compare(rule, one, error("SQL: near: x", 1))) is (rule == "errprefix")


def test_an_empty_message_equals_no_other() -> None:
    assert compare("sqlerror", {"error": {"message": "x"}}, {"error": {"message": ""}})


@pytest.mark.parametrize(
    ("rule", "recorded", "equal", "other"),
    [
        ("shape", {"a": [1], "b": "x"}, {"b": "y", "a": [2, 3]}, {"a": ["1"], "b": "x"}),
        ("bytes", "abc", "abc", "abd"),
        ("metrics", "# TYPE a counter\na{x=1} 2", "b 1\na 3", "b 1"),
        ("ndjson", '{"a": 1}\n{"b": 2}', '{"a":1}\n{"b":2}\n', '{"a":1}'),
    ],
)
def test_each_other_rule_sees_what_it_looks_at(
    rule: str, recorded: Any, equal: Any, other: Any
) -> None:
    assert compare(rule, recorded, equal) is None
    assert compare(rule, recorded, other)


def test_lines_are_those_that_match_and_sums_are_numbers() -> None:
    assert compare("lines", "x_sum{} 1.5\nx_count 1", "x_sum{} 9\nx_count 1", match="x_") is None
    assert compare("lines", "x_count 1\ny 1", "x_count 1\ny 2", match="x_") is None
    assert compare("lines", "x_count 1", "x_count 2", match="x_")


@pytest.mark.parametrize(
    ("given", "status", "is_timeout"),
    [
        ({"error": {"message": "statement timed out"}}, 504, True),
        ({"error": {"message": "interrupted", "code": 9}}, 200, True),
        ({"results": [{"error": {"message": "x", "code": "SQLITE_INTERRUPT"}}]}, 200, True),
        ({"error": {"message": "syntax", "code": 1}}, 200, False),
        ({"rows": []}, 200, False),
        ({"error": {"message": "statement timed out"}}, 500, False),
    ],
)
def test_a_timeout_has_many_forms(given: Any, status: int, is_timeout: bool) -> None:
    assert bool(compare("timeout", {}, given, status=status)) is not is_timeout


def test_truncated_has_to_be_set() -> None:
    assert compare("status+truncated", {}, {"truncated": True}) is None
    assert compare("status+truncated", {}, {"truncated": False})


def test_an_image_is_one() -> None:
    assert compare("sqlite", "", "SQLite format 3\0...") is None
    assert compare("sqlite", "", "SQLite")


def frames(*numbers: int, rowid: int = 1) -> list[dict[str, Any]]:
    return [
        {"id": str(number), "event": "change", "data": {"seq": number, "rowid": rowid}}
        for number in numbers
    ]


@pytest.mark.parametrize(
    ("given", "ended", "differs"),
    [
        (frames(7, 8), False, False),
        (frames(1, 3), False, True),
        (frames(1), False, True),
        (frames(1, 2, rowid=2), False, True),
        (frames(1, 2), True, True),
    ],
)
def test_frames_count_from_the_first(given: Any, ended: bool, differs: bool) -> None:
    send = Send(listener="h1", identity="tok", target="/app/changes", compare="sse")
    recorded = Recorded(status=200, frames=frames(1, 2))
    answer = Answer(200, {"content-type": "application/json"}, frames=given, ended=ended)
    assert bool(difference(send, recorded, answer, NAMES)) is differs


@pytest.mark.parametrize(
    ("head", "given", "differs"),
    [
        ("alt-svc", {"alt-svc": 'h3=":1"; ma=2592000'}, False),
        ("alt-svc", {"alt-svc": 'h3=":1"; ma=1'}, True),
        ("alt-svc", {}, True),
        ("alt-svc?", {"alt-svc": "x"}, False),
        ("alt-svc?", {}, True),
        ("vary?", {"vary": "Origin"}, True),
    ],
)
def test_headers_count_where_a_step_names_them(
    head: str, given: dict[str, str], differs: bool
) -> None:
    send = Send(listener="h1", identity="tok", target="/", compare="status", head=(head,))
    recorded = Recorded(status=200, headers={"alt-svc": 'h3=":7777"; ma=2592000'})
    assert bool(difference(send, recorded, Answer(200, given), NAMES)) is differs


def test_what_a_401_asks_for_always_counts() -> None:
    send = Send(listener="h1", identity="tok", target="/", compare="status")
    recorded = Recorded(status=401, headers={"www-authenticate": "Bearer"})
    assert difference(send, recorded, Answer(401, {}), NAMES)


def test_media_types_count() -> None:
    send = Send(listener="h1", identity="tok", target="/")
    answer = Answer(200, {"content-type": "text/plain"}, b"{}")
    assert difference(send, Recorded(status=200, json={}), answer, NAMES)


def test_only_picked_elements_count() -> None:
    recorded = {"databases": [{"name": "a", "kind": "file"}]}
    given = {"databases": [{"name": "b", "kind": "x"}, {"name": "a", "kind": "file"}]}
    pick = ("databases", "name", "a")
    assert compare("exact", recorded, given, pick=pick) is None
    given["databases"][1]["kind"] = "memory"
    assert compare("exact", recorded, given, pick=pick)


def test_volatile_keys_are_compared_by_type() -> None:
    for key in VOLATILE:
        assert compare("exact", {key: "a"}, {key: "b"}) is None
        assert compare("exact", {key: "a"}, {key: 1})
    assert compare("exact", {"dest": "a"}, {"dest": "b"}, mask=frozenset({"dest"})) is None
