"""JSON bodies by the server's rules."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quicsql_client.errors import RemoteProtocolError
from quicsql_client.wire.document import (
    Number,
    Pairs,
    fields,
    kind_of,
    read_document,
    read_first,
    write_document,
)

from .strategies import JSON, TEXT


def refusal_of(read: object, body: bytes) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        read(body)  # type: ignore[operator]
    return str(caught.value)


@pytest.mark.parametrize("body", [b"", b" ", b"\r\n\t "])
def test_a_blank_body_has_a_text_of_its_own_in_each_protocol(body: bytes) -> None:
    assert refusal_of(read_first, body) == "invalid JSON: EOF"
    assert refusal_of(read_document, body) == "invalid JSON: unexpected end of JSON input"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"',
        b'{"sql',
        b'{"sql"',
        b'{"sql":',
        b'{"sql": ',
        b'{"sql":"SEL',
        b'{"sql":"a\\',
        b'{"sql":"a\\u',
        b'{"sql":"a\\u12',
        b'{"sql":"\\ud800\\u',
        b'{"sql":"\xc3',
        b'{"sql":"x"',
        b'{"sql":"x",',
        b"[",
        b"[1",
        b"[1,",
        b"[-",
        b"[1.",
        b"[1e",
        b"[1E-",
        b"[1.5e+",
        b"[t",
        b"[tru",
        b"[f",
        b"[nul",
        b"[[",
        b"[{",
        b"[{}",
    ],
)
def test_a_truncated_body_has_a_stable_text(body: bytes) -> None:
    assert refusal_of(read_first, body) == "invalid JSON: unexpected EOF"
    assert refusal_of(read_document, body) == "invalid JSON: unexpected end of JSON input"


@given(JSON.filter(lambda value: isinstance(value, dict | list)), st.data())
def test_every_beginning_of_a_document_is_a_truncated_body(
    value: object, data: st.DataObject
) -> None:
    body = json.dumps(value, allow_nan=False, default=str) if _is_strict(value) else "[1]"
    cut = data.draw(st.integers(1, len(body) - 1))
    assert refusal_of(read_first, body[:cut].encode()) == "invalid JSON: unexpected EOF"


def _is_strict(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    "body",
    [
        b"{not json",
        b'{"a" t',
        b"\xef\xbb\xbf{}",
        b"'x'",
        b"[NaN]",
        b"[Infinity]",
        b"[-Infinity]",
        b"[01]",
        b"[+1]",
        b"[.5]",
        b"[1.]",
        b"[1e]",
        b"[0x10]",
        b"[1,]",
        b'{"a":1,}',
        b'["\\x"]',
        b'["\\u12x4"]',
        b'["\x01"]',
        b'["a\nb"]',
        b"[\xa0]",
        b"\x1f\x8b\x08\x00gzip",
        b"\xff",
    ],
)
def test_a_syntax_error_is_not_called_a_truncated_body(body: bytes) -> None:
    for read in (read_first, read_document):
        text = refusal_of(read, body)
        assert text.startswith("invalid JSON: ")
        assert "unexpected E" not in text
        assert "unexpected end" not in text


@pytest.mark.parametrize("depth", [10_001, 200_000])
@pytest.mark.parametrize("unit", [(b"[", b"]"), (b'{"a":', b"}")])
def test_deep_nesting_is_refused(depth: int, unit: tuple[bytes, bytes]) -> None:
    body = unit[0] * depth + b"1" + unit[1] * depth
    for read in (read_first, read_document):
        assert refusal_of(read, body) == "invalid JSON: exceeded max depth"


@pytest.mark.parametrize("depth", range(50, 1000, 50))
def test_surrogates_in_nested_values_never_exhaust_the_stack(depth: int) -> None:
    body = b"[" * depth + b'"\\ud800"' + b"]" * depth
    try:
        value = read_document(body)
    except RemoteProtocolError as exc:
        assert str(exc) == "invalid JSON: exceeded max depth"  # noqa: PT017
        return
    while isinstance(value, list):
        (value,) = value
    assert value == "\ufffd"


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (
            b' {"a" : [1, 2.50, -0, 1e400, true, null, "x"]}\n',
            [("a", ["1", "2.50", "-0", "1e400", True, None, "x"])],
        ),
        (b'{"a":1,"a":2}', [("a", "1"), ("a", "2")]),
        (b'"a\xffb\xed\xa0\x80"', "a\ufffdb\ufffd\ufffd\ufffd"),
        (b'"\\ud800"', "\ufffd"),
        (b'"\\uDC00x"', "\ufffdx"),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b'{"\\ud800":["\\udfff"]}', [("\ufffd", ["\ufffd"])]),
        (b'"\\\\ud800"', "\\ud800"),
        (b'"\xef\xbb\xbfSELECT"', "\ufeffSELECT"),
        (b'"\\u0000"', "\0"),
    ],
)
def test_reading(body: bytes, value: object) -> None:
    assert read_document(body) == value
    assert read_first(body) == value


def test_numbers_keep_their_text_whatever_their_length() -> None:
    literal = b"9" * 100_000
    (value,) = read_document(b"[" + literal + b"]")
    assert type(value) is Number
    assert value == literal.decode()


@pytest.mark.parametrize("rest", [b"}", b" ]junk", b"\n}{", b"]"])
def test_a_closing_bracket_hides_what_follows_in_the_native_api_only(rest: bytes) -> None:
    assert read_first(b"{}" + rest) == Pairs()
    assert "after top-level value" in refusal_of(read_document, b"{}" + rest)


@pytest.mark.parametrize("rest", [b" EXTRA", b"{}", b"1", b"\0", b"\xef\xbb\xbf", b","])
def test_trailing_content_is_refused(rest: bytes) -> None:
    assert refusal_of(read_first, b"{}" + rest) == "unexpected trailing content after JSON body"
    assert refusal_of(read_document, b"{}" + rest).startswith("invalid JSON: invalid character ")


def test_trailing_content_names_its_first_character_in_a_pipeline() -> None:
    expected = "invalid JSON: invalid character 'E' after top-level value"
    assert refusal_of(read_document, b"{} EXTRA") == expected


def test_trailing_blanks_are_fine() -> None:
    assert read_first(b"{} \r\n\t") == read_document(b"{} \r\n\t") == Pairs()


KINDS = {"sql": str, "args": list, "named_args": list}


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"null", {}),
        (b"{}", {}),
        (b'{"sql":null}', {}),
        (b'{"SQL":"x"}', {"sql": "x"}),
        (b'{"Named_ARGS":[]}', {"named_args": []}),
        (b'{"sql":"a","SQL":"b"}', {"sql": "b"}),
        (b'{"SQL":"a","sql":"b"}', {"sql": "b"}),
        (b'{"other":1,"sql":"a"}', {"sql": "a"}),
    ],
)
def test_fields(body: bytes, found: object) -> None:
    assert fields(read_document(body), "request", KINDS) == found


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"[]", "request must be an object, got array"),
        (b'"x"', "request must be an object, got string"),
        (b"1", "request must be an object, got number"),
        (b"true", "request must be an object, got bool"),
        (b'{"sql":1}', "request.sql must not be number"),
        (b'{"sql":true}', "request.sql must not be bool"),
        (b'{"sql":{}}', "request.sql must not be object"),
        (b'{"args":"x"}', "request.args must not be string"),
        (b'{"args":{}}', "request.args must not be object"),
        (b'{"sql":1,"sql":"x"}', "request.sql must not be number"),
    ],
)
def test_fields_of_another_type_are_refused(body: bytes, text: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        fields(read_document(body), "request", KINDS)
    assert str(caught.value) == f"invalid JSON: {text}"


@pytest.mark.parametrize(
    ("key", "named"), [("foo", '"foo"'), ("", '""'), ('a\\"b', '"a\\"b"'), ("é", '"é"')]
)
def test_unknown_fields_are_refused_by_name_where_asked(key: str, named: str) -> None:
    value = read_document(b'{"%s":null}' % key.encode())
    with pytest.raises(RemoteProtocolError) as caught:
        fields(value, "request", KINDS, closed=True)
    assert str(caught.value) == f"invalid JSON: json: unknown field {named}"


def test_kind_of_names_every_type() -> None:
    value = read_document(b'[null,true,1,"x",{},[]]')
    kinds = ["null", "bool", "number", "string", "object", "array"]
    assert [kind_of(item) for item in value] == kinds


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("<&>", rb'"\u003c\u0026\u003e"'),
        ("\u2028\u2029", rb'"\u2028\u2029"'),
        ("\t\n\r\b\f\x00\x1f", rb'"\t\n\r\b\f\u0000\u001f"'),
        ("/\x7f", b'"/\x7f"'),
        ('"\\', rb'"\"\\"'),
        ("é\U0001f600", '"é\U0001f600"'.encode()),
    ],
)
def test_strings_are_written_as_upstream_writes_them(text: str, written: bytes) -> None:
    assert write_document(text) == written + b"\n"


@given(st.dictionaries(TEXT, st.lists(TEXT)))
def test_writing_is_compact_json_that_reads_back(value: dict[str, list[str]]) -> None:
    written = write_document(value)
    assert json.loads(written) == value
    assert not any(mark in written for mark in (b"<", b">", b"&", "\u2028".encode()))
    assert written.count(b"\n") == 1
    assert read_document(written) == list(value.items())
