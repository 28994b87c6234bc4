"""Transactions: what each call sends, and what is known when an answer is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quicsql_client import errors
from quicsql_client.operations import Operation
from quicsql_client.operations.query import StatementLike
from quicsql_client.operations.splitting import MAX_REQUEST_BYTES
from quicsql_client.operations.transaction import TransactionMode, TransactionOperations
from quicsql_client.types import Statement
from quicsql_client.wire.messages import Request, Response

from .script import (
    CLOSED,
    EMPTY,
    EXECUTED,
    Line,
    Script,
    batched,
    failed,
    pipeline,
    play,
    refuse,
    reply,
    scalar,
)

ONE = Statement("INSERT", [1])
BUSY = "SQLITE_BUSY"
ENDED = batched(EMPTY)
IS_OPEN = {"type": "not", "cond": {"type": "is_autocommit"}}


def begun() -> TransactionOperations:
    transaction = TransactionOperations("app")
    play(transaction.execute(ONE), pipeline(batched(EMPTY, EMPTY)))
    assert transaction.is_begun
    return transaction


def sql_of(body: Any) -> list[str]:
    """What a pipeline asks for: SQL of statements and steps, types of other requests."""
    asked: list[str] = []
    for request in body["requests"]:
        if request["type"] == "batch":
            asked += [step["stmt"]["sql"] for step in request["batch"]["steps"]]
        else:
            asked.append(request["stmt"]["sql"] if "stmt" in request else request["type"])
    return asked


def conditions_of(body: Any) -> list[Any]:
    return [step.get("condition") for step in body["requests"][0]["batch"]["steps"]]


# Beginning.


@pytest.mark.parametrize("mode", ["deferred", "immediate", "exclusive"])
def test_begin_travels_with_the_first_statement(mode: TransactionMode) -> None:
    transaction = TransactionOperations("app", mode)
    script = Script(pipeline(batched(EMPTY, scalar(1))))
    assert script.play(transaction.execute(ONE)).scalar() == 1
    (body,) = script.bodies()
    assert sql_of(body) == [f"BEGIN {mode.upper()}", "INSERT"]
    steps = body["requests"][0]["batch"]["steps"]
    assert [step.get("condition") for step in steps] == [None, {"type": "ok", "step": 0}]
    assert transaction.is_begun
    script = Script(pipeline(batched(scalar(2)), baton="b2"))
    assert script.play(transaction.execute(ONE)).scalar() == 2
    (body,) = script.bodies()
    assert (sql_of(body), body["baton"]) == (["INSERT"], "b1")
    assert conditions_of(body) == [IS_OPEN]


@pytest.mark.parametrize("mode", ["", "DEFERRED", "concurrent", None, "immediate; DROP TABLE t"])
def test_the_mode_is_one_of_three(mode: Any) -> None:
    with pytest.raises(errors.ProgrammingError, match="transaction mode"):
        TransactionOperations("app", mode)


def test_a_begin_that_fails_runs_nothing_else_and_may_be_tried_again() -> None:
    transaction = TransactionOperations("app", "immediate")
    with pytest.raises(errors.OperationalError) as caught:
        play(transaction.execute(ONE), pipeline(batched(BUSY, None), baton="b1"))
    error = caught.value
    assert (error.name, error.is_retryable) == (BUSY, True)
    assert (error.failed_index, error.sql) == (None, "INSERT")
    assert not transaction.is_begun
    script = Script(pipeline(batched(EMPTY, EMPTY), baton="b2"))
    script.play(transaction.execute(ONE))
    assert [(sql_of(body), body["baton"]) for body in script.bodies()] == [
        (["BEGIN IMMEDIATE", "INSERT"], "b1")
    ]


def test_a_begin_that_fails_ends_by_closing_the_stream() -> None:
    for end in (TransactionOperations.commit, TransactionOperations.rollback):
        transaction = TransactionOperations("app")
        with pytest.raises(errors.OperationalError):
            play(transaction.execute(ONE), pipeline(batched(BUSY, None)))
        script = Script(pipeline(CLOSED, baton=None))
        script.play(end(transaction))
        assert [sql_of(body) for body in script.bodies()] == [["close"]]
        assert transaction.is_finished


def test_a_begin_that_fails_for_a_batch_has_no_failed_index() -> None:
    with pytest.raises(errors.OperationalError) as caught:
        play(TransactionOperations("app").batch(["a", "b"]), pipeline(batched(BUSY, None, None)))
    assert caught.value.failed_index is None


def test_a_first_statement_that_fails_leaves_the_transaction_open() -> None:
    transaction = TransactionOperations("app")
    with pytest.raises(errors.IntegrityError) as caught:
        play(transaction.execute(ONE), pipeline(batched(EMPTY, "SQLITE_CONSTRAINT")))
    assert (caught.value.failed_index, caught.value.sql) == (None, "INSERT")
    assert transaction.is_begun
    script = Script(pipeline(ENDED, CLOSED, baton=None))
    script.play(transaction.commit())
    assert [sql_of(body) for body in script.bodies()] == [["COMMIT", "close"]]


def test_an_argument_that_cannot_be_bound_begins_nothing() -> None:
    transaction = TransactionOperations("app")
    with pytest.raises(errors.ProgrammingError) as caught:
        play(transaction.execute(Statement("INSERT", [object()])))
    assert (caught.value.failed_index, caught.value.sql) == (None, "INSERT")
    assert not transaction.is_begun


@pytest.mark.parametrize(
    "outcome", [batched(), batched(EMPTY), batched(None, EMPTY), batched(None, None), EXECUTED]
)
def test_a_beginning_that_is_not_answered_whole(outcome: object) -> None:
    with pytest.raises(errors.RemoteProtocolError):
        play(TransactionOperations("app").execute(ONE), pipeline(outcome))


# Ending.


@pytest.mark.parametrize("end", [TransactionOperations.commit, TransactionOperations.rollback])
def test_a_transaction_that_ran_nothing_asks_nothing(
    end: Callable[[TransactionOperations], Operation[None]],
) -> None:
    transaction = TransactionOperations("app")
    play(end(transaction))
    assert transaction.is_finished


@pytest.mark.parametrize("word", ["COMMIT", "ROLLBACK"])
def test_the_end_travels_with_close(word: str) -> None:
    transaction = begun()
    script = Script(pipeline(ENDED, CLOSED, baton=None))
    script.play(transaction.commit() if word == "COMMIT" else transaction.rollback())
    (body,) = script.bodies()
    assert (sql_of(body), body["baton"]) == ([word, "close"], "b1")
    assert transaction.is_finished
    assert not transaction.is_lost


@pytest.mark.parametrize("is_committed", [True, False])
def test_after_the_end_nothing_but_rollback_is_allowed(is_committed: bool) -> None:
    """Odd-case 188."""
    transaction = begun()
    end = transaction.commit() if is_committed else transaction.rollback()
    play(end, pipeline(ENDED, CLOSED, baton=None))
    for operation in (transaction.execute(ONE), transaction.batch(["x"]), transaction.commit()):
        with pytest.raises(errors.LocalProtocolError, match="begin another"):
            play(operation)
    play(transaction.rollback())


def test_a_commit_that_sqlite_refuses_has_ended_the_transaction() -> None:
    transaction = begun()
    refused = batched("SQLITE_CONSTRAINT_FOREIGNKEY")
    with pytest.raises(errors.IntegrityError) as caught:
        play(transaction.commit(), pipeline(refused, CLOSED, baton=None))
    assert (caught.value.extended_code, caught.value.failed_index) == (787, None)
    assert transaction.is_finished


LOST: list[Callable[[], Line]] = [
    lambda: errors.ReadTimeout("too late"),
    lambda: errors.TransportError("cut"),
    lambda: errors.RemoteProtocolError("not HTTP"),
    lambda: errors.ResponseTooLarge("too large"),
    lambda: refuse(500),
    lambda: refuse(502),
    lambda: refuse(504),
    lambda: reply({}),
    lambda: Response(200, (), b'{"baton":null,'),
    lambda: pipeline(EXECUTED, baton=None),
]


@pytest.mark.parametrize("answer", LOST)
def test_a_lost_answer_to_commit_leaves_its_outcome_unknown(answer: Callable[[], Line]) -> None:
    transaction = begun()
    with pytest.raises(errors.OutcomeUnknownError, match="database 'app' was lost") as caught:
        play(transaction.commit(), answer())
    assert isinstance(caught.value.__cause__, errors.Error)
    assert not caught.value.is_retryable
    assert transaction.is_finished
    play(transaction.rollback())


def test_a_cancelled_commit_is_cancelled() -> None:
    transaction = begun()
    with pytest.raises(asyncio.CancelledError):
        play(transaction.commit(), asyncio.CancelledError())
    assert transaction.is_lost
    assert transaction.is_finished


def test_a_commit_on_an_expired_stream_did_not_happen() -> None:
    transaction = begun()
    with pytest.raises(errors.StreamExpiredError):
        play(transaction.commit(), refuse(400, "invalid or expired baton"))
    assert transaction.is_finished


NOT_RUN: list[Callable[[], Line]] = [
    lambda: refuse(429, retry_after="1"),
    lambda: refuse(503),
    lambda: refuse(401),
    lambda: refuse(403),
    lambda: errors.ConnectError("refused"),
    lambda: errors.PoolTimeout("too late"),
    lambda: errors.TransportError("goaway", may_have_run=False),
]


@pytest.mark.parametrize("answer", NOT_RUN)
def test_a_commit_that_did_not_run_can_be_tried_again(answer: Callable[[], Line]) -> None:
    transaction = begun()
    line = answer()
    with pytest.raises(errors.DatabaseError) as caught:
        play(transaction.commit(), line)
    assert not isinstance(caught.value, errors.OutcomeUnknownError)
    assert not transaction.is_finished
    assert not transaction.is_lost
    play(transaction.commit(), pipeline(ENDED, CLOSED, baton=None))
    assert transaction.is_finished


@pytest.mark.parametrize("answer", NOT_RUN)
def test_a_rollback_that_did_not_run_can_be_tried_again(answer: Callable[[], Line]) -> None:
    transaction = begun()
    with pytest.raises(errors.DatabaseError):
        play(transaction.rollback(), answer())
    script = Script(pipeline(ENDED, CLOSED, baton=None))
    script.play(transaction.rollback())
    assert [sql_of(body) for body in script.bodies()] == [["ROLLBACK", "close"]]


def test_a_rollback_whose_answer_is_lost_is_over() -> None:
    transaction = begun()
    with pytest.raises(errors.ReadTimeout):
        play(transaction.rollback(), errors.ReadTimeout("too late"))
    assert transaction.is_finished
    play(transaction.rollback())


def test_a_lost_transaction_is_never_committed_in_silence() -> None:
    for transaction in (begun(), TransactionOperations("app")):
        with pytest.raises(errors.ReadTimeout):
            play(transaction.execute(ONE), errors.ReadTimeout("too late"))
        assert transaction.is_lost
        with pytest.raises(errors.StreamExpiredError):
            play(transaction.execute(ONE))
        with pytest.raises(errors.StreamExpiredError):
            play(transaction.commit())


def test_a_lost_transaction_rolls_back_without_asking() -> None:
    transaction = begun()
    with pytest.raises(errors.StreamExpiredError):
        play(transaction.execute(ONE), refuse(400, "invalid or expired baton"))
    play(transaction.rollback())
    assert transaction.is_finished


def test_a_stream_that_the_server_ended_unasked_is_a_lost_transaction() -> None:
    transaction = begun()
    play(transaction.execute(ONE), pipeline(batched(EMPTY), baton=None))
    assert transaction.is_lost
    with pytest.raises(errors.StreamExpiredError):
        play(transaction.commit())


# Ended by SQLite itself: no step may run alone.


def ended() -> TransactionOperations:
    transaction = begun()
    with pytest.raises(errors.TransactionEndedError, match="rolled it back") as caught:
        play(transaction.execute(ONE), pipeline(batched(None)))
    assert (caught.value.failed_index, caught.value.sql) == (None, "INSERT")
    assert caught.value.transaction_lost
    return transaction


def test_after_sqlite_ended_it_nothing_more_is_asked() -> None:
    transaction = ended()
    for operation in (transaction.execute(ONE), transaction.batch(["x"])):
        with pytest.raises(errors.TransactionEndedError):
            play(operation)
    assert not transaction.is_finished


def test_a_commit_of_what_sqlite_ended_raises_and_gives_the_stream_back() -> None:
    transaction = ended()
    script = Script(pipeline(CLOSED, baton=None))
    with pytest.raises(errors.TransactionEndedError):
        script.play(transaction.commit())
    assert [sql_of(body) for body in script.bodies()] == [["close"]]
    assert transaction.is_finished


def test_a_commit_that_finds_no_transaction_raises() -> None:
    transaction = begun()
    script = Script(pipeline(batched(None), CLOSED, baton=None))
    with pytest.raises(errors.TransactionEndedError) as caught:
        script.play(transaction.commit())
    assert conditions_of(script.bodies()[0]) == [IS_OPEN]
    assert caught.value.failed_index is None
    assert transaction.is_finished


def test_a_rollback_of_what_sqlite_ended_only_closes() -> None:
    transaction = ended()
    script = Script(pipeline(CLOSED, baton=None))
    script.play(transaction.rollback())
    assert [sql_of(body) for body in script.bodies()] == [["close"]]
    transaction = begun()
    play(transaction.rollback(), pipeline(batched(None), CLOSED, baton=None))
    assert transaction.is_finished


def test_each_step_asks_for_the_transaction_where_the_one_before_may_have_ended_it() -> None:
    transaction = begun()
    script = Script(pipeline(batched(EMPTY, EMPTY, EMPTY, EMPTY)))
    script.play(transaction.batch(["a", "a", "COMMIT", "b"]))
    both = [{"type": "and", "conds": [{"type": "ok", "step": n}, IS_OPEN]} for n in (1, 2)]
    assert conditions_of(script.bodies()[0]) == [IS_OPEN, {"type": "ok", "step": 0}, *both]
    fresh = TransactionOperations("app")
    script = Script(pipeline(batched(EMPTY, EMPTY, EMPTY)))
    script.play(fresh.batch(["a", "b"]))
    ok = {"type": "ok", "step": 0}
    assert conditions_of(script.bodies()[0]) == [None, ok, both[0]]


def test_a_step_that_was_skipped_in_the_middle_is_the_failed_one() -> None:
    with pytest.raises(errors.TransactionEndedError) as caught:
        play(begun().batch(["a", "COMMIT", "b"]), pipeline(batched(EMPTY, EMPTY, None)))
    assert caught.value.failed_index == 2


def test_a_handed_over_stream_is_the_callers() -> None:
    with pytest.raises(errors.LocalProtocolError, match="not begun"):
        TransactionOperations("app").hand_over()
    transaction = begun()
    stream = transaction.hand_over()
    assert transaction.is_finished
    script = Script(pipeline(ENDED))
    script.play(stream.batch(["COMMIT"], in_transaction=True))
    assert (conditions_of(script.bodies()[0]), script.bodies()[0]["baton"]) == ([IS_OPEN], "b1")
    play(transaction.rollback())


# Batches, split by the server's body cap.


class Server:
    """Runs batches: each statement's result is its number; those in `failing` fail."""

    def __init__(self, *failing: str) -> None:
        self.failing = failing
        self.ran: list[str] = []
        self.sizes: list[int] = []

    def __call__(self, request: Request) -> Response:
        self.sizes.append(len(request.body))
        (asked,) = json.loads(request.body)["requests"]
        steps: list[object] = []
        for step in asked["batch"]["steps"]:
            sql = step["stmt"]["sql"]
            if steps and not isinstance(steps[-1], dict):
                steps.append(None)
            elif sql in self.failing:
                steps.append("SQLITE_CONSTRAINT")
            else:
                self.ran.append(sql)
                steps.append(scalar(int(sql)) if sql.isdigit() else EMPTY)
        return pipeline(batched(*steps), baton=f"b{len(self.sizes)}")


