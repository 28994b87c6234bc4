"""Pipeline requests beyond statements: scripts, descriptions, stored texts, captures; cursors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quicsql_client.errors import RemoteProtocolError
from quicsql_client.wire import hrana
from quicsql_client.wire.hrana import (
    decode_answer,
    decode_cursor,
    decode_pipeline,
    encode_answer,
    encode_cursor,
    encode_pipeline,
)

from .strategies import JSON, TEXT

ID = st.integers(-(2**31), 2**31 - 1)


@pytest.mark.parametrize(
    ("written", "request_"),
    [
        ('{"type":"sequence","sql":"a; b"}', hrana.Script("a; b")),
        ('{"type":"sequence","sql":""}', hrana.Script("")),
        ('{"type":"sequence","sql_id":-1}', hrana.Script(None, -1)),
        ('{"type":"sequence"}', hrana.Script()),
        ('{"type":"describe","SQL":"a","sql_id":2}', hrana.Describe("a", 2)),
        ('{"type":"describe","sql":null,"sql_id":null}', hrana.Describe()),
        ('{"type":"store_sql","sql_id":1,"sql":"a"}', hrana.StoreSQL(1, "a")),
        ('{"type":"store_sql"}', hrana.StoreSQL(None, None)),
        ('{"type":"close_sql","sql_id":1}', hrana.CloseSQL(1)),
        ('{"type":"close_sql"}', hrana.CloseSQL(None)),
        ('{"type":"session_start"}', hrana.SessionStart()),
        ('{"type":"session_start","tables":null}', hrana.SessionStart()),
        ('{"type":"session_start","tables":["a","b"]}', hrana.SessionStart(("a", "b"))),
        ('{"type":"session_changeset"}', hrana.SessionChangeset()),
    ],
)
def test_requests(written: str, request_: hrana.StreamRequest) -> None:
    body = f'{{"requests":[{written}]}}'.encode()
    assert decode_pipeline(body).requests == (request_,)


@pytest.mark.parametrize(
    "written",
    [
        '{"type":"sequence","sql":1}',
        '{"type":"describe","sql":{}}',
        '{"type":"store_sql","sql_id":"1","sql":"a"}',
        '{"type":"store_sql","sql_id":1.5,"sql":"a"}',
        '{"type":"close_sql","sql_id":2147483648}',
        '{"type":"session_start","tables":"a"}',
        '{"type":"session_start","tables":[1]}',
        '{"type":"session_start","tables":[["a"]]}',
        '{"type":"close","sql_id":2147483648}',
    ],
)
def test_requests_of_another_shape_refuse_the_body(written: str) -> None:
    with pytest.raises(RemoteProtocolError, match=r"^invalid JSON: "):
        decode_pipeline(f'{{"requests":[{written}]}}'.encode())


REQUEST: st.SearchStrategy[hrana.StreamRequest] = st.one_of(
    st.builds(hrana.Script, st.none() | TEXT, st.none() | ID),
    st.builds(hrana.Describe, st.none() | TEXT, st.none() | ID),
    st.builds(hrana.StoreSQL, st.none() | ID, st.none() | TEXT),
    st.builds(hrana.CloseSQL, st.none() | ID),
    st.builds(hrana.SessionStart, st.lists(TEXT).map(tuple)),
    st.just(hrana.SessionChangeset()),
)


@given(st.lists(REQUEST).map(tuple))
def test_requests_both_ways(requests: tuple[hrana.StreamRequest, ...]) -> None:
    pipeline = hrana.Pipeline("b", requests)
    assert decode_pipeline(encode_pipeline(pipeline)) == pipeline


# Answers.

DESCRIPTION = st.builds(
    hrana.Description,
    st.lists(st.none() | TEXT).map(tuple),
    st.lists(st.tuples(TEXT, st.none() | TEXT)).map(tuple),
    st.booleans(),
    st.booleans(),
)
ERROR = st.builds(hrana.StreamError, TEXT, st.none() | TEXT)
PAIR: st.SearchStrategy[tuple[hrana.StreamRequest, hrana.StreamResult]] = st.one_of(
    st.tuples(st.just(hrana.Describe("x")), DESCRIPTION | ERROR),
    st.tuples(st.just(hrana.SessionChangeset()), st.binary() | ERROR),
    *[
        st.tuples(st.just(request), st.none() | ERROR)
        for request in (
            hrana.Script("x"),
            hrana.StoreSQL(1, "x"),
            hrana.CloseSQL(1),
            hrana.SessionStart(),
        )
    ],
)


@given(st.lists(PAIR))
def test_answers_both_ways(
    pairs: list[tuple[hrana.StreamRequest, hrana.StreamResult]],
) -> None:
    requests = [request for request, _ in pairs]
    outcomes = [outcome for _, outcome in pairs]
    assert decode_answer(encode_answer("b", requests, outcomes), requests) == ("b", outcomes)


def test_what_the_server_writes() -> None:
    requests: list[hrana.StreamRequest] = [
        hrana.Script("x"),
        hrana.Describe("SELECT a FROM t WHERE a > ? AND b = :x"),
        hrana.StoreSQL(1, "x"),
        hrana.CloseSQL(1),
        hrana.SessionStart(),
        hrana.SessionChangeset(),
        hrana.SessionChangeset(),
    ]
    description = hrana.Description(
        (None, ":x"), (("a", "INTEGER"), ("max(a)", None)), is_readonly=True
    )
    outcomes = [None, description, None, None, None, b"", b"\0"]
    written = json.loads(encode_answer("b", requests, outcomes))
    assert [outcome["response"] for outcome in written["results"]] == [
        {"type": "sequence"},
        {
            "type": "describe",
            "result": {
                "params": [{"name": None}, {"name": ":x"}],
                "cols": [
                    {"name": "a", "decltype": "INTEGER"},
                    {"name": "max(a)", "decltype": None},
                ],
                "is_explain": False,
                "is_readonly": True,
            },
        },
        {"type": "store_sql"},
        {"type": "close_sql"},
        {"type": "session_start"},
        {"type": "session_changeset", "changeset": ""},
        {"type": "session_changeset", "changeset": "AA=="},
    ]


DESCRIBED = {"params": [], "cols": [], "is_explain": False, "is_readonly": True}


@pytest.mark.parametrize(
    ("request_", "response"),
    [
        (hrana.SessionChangeset(), {"type": "session_changeset"}),
        (hrana.SessionChangeset(), {"type": "session_changeset", "changeset": None}),
        (hrana.SessionChangeset(), {"type": "session_changeset", "changeset": "AA"}),
        (hrana.SessionChangeset(), {"type": "session_changeset", "changeset": "é==="}),
        (hrana.SessionChangeset(), {"type": "session_start"}),
        (hrana.Describe("x"), {"type": "describe"}),
        (hrana.Describe("x"), {"type": "describe", "result": {}}),
        (hrana.Describe("x"), {"type": "describe", "result": DESCRIBED | {"params": None}}),
        (hrana.Describe("x"), {"type": "describe", "result": DESCRIBED | {"is_readonly": 1}}),
        (hrana.Script("x"), {"type": "describe", "result": DESCRIBED}),
        (hrana.Unknown("x"), {"type": "x"}),
    ],
)
def test_answers_of_another_shape(request_: hrana.StreamRequest, response: object) -> None:
    body = {"baton": "b", "results": [{"type": "ok", "response": response}]}
    with pytest.raises(RemoteProtocolError):
        decode_answer(json.dumps(body).encode(), [request_])


# Cursors.


@pytest.mark.parametrize(
    ("body", "cursor"),
    [
        (b"null", hrana.Cursor(None, None)),
        (b"{}", hrana.Cursor(None, None)),
        (b'{"batch":null,"baton":""}', hrana.Cursor(None, None)),
        (b'{"batch":{}}', hrana.Cursor(None, ())),
        (b'{"baton":"b","Batch":{"steps":null}}', hrana.Cursor("b", ())),
        (
            b'{"batch":{"steps":[{"stmt":{"sql":"x"},"condition":{"type":"ok","step":0}}]}}',
            hrana.Cursor(None, (hrana.Step(hrana.Stmt("x"), hrana.Condition("ok", 0)),)),
        ),
    ],
)
def test_cursor_requests(body: bytes, cursor: hrana.Cursor) -> None:
    assert decode_cursor(body) == cursor
    if cursor.steps is not None:
        assert decode_cursor(encode_cursor(cursor)) == cursor


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"batch":[]}',
        b'{"baton":1}',
        b'{"batch":{"steps":{}}}',
        b"{}x",
        b'{"batch":{"steps":[{"stmt":{"args":[{"type":"bool"}]}}]}}',
    ],
)
def test_cursor_requests_that_are_refused(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match=r"^invalid JSON: "):
        decode_cursor(body)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_cursor_or_refused(body: bytes) -> None:
    try:
        cursor: Any = decode_cursor(body)
    except RemoteProtocolError:
        return
    assert isinstance(cursor, hrana.Cursor)
