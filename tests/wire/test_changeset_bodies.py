"""The JSON bodies of the changeset endpoints."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quicsql_client.errors import RemoteProtocolError
from quicsql_client.wire.changeset import decode_concat, encode_applied, encode_concat

BAD_BASE64 = "invalid base64 changeset"


@given(first=st.binary(), second=st.binary())
def test_what_is_asked_is_what_is_read(first: bytes, second: bytes) -> None:
    assert decode_concat(encode_concat(first, second)) == (first, second)


def test_the_request_and_the_answer_byte_by_byte() -> None:
    assert encode_concat(b"T\x01", b"") == b'{"a":"VAE=","b":""}\n'
    assert encode_applied() == b'{"status":"ok"}\n'


@pytest.mark.parametrize(
    ("body", "pair"),
    [
        ("{}", (b"", b"")),
        ("null", (b"", b"")),
        ('{"a":null,"b":"VA=="}', (b"", b"T")),
        ('{"A":"VA==","c":7}', (b"T", b"")),
        ('{"a":"VA==","A":"AQ=="}', (b"\x01", b"")),
        ('{"a":"V\\nA\\r\\n=="}', (b"T", b"")),
    ],
)
def test_bodies_that_are_read(body: str, pair: tuple[bytes, bytes]) -> None:
    assert decode_concat(body.encode()) == pair


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("", "invalid JSON: unexpected end of JSON input"),
        ("{} x", "invalid JSON: invalid character 'x' after top-level value"),
        ("[]", "invalid JSON: body must be an object, got array"),
        ('{"a":5}', "invalid JSON: body.a must not be number"),
        ('{"a":"@@@@"}', BAD_BASE64),
        ('{"b":"AA"}', BAD_BASE64),
        ('{"a":"AA="}', BAD_BASE64),
        ('{"a":"A==="}', BAD_BASE64),
        ('{"a":"A==A"}', BAD_BASE64),
        ('{"a":"_-=="}', BAD_BASE64),
        ('{"a":"VA== "}', BAD_BASE64),
    ],
)
def test_bodies_that_are_refused(body: str, text: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_concat(body.encode())
    assert caught.value.message == text
