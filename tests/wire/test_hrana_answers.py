"""Pipelines: answers, written by the server and read by the client."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quicsql_client.errors import (
    AuthorizationError,
    DatabaseError,
    Error,
    IntegrityError,
    OperationalError,
    RemoteProtocolError,
)
from quicsql_client.types import Result
from quicsql_client.wire import hrana
from quicsql_client.wire.hrana import BatchResult, StreamError, decode_answer, encode_answer

from .strategies import JSON, TEXT, exact, results

EXECUTE = hrana.Execute(hrana.Stmt("x"))
BATCH = hrana.Batch(())
AUTOCOMMIT = hrana.GetAutocommit()
CLOSE = hrana.Close()


def one_cell(written: bytes) -> bytes:
    return (
        b'{"baton":"b","base_url":null,"results":[{"type":"ok","response":{"type":"execute",'
        b'"result":{"cols":[{"name":"a","decltype":null}],"rows":[[%s]],'
        b'"affected_row_count":0,"last_insert_rowid":null}}}]}\n' % written
    )


CELLS = [
    (None, b'{"type":"null"}'),
    (42, b'{"type":"integer","value":"42"}'),
    (-(2**63), b'{"type":"integer","value":"-9223372036854775808"}'),
    (100.0, b'{"type":"float","value":100}'),
    (2.5, b'{"type":"float","value":2.5}'),
    (-0.0, b'{"type":"float","value":-0}'),
    (1234567.0, b'{"type":"float","value":1234567}'),
    (1e20, b'{"type":"float","value":100000000000000000000}'),
    (1e21, b'{"type":"float","value":1e+21}'),
    (1e-7, b'{"type":"float","value":1e-7}'),
    ("<&>", rb'{"type":"text","value":"\u003c\u0026\u003e"}'),
    ('{"value":-0}', rb'{"type":"text","value":"{\"value\":-0}"}'),
    ("-0", b'{"type":"text","value":"-0"}'),
    (b"\0", b'{"base64":"AA==","type":"blob"}'),
    (b"", b'{"base64":"","type":"blob"}'),
]


@pytest.mark.parametrize(("value", "written"), CELLS)
def test_cells(value: Any, written: bytes) -> None:
    result = Result(("a",), ((value,),))
    assert encode_answer("b", [EXECUTE], [result]) == one_cell(written)
    assert exact(decode_answer(one_cell(written), [EXECUTE])[1][0].rows) == exact(result.rows)  # type: ignore[union-attr]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_json_has_no_number_for_is_null(value: float) -> None:
    body = encode_answer("b", [EXECUTE], [Result(("a",), ((value,),))])
    assert body == one_cell(b'{"type":"null"}')


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (b'{"type":"float","value":null}', None),
        (b'{"type":"float","value":-0 }', -0.0),
        (b'{ "value" : -0 , "type" : "float" }', -0.0),
        (b'{"type":"blob","base64":"AA"}', b"\0"),
        (b'{"type":"integer","value":"1","x":2}', 1),
    ],
)
def test_cells_as_other_servers_write_them(written: bytes, value: object) -> None:
    _, (result,) = decode_answer(one_cell(written), [EXECUTE])
    assert isinstance(result, Result)
    assert exact(result.rows) == exact(((value,),))


def stmt_result(**members: object) -> dict[str, object]:
    return {"cols": [], "rows": [], **members}


def ok(response: dict[str, object]) -> dict[str, object]:
    return {"type": "ok", "response": response}


def execute_ok(**members: object) -> dict[str, object]:
    return ok({"type": "execute", "result": stmt_result(**members)})


def answer(*outcomes: object, baton: object = "b") -> bytes:
    return json.dumps({"baton": baton, "base_url": None, "results": outcomes}).encode()


@pytest.mark.parametrize(
    ("members", "result"),
    [
        ({}, Result()),
        ({"affected_row_count": 3, "last_insert_rowid": "7"}, Result((), (), 3, 7)),
        ({"last_insert_rowid": "-9223372036854775808"}, Result((), (), 0, -(2**63))),
        ({"last_insert_rowid": 7}, Result((), (), 0, 7)),
        ({"last_insert_rowid": None}, Result()),
        ({"truncated": True}, Result(truncated=True)),
        ({"rows_read": 1, "replication_index": "9", "query_duration_ms": 0.1}, Result()),
        ({"cols": [{"name": None}, {"name": "b"}]}, Result(("", "b"))),
        ({"cols": [{"name": "a", "decltype": None}]}, Result(("a",))),
        (
            {"cols": [{"name": "a", "decltype": "INT"}, {"name": "b", "decltype": None}]},
            Result(("a", "b"), decltypes=("INT", None)),
        ),
    ],
)
def test_results(members: dict[str, object], result: Result) -> None:
    assert decode_answer(answer(execute_ok(**members)), [EXECUTE]) == ("b", [result])


def test_what_the_server_writes() -> None:
    unknown = hrana.Unknown("x")
    requests: list[hrana.StreamRequest] = [EXECUTE, BATCH, AUTOCOMMIT, CLOSE, unknown, EXECUTE]
    told = StreamError("no", "SQLITE_ERROR")
    outcomes: list[hrana.StreamResult] = [
        Result(("n",), ((1,),), 2, 3, truncated=True, decltypes=("INTEGER",)),
        BatchResult((Result(), None, None), (None, told, None)),
        False,
        None,
        StreamError("unknown request type: x"),
        StreamError("stream is closed"),
    ]
    empty = {"cols": [], "rows": [], "affected_row_count": 0, "last_insert_rowid": None}
    assert json.loads(encode_answer(None, requests, outcomes)) == {
        "baton": None,
        "base_url": None,
        "results": [
            ok(
                {
                    "type": "execute",
                    "result": {
                        "cols": [{"name": "n", "decltype": "INTEGER"}],
                        "rows": [[{"type": "integer", "value": "1"}]],
                        "affected_row_count": 2,
                        "last_insert_rowid": "3",
                        "truncated": True,
                    },
                }
            ),
            ok(
                {
                    "type": "batch",
                    "result": {
                        "step_results": [empty, None, None],
                        "step_errors": [None, {"message": "no", "code": "SQLITE_ERROR"}, None],
                    },
                }
            ),
            ok({"type": "get_autocommit", "is_autocommit": False}),
            ok({"type": "close"}),
            {"type": "error", "error": {"message": "unknown request type: x", "code": None}},
            {"type": "error", "error": {"message": "stream is closed", "code": None}},
        ],
    }


def test_nothing_asked_nothing_answered() -> None:
    assert encode_answer("b", [], []) == b'{"baton":"b","base_url":null,"results":[]}\n'
    assert decode_answer(b'{"baton":"b","base_url":null,"results":[]}', []) == ("b", [])


def test_a_result_for_each_request_is_the_servers_promise() -> None:
    with pytest.raises(ValueError, match="shorter"):
        encode_answer("b", [EXECUTE, CLOSE], [None])


ERROR = st.builds(StreamError, TEXT, st.none() | TEXT)
OUTCOME: st.SearchStrategy[tuple[hrana.StreamRequest, hrana.StreamResult]] = st.one_of(
    st.tuples(st.just(EXECUTE), results() | ERROR),
    st.tuples(
        st.just(BATCH),
        st.builds(
            BatchResult,
            st.lists(st.none() | results(), max_size=3).map(tuple),
            st.lists(st.none() | ERROR, max_size=3).map(tuple),
        )
        | ERROR,
    ),
    st.tuples(
        st.just(hrana.Describe("x")),
        st.builds(
            hrana.Description,
            st.lists(st.none() | TEXT, max_size=3).map(tuple),
            st.lists(st.tuples(TEXT, st.none() | TEXT), max_size=3).map(tuple),
            st.booleans(),
            st.booleans(),
        )
        | ERROR,
    ),
    st.tuples(st.just(hrana.SessionChangeset()), st.binary() | ERROR),
    st.tuples(
        st.sampled_from(
            [
                hrana.Script("x"),
                hrana.StoreSQL(1, "x"),
                hrana.CloseSQL(1),
                hrana.SessionStart(),
            ]
        ),
        st.none() | ERROR,
    ),
    st.tuples(st.just(AUTOCOMMIT), st.booleans() | ERROR),
    st.tuples(st.just(CLOSE), st.none() | ERROR),
)


@given(st.none() | TEXT, st.lists(OUTCOME, max_size=4))
def test_answers_both_ways(
    baton: str | None, pairs: list[tuple[hrana.StreamRequest, hrana.StreamResult]]
) -> None:
    requests = [request for request, _ in pairs]
    outcomes = [outcome for _, outcome in pairs]
    again = decode_answer(encode_answer(baton, requests, outcomes), requests)
    assert again == (baton, outcomes)
    assert repr(again) == repr((baton, outcomes)), "types and the signs of zeros"


@given(results(), st.data())
def test_declared_types_both_ways(result: Result, data: st.DataObject) -> None:
    width = len(result.columns)
    decltypes = data.draw(st.lists(st.none() | TEXT.filter(bool), min_size=width, max_size=width))
    result = dataclasses.replace(result, decltypes=tuple(decltypes))
    told = result if any(decltypes) else dataclasses.replace(result, decltypes=())
    assert decode_answer(encode_answer("b", [EXECUTE], [result]), [EXECUTE]) == ("b", [told])


DESCRIBED = {
    "params": [{"name": None}, {"name": ":x"}],
    "cols": [{"name": "a", "decltype": "INTEGER"}, {"name": "b", "decltype": None}],
    "is_explain": False,
    "is_readonly": True,
}


@pytest.mark.parametrize(
    ("request_", "result", "response"),
    [
        (
            hrana.Describe("x"),
            hrana.Description(
                (None, ":x"), (("a", "INTEGER"), ("b", None)), is_explain=False, is_readonly=True
            ),
            {"type": "describe", "result": DESCRIBED},
        ),
        (
            hrana.Describe("x"),
            hrana.Description(),
            {
                "type": "describe",
                "result": {"params": [], "cols": [], "is_explain": False, "is_readonly": False},
            },
        ),
        (hrana.Script("x"), None, {"type": "sequence"}),
        (hrana.StoreSQL(1, "x"), None, {"type": "store_sql"}),
        (hrana.CloseSQL(1), None, {"type": "close_sql"}),
        (hrana.SessionStart(), None, {"type": "session_start"}),
        (hrana.SessionChangeset(), b"", {"type": "session_changeset", "changeset": ""}),
        (hrana.SessionChangeset(), b"T\0", {"type": "session_changeset", "changeset": "VAA="}),
    ],
)
def test_the_other_answers(
    request_: hrana.StreamRequest, result: hrana.StreamResult, response: dict[str, object]
) -> None:
    body = encode_answer("b", [request_], [result])
    assert json.loads(body)["results"] == [ok(response)]
    assert decode_answer(body, [request_]) == ("b", [result])
    with pytest.raises(RemoteProtocolError, match="does not match"):
        decode_answer(body, [EXECUTE])


@pytest.mark.parametrize(
    ("request_", "response"),
    [
        (hrana.Describe("x"), {"type": "describe"}),
        (hrana.Describe("x"), {"type": "describe", "result": {**DESCRIBED, "params": None}}),
        (hrana.Describe("x"), {"type": "describe", "result": {**DESCRIBED, "is_explain": 0}}),
        (hrana.Describe("x"), {"type": "describe", "result": {**DESCRIBED, "cols": [{}]}}),
        (hrana.SessionChangeset(), {"type": "session_changeset"}),
        (hrana.SessionChangeset(), {"type": "session_changeset", "changeset": None}),
        (hrana.SessionChangeset(), {"type": "session_changeset", "changeset": "?"}),
    ],
)
def test_other_answers_of_another_shape(
    request_: hrana.StreamRequest, response: dict[str, object]
) -> None:
    with pytest.raises(RemoteProtocolError, match=r"^the server's answer "):
        decode_answer(answer(ok(response)), [request_])


FULL = execute_ok(cols=[{"name": "a"}], rows=[[{"type": "null"}]])
SHAPES: list[object] = [
    None,
    {},
    [],
    {"type": "ok"},
    {"type": "ok", "response": None},
    ok({}),
    ok({"type": "execute"}),
    ok({"type": "execute", "result": None}),
    ok({"type": "close"}),
    ok({"type": "get_autocommit", "is_autocommit": True}),
    ok({"type": "batch", "result": {"step_results": [], "step_errors": []}}),
    ok({"type": "sequence"}),
    {"type": "maybe"},
    {"type": "error"},
    {"type": "error", "error": None},
    {"type": "error", "error": {}},
    {"type": "error", "error": {"message": 1}},
    {"type": "error", "error": {"message": "m", "code": 1}},
    execute_ok(cols=None),
    execute_ok(cols=[{}]),
    execute_ok(cols=[{"name": 1}]),
    execute_ok(rows=None),
    execute_ok(rows=[[{"type": "null"}]]),
    execute_ok(cols=[{"name": "a"}], rows=[[]]),
    execute_ok(cols=[{"name": "a"}], rows=[[None]]),
    execute_ok(cols=[{"name": "a"}], rows=[[1]]),
    execute_ok(cols=[{"name": "a"}], rows=[[{}]]),
    execute_ok(cols=[{"name": "a"}], rows=[[{"type": "bool", "value": True}]]),
    execute_ok(cols=[{"name": "a"}], rows=[[{"type": "integer"}]]),
    execute_ok(cols=[{"name": "a"}], rows=[[{"type": "integer", "value": 1}]]),
    execute_ok(cols=[{"name": "a"}], rows=[[{"type": "integer", "value": "x"}]]),
    execute_ok(cols=[{"name": "a"}], rows=[[{"type": "integer", "value": str(2**63)}]]),
    execute_ok(cols=[{"name": "a"}], rows=[[{"type": "float", "value": "1"}]]),
    execute_ok(cols=[{"name": "a"}], rows=[[{"type": "text", "value": None}]]),
    execute_ok(cols=[{"name": "a"}], rows=[[{"type": "blob", "base64": "A"}]]),
    execute_ok(cols=[{"name": "a"}], rows=[[{"type": "blob", "base64": "é"}]]),
    execute_ok(affected_row_count="1"),
    execute_ok(affected_row_count=2**63),
    execute_ok(last_insert_rowid="x"),
    execute_ok(last_insert_rowid=2**63),
    execute_ok(truncated=1),
]


@pytest.mark.parametrize("outcome", SHAPES)
def test_outcomes_of_another_shape(outcome: object) -> None:
    with pytest.raises(RemoteProtocolError, match=r"^the server's answer "):
        decode_answer(answer(outcome), [EXECUTE])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"<html>",
        b'{"results":[]}',
        b'{"baton":"b"}',
        b'{"baton":"b","results":null}',
        answer(FULL)[:-1],
        answer(FULL) + b"x",
        answer(),
        answer(FULL, FULL),
        answer(FULL, baton=1),
        answer(FULL).replace(b'"a"', b'"\xff"'),
        answer(FULL).replace(b'"a"', b'"\\ud800"'),
        one_cell(b'{"type":"float","value":1e400}'),
        one_cell(b'{"type":"float","value":NaN}'),
        b'{"baton":"b","results":' + b"[" * 100_000,
        b'{"baton":"b","future":' + b'{"a":' * 100_000,
    ],
)
def test_answers_of_another_shape(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_answer(body, [EXECUTE])


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_raise_only_our_errors(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_answer(body, [EXECUTE])


@given(results(), st.data())
def test_a_changed_byte_is_read_or_refused(result: Result, data: st.DataObject) -> None:
    body = bytearray(encode_answer("b", [EXECUTE], [result]))
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        _, (again,) = decode_answer(bytes(body), [EXECUTE])
    except RemoteProtocolError:
        return
    assert isinstance(again, Result)


@pytest.mark.parametrize(
    ("error", "kind", "extended"),
    [
        (StreamError("m", "SQLITE_CONSTRAINT_UNIQUE"), IntegrityError, 2067),
        (StreamError("m", "SQLITE_CONSTRAINT"), IntegrityError, 19),
        (StreamError("m", "SQLITE_ERROR"), OperationalError, 1),
        (StreamError("m", "SQLITE_BUSY"), OperationalError, 5),
        (StreamError("m", "SQLITE_AUTH"), AuthorizationError, 23),
        (StreamError("m", "SQLITE_UNKNOWN"), DatabaseError, None),
        (StreamError("m", ""), DatabaseError, None),
        (StreamError("internal error"), DatabaseError, None),
        (StreamError("statement timed out"), OperationalError, None),
        (
            StreamError("statement not permitted by server policy: ATTACH/DETACH is disabled"),
            AuthorizationError,
            None,
        ),
    ],
)
def test_stream_errors_have_the_class_of_the_same_failure_on_the_native_api(
    error: StreamError, kind: type[Error], extended: int | None
) -> None:
    raised = error.as_error(failed_index=2)
    assert type(raised) is kind
    assert str(raised) == error.message
    assert (raised.extended_code, raised.http_status, raised.failed_index) == (extended, 200, 2)
    assert raised.name == (error.code if extended else None)
    assert raised.is_retryable is (extended == 5)
