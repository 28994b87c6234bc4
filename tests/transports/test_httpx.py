"""httpx on both sides: a real httpx client over our pool, and httpx transports as ours."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable

import httpx
import pytest

from quicsql_client._async.pool import open_transport
from quicsql_client._sync.pool import open_transport as open_sync
from quicsql_client.endpoint import Endpoint
from quicsql_client.errors import (
    ConfigurationError,
    ConnectError,
    Error,
    LocalProtocolError,
    PoolTimeout,
    ReadTimeout,
    RemoteProtocolError,
    ResponseTooLarge,
    TransportError,
)
from quicsql_client.options import (
    ClientOptions,
    with_bearer,
    with_insecure_auth_allowed,
    with_max_response,
    with_transport,
)
from quicsql_client.transports.httpx import AsyncPoolTransport, PoolTransport
from quicsql_client.wire.messages import Request
from tests.fix_peers import OK, WAIT_S, AsyncPool, PeerFactory, Pool, answering

WRITE = Request("POST", "/app/query?x=1", (("authorization", "Bearer S3CRET"),), b"{}")
SOMEWHERE = Endpoint.parse("db.example:1", transport="h1")


def deadline() -> float:
    return time.monotonic() + WAIT_S


def test_httpx_client_over_our_pool(open_peer: PeerFactory) -> None:
    peer = open_peer(answering(OK, OK))
    endpoint = Endpoint.parse(peer.address, transport="h1")
    options = ClientOptions.of([with_bearer("t"), with_insecure_auth_allowed()], endpoint)
    pool = Pool(endpoint, options)
    transport = PoolTransport(pool, endpoint, options)
    with httpx.Client(transport=transport, base_url=endpoint.base_url) as client:
        response = client.post("/x y", params={"a": "1"}, json={"k": 1})
        assert client.get("/z", headers={"authorization": "Other"}).text == "ok"
    pool.close()
    assert (response.status_code, response.text) == (200, "ok")
    first, second = (request.lower() for request in peer.requests)
    assert first.startswith(b"post /x%20y?a=1 http/1.1\r\n")
    assert b"authorization: bearer t\r\n" in first
    assert b"accept-encoding: identity\r\n" in first
    assert b"gzip" not in first
    assert first.endswith(b'{"k":1}')
    assert b"authorization: other\r\n" in second
    assert b"bearer" not in second
    assert peer.connections == 1


async def test_httpx_async_client_over_our_pool(open_peer: PeerFactory) -> None:
    peer = open_peer(answering(OK))
    endpoint = Endpoint.parse(peer.address, transport="h1")
    pool = AsyncPool(endpoint, ClientOptions())
    transport = AsyncPoolTransport(pool, endpoint, ClientOptions())
    async with httpx.AsyncClient(transport=transport, base_url=endpoint.base_url) as client:
        assert (await client.get("/z")).text == "ok"
    await pool.aclose()


def test_httpx_client_goes_nowhere_else(open_peer: PeerFactory) -> None:
    peer = open_peer(answering(OK))
    endpoint = Endpoint.parse(peer.address, transport="h1")
    pool = Pool(endpoint, ClientOptions())
    transport = PoolTransport(pool, endpoint, ClientOptions())
    with (
        httpx.Client(transport=transport) as client,
        pytest.raises(LocalProtocolError, match="only"),
    ):
        client.get("http://elsewhere.example/")
    pool.close()
    assert peer.connections == 0


def test_redirects_are_answers(open_peer: PeerFactory) -> None:
    moved = b"HTTP/1.1 307 Moved\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n"
    peer = open_peer(answering(moved, OK))
    pool = Pool(Endpoint.parse(peer.address, transport="h1"), ClientOptions())
    assert pool.send(WRITE, deadline=deadline()).status == 307
    pool.close()
    assert len(peer.requests) == 1


def sending_through(handler: Callable[[httpx.Request], httpx.Response], *cap: int) -> Error | bytes:
    given = [with_transport(httpx.MockTransport(handler)), *map(with_max_response, cap)]
    transport = open_sync(SOMEWHERE, ClientOptions.of(given, SOMEWHERE))
    try:
        return transport.send(WRITE, deadline=deadline()).body
    except Error as error:
        return error
    finally:
        transport.close()


def test_given_transport_is_used() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, content=b"hello")

    assert sending_through(handler) == b"hello"
    assert str(seen[0].url) == "http://db.example:1/app/query?x=1"
    assert seen[0].headers["accept-encoding"] == "identity"
    assert 0 < seen[0].extensions["timeout"]["read"] <= WAIT_S


async def test_given_transport_is_used_async() -> None:
    mock = httpx.MockTransport(lambda _: httpx.Response(404, content=b"no"))
    options = ClientOptions.of([with_transport(mock)], SOMEWHERE)
    transport = open_transport(SOMEWHERE, options)
    response = await transport.send(WRITE, deadline=None)
    await transport.aclose()
    assert (response.status, response.body) == (404, b"no")


@pytest.mark.parametrize(
    ("theirs", "ours", "ran"),
    [
        (httpx.ConnectError, ConnectError, False),
        (httpx.ConnectTimeout, ConnectError, False),
        (httpx.PoolTimeout, PoolTimeout, False),
        (httpx.ReadTimeout, ReadTimeout, True),
        (httpx.RemoteProtocolError, RemoteProtocolError, True),
        (httpx.ReadError, TransportError, True),
        (httpx.ProxyError, TransportError, True),
    ],
)
def test_exceptions_of_a_given_transport_become_ours(
    theirs: type[httpx.TransportError], ours: type[TransportError], ran: bool
) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise theirs("it failed", request=request)

    error = sending_through(handler)
    assert isinstance(error, ours)
    assert error.may_have_run is ran
    assert error.__cause__ is None
    assert b"S3CRET" not in pickle.dumps(error)


def test_cap_and_coding_hold_for_a_given_transport() -> None:
    body = httpx.ByteStream(b"x" * 11)
    assert isinstance(
        sending_through(lambda _: httpx.Response(200, stream=body), 10), ResponseTooLarge
    )
    assert sending_through(lambda _: httpx.Response(200, stream=body), 11) == b"x" * 11
    coded = {"content-encoding": "gzip"}
    found = sending_through(lambda _: httpx.Response(200, headers=coded, stream=body))
    assert isinstance(found, RemoteProtocolError)


def test_transport_of_the_other_colour_is_refused() -> None:
    options = ClientOptions.of([with_transport(httpx.AsyncHTTPTransport())], SOMEWHERE)
    with pytest.raises(ConfigurationError, match=r"httpx\.BaseTransport"):
        open_sync(SOMEWHERE, options)


def test_patched_httpx_transport_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is how pytest-httpx and its like catch requests."""
    monkeypatch.setattr(
        httpx.HTTPTransport,
        "handle_request",
        lambda _, request: httpx.Response(200, content=request.url.path.encode()),
    )
    transport = open_sync(SOMEWHERE, ClientOptions())
    assert transport.send(WRITE, deadline=deadline()).body == b"/app/query"
    transport.close()


async def test_patched_async_httpx_transport_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    async def handle(_: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=request.url.path.encode())

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle)
    transport = open_transport(SOMEWHERE, ClientOptions())
    assert (await transport.send(WRITE, deadline=None)).body == b"/app/query"
    await transport.aclose()
