"""Pipelines: request bodies, written by the client and read by the server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quicsql_client.errors import ProgrammingError, RemoteProtocolError
from quicsql_client.types import Statement, Value
from quicsql_client.wire import hrana
from quicsql_client.wire.hrana import (
    Condition,
    Pipeline,
    Step,
    Stmt,
    decode_pipeline,
    encode_pipeline,
)

from .strategies import INT64, JSON, TEXT, VALUE, exact


def pipeline_of(*requests: str) -> Pipeline:
    return decode_pipeline(f'{{"requests":[{",".join(requests)}]}}'.encode())


def stmt_of(members: str) -> Stmt:
    (request,) = pipeline_of(f'{{"type":"execute","stmt":{{{members}}}}}').requests
    assert isinstance(request, hrana.Execute)
    assert request.stmt is not None
    return request.stmt


def value_of(written: str) -> Value:
    (value,) = stmt_of(f'"args":[{written}]').args
    return value


def refusal_of(body: bytes) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_pipeline(body)
    text = str(caught.value)
    assert text.startswith("invalid JSON: ")
    return text.removeprefix("invalid JSON: ")


# Values.


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("null", None),
        ("{}", None),
        ('{"type":""}', None),
        ('{"type":null}', None),
        ('{"type":"null"}', None),
        ('{"type":"null","value":[1]}', None),
        ('{"type":"integer","value":"7"}', 7),
        ('{"type":"integer","value":"+7"}', 7),
        ('{"type":"integer","value":"007"}', 7),
        ('{"type":"integer","value":"-0"}', 0),
        ('{"type":"integer","value":"9223372036854775807"}', 2**63 - 1),
        ('{"type":"integer","value":"-9223372036854775808"}', -(2**63)),
        ('{"type":"integer","value":"%s1"}' % ("0" * 5000), 1),
        ('{"TYPE":"integer","Value":"7"}', 7),
        ('{"type":"integer","value":"1","value":"2"}', 2),
        ('{"type":"float","value":1}', 1.0),
        ('{"type":"float","value":1.5}', 1.5),
        ('{"type":"float","value":-0}', -0.0),
        ('{"type":"float","value":1e-400}', 0.0),
        ('{"type":"float","value":null}', 0.0),
        ('{"type":"text","value":"hi"}', "hi"),
        ('{"type":"text","value":null}', ""),
        ('{"type":"text","value":"\\ud800"}', "\ufffd"),
        ('{"type":"blob","base64":"AAEC"}', b"\0\1\2"),
        ('{"base64":"AA==","type":"blob"}', b"\0"),
        ('{"type":"blob","base64":"AA"}', b"\0"),
        ('{"type":"blob","base64":"A\\r\\nA=="}', b"\0"),
        ('{"type":"blob"}', b""),
        ('{"type":"blob","base64":null}', b""),
    ],
)
def test_tagged_values(written: str, value: Value) -> None:
    assert exact(value_of(written)) == exact(value)
    named = stmt_of(f'"named_args":[{{"name":"x","value":{written}}}]').named_args
    assert exact(named) == exact((("x", value),))


PARSE = "hrana: bad integer value: strconv.ParseInt: parsing"


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ('{"type":"bool","value":true}', 'hrana: unknown value type "bool"'),
        ('{"type":"Integer","value":"1"}', 'hrana: unknown value type "Integer"'),
        ('{"type":"integer"}', "unexpected end of JSON input"),
        ('{"type":"float"}', "unexpected end of JSON input"),
        ('{"type":"text"}', "unexpected end of JSON input"),
        (
            '{"type":"integer","value":"9223372036854775808"}',
            f'{PARSE} "9223372036854775808": value out of range',
        ),
        (
            '{"type":"integer","value":"-9223372036854775809"}',
            f'{PARSE} "-9223372036854775809": value out of range',
        ),
        ('{"type":"integer","value":"x"}', f'{PARSE} "x": invalid syntax'),
        ('{"type":"integer","value":null}', f'{PARSE} "": invalid syntax'),
    ],
)
def test_refusals_of_tagged_values(written: str, text: str) -> None:
    body = f'{{"requests":[{{"type":"execute","stmt":{{"args":[{written}]}}}}]}}'
    assert refusal_of(body.encode()) == text


@pytest.mark.parametrize(
    "written",
    [
        "7",
        '"x"',
        "[]",
        "true",
        '{"type":1}',
        '{"type":"integer","value":7}',
        '{"type":"integer","value":" 7"}',
        '{"type":"integer","value":"7 "}',
        '{"type":"integer","value":"0x7"}',
        '{"type":"integer","value":"1_0"}',
        '{"type":"integer","value":"1.0"}',
        '{"type":"integer","value":"+"}',
        '{"type":"integer","value":"--1"}',
        '{"type":"integer","value":"\u0667"}',
        '{"type":"integer","value":"%s"}' % ("9" * 5000),
        '{"type":"float","value":"1.5"}',
        '{"type":"float","value":1e400}',
        '{"type":"float","value":-1e400}',
        '{"type":"float","value":true}',
        '{"type":"text","value":1}',
        '{"type":"text","value":{}}',
        '{"type":"blob","base64":1}',
        '{"type":"blob","base64":"A"}',
        '{"type":"blob","base64":"-_=="}',
        '{"type":"blob","base64":"AA=A"}',
    ],
)
@pytest.mark.parametrize(
    "place",
    [
        '{"type":"execute","stmt":{"args":[%s]}}',
        '{"type":"execute","stmt":{"named_args":[{"name":"a","value":%s}]}}',
        '{"type":"batch","batch":{"steps":[{"stmt":{"args":[%s]}}]}}',
        '{"type":"close","stmt":{"args":[%s]}}',
    ],
)
def test_a_bad_value_anywhere_refuses_the_whole_body(written: str, place: str) -> None:
    body = '{"baton":"b","requests":[{"type":"get_autocommit"},%s]}' % (place % written)
    assert refusal_of(body.encode())


# Statements.


def test_a_statement_with_all_its_members() -> None:
    stmt = stmt_of(
        '"sql":"x","sql_id":-5,"args":[{"type":"integer","value":"1"}],'
        '"named_args":[{"name":":a","value":null},{"name":"a"},{}],"want_rows":false,"other":1'
    )
    assert stmt == Stmt("x", -5, (1,), ((":a", None), ("a", None), ("", None)), want_rows=False)


def test_members_that_are_absent_or_null() -> None:
    assert stmt_of("") == Stmt(None, None, (), (), want_rows=True)
    nulls = '"sql":null,"sql_id":null,"args":null,"named_args":null,"want_rows":null'
    assert stmt_of(nulls) == stmt_of("")
    assert stmt_of('"sql":""').sql == ""


@pytest.mark.parametrize(
    "members",
    [
        '"sql":1',
        '"sql":{}',
        '"sql_id":"1"',
        '"sql_id":1.0',
        '"sql_id":1e2',
        '"sql_id":2147483648',
        '"sql_id":-2147483649',
        '"sql_id":%s' % ("9" * 5000),
        '"args":{}',
        '"named_args":{}',
        '"named_args":[1]',
        '"named_args":[{"name":1}]',
        '"want_rows":1',
        '"want_rows":"true"',
    ],
)
def test_members_of_another_type_refuse_the_body(members: str) -> None:
    assert refusal_of(f'{{"requests":[{{"type":"execute","stmt":{{{members}}}}}]}}'.encode())


@pytest.mark.parametrize("sql_id", [-(2**31), -1, 0, 2**31 - 1])
def test_stored_texts_have_ids_of_32_bits(sql_id: int) -> None:
    assert stmt_of(f'"sql_id":{sql_id}').sql_id == sql_id


# Requests.


@pytest.mark.parametrize(
    ("written", "request_"),
    [
        ('{"type":"execute","stmt":{"sql":"x"}}', hrana.Execute(Stmt("x"))),
        ('{"type":"execute"}', hrana.Execute(None)),
        ('{"type":"execute","stmt":null}', hrana.Execute(None)),
        ('{"TYPE":"execute","Stmt":{"SQL":"x"}}', hrana.Execute(Stmt("x"))),
        ('{"type":"batch","batch":{"steps":[]}}', hrana.Batch(())),
        ('{"type":"batch","batch":{"steps":null}}', hrana.Batch(())),
        ('{"type":"batch","batch":{}}', hrana.Batch(())),
        ('{"type":"batch"}', hrana.Batch(None)),
        ('{"type":"batch","batch":{"steps":[null]}}', hrana.Batch((Step(Stmt()),))),
        ('{"type":"sequence","sql":"x; y"}', hrana.Script("x; y")),
        ('{"type":"sequence","sql_id":7,"stmt":{}}', hrana.Script(None, 7)),
        ('{"type":"describe","sql":"","sql_id":-1}', hrana.Describe("", -1)),
        ('{"type":"describe"}', hrana.Describe()),
        ('{"type":"store_sql","sql_id":0,"sql":""}', hrana.StoreSQL(0, "")),
        ('{"type":"store_sql","sql_id":null,"sql":null}', hrana.StoreSQL(None, None)),
        ('{"type":"close_sql","sql_id":2147483647}', hrana.CloseSQL(2**31 - 1)),
        ('{"type":"close_sql"}', hrana.CloseSQL(None)),
        ('{"type":"session_start"}', hrana.SessionStart()),
        ('{"type":"session_start","tables":null}', hrana.SessionStart()),
        ('{"type":"session_start","tables":["a",null]}', hrana.SessionStart(("a", ""))),
        ('{"type":"session_changeset"}', hrana.SessionChangeset()),
        ('{"type":"get_autocommit","future":1}', hrana.GetAutocommit()),
        ('{"type":"close"}', hrana.Close()),
        ('{"type":"Close"}', hrana.Unknown("Close")),
        ('{"type":"x"}', hrana.Unknown("x")),
        ('{"type":null}', hrana.Unknown("")),
        ("{}", hrana.Unknown("")),
        ("null", hrana.Unknown("")),
    ],
)
def test_requests(written: str, request_: hrana.StreamRequest) -> None:
    assert pipeline_of(written).requests == (request_,)


@pytest.mark.parametrize(
    "written",
    [
        "1",
        '"close"',
        "[]",
        '{"type":1}',
        '{"type":"execute","stmt":"x"}',
        '{"type":"batch","batch":[]}',
        '{"type":"batch","batch":{"steps":{}}}',
        '{"type":"batch","batch":{"steps":[1]}}',
    ],
)
def test_requests_of_another_shape_refuse_the_body(written: str) -> None:
    assert refusal_of(f'{{"requests":[{written}]}}'.encode())


@pytest.mark.parametrize(
    ("body", "pipeline"),
    [
        (b"null", Pipeline(None)),
        (b"{}", Pipeline(None)),
        (b'{"requests":null,"baton":null}', Pipeline(None)),
        (b'{"baton":""}', Pipeline(None)),
        (b'{"baton":"b","requests":[]}', Pipeline("b")),
        (b'{"BATON":"b","other":[{}]}', Pipeline("b")),
        (b'{"baton":"a","Baton":"b"} \n', Pipeline("b")),
    ],
)
def test_pipelines(body: bytes, pipeline: Pipeline) -> None:
    assert decode_pipeline(body) == pipeline


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "unexpected end of JSON input"),
        (b"  ", "unexpected end of JSON input"),
        (b'{"requests":[', "unexpected end of JSON input"),
        (b"{} EXTRA", "invalid character 'E' after top-level value"),
        (b"{}}", "invalid character '}' after top-level value"),
        (b'{"baton":1}', "pipeline.baton must not be number"),
        (b'{"requests":{}}', "pipeline.requests must not be object"),
        (b"[]", "pipeline must be an object, got array"),
    ],
)
def test_pipelines_that_are_refused(body: bytes, text: str) -> None:
    assert refusal_of(body) == text


def test_a_byte_order_mark_is_no_json() -> None:
    assert refusal_of(b"\xef\xbb\xbf{}")


# Conditions.


@pytest.mark.parametrize(
    ("written", "condition"),
    [
        ("null", None),
        ("{}", Condition("")),
        ('{"type":"ok","step":0}', Condition("ok", 0)),
        ('{"type":"error","step":-1}', Condition("error", -1)),
        ('{"type":"ok"}', Condition("ok")),
        ('{"type":"not","cond":{"type":"ok","step":1}}', Condition("not", cond=Condition("ok", 1))),
        ('{"type":"not"}', Condition("not")),
        ('{"type":"and"}', Condition("and")),
        (
            '{"type":"or","conds":[{"type":"is_autocommit"},null]}',
            Condition("or", conds=(Condition("is_autocommit"), Condition(""))),
        ),
        ('{"type":"future","x":1}', Condition("future")),
    ],
)
def test_conditions(written: str, condition: Condition | None) -> None:
    pipeline = pipeline_of(f'{{"type":"batch","batch":{{"steps":[{{"condition":{written}}}]}}}}')
    steps = (Step(Stmt(), condition),)
    assert pipeline.requests == (hrana.Batch(steps),)


@pytest.mark.parametrize(
    "written",
    [
        "1",
        '{"type":1}',
        '{"type":"ok","step":"0"}',
        '{"type":"ok","step":0.5}',
        '{"conds":{}}',
        '{"conds":[1]}',
        '{"type":"not","cond":[]}',
    ],
)
def test_conditions_of_another_shape_refuse_the_body(written: str) -> None:
    body = f'{{"requests":[{{"type":"batch","batch":{{"steps":[{{"condition":{written}}}]}}}}]}}'
    assert refusal_of(body.encode())


@pytest.mark.parametrize("opening", ['{"type":"not","cond":', '{"type":"and","conds":['])
@pytest.mark.parametrize("depth", [101, 150, 200, 300, 400, 450, 480, 2000, 20_000])
def test_deep_conditions_never_exhaust_the_stack(opening: str, depth: int) -> None:
    closing = "}" if opening.endswith(":") else "]}"
    nested = opening * depth + '{"type":"ok"}' + closing * depth
    body = '{"requests":[{"type":"batch","batch":{"steps":[{"condition":' + nested + "}]}}]}"
    assert refusal_of(body.encode()) == "exceeded max depth"


def test_conditions_nest_further_than_anyone_needs() -> None:
    condition = Condition("ok", 0)
    for _ in range(100):
        condition = Condition("not", cond=condition)
    pipeline = Pipeline(None, (hrana.Batch((Step(Stmt("x"), condition),)),))
    assert decode_pipeline(encode_pipeline(pipeline)) == pipeline


# The client's half.


def test_what_the_client_writes() -> None:
    stmt = Stmt.of(Statement("x", [1, 1.5, "t", b"\0", None]))
    named = Stmt.of(Statement("y", {":a": True}))
    pipeline = Pipeline(
        "b",
        (
            hrana.Execute(stmt),
            hrana.Batch((Step(named), Step(Stmt("z"), Condition("ok", 0)))),
            hrana.GetAutocommit(),
            hrana.Close(),
        ),
    )
    assert json.loads(encode_pipeline(pipeline)) == {
        "baton": "b",
        "requests": [
            {
                "type": "execute",
                "stmt": {
                    "sql": "x",
                    "want_rows": True,
                    "args": [
                        {"type": "integer", "value": "1"},
                        {"type": "float", "value": 1.5},
                        {"type": "text", "value": "t"},
                        {"type": "blob", "base64": "AA=="},
                        {"type": "null"},
                    ],
                },
            },
            {
                "type": "batch",
                "batch": {
                    "steps": [
                        {
                            "stmt": {
                                "sql": "y",
                                "want_rows": True,
                                "named_args": [
                                    {"name": "a", "value": {"type": "integer", "value": "1"}}
                                ],
                            }
                        },
                        {
                            "stmt": {"sql": "z", "want_rows": True},
                            "condition": {"type": "ok", "step": 0},
                        },
                    ]
                },
            },
            {"type": "get_autocommit"},
            {"type": "close"},
        ],
    }


def test_integers_and_blobs_have_no_json_escapes() -> None:
    body = encode_pipeline(Pipeline(None, (hrana.Execute(Stmt("x", args=(-1, b"\xff\xff\xff"))),)))
    assert b'"value":"-1"' in body
    assert b'"base64":"////"' in body


def test_an_empty_mapping_is_no_arguments() -> None:
    assert Stmt.of(Statement("x", {})) == Stmt("x")


@pytest.mark.parametrize("sql", [None, 5, b"x", "\ud800"])
def test_sql_must_be_text(sql: Any) -> None:
    with pytest.raises(ProgrammingError, match="the SQL of a statement"):
        Stmt.of(Statement(sql))


CONDITION = st.recursive(
    st.builds(Condition, st.sampled_from(["ok", "error"]), st.integers(-(2**31), 2**31 - 1))
    | st.just(Condition("is_autocommit")),
    lambda inner: (
        st.builds(Condition, st.just("not"), cond=inner)
        | st.builds(Condition, st.sampled_from(["and", "or"]), conds=st.lists(inner).map(tuple))
    ),
    max_leaves=6,
)
STMT = st.builds(
    Stmt,
    st.none() | TEXT,
    st.none() | st.integers(-(2**31), 2**31 - 1),
    st.lists(VALUE).map(tuple),
    st.lists(st.tuples(TEXT, VALUE)).map(tuple),
    st.booleans(),
)
ID = st.none() | st.integers(-(2**31), 2**31 - 1)
REQUEST: st.SearchStrategy[hrana.StreamRequest] = st.one_of(
    st.builds(hrana.Script, st.none() | TEXT, ID),
    st.builds(hrana.Describe, st.none() | TEXT, ID),
    st.builds(hrana.StoreSQL, ID, st.none() | TEXT),
    st.builds(hrana.CloseSQL, ID),
    st.builds(hrana.SessionStart, st.lists(TEXT).map(tuple)),
    st.just(hrana.SessionChangeset()),
    st.builds(hrana.Execute, st.none() | STMT),
    st.builds(hrana.Batch, st.lists(st.builds(Step, STMT, st.none() | CONDITION)).map(tuple)),
    st.just(hrana.GetAutocommit()),
    st.just(hrana.Close()),
    st.builds(hrana.Unknown, st.sampled_from(["", "x", "hello"])),
)


@given(st.builds(Pipeline, st.none() | TEXT.filter(bool), st.lists(REQUEST).map(tuple)))
def test_pipelines_both_ways(pipeline: Pipeline) -> None:
    again = decode_pipeline(encode_pipeline(pipeline))
    assert again == pipeline
    assert repr(again) == repr(pipeline), "types and the signs of zeros"


STEPS = st.lists(st.builds(Step, STMT, st.none() | CONDITION)).map(tuple)


@given(st.builds(hrana.Cursor, st.none() | TEXT.filter(bool), STEPS))
def test_cursors_both_ways(cursor: hrana.Cursor) -> None:
    again = hrana.decode_cursor(hrana.encode_cursor(cursor))
    assert repr(again) == repr(cursor)


@pytest.mark.parametrize(
    ("body", "cursor"),
    [
        (b"{}", hrana.Cursor(None, None)),
        (b'{"batch":null,"baton":""}', hrana.Cursor(None, None)),
        (b'{"batch":{}}', hrana.Cursor(None, ())),
        (b'{"BATCH":{"Steps":[{}]},"baton":"b","x":1}', hrana.Cursor("b", (Step(Stmt()),))),
    ],
)
def test_cursors(body: bytes, cursor: hrana.Cursor) -> None:
    assert hrana.decode_cursor(body) == cursor


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{} x", b'{"batch":[]}', b'{"batch":{"steps":[1]}}', b'{"baton":1}']
)
def test_cursors_that_are_refused(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match=r"^invalid JSON: "):
        hrana.decode_cursor(body)


@given(INT64)
def test_integers_both_ways(value: int) -> None:
    assert value_of(json.dumps({"type": "integer", "value": str(value)})) == value


# Whatever the bytes.


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_pipeline_or_refused(body: bytes) -> None:
    try:
        pipeline = decode_pipeline(body)
    except RemoteProtocolError as exc:
        assert str(exc).startswith("invalid JSON: ")  # noqa: PT017
    else:
        assert isinstance(pipeline, Pipeline)


KEYS = [
    "type",
    "stmt",
    "batch",
    "steps",
    "condition",
    "cond",
    "conds",
    "step",
    "sql",
    "sql_id",
    "args",
]
KEYS += ["tables", "named_args", "name", "value", "base64", "want_rows", "TYPE"]
LEAF = st.sampled_from(
    [
        "execute",
        "batch",
        "close",
        "store_sql",
        "session_start",
        "not",
        "and",
        "integer",
        "float",
        "text",
        "blob",
        "",
        None,
        1,
        1.5,
    ]
)
TREE = st.recursive(
    LEAF,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=15,
)


@given(st.lists(TREE))
def test_any_requests_are_read_or_refused(requests: list[object]) -> None:
    try:
        pipeline = decode_pipeline(json.dumps({"requests": requests}).encode())
    except RemoteProtocolError:
        return
    assert len(pipeline.requests) == len(requests)