def run_batch(transaction: TransactionOperations, sqls: list[str], server: Server) -> list[Any]:
    """The scalars of a batch, however many requests it takes."""
    operation = transaction.batch(sqls)
    try:
        request = next(operation)
        while True:
            request = operation.send(server(request))
    except StopIteration as finished:
        return [result.scalar() for result in finished.value]


def test_a_batch_that_fits_is_one_request() -> None:
    server = Server()
    assert run_batch(TransactionOperations("app"), ["1", "2", "3"], server) == [1, 2, 3]
    assert server.ran == ["BEGIN DEFERRED", "1", "2", "3"]
    assert len(server.sizes) == 1


def test_a_batch_of_nothing_begins_nothing() -> None:
    transaction = TransactionOperations("app")
    assert play(transaction.batch([])) == []
    assert not transaction.is_begun


@given(st.integers(1, 40), st.integers(1, 4000), st.booleans())
def test_a_batch_is_split_by_the_cap_in_order_and_begins_once(
    count: int, cap_bytes: int, has_begun: bool
) -> None:
    transaction = TransactionOperations("app", max_request_bytes=cap_bytes)
    server = Server()
    if has_begun:
        run_batch(transaction, ["0"], server)
    sqls = [str(number) for number in range(count)]
    assert run_batch(transaction, sqls, server) == list(range(count))
    assert server.ran == ["BEGIN DEFERRED", *(["0"] if has_begun else []), *sqls]
    is_single = len(server.sizes) == len(sqls) + has_begun
    assert is_single or max(server.sizes) <= cap_bytes + len('"baton":"bNN"')


