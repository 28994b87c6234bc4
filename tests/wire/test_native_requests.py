"""POST /<db>/query: request bodies, written by the client and read by the server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quicsql_client.errors import DatabaseError, DataError, ProgrammingError, RemoteProtocolError
from quicsql_client.types import Statement
from quicsql_client.wire.native import (
    QueryRequest,
    decode_args,
    decode_request,
    encode_batch,
    encode_query,
)

from .strategies import JSON, TEXT, VALUE, exact


def args_of(written: str) -> tuple[object, ...]:
    request = decode_request(b'{"sql":"x","args":[%s]}' % written.encode())
    assert request.statement is not None
    return request.statement.decode().args  # type: ignore[return-value]


def refusal_of(body: bytes) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_request(body)
    return str(caught.value)


# The server's half.


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("null", None),
        ("true", 1),
        ("false", 0),
        ('"hi"', "hi"),
        ('""', ""),
        ("7", 7),
        ("-0", 0),
        ("-0.0", -0.0),
        ("9007199254740993", 9007199254740993),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("9223372036854775808", 9.223372036854776e18),
        ("-9223372036854775809", -9.223372036854776e18),
        ("1" * 300, float("1" * 300)),
        ("1.0", 1.0),
        ("1e2", 100.0),
        ("1E+2", 100.0),
        ("1e-400", 0.0),
        ("-1e-400", -0.0),
        ("1e400", "1e400"),
        ("-1e400", "-1e400"),
        ("1.5E999", "1.5E999"),
        ("9" * 400, "9" * 400),
        ("9" * 10_000, "9" * 10_000),
        ('{"base64":"AAEC"}', b"\0\1\2"),
        ('{"base64":""}', b""),
        ('{"base64":"AA\\r\\n=="}', b"\0"),
        ('{"base64":"x","base64":"AA=="}', b"\0"),
        ('"\\ud800"', "\ufffd"),
        ('"\\u0000"', "\0"),
    ],
)
def test_argument_values(written: str, value: object) -> None:
    assert exact(args_of(written)) == exact((value,))


OBJECT = 'arg 1: unsupported object arg (only {"base64": "..."} is allowed)'


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("[1]", "arg 1: unsupported arg type []interface {}"),
        ("[]", "arg 1: unsupported arg type []interface {}"),
        ("{}", OBJECT),
        ('{"base64":"AA==","x":1}', OBJECT),
        ('{"Base64":"AA=="}', OBJECT),
        ('{"x":"AA=="}', OBJECT),
        ('{"base64":1}', "arg 1: base64 arg must be a string"),
        ('{"base64":null}', "arg 1: base64 arg must be a string"),
        ('{"base64":{}}', "arg 1: base64 arg must be a string"),
        ('{"base64":["AA=="]}', "arg 1: base64 arg must be a string"),
    ],
)
def test_argument_refusals(written: str, text: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        args_of(f"1,{written},[2]")
    assert str(caught.value) == text


@pytest.mark.parametrize("encoded", ["AA", "A", "-_==", "AA= =", "é", "AAA=A"])
def test_bad_base64(encoded: str) -> None:
    with pytest.raises(RemoteProtocolError, match=r"^arg 0: invalid base64: illegal base64 data"):
        args_of(json.dumps({"base64": encoded}))


def test_arguments_are_looked_at_only_when_asked() -> None:
    request = decode_request(b'{"sql":"x","args":[[1]]}')
    assert request.statement is not None
    with pytest.raises(RemoteProtocolError, match="arg 0"):
        request.statement.decode()


@pytest.mark.parametrize(
    "body",
    [
        b'{"sql":"SELECT 1"}',
        b'{"SQL":"SELECT 1"}',
        b'{"sql":"x","sql":"SELECT 1"}',
        b'{"sql":"x","Sql":"SELECT 1"}',
        b'{"sql":"SELECT 1","args":null}',
        b'{"sql":"SELECT 1","args":[]}',
        b'{"sql":"SELECT 1","statements":null}',
        b'{"sql":"SELECT 1","statements":[]}',
        b' {"sql" : "SELECT 1"} \n',
        b'{"sql":"SELECT 1"}}',
        b'{"sql":"SELECT 1"}]junk',
    ],
)
def test_single_statements(body: bytes) -> None:
    request = decode_request(body)
    assert request.statements == ()
    assert request.statement is not None
    assert request.statement.decode() == Statement("SELECT 1")


@pytest.mark.parametrize("sql", [" ", ";", "-- c", "\ufeffSELECT 1"])
def test_sql_is_anything_but_empty(sql: str) -> None:
    request = decode_request(json.dumps({"sql": sql}).encode())
    assert request.statement is not None
    assert request.statement.sql == sql


NEITHER = "request must set 'sql' or 'statements'"
BOTH = "set either 'sql' or 'statements', not both"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "invalid JSON: EOF"),
        (b" \n", "invalid JSON: EOF"),
        (b'{"sql":"SEL', "invalid JSON: unexpected EOF"),
        (b"{}", NEITHER),
        (b"null", NEITHER),
        (b'{"sql":""}', NEITHER),
        (b'{"sql":null}', NEITHER),
        (b'{"statements":[]}', NEITHER),
        (b'{"args":[1]}', NEITHER),
        (b'{"sql":"x","statements":[{"sql":"y"}]}', BOTH),
        (b'{"sql":"x","statements":[null]}', BOTH),
        (b'{"sql":"x","foo":1}', 'invalid JSON: json: unknown field "foo"'),
        (b'{"sql":"x","foo":null}', 'invalid JSON: json: unknown field "foo"'),
        (b'{"statements":[{"sql":"x","foo":1}]}', 'invalid JSON: json: unknown field "foo"'),
        (
            b'{"statements":[{"sql":"x","statements":[]}]}',
            'invalid JSON: json: unknown field "statements"',
        ),
        (b'{"sql":"SELECT 1"} EXTRA', "unexpected trailing content after JSON body"),
        (b'{"sql":"SELECT 1"}{}', "unexpected trailing content after JSON body"),
    ],
)
def test_request_refusals(body: bytes, text: str) -> None:
    assert refusal_of(body) == text


@pytest.mark.parametrize(
    "body",
    [
        b"{not json",
        b"[]",
        b'"SELECT 1"',
        b'{"sql":1}',
        b'{"sql":"x","args":{}}',
        b'{"sql":"x","args":"y"}',
        b'{"statements":{}}',
        b'{"statements":["SELECT 1"]}',
        b'{"statements":[{"sql":1}]}',
        b'{"statements":[{"sql":"x","args":1}]}',
        b'{"statements":[{"sql":"x"}],"args":1}',
        b'\xef\xbb\xbf{"sql":"x"}',
        b'{"sql":NaN}',
        b"\x1f\x8b\x08",
    ],
)
def test_shapes_that_are_no_request(body: bytes) -> None:
    assert refusal_of(body).startswith("invalid JSON: ")


def test_batches() -> None:
    request = decode_request(
        b'{"args":[[1]],"statements":[{"sql":"a","args":[1]},{"SQL":"b"},null,{},{"sql":null}]}'
    )
    assert request.statement is None
    assert [statement.sql for statement in request.statements] == ["a", "b", "", "", ""]
    assert request.statements[0].decode().args == (1,)


def test_a_deep_argument_is_refused_as_a_body() -> None:
    assert refusal_of(b'{"sql":"x","args":[' + b"[" * 20_000).startswith("invalid JSON: ")


# The client's half.


def test_the_body_of_a_statement_is_that_of_the_go_client() -> None:
    assert encode_query(Statement("SELECT 1")) == b'{"sql":"SELECT 1"}'
    assert encode_query(Statement("x", {})) == b'{"sql":"x"}'
    assert (
        encode_query(Statement("x", [1, b"\0", None]))
        == b'{"args":[1,{"base64":"AA=="},null],"sql":"x"}'
    )


@given(TEXT.filter(bool), st.lists(VALUE))
def test_statements_both_ways(sql: str, args: list[Any]) -> None:
    request = decode_request(encode_query(Statement(sql, args)))
    assert request.statement is not None
    assert request.statement.sql == sql
    assert exact(request.statement.decode().args) == exact(args)


@given(st.lists(st.tuples(TEXT, st.lists(VALUE)), min_size=1))
def test_batches_both_ways(items: list[tuple[str, list[Any]]]) -> None:
    request = decode_request(encode_batch([Statement(sql, args) for sql, args in items]))
    decoded = [statement.decode() for statement in request.statements]
    assert [statement.sql for statement in decoded] == [sql for sql, _ in items]
    assert exact([s.args for s in decoded]) == exact([args for _, args in items])


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        (Statement("x", {"a": 1}), ProgrammingError),
        (Statement("x", [object()]), ProgrammingError),
        (Statement("x", "text"), ProgrammingError),
        (Statement("x", [2**63]), DataError),
        (Statement(None), ProgrammingError),  # type: ignore[arg-type]
        (Statement("\ud800"), ProgrammingError),
    ],
)
def test_statements_that_cannot_be_written(statement: Statement, kind: type[DatabaseError]) -> None:
    with pytest.raises(kind):
        encode_query(statement)
    with pytest.raises(kind) as caught:
        encode_batch([Statement("SELECT 1"), statement])
    assert caught.value.failed_index == 1


# Whatever the bytes.


@given(st.one_of(st.binary(), JSON.map(lambda value: json.dumps(value).encode())))
def test_any_bytes_are_a_request_or_refused(body: bytes) -> None:
    try:
        request = decode_request(body)
        for statement in (request.statement, *request.statements):
            if statement is not None:
                statement.decode()
    except RemoteProtocolError:
        return
    assert isinstance(request, QueryRequest)


MEMBERS = st.dictionaries(st.sampled_from(["sql", "args", "statements", "SQL", "x"]), JSON)


@given(MEMBERS, st.lists(MEMBERS), st.booleans())
def test_any_members_are_a_request_or_refused(
    top: dict[str, Any], members: list[dict[str, Any]], is_batch: bool
) -> None:
    body = json.dumps(top | {"statements": members} if is_batch else top).encode()
    try:
        request = decode_request(body)
    except RemoteProtocolError:
        return
    for raw in (request.statement, *request.statements):
        if raw is not None:
            assert isinstance(raw.sql, str)
            try:
                values = decode_args(raw.args)
            except RemoteProtocolError as exc:
                assert str(exc).startswith("arg ")  # noqa: PT017
            else:
                assert {type(v) for v in values} <= {int, float, str, bytes, type(None)}
