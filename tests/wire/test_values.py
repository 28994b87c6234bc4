"""Python objects to values, and values to their JSON spellings."""

from __future__ import annotations

import array
import base64
import datetime as dt
import decimal
import enum
import math
import re
import uuid
from collections import UserDict, UserString, deque
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from quicsql_client.errors import DatabaseError, DataError, ProgrammingError
from quicsql_client.wire.values import (
    bind_arguments,
    bind_sql,
    bind_value,
    decode_base64,
    encode_base64,
    format_hrana_real,
    format_native_real,
)

from .strategies import VALUE, exact


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Word(str):
    __slots__ = ()


ZONE = dt.timezone(dt.timedelta(hours=2))
ID = uuid.UUID("12345678123456781234567812345678")


@pytest.mark.parametrize(
    ("given_value", "bound"),
    [
        (None, None),
        (True, 1),
        (False, 0),
        (0, 0),
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        (1.0, 1.0),
        (-0.0, -0.0),
        (5e-324, 5e-324),
        (math.nan, None),
        ("", ""),
        ("é\x00\U0001f600", "é\x00\U0001f600"),
        (Word("w"), "w"),
        (b"", b""),
        (b"\x00\xff", b"\x00\xff"),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"abcdef")[::2], b"ace"),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (dt.date(2024, 1, 2), "2024-01-02"),
        (dt.time(3, 4, 5), "03:04:05"),
        (dt.datetime(2024, 1, 2, 3, 4, 5), "2024-01-02 03:04:05"),
        (dt.datetime(2024, 1, 2, 3, 4, 5, 6), "2024-01-02 03:04:05.000006"),
        (dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=ZONE), "2024-01-02 03:04:05+02:00"),
        (decimal.Decimal("1.10"), "1.10"),
        (ID, "12345678-1234-5678-1234-567812345678"),
    ],
)
def test_bind_value(given_value: object, bound: object) -> None:
    assert exact(bind_value(given_value)) == exact(bound)
    assert exact(bind_arguments([given_value])) == exact((bound,))


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (2**63, DataError, "outside 64 bits"),
        (-(2**63) - 1, DataError, "outside 64 bits"),
        (math.inf, DataError, "infinity"),
        (-math.inf, DataError, "infinity"),
        ("secret\ud800", DataError, "not valid Unicode"),
        (1j, ProgrammingError, "complex"),
        (object(), ProgrammingError, "no SQLite storage class"),
        (["secret"], ProgrammingError, "list"),
        ({"secret": 1}, ProgrammingError, "dict"),
    ],
)
def test_bind_value_refuses(value: object, kind: type[DatabaseError], words: str) -> None:
    with pytest.raises(kind) as caught:
        bind_arguments((1, value))
    assert words in str(caught.value)
    assert "argument 1 " in str(caught.value)
    assert "secret" not in str(caught.value)
    with pytest.raises(kind, match="argument 'name' "):
        bind_arguments({"name": value})


@pytest.mark.parametrize(
    ("args", "bound"),
    [
        ((), ()),
        ([], ()),
        ({}, ()),
        (UserDict(), ()),
        (range(3), (0, 1, 2)),
        (deque([1, "a"]), (1, "a")),
        (array.array("q", [7]), (7,)),
        ({"a": 1}, {"a": 1}),
        ({":a": 1, "@b": 2, "$c": 3, "d": 4}, {"a": 1, "b": 2, "c": 3, "d": 4}),
        ({"$x::y": 1}, {"x::y": 1}),
        (UserDict(é=True), {"é": 1}),
    ],
)
def test_bind_arguments(args: Any, bound: object) -> None:
    assert bind_arguments(args) == bound
    assert type(bind_arguments(args)) is type(bound)


def test_bind_arguments_takes_a_sqlalchemy_row() -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        row = connection.execute(text("SELECT 1, 'a'")).one()
    engine.dispose()
    assert bind_arguments(row) == (1, "a")


def _generator() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    "args",
    [
        "text",
        b"bytes",
        bytearray(b"x"),
        memoryview(b"x"),
        {1},
        frozenset({1}),
        _generator(),
        5,
        None,
    ],
)
def test_bind_arguments_refuses_what_is_no_sequence(args: Any) -> None:
    with pytest.raises(ProgrammingError) as caught:
        bind_arguments(args)
    assert f"not {type(args).__name__}" in str(caught.value)
    assert "(value,)" in str(caught.value)


@pytest.mark.parametrize("name", ["", ":", "@", "$", 1, None, b"a", "\ud800"])
def test_parameter_names_are_non_empty_text(name: Any) -> None:
    with pytest.raises(ProgrammingError, match="parameter name"):
        bind_arguments({name: 1})


def test_one_parameter_with_two_prefixes_is_refused() -> None:
    with pytest.raises(ProgrammingError, match="'a' is given twice"):
        bind_arguments({":a": 1, "@a": 2})


@pytest.mark.parametrize("sql", [None, 1, b"SELECT 1", UserString("x"), "SELECT '\ud800'"])
def test_bind_sql_refuses(sql: Any) -> None:
    with pytest.raises(ProgrammingError, match="the SQL of a statement"):
        bind_sql(sql)


@given(st.lists(VALUE))
def test_values_bind_as_themselves(values: list[object]) -> None:
    assert exact(bind_arguments(values)) == exact(tuple(values))