@given(st.integers(1, 30), st.data())
def test_the_failed_index_counts_across_the_parts(count: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, count - 1))
    cap_bytes = data.draw(st.integers(1, 2000))
    transaction = TransactionOperations("app", max_request_bytes=cap_bytes)
    server = Server(str(index))
    with pytest.raises(errors.IntegrityError) as caught:
        run_batch(transaction, [str(number) for number in range(count)], server)
    assert caught.value.failed_index == index
    assert server.ran == ["BEGIN DEFERRED", *(str(number) for number in range(index))]
    assert transaction.is_begun
    assert not transaction.is_finished


def test_an_argument_that_cannot_be_bound_sends_no_part() -> None:
    transaction = TransactionOperations("app", max_request_bytes=1)
    items: list[StatementLike] = [("1", [1]), ("2", [2]), ("3", [object()])]
    with pytest.raises(errors.ProgrammingError) as caught:
        play(transaction.batch(items))
    assert (caught.value.failed_index, caught.value.sql) == (2, "3")
    assert not transaction.is_begun


def test_a_statement_larger_than_the_cap_is_sent_for_the_server_to_refuse() -> None:
    transaction = TransactionOperations("app")
    large = Statement("INSERT", [b"x" * MAX_REQUEST_BYTES])
    with pytest.raises(errors.DataError) as caught:
        play(transaction.batch([large]), refuse(413))
    assert caught.value.http_status == 413
    assert not transaction.is_lost


