"""POST /<db>/query: answers, written by the server and read by the client."""

from __future__ import annotations

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
from quicsql_client.wire.native import (
    decode_error_message,
    decode_result,
    decode_results,
    encode_error,
    encode_result,
    encode_results,
)

from .strategies import JSON, exact, results


def one_cell(written: bytes) -> bytes:
    return b'{"columns":["a"],"rows":[[%s]],"rows_affected":0,"last_insert_id":0}\n' % written


CELLS = [
    (None, b"null"),
    (7, b"7"),
    (2**63 - 1, b"9223372036854775807"),
    (-(2**63), b"-9223372036854775808"),
    (9007199254740993, b"9007199254740993"),
    (2.5, b"2.5"),
    (0.0, b"0.0"),
    (-0.0, b"-0.0"),
    (100.0, b"100.0"),
    (1e6, b"1e+06"),
    (1234567.0, b"1.234567e+06"),
    (1e-5, b"1e-05"),
    (9.223372036854776e18, b"9.223372036854776e+18"),
    ("hi", b'"hi"'),
    ("", b'""'),
    ("<&>", rb'"\u003c\u0026\u003e"'),
    ("\u2028", rb'"\u2028"'),
    ("\ufffd", '"\ufffd"'.encode()),
    ('"base64"', rb'"\"base64\""'),
    (b"\0\1\2", b'{"base64":"AAEC"}'),
    (b"", b'{"base64":""}'),
]


@pytest.mark.parametrize(("value", "written"), CELLS)
def test_cells(value: Any, written: bytes) -> None:
    result = Result(("a",), ((value,),))
    assert encode_result(result) == one_cell(written)
    assert exact(decode_result(one_cell(written)).rows) == exact(result.rows)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_json_has_no_number_for_is_null(value: float) -> None:
    assert encode_result(Result(("a",), ((value,),))) == one_cell(b"null")


def test_the_order_and_presence_of_keys() -> None:
    result = Result(("id", "name"), ((1, "ada"),))
    assert encode_result(result) == (
        b'{"columns":["id","name"],"rows":[[1,"ada"]],"rows_affected":0,"last_insert_id":0}\n'
    )
    empty = b'{"columns":[],"rows":[],"rows_affected":1,"last_insert_id":2}'
    assert encode_result(Result(rows_affected=1, last_insert_id=2)) == empty + b"\n"
    cut = encode_result(Result(truncated=True))
    assert cut.endswith(b',"last_insert_id":0,"truncated":true}\n')
    assert encode_results([]) == b'{"results":[]}\n'
    assert encode_results([Result(rows_affected=1, last_insert_id=2)]) == (
        b'{"results":[' + empty + b"]}\n"
    )


@given(results())
def test_results_both_ways(result: Result) -> None:
    again = decode_result(encode_result(result))
    assert exact(again.rows) == exact(result.rows)
    assert again == result


@given(st.lists(results(), max_size=3))
def test_batch_results_both_ways(batch: list[Result]) -> None:
    again = decode_results(encode_results(batch), len(batch))
    assert exact([item.rows for item in again]) == exact([item.rows for item in batch])
    assert again == batch


@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        (("m",), b'{"error":{"message":"m"}}\n'),
        (("m", 0, 0, 0), b'{"error":{"message":"m"},"failed_index":0}\n'),
        (("m", 1, 1), b'{"error":{"message":"m","code":1,"extended_code":1}}\n'),
        (
            ("<", 19, 2067, 3),
            b'{"error":{"message":"\\u003c","code":19,"extended_code":2067},"failed_index":3}\n',
        ),
    ],
)
def test_error_envelopes(arguments: tuple[Any, ...], written: bytes) -> None:
    assert encode_error(*arguments) == written


@pytest.mark.parametrize(
    ("code", "extended", "kind", "name"),
    [
        (19, 2067, IntegrityError, "SQLITE_CONSTRAINT_UNIQUE"),
        (19, 0, IntegrityError, "SQLITE_CONSTRAINT"),
        (1, 1, OperationalError, "SQLITE_ERROR"),
        (8, 8, OperationalError, "SQLITE_READONLY"),
        (23, 23, AuthorizationError, "SQLITE_AUTH"),
        (0, 0, DatabaseError, None),
    ],
)
@pytest.mark.parametrize("index", [None, 0, 2])
def test_an_error_in_an_answer_is_raised_whatever_else_is_there(
    code: int, extended: int, kind: type[Error], name: str | None, index: int | None
) -> None:
    envelope = json.loads(encode_error("it failed", code, extended, index))
    body = json.dumps({"columns": [], "rows": [], "results": []} | envelope).encode()
    for decode in (decode_result, lambda raw: decode_results(raw, 0)):
        with pytest.raises(kind) as caught:
            decode(body)
        error = caught.value
        assert type(error) is kind
        assert (str(error), error.name, error.failed_index) == ("it failed", name, index)
        assert error.extended_code == (extended or code or None)
        assert error.http_status == 200


