"""Statements and batches without a stream, and the server's health."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quicsql_client import errors
from quicsql_client.operations.health import health
from quicsql_client.operations.query import StatementLike, as_statement, batch, database_path, query
from quicsql_client.types import Result, Statement
from quicsql_client.wire.messages import JSON_HEADERS, Request, Response

from .script import (
    CLOSED,
    EMPTY,
    EXECUTED,
    Script,
    batched,
    executed,
    failed,
    pipeline,
    play,
    refuse,
    reply,
    scalar,
)

RESULT = {"columns": ["n"], "rows": [[42]], "rows_affected": 0, "last_insert_id": 0}


@pytest.mark.parametrize("args", [(), [], {}])
def test_a_statement_is_one_native_request(args: Any) -> None:
    script = Script(reply(RESULT))
    assert script.play(query("app", Statement("SELECT 42", args))) == Result(("n",), ((42,),))
    assert script.requests == [
        Request("POST", "/app/query", JSON_HEADERS, b'{"sql":"SELECT 42"}'),
    ]


def test_positional_arguments_go_to_the_native_api() -> None:
    script = Script(reply(RESULT))
    script.play(query("app", Statement("SELECT ?", [42, b"\0"])))
    assert script.bodies() == [{"args": [42, {"base64": "AA=="}], "sql": "SELECT ?"}]


def test_named_arguments_go_as_a_pipeline_that_closes_its_stream() -> None:
    script = Script(pipeline(executed(42), CLOSED, baton=None))
    assert script.play(query("app", Statement("SELECT :a", {"a": 42}))).rows == ((42,),)
    (request,) = script.requests
    assert request.target == "/app/v3/pipeline"
    (body,) = script.bodies()
    assert body["baton"] is None
    assert [asked["type"] for asked in body["requests"]] == ["execute", "close"]
    assert body["requests"][0]["stmt"]["named_args"] == [
        {"name": "a", "value": {"type": "integer", "value": "42"}}
    ]


@pytest.mark.parametrize("args", [[1], {"a": 1}])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 500, 503, 504, 302])
def test_a_refusal_names_the_statement(args: Any, status: int) -> None:
    with pytest.raises(errors.DatabaseError) as caught:
        play(query("app", Statement("SELECT 1", args)), refuse(status))
    assert (caught.value.sql, caught.value.http_status) == ("SELECT 1", status)


@pytest.mark.parametrize(
    ("args", "answer"),
    [
        ([1], reply({"error": {"message": "no", "code": 19, "extended_code": 2067}})),
        ({"a": 1}, pipeline(failed("no", "SQLITE_CONSTRAINT_UNIQUE"), CLOSED, baton=None)),
    ],
)
def test_a_sql_error_is_the_same_on_both_ways(args: Any, answer: Response) -> None:
    """Odd-case 187."""
    with pytest.raises(errors.IntegrityError) as caught:
        play(query("app", Statement("INSERT", args)), answer)
    error = caught.value
    assert (str(error), error.code, error.extended_code) == ("no", 19, 2067)
    assert (error.name, error.sql) == ("SQLITE_CONSTRAINT_UNIQUE", "INSERT")
    assert (error.http_status, error.failed_index) == (200, None)


@pytest.mark.parametrize(
    ("args", "kind"),
    [
        ([object()], errors.ProgrammingError),
        ([2**63], errors.DataError),
        ({"": 1}, errors.ProgrammingError),
    ],
)
def test_arguments_that_cannot_be_bound_ask_nothing(args: Any, kind: type[errors.Error]) -> None:
    with pytest.raises(kind) as caught:
        play(query("app", Statement("SELECT ?", args)))
    assert caught.value.sql == "SELECT ?"


def test_a_transport_error_passes_with_the_statements_text() -> None:
    lost = errors.ReadTimeout("too late", request="POST /app/query")
    with pytest.raises(errors.ReadTimeout) as caught:
        play(query("app", Statement("SELECT 1")), lost)
    assert caught.value is lost
    assert lost.sql == "SELECT 1"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("app", "/app/query"),
        ("a b", "/a%20b/query"),
        ("a/b", "/a%2Fb/query"),
        ("é?#", "/%C3%A9%3F%23/query"),
        ("a..b", "/a..b/query"),
        ("%2e", "/%252e/query"),
        ("...", "/.../query"),
    ],
)
def test_database_names_are_one_segment_of_the_path(name: str, path: str) -> None:
    assert database_path(name, "query") == path


@pytest.mark.parametrize("name", ["", None, 1, b"app", ".", "..", "\ud800"])
def test_database_names_that_cannot_be_one(name: Any) -> None:
    with pytest.raises(errors.ProgrammingError, match="database name"):
        play(query(name, Statement("SELECT 1")))


@pytest.mark.parametrize(
    ("item", "statement"),
    [
        ("x", Statement("x")),
        (("x", [1]), Statement("x", [1])),
        (["x", {"a": 1}], Statement("x", {"a": 1})),
        (Statement("x", (2,)), Statement("x", (2,))),
    ],
)
def test_statements_as_callers_write_them(item: StatementLike, statement: Statement) -> None:
    assert as_statement(item) == statement


@pytest.mark.parametrize("item", [None, 1, b"x", ("x",), ("x", [], 1), (1, []), {"sql": "x"}])
def test_what_is_no_statement(item: Any) -> None:
    with pytest.raises(errors.ProgrammingError, match=f"not {type(item).__name__}"):
        play(batch("app", [item]))


# Batches.


def test_no_statements_ask_nothing() -> None:
    assert play(batch("app", [])) == []


def test_a_batch_is_one_native_request() -> None:
    items: list[StatementLike] = ["a", ("b", [1])]
    script = Script(reply({"results": [RESULT, RESULT]}))
    assert [result.scalar() for result in script.play(batch("app", iter(items)))] == [42, 42]
    assert script.requests[0].target == "/app/query"
    assert script.bodies() == [{"statements": [{"sql": "a"}, {"args": [1], "sql": "b"}]}]


def test_a_batch_with_empty_mappings_is_a_native_one() -> None:
    script = Script(reply({"results": [RESULT]}))
    script.play(batch("app", [("a", {})]))
    assert script.bodies() == [{"statements": [{"sql": "a"}]}]


def test_a_failing_statement_of_a_batch_is_named_by_position() -> None:
    envelope = {"error": {"message": "no", "code": 1, "extended_code": 1}, "failed_index": 1}
    with pytest.raises(errors.OperationalError) as caught:
        play(batch("app", ["a", "b"]), reply(envelope))
    assert (caught.value.failed_index, caught.value.sql) == (1, None)


def test_a_batch_with_named_arguments_is_a_transaction_of_conditional_steps() -> None:
    outcome = batched(EMPTY, scalar(1), scalar(2), EMPTY, None)
    script = Script(pipeline(outcome, CLOSED, baton=None))
    results = script.play(batch("app", ["a", ("b", {"x": 1})]))
    assert [result.scalar() for result in results] == [1, 2]
    (body,) = script.bodies()
    assert [asked["type"] for asked in body["requests"]] == ["batch", "close"]
    steps = body["requests"][0]["batch"]["steps"]
    assert [step["stmt"]["sql"] for step in steps] == ["BEGIN", "a", "b", "COMMIT", "ROLLBACK"]
    assert [step.get("condition") for step in steps] == [
        None,
        {"type": "ok", "step": 0},
        {"type": "ok", "step": 1},
        {"type": "ok", "step": 2},
        {"type": "not", "cond": {"type": "ok", "step": 3}},
    ]


BUSY, UNIQUE = "SQLITE_BUSY", "SQLITE_CONSTRAINT_UNIQUE"
FOREIGN = "SQLITE_CONSTRAINT_FOREIGNKEY"
NAMED: list[StatementLike] = [("a", {"x": 1}), "b"]


@pytest.mark.parametrize(
    ("steps", "index", "name"),
    [
        ((BUSY, None, None, None, "SQLITE_ERROR"), None, BUSY),
        ((EMPTY, UNIQUE, None, None, EMPTY), 0, UNIQUE),
        ((EMPTY, EMPTY, UNIQUE, None, EMPTY), 1, UNIQUE),
        ((EMPTY, EMPTY, UNIQUE, None, "SQLITE_ERROR"), 1, UNIQUE),
        ((EMPTY, EMPTY, EMPTY, FOREIGN, EMPTY), None, FOREIGN),
    ],
)
def test_what_stopped_a_named_batch(
    steps: tuple[object, ...], index: int | None, name: str
) -> None:
    with pytest.raises(errors.DatabaseError) as caught:
        play(batch("app", NAMED), pipeline(batched(*steps), CLOSED, baton=None))
    assert (caught.value.name, caught.value.failed_index) == (name, index)


@pytest.mark.parametrize(
    "outcome",
    [
        batched(),
        batched(EMPTY, EMPTY, EMPTY),
        batched(EMPTY, EMPTY, None, EMPTY, None),
        batched(None, None, None, None, None),
        batched(EMPTY, EMPTY, EMPTY, None, EMPTY),
        batched(EMPTY, EMPTY, EMPTY, None, None),
        EXECUTED,
        CLOSED,
    ],
)
def test_a_named_batch_that_did_not_commit_is_no_success(outcome: object) -> None:
    with pytest.raises(errors.RemoteProtocolError):
        play(batch("app", NAMED), pipeline(outcome, CLOSED, baton=None))


def test_a_named_batch_refused_as_a_whole() -> None:
    with pytest.raises(errors.DatabaseError, match="batch requires a batch"):
        play(batch("app", NAMED), pipeline(failed("batch requires a batch", None), CLOSED))


@pytest.mark.parametrize("first", ["a", ("a", {"x": 1})])
def test_an_argument_of_a_batch_that_cannot_be_bound(first: StatementLike) -> None:
    with pytest.raises(errors.ProgrammingError) as caught:
        play(batch("app", [first, ("b", [object()])]))
    assert caught.value.failed_index == 1


# Answers of another shape.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["columns", "rows", "results", "error", "message", "baton", "type", "response"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
BODY = st.binary() | JSON.map(lambda value: json.dumps(value).encode())


@given(st.sampled_from([200, 400, 429, 500]), BODY, st.sampled_from([[], {"a": 1}]))
def test_whatever_the_answer_the_error_is_ours(status: int, body: bytes, args: Any) -> None:
    answer = Response(status, (), body)
    for operation in (
        query("app", Statement("SELECT 1", args)),
        batch("app", [("SELECT 1", args), "SELECT 2"]),
        health(),
    ):
        try:
            play(operation, answer)
        except errors.Error as exc:
            assert exc.http_status in (status, None)  # noqa: PT017
        else:
            assert status == 200


# Health.


def test_a_healthy_server() -> None:
    script = Script(reply({"status": "ok"}))
    script.play(health())
    assert [str(request) for request in script.requests] == ["GET /_health"]


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (reply({"status": "draining"}), errors.OperationalError, "'draining'"),
        (reply({}), errors.RemoteProtocolError, "health"),
        (Response(200, (), b"ok"), errors.RemoteProtocolError, "health"),
        (refuse(503), errors.OverloadedError, "503"),
        (refuse(401), errors.AuthenticationError, "401"),
    ],
)
def test_other_healths(answer: Response, kind: type[errors.Error], words: str) -> None:
    with pytest.raises(kind, match=words):
        play(health(), answer)