def test_a_part_whose_answer_is_lost_loses_the_transaction() -> None:
    transaction = TransactionOperations("app", max_request_bytes=1)
    with pytest.raises(errors.ReadTimeout) as caught:
        play(
            transaction.batch(["1", "2"]),
            pipeline(batched(EMPTY, EMPTY)),
            errors.ReadTimeout("too late"),
        )
    assert caught.value.failed_index is None
    assert transaction.is_lost


# Answers of another shape.

OUTCOMES: list[Any] = [
    EXECUTED,
    CLOSED,
    failed(),
    batched(),
    batched(EMPTY),
    batched(EMPTY, EMPTY),
    batched(BUSY, None),
    batched(None, None),
    {},
    None,
]


@given(
    st.booleans(),
    st.sampled_from(["execute", "batch", "commit", "rollback"]),
    st.lists(st.sampled_from(OUTCOMES), max_size=3),
    st.sampled_from([None, "", "b2", 7]),
)
def test_whatever_the_answer_the_error_is_ours(
    has_begun: bool, call: str, outcomes: list[Any], baton: Any
) -> None:
    transaction = begun() if has_begun else TransactionOperations("app")
    if not has_begun and call in ("commit", "rollback"):
        return
    arguments: dict[str, list[Any]] = {"execute": [ONE], "batch": [["x"]]}
    operation = getattr(transaction, call)(*arguments.get(call, []))
    try:
        play(operation, pipeline(*outcomes, baton=baton))
    except errors.Error:
        return
    assert len(outcomes) == (2 if call in ("commit", "rollback") else 1)
    assert transaction.is_begun