def test_an_error_without_a_message_is_an_error_still() -> None:
    with pytest.raises(DatabaseError, match="unknown error"):
        decode_result(b'{"error":{}}')


def test_unknown_members_of_an_answer_are_ignored() -> None:
    body = b'{"future":{},"columns":["a"],"rows":[[1]],"stats":{"x":[1]}}'
    assert decode_result(body) == Result(("a",), ((1,),))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"<html>",
        b'{"columns":["a"],"rows":[[1]]',
        b'{"columns":["a"],"rows":[[1]]}x',
        b'{"columns":null}',
        b'{"columns":"a"}',
        b'{"columns":[1]}',
        b'{"columns":["a"],"rows":null}',
        b'{"columns":["a"],"rows":[1]}',
        b'{"columns":["a"],"rows":[[]]}',
        b'{"columns":["a"],"rows":[[1,2]]}',
        b'{"columns":["a"],"rows":[[true]]}',
        b'{"columns":["a"],"rows":[[[]]]}',
        b'{"columns":["a"],"rows":[[{}]]}',
        b'{"columns":["a"],"rows":[[{"base64":1}]]}',
        b'{"columns":["a"],"rows":[[{"base64":"A"}]]}',
        b'{"columns":["a"],"rows":[[{"base64":"AA"}]]}',
        b'{"columns":["a"],"rows":[[{"base64":"\xc3\xa9=="}]]}',
        b'{"columns":["a"],"rows":[[9223372036854775808]]}',
        b'{"columns":["a"],"rows":[[-9223372036854775809]]}',
        b'{"columns":["a"],"rows":[[1e400]]}',
        b'{"columns":["a"],"rows":[[NaN]]}',
        b'{"columns":["a"],"rows":[["\xff"]]}',
        b'{"columns":["a"],"rows":[["\\ud800"]]}',
        b'{"columns":[],"rows_affected":"1"}',
        b'{"columns":[],"rows_affected":1.5}',
        b'{"columns":[],"last_insert_id":9223372036854775808}',
        b'{"columns":[],"truncated":1}',
        b'{"error":"text"}',
        b'{"error":{"message":1}}',
        b'{"error":{"message":"m","code":"1"}}',
        b'{"error":{"message":"m","code":-1}}',
        b'{"error":{"message":"m"},"failed_index":-1}',
        b'{"error":{"message":"m"},"failed_index":"0"}',
        b'{"results":' * 50_000,
        b'{"future":' + b"[" * 100_000,
        b'{"columns":[],"last_insert_id":' + b"1" * 5000 + b"}",
    ],
)
def test_answers_of_another_shape(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_result(body)
    with pytest.raises(RemoteProtocolError):
        decode_results(body, 1)


@pytest.mark.parametrize(
    "body",
    [
        encode_results([]),
        encode_results([Result(), Result()]),
        encode_result(Result()),
        b'{"results":[{}]}',
        b'{"results":[null]}',
        b'{"results":[{"error":{"message":"m"}}]}',
        b'{"results":[{"results":[]}]}',
        b'{"results":[{"columns":["a"],"rows":[[]]}]}',
    ],
)
def test_batch_answers_of_another_shape(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_results(body, 1)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (encode_error("m"), "m"),
        (encode_error("m", 1, 1, 0), "m"),
        (b'{"error":"Internal Error: x"}', "Internal Error: x"),
        (b'{"message":"The stream has expired","code":"STREAM_EXPIRED"}', "The stream has expired"),
        (b'{"error":null}', None),
        (b'{"error":{}}', None),
        (b"{}", None),
        (b"", None),
        (b"Bad Gateway", None),
        (b"[" * 100_000, None),
        (b'{"error":"\xff"}', None),
    ],
)
def test_messages_of_error_answers(body: bytes, message: str | None) -> None:
    assert decode_error_message(body) == message


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_raise_only_our_errors(body: bytes) -> None:
    assert decode_error_message(body) is None or b'"' in body
    for decode in (decode_result, lambda raw: decode_results(raw, 1)):
        with pytest.raises(Error):
            decode(body)


ANSWER_KEYS = [
    "columns",
    "rows",
    "rows_affected",
    "last_insert_id",
    "truncated",
    "results",
    "error",
]


@given(st.dictionaries(st.sampled_from([*ANSWER_KEYS, "failed_index"]), JSON))
def test_any_members_are_a_result_or_an_error_of_ours(members: dict[str, Any]) -> None:
    body = json.dumps(members).encode()
    try:
        result = decode_result(body)
    except DatabaseError as exc:
        assert "error" in members or isinstance(exc, RemoteProtocolError)  # noqa: PT017
    else:
        assert all(len(row) == len(result.columns) for row in result)


@given(results(), st.data())
def test_a_cut_answer_is_no_answer(result: Result, data: st.DataObject) -> None:
    body = encode_result(result)[:-1]
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(RemoteProtocolError):
        decode_result(body[:cut])
