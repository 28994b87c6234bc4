"""HTTP messages as plain data, and the word about a server's health."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quicsql_client.errors import RemoteProtocolError
from quicsql_client.wire.health import decode_health, encode_health
from quicsql_client.wire.messages import JSON_HEADERS, Request, Response

from .strategies import TEXT


def test_headers_are_added_behind_a_requests_own() -> None:
    request = Request("POST", "/app/query", JSON_HEADERS, b"{}")
    signed = request.with_headers([("authorization", "Bearer t")])
    assert signed.headers == (("content-type", "application/json"), ("authorization", "Bearer t"))
    assert (signed.method, signed.target, signed.body) == ("POST", "/app/query", b"{}")
    assert request.headers == JSON_HEADERS


def test_a_request_names_itself_without_its_headers_and_body() -> None:
    request = Request("POST", "/app/query", (("authorization", "Bearer secret"),), b"secret")
    assert str(request) == "POST /app/query"


def test_a_header_is_its_first_value() -> None:
    response = Response(200, (("a", "1"), ("b", "2"), ("a", "3")))
    assert (response.header("a"), response.header("b"), response.header("c")) == ("1", "2", None)


def test_health_is_written_as_upstream_writes_it() -> None:
    assert encode_health() == b'{"status":"ok"}\n'


@given(TEXT)
def test_health_both_ways(status: str) -> None:
    assert decode_health(encode_health(status)) == status


@pytest.mark.parametrize(
    "body", [b"", b"ok", b"{}", b'{"status":null}', b'{"status":"\xff"}', b"[" * 100_000]
)
def test_health_of_another_shape(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="health"):
        decode_health(body)


@given(st.binary())
def test_any_bytes_are_no_health(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_health(body)
