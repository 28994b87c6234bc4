"""A stream's states, and which answers keep it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quicsql_client import errors
from quicsql_client.operations import Operation
from quicsql_client.operations.stream import StreamOperations, StreamState
from quicsql_client.types import Description, Statement
from quicsql_client.wire.messages import Response

from .script import (
    CLOSED,
    EMPTY,
    EXECUTED,
    Line,
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

ONE = Statement("SELECT 1")
AUTOCOMMIT = {"type": "ok", "response": {"type": "get_autocommit", "is_autocommit": True}}


def state_of(stream: StreamOperations) -> StreamState:
    """The state, read anew (a type checker takes an attribute for unchanged)."""
    return stream.state


def opened() -> StreamOperations:
    stream = StreamOperations("app")
    play(stream.execute(ONE), pipeline(EXECUTED, baton="b1"))
    assert state_of(stream) == StreamState.OPEN
    return stream


def assert_next_baton(stream: StreamOperations, baton: str | None) -> None:
    script = Script(pipeline(AUTOCOMMIT))
    assert script.play(stream.is_autocommit()) is True
    assert script.bodies()[0]["baton"] == baton


def test_nothing_is_asked_before_the_first_request() -> None:
    assert state_of(StreamOperations("app")) == StreamState.FRESH


def test_the_first_request_has_no_baton_and_each_later_one_the_last_told() -> None:
    stream = StreamOperations("app")
    first = Script(pipeline(executed(1), baton="b1"))
    assert first.play(stream.execute(ONE)).scalar() == 1
    second = Script(pipeline(executed(2), baton="b2"))
    assert second.play(stream.execute(Statement("SELECT :a", {"a": 2}))).scalar() == 2
    batons = [body["baton"] for body in first.bodies() + second.bodies()]
    assert batons == [None, "b1"]
    assert_next_baton(stream, "b2")
    assert {request.target for request in first.requests} == {"/app/v3/pipeline"}


def test_a_sql_error_keeps_the_stream() -> None:
    stream = opened()
    with pytest.raises(errors.OperationalError) as caught:
        play(stream.execute(Statement("SELEC")), pipeline(failed("syntax error"), baton="b2"))
    assert (caught.value.sql, caught.value.name) == ("SELEC", "SQLITE_ERROR")
    assert state_of(stream) == StreamState.OPEN
    assert_next_baton(stream, "b2")


def test_an_argument_that_cannot_be_bound_keeps_the_stream() -> None:
    stream = opened()
    with pytest.raises(errors.ProgrammingError):
        play(stream.execute(Statement("x", [object()])))
    with pytest.raises(errors.ProgrammingError) as caught:
        play(stream.batch(["a", ("b", [object()])]))
    assert caught.value.failed_index == 1
    assert_next_baton(stream, "b1")


KEEPING: list[Callable[[], Line]] = [
    lambda: refuse(401),
    lambda: refuse(403),
    lambda: refuse(403, "baton belongs to a different principal"),
    lambda: refuse(413),
    lambda: refuse(429),
    lambda: refuse(503),
    lambda: errors.ConnectError("refused"),
    lambda: errors.ConnectTimeout("too late"),
    lambda: errors.PoolTimeout("too late"),
    lambda: errors.TLSError("expired", may_have_run=False),
    lambda: errors.WriteTimeout("too late", may_have_run=False),
    lambda: errors.AuthenticationError("no challenge"),
]


@pytest.mark.parametrize("answer", KEEPING)
def test_what_was_not_sent_or_refused_before_the_baton_was_read_keeps_the_stream(
    answer: Callable[[], Line],
) -> None:
    for stream, state, baton in (
        (opened(), StreamState.OPEN, "b1"),
        (StreamOperations("app"), StreamState.FRESH, None),
    ):
        with pytest.raises(errors.DatabaseError):
            play(stream.execute(ONE), answer())
        assert state_of(stream) == state
        assert_next_baton(stream, baton)


LOSING: list[Callable[[], Line]] = [
    lambda: refuse(400, "invalid or expired baton"),
    lambda: refuse(400, "invalid JSON: x"),
    lambda: refuse(404),
    lambda: refuse(500),
    lambda: refuse(502),
    lambda: refuse(504),
    lambda: reply({}),
    lambda: Response(200, (), b""),
    lambda: pipeline(),
    lambda: pipeline(EXECUTED, EXECUTED),
    lambda: pipeline(CLOSED),
    lambda: pipeline(EXECUTED, baton=None),
    lambda: pipeline(EXECUTED, baton=""),
    lambda: errors.ReadTimeout("too late"),
    lambda: errors.WriteTimeout("too late"),
    lambda: errors.TransportError("cut"),
    lambda: errors.RemoteProtocolError("not HTTP"),
    lambda: errors.ResponseTooLarge("too large", limit_bytes=1),
    lambda: asyncio.CancelledError(),
    lambda: KeyboardInterrupt(),
    lambda: GeneratorExit(),
]


@pytest.mark.parametrize("answer", LOSING)
def test_without_a_whole_answer_the_stream_is_lost(answer: Callable[[], Line]) -> None:
    stream = opened()
    line = answer()
    if isinstance(line, BaseException):
        with pytest.raises(type(line)) as caught:
            play(stream.execute(ONE), line)
        assert caught.value is line
    else:
        try:
            play(stream.execute(ONE), line)
        except errors.Error as exc:
            assert exc.sql == ONE.sql  # noqa: PT017
    assert state_of(stream) == StreamState.LOST
    for operation in (
        stream.execute(ONE),
        stream.batch(["x"]),
        stream.batch([]),
        stream.is_autocommit(),
    ):
        with pytest.raises(errors.StreamExpiredError, match="start over"):
            play(operation)
    play(stream.close())
    assert state_of(stream) == StreamState.CLOSED


def test_a_driver_that_drops_the_operation_loses_the_stream() -> None:
    stream = opened()
    operation = stream.execute(ONE)
    next(operation)
    operation.close()
    assert state_of(stream) == StreamState.LOST


def test_close_is_asked_once() -> None:
    stream = opened()
    script = Script(pipeline(CLOSED, baton=None))
    script.play(stream.close())
    assert script.bodies() == [{"baton": "b1", "requests": [{"type": "close"}]}]
    assert state_of(stream) == StreamState.CLOSED
    play(stream.close())


def test_a_fresh_stream_closes_without_a_request() -> None:
    stream = StreamOperations("app")
    play(stream.close())
    assert state_of(stream) == StreamState.CLOSED


def test_a_close_that_was_refused_can_be_asked_again() -> None:
    stream = opened()
    with pytest.raises(errors.RateLimitedError):
        play(stream.close(), refuse(429))
    assert state_of(stream) == StreamState.OPEN
    play(stream.close(), pipeline(CLOSED, baton=None))
    assert state_of(stream) == StreamState.CLOSED


def test_a_closed_stream_refuses_calls_without_asking() -> None:
    stream = StreamOperations("app")
    play(stream.close())
    for operation in (
        stream.execute(ONE),
        stream.batch(["x"]),
        stream.batch([]),
        stream.is_autocommit(),
    ):
        with pytest.raises(errors.LocalProtocolError, match="closed"):
            play(operation)


def test_a_batch_runs_each_step_only_after_the_one_before() -> None:
    script = Script(pipeline(batched(scalar(1), scalar(2), scalar(3))))
    results = script.play(StreamOperations("app").batch(["a", ("b", [1]), Statement("c")]))
    assert [result.scalar() for result in results] == [1, 2, 3]
    ((asked,),) = [body["requests"] for body in script.bodies()]
    steps = asked["batch"]["steps"]
    assert [step["stmt"]["sql"] for step in steps] == ["a", "b", "c"]
    assert [step.get("condition") for step in steps] == [
        None,
        {"type": "ok", "step": 0},
        {"type": "ok", "step": 1},
    ]


def test_a_batch_of_nothing_asks_nothing() -> None:
    stream = StreamOperations("app")
    assert play(stream.batch([])) == []
    assert state_of(stream) == StreamState.FRESH


def test_a_failing_step_is_named_and_keeps_the_stream() -> None:
    stream = opened()
    with pytest.raises(errors.IntegrityError) as caught:
        play(stream.batch(["a", "b", "c"]), pipeline(batched(EMPTY, "SQLITE_CONSTRAINT", None)))
    assert caught.value.failed_index == 1
    assert state_of(stream) == StreamState.OPEN


@pytest.mark.parametrize(
    "outcome", [batched(), batched(EMPTY), batched(EMPTY, None), failed("m", None)]
)
def test_a_batch_that_is_not_answered_whole(outcome: object) -> None:
    with pytest.raises(errors.DatabaseError):
        play(StreamOperations("app").batch(["a", "b"]), pipeline(outcome))


@pytest.mark.parametrize("told", [True, False])
def test_autocommit(told: bool) -> None:
    outcome = {"type": "ok", "response": {"type": "get_autocommit", "is_autocommit": told}}
    assert play(StreamOperations("app").is_autocommit(), pipeline(outcome)) is told


def test_autocommit_that_fails() -> None:
    with pytest.raises(errors.DatabaseError, match="no such request"):
        play(StreamOperations("app").is_autocommit(), pipeline(failed("no such request", None)))


OUTCOMES: list[Any] = [EXECUTED, CLOSED, AUTOCOMMIT, failed(), batched(EMPTY), batched(), {}, None]


@given(st.lists(st.sampled_from(OUTCOMES), max_size=2), st.sampled_from([None, "", "b2", 5]))
def test_whatever_the_answer_the_state_is_sound(outcomes: list[Any], baton: Any) -> None:
    calls: list[Callable[[StreamOperations], Operation[Any]]] = [
        lambda s: s.execute(ONE),
        lambda s: s.batch(["x"]),
        lambda s: s.is_autocommit(),
        lambda s: s.close(),
    ]
    for call in calls:
        stream = opened()
        try:
            play(call(stream), pipeline(*outcomes, baton=baton))
        except errors.Error:
            assert state_of(stream) in (StreamState.OPEN, StreamState.LOST)
        if state_of(stream) == StreamState.OPEN:
            assert_next_baton(stream, "b2")


def ok(kind: str, **members: Any) -> dict[str, Any]:
    return {"type": "ok", "response": {"type": kind, **members}}


def test_what_each_request_says() -> None:
    described: dict[str, Any] = {
        "params": [{"name": ":a"}],
        "cols": [{"name": "n", "decltype": "INT"}],
    }
    described |= {"is_explain": False, "is_readonly": True}
    calls: list[tuple[Callable[[StreamOperations], Operation[Any]], Any, dict[str, Any], Any]] = [
        (lambda s: s.sequence("a; b"), {"sql": "a; b"}, ok("sequence"), None),
        (
            lambda s: s.describe("SELECT :a"),
            {"sql": "SELECT :a"},
            ok("describe", result=described),
            Description((":a",), (("n", "INT"),), is_explain=False, is_readonly=True),
        ),
        (lambda s: s.start_capture(), {"tables": []}, ok("session_start"), None),
        (lambda s: s.start_capture(["t"]), {"tables": ["t"]}, ok("session_start"), None),
        (lambda s: s.changeset(), {}, ok("session_changeset", changeset="VA=="), b"T"),
    ]
    for call, said, outcome, value in calls:
        script = Script(pipeline(outcome))
        assert script.play(call(StreamOperations("app"))) == value
        (request,) = script.bodies()[0]["requests"]
        assert request == {"type": outcome["response"]["type"], **said}


def test_a_failure_is_raised_and_keeps_the_stream() -> None:
    stream = opened()
    text = "no capture session open (send session_start first)"
    with pytest.raises(errors.DatabaseError, match="no capture session open"):
        play(stream.changeset(), pipeline(failed(text, None), baton="b2"))
    with pytest.raises(errors.DatabaseError) as caught:
        play(stream.sequence("x"), pipeline(failed("internal error", None), baton="b3"))
    assert (caught.value.sql, state_of(stream)) == ("x", StreamState.OPEN)


@pytest.mark.parametrize("tables", ["t", [""], [5], ["\ud800"]])
def test_what_is_no_list_of_tables(tables: Any) -> None:
    with pytest.raises(errors.ProgrammingError, match="table names"):
        play(StreamOperations("app").start_capture(tables))