@given(st.binary())
def test_base64_both_ways(value: bytes) -> None:
    encoded = encode_base64(value)
    assert encoded == base64.standard_b64encode(value).decode()
    assert decode_base64(encoded) == value
    assert decode_base64(encoded.rstrip("="), padded=False) == value
    assert decode_base64(encoded, padded=False) == value


@pytest.mark.parametrize(
    ("encoded", "value"),
    [("", b""), ("AAEC", b"\0\1\2"), ("A\r\nA==\n", b"\0"), ("+/+/", b"\xfb\xff\xbf")],
)
def test_decode_base64(encoded: str, value: bytes) -> None:
    assert decode_base64(encoded) == value


@pytest.mark.parametrize(
    "encoded",
    [
        "A",
        "AA",
        "AAA",
        "AA=",
        "=",
        "AA==AA==",
        "AA=A",
        "-_-_",
        "AA ==",
        "AA\t==",
        "é===",
        "AAAA=",
        "AAAA==",
        "AAAA====",
        "====",
        "\0AAA",
    ],
)
def test_decode_base64_refuses(encoded: str) -> None:
    with pytest.raises(ValueError, match="illegal base64 data"):
        decode_base64(encoded)


NATIVE = [
    (0.0, "0.0"),
    (-0.0, "-0.0"),
    (1.0, "1.0"),
    (100.0, "100.0"),
    (2.5, "2.5"),
    (-2.5, "-2.5"),
    (100000.0, "100000.0"),
    (999999.0, "999999.0"),
    (999999.9999999999, "999999.9999999999"),
    (123456.7, "123456.7"),
    (1 / 3, "0.3333333333333333"),
    (1e6, "1e+06"),
    (-1e6, "-1e+06"),
    (1234567.0, "1.234567e+06"),
    (1234567.8, "1.2345678e+06"),
    (1e15, "1e+15"),
    (1e16, "1e+16"),
    (1e100, "1e+100"),
    (1e300, "1e+300"),
    (0.0001, "0.0001"),
    (0.00012345, "0.00012345"),
    (0.00001, "1e-05"),
    (0.000012, "1.2e-05"),
    (5e-324, "5e-324"),
    (1.7976931348623157e308, "1.7976931348623157e+308"),
    (9223372036854775808.0, "9.223372036854776e+18"),
    (math.nan, "null"),
    (math.inf, "null"),
    (-math.inf, "null"),
]


@pytest.mark.parametrize(("value", "written"), NATIVE)
def test_native_real(value: float, written: str) -> None:
    assert format_native_real(value) == written


HRANA = [
    (0.0, "0"),
    (-0.0, "-0"),
    (1.0, "1"),
    (100.0, "100"),
    (2.5, "2.5"),
    (1234567.0, "1234567"),
    (1e15, "1000000000000000"),
    (1e16, "10000000000000000"),
    (1.5e16, "15000000000000000"),
    (1e20, "100000000000000000000"),
    (1e21, "1e+21"),
    (1.25e21, "1.25e+21"),
    (1e-4, "0.0001"),
    (1e-5, "0.00001"),
    (1e-6, "0.000001"),
    (1.5e-6, "0.0000015"),
    (1e-7, "1e-7"),
    (-1.5e-7, "-1.5e-7"),
    (5e-324, "5e-324"),
    (1.7976931348623157e308, "1.7976931348623157e+308"),
    (math.nan, "null"),
    (-math.inf, "null"),
]


@pytest.mark.parametrize(("value", "written"), HRANA)
def test_hrana_real(value: float, written: str) -> None:
    assert format_hrana_real(value) == written


def _digits_and_exponent(written: str) -> tuple[str, int]:
    """The significant digits and the decimal exponent that a text writes."""
    number = decimal.Decimal(written)
    digits = "".join(map(str, number.as_tuple().digits)).strip("0") or "0"
    return digits, number.adjusted() if number else 0


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(999999.5)
@example(1e-4)
@example(9.999999999999999e-05)
def test_native_real_has_the_value_and_shape_that_the_protocol_documents(value: float) -> None:
    written = format_native_real(value)
    assert repr(float(written)) == repr(value)
    digits, exponent = _digits_and_exponent(written)
    assert digits == _digits_and_exponent(repr(value))[0], "the shortest digits"
    if value != 0 and not -4 <= exponent < 6:
        assert re.fullmatch(r"-?[1-9](\.[0-9]*[1-9])?e[+-][0-9]{2,3}", written)
    else:
        assert re.fullmatch(r"-?[0-9]+\.([0-9]*[1-9]|0)", written)


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(1e21)
@example(9.999999999999999e20)
@example(1e-6)
@example(9.99999999999999e-7)
@example(9007199254740993.0)
def test_hrana_real_has_the_value_and_shape_that_the_protocol_documents(value: float) -> None:
    written = format_hrana_real(value)
    assert repr(float(written)) == repr(value)
    digits, exponent = _digits_and_exponent(written)
    assert digits == _digits_and_exponent(repr(value))[0], "the shortest digits"
    if value != 0 and not -6 <= exponent < 21:
        assert re.fullmatch(r"-?[1-9](\.[0-9]*[1-9])?e[+-][1-9][0-9]*", written)
    else:
        assert re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?", written)
