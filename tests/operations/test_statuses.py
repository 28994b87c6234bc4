"""Statuses other than 200: the class, the text, the facts of each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quicsql_client import errors
from quicsql_client.operations.answers import require_ok
from quicsql_client.wire.messages import Request, Response

from .script import refuse, reply

REQUEST = Request("POST", "/app/query", body=b"secret")
STATUSES: dict[int, type[errors.Error]] = {
    400: errors.ProgrammingError,
    401: errors.AuthenticationError,
    403: errors.AuthorizationError,
    404: errors.OperationalError,
    405: errors.ProgrammingError,
    409: errors.OperationalError,
    413: errors.DataError,
    422: errors.DatabaseError,
    429: errors.RateLimitedError,
    500: errors.OperationalError,
    501: errors.NotSupportedError,
    503: errors.OverloadedError,
    504: errors.OperationalError,
    201: errors.RemoteProtocolError,
    204: errors.RemoteProtocolError,
    301: errors.RemoteProtocolError,
    307: errors.RemoteProtocolError,
    418: errors.RemoteProtocolError,
    502: errors.RemoteProtocolError,
    999: errors.RemoteProtocolError,
}


def error_of(response: Response) -> errors.Error:
    with pytest.raises(errors.Error) as caught:
        require_ok(REQUEST, response)
    return caught.value


def test_200_is_fine_whatever_the_body() -> None:
    require_ok(REQUEST, Response(200, (), b"\xff"))


@pytest.mark.parametrize(("status", "kind"), STATUSES.items())
def test_each_status_has_its_class(status: int, kind: type[errors.Error]) -> None:
    error = error_of(refuse(status, "what happened"))
    assert type(error) is kind
    assert error.http_status == status
    assert str(error).startswith(f"POST /app/query: {status}")
    assert str(error).endswith(": what happened")
    assert "secret" not in str(error)
    assert (error.code, error.extended_code, error.failed_index) == (None, None, None)


def test_the_text_names_the_status() -> None:
    """Odd-case 187."""
    assert str(error_of(refuse(404, "unknown database"))) == (
        "POST /app/query: 404 Not Found: unknown database"
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":"Internal Error: x"}', "Internal Error: x"),
        (b'{"message":"m","code":"C"}', "m"),
        (b" Bad Gateway \n", "Bad Gateway"),
        (b"<html>" + b"x" * 500, "<html>" + "x" * 194),
        (b"\xffbinary", "\ufffdbinary"),
        (b"[" * 100_000, "[" * 200),
        (b"", ""),
    ],
)
def test_the_message_of_an_answer_that_is_not_ours(body: bytes, message: str) -> None:
    assert str(error_of(Response(502, (), body))) == f"POST /app/query: 502 Bad Gateway: {message}"


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        ("2", 2.0),
        ("0", 0.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("-1", None),
        ("", None),
        ("1.5", None),
        ("٢", None),
        ("1e3", None),
    ],
)
def test_retry_after(status: int, header: str, wait_s: float | None) -> None:
    error = error_of(refuse(status, retry_after=header))
    assert isinstance(error, errors.RateLimitedError | errors.OverloadedError)
    assert error.retry_after_s == wait_s
    assert error.is_retryable


@pytest.mark.parametrize("status", [429, 503])
def test_without_retry_after(status: int) -> None:
    error = error_of(refuse(status))
    assert isinstance(error, errors.RateLimitedError | errors.OverloadedError)
    assert error.retry_after_s is None


@pytest.mark.parametrize(
    "response",
    [
        refuse(400, "invalid or expired baton"),
        reply({"message": "The stream has expired due to inactivity"}, 400),
        Response(400, (), b"Received an invalid baton"),
    ],
)
def test_a_refused_baton_is_a_lost_stream(response: Response) -> None:
    error = error_of(response)
    assert type(error) is errors.StreamExpiredError
    assert error.is_disconnect
    assert "transaction" in str(error)


def test_a_foreign_baton_is_a_matter_of_permission() -> None:
    error = error_of(refuse(403, "baton belongs to a different principal"))
    assert type(error) is errors.AuthorizationError


@given(st.integers(100, 999).filter(lambda status: status != 200), st.binary())
def test_any_answer_raises_one_of_our_errors(status: int, body: bytes) -> None:
    assert error_of(Response(status, (), body)).http_status == status
