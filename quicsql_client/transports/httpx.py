"""httpx on both sides: our transport as an httpx transport, and any httpx transport as ours.

The only module that knows httpx's types. Exceptions of httpx become ours; they are not kept as a
cause, because they carry the request with its Authorization header. Source: protocol/client.md,
section 1.
"""

from __future__ import annotations

import math
import ssl
import time
from typing import Any, NoReturn

import httpx

from ..endpoint import Endpoint
from ..errors import (
    ConfigurationError,
    ConnectError,
    ConnectTimeout,
    LocalProtocolError,
    PoolTimeout,
    ReadTimeout,
    RemoteProtocolError,
    ResponseTooLarge,
    TransportError,
    WriteTimeout,
)
from ..options import ClientOptions
from ..renewal import TLSKeeper
from ..wire.messages import Headers, Request, Response
from .base import CONNECTION_FIELDS, AsyncTransport, Transport, check_request
from .failures import refuse_encoded

__all__ = [
    "AsyncForeignTransport",
    "AsyncMockableTransport",
    "AsyncPoolTransport",
    "ForeignTransport",
    "MockableTransport",
    "PoolTransport",
]

# Framing is the connection's own business, and only identity is understood.
_NOT_FORWARDED = CONNECTION_FIELDS | {"host", "content-length", "accept-encoding", "te"}
_FOREIGN = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError)
# Ours for theirs; the first that fits, so finer classes come first. True: the server may have
# acted.
_KINDS: tuple[tuple[type[Exception], type[TransportError], bool], ...] = (
    (httpx.ConnectTimeout, ConnectTimeout, False),
    (httpx.PoolTimeout, PoolTimeout, False),
    (httpx.WriteTimeout, WriteTimeout, True),
    (httpx.TimeoutException, ReadTimeout, True),
    (httpx.ConnectError, ConnectError, False),
    (httpx.RemoteProtocolError, RemoteProtocolError, True),
    (httpx.DecodingError, RemoteProtocolError, True),
)
_REAL_SEND = httpx.HTTPTransport.handle_request
_REAL_ASYNC_SEND = httpx.AsyncHTTPTransport.handle_async_request


# Ours as httpx's


class PoolTransport(httpx.BaseTransport):
    """Our transport for an `httpx.Client`:

    Same connections, TLS and credential. Goes to its own server only.

    Closing the httpx client leaves our transport open. A request that has an authorization field
    keeps it. The read timeout of the httpx request is taken as the total one.
    """

    def __init__(self, transport: Transport, endpoint: Endpoint, options: ClientOptions) -> None:
        self._transport = transport
        self._endpoint = endpoint
        self._options = options

    def client(self) -> httpx.Client:
        """An httpx client over this transport; redirects, cookies, proxy environment are off."""
        return httpx.Client(
            base_url=self._endpoint.base_url,
            transport=self,
            timeout=self._options.timeout_s,
            trust_env=False,
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Raises our errors, not httpx's; LocalProtocolError for a URL of another server."""
        request.read()
        ours = _from_httpx(request, self._endpoint, self._options)
        deadline = _deadline(request, self._options)
        return _to_httpx(self._transport.send(ours, deadline=deadline))


class AsyncPoolTransport(httpx.AsyncBaseTransport):
    """The same for an `httpx.AsyncClient`."""

    def __init__(
        self, transport: AsyncTransport, endpoint: Endpoint, options: ClientOptions
    ) -> None:
        self._transport = transport
        self._endpoint = endpoint
        self._options = options

    def client(self) -> httpx.AsyncClient:
        """An httpx client over this transport; redirects, cookies, proxy environment are off."""
        return httpx.AsyncClient(
            base_url=self._endpoint.base_url,
            transport=self,
            timeout=self._options.timeout_s,
            trust_env=False,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises our errors, not httpx's; LocalProtocolError for a URL of another server."""
        await request.aread()
        ours = _from_httpx(request, self._endpoint, self._options)
        deadline = _deadline(request, self._options)
        return _to_httpx(await self._transport.send(ours, deadline=deadline))


def _from_httpx(request: httpx.Request, endpoint: Endpoint, options: ClientOptions) -> Request:
    _check_origin(request.url, endpoint)
    headers: Headers = tuple(
        (name.decode("latin-1").lower(), value.decode("latin-1"))
        for name, value in request.headers.raw
        if name.lower().decode("latin-1") not in _NOT_FORWARDED
    )
    ours = Request(request.method, request.url.raw_path.decode("ascii"), headers, request.content)
    credential = options.credential
    if credential is None or "authorization" in request.headers:
        return ours
    return ours.with_headers(credential.headers_for(ours))


def _check_origin(url: httpx.URL, endpoint: Endpoint) -> None:
    wanted = httpx.URL(endpoint.base_url)
    if (url.scheme, url.host, url.port) != (wanted.scheme, wanted.host, wanted.port):
        raise LocalProtocolError(
            f"this httpx client speaks to {endpoint.base_url} only, with that server's credential; "
            "use another one for other servers"
        )


def _deadline(request: httpx.Request, options: ClientOptions) -> float | None:
    timeouts = request.extensions.get("timeout", {"read": options.timeout_s})
    seconds = timeouts.get("read")
    return None if seconds is None else time.monotonic() + float(seconds)


def _to_httpx(response: Response) -> httpx.Response:
    return httpx.Response(
        response.status,
        headers=[
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers
        ],
        stream=httpx.ByteStream(response.body),
    )


# httpx's as ours


class ForeignTransport:
    """An `httpx.BaseTransport` of the user's as ours.

    Redirects are not followed, and it is not closed.
    """

    tls: TLSKeeper | None = None

    def __init__(
        self, transport: httpx.BaseTransport, endpoint: Endpoint, options: ClientOptions
    ) -> None:
        _check_colour(transport, "handle_request", "an httpx.BaseTransport")
        self._transport = transport
        self._endpoint = endpoint
        self._options = options

    def send(self, request: Request, *, deadline: float | None) -> Response:
        """See Transport.send; the deadline holds as far as the transport keeps to its timeouts."""
        theirs = _request_for(request, self._endpoint, deadline)
        try:
            response = self._transport.handle_request(theirs)
            try:
                body = _Body(response, request, self._options, deadline)
                assert isinstance(response.stream, httpx.SyncByteStream)  # noqa: S101
                for chunk in response.stream:
                    body.add(chunk)
            finally:
                response.close()
        except _FOREIGN as error:
            _raise_ours(error, request, self._endpoint)
        return body.whole()

    def close(self) -> None:
        """Does nothing: the transport is its owner's to close."""


class AsyncForeignTransport:
    """An `httpx.AsyncBaseTransport` of the user's as ours.

    Redirects are not followed, and it is not closed.
    """

    tls: TLSKeeper | None = None

    def __init__(
        self, transport: httpx.AsyncBaseTransport, endpoint: Endpoint, options: ClientOptions
    ) -> None:
        _check_colour(transport, "handle_async_request", "an httpx.AsyncBaseTransport")
        self._transport = transport
        self._endpoint = endpoint
        self._options = options

    async def send(self, request: Request, *, deadline: float | None) -> Response:
        """See Transport.send; the deadline holds as far as the transport keeps to its timeouts."""
        theirs = _request_for(request, self._endpoint, deadline)
        try:
            response = await self._transport.handle_async_request(theirs)
            try:
                body = _Body(response, request, self._options, deadline)
                assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101
                async for chunk in response.stream:
                    body.add(chunk)
            finally:
                await response.aclose()
        except _FOREIGN as error:
            _raise_ours(error, request, self._endpoint)
        return body.whole()

    async def aclose(self) -> None:
        """Does nothing: the transport is its owner's to close."""


def _check_colour(transport: object, method: str, wanted: str) -> None:
    if not callable(getattr(transport, method, None)):
        raise ConfigurationError(
            f"with_transport: this client needs {wanted}, got {type(transport).__name__}"
        )


def _request_for(request: Request, endpoint: Endpoint, deadline: float | None) -> httpx.Request:
    check_request(request)
    left = None
    if deadline is not None and deadline != math.inf:
        left = max(deadline - time.monotonic(), 0.001)
    fields = [("accept-encoding", "identity"), *request.headers]
    return httpx.Request(
        request.method,
        endpoint.base_url + request.target,
        headers=fields,
        content=request.body,
        extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), left)},
    )


class _Body:
    """Collects an answer, as sent, up to the cap and until the deadline."""

    def __init__(
        self,
        response: httpx.Response,
        request: Request,
        options: ClientOptions,
        deadline: float | None,
    ) -> None:
        self._response = response
        self._request = request
        self._limit = options.max_response_bytes
        self._deadline = deadline
        self._parts: list[bytes] = []
        self._size = 0
        coding = response.headers.get("content-encoding", "")
        if coding.strip().lower() not in ("", "identity"):
            raise refuse_encoded(coding, str(request))

    def add(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._limit is not None and self._size > self._limit:
            raise ResponseTooLarge(
                f"quicsql: server response exceeds the {self._limit}-byte client cap (raise it "
                "with with_max_response)",
                limit_bytes=self._limit,
                request=str(self._request),
                may_have_run=True,
            )
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise ReadTimeout(
                f"{self._request}: no whole answer before the deadline; see with_timeout",
                request=str(self._request),
                may_have_run=True,
            )
        self._parts.append(chunk)

    def whole(self) -> Response:
        headers: Headers = tuple(
            (name.decode("latin-1").lower(), value.decode("latin-1"))
            for name, value in self._response.headers.raw
        )
        return Response(self._response.status_code, headers, b"".join(self._parts))


def _raise_ours(error: Exception, request: Request, endpoint: Endpoint) -> NoReturn:
    if isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol | httpx.InvalidURL):
        raise LocalProtocolError(f"{request}: the transport refuses it: {error}") from None
    kind, may_have_run = next(
        ((ours, ran) for theirs, ours, ran in _KINDS if isinstance(error, theirs)),
        (TransportError, True),
    )
    raise kind(
        f"{request}: {type(error).__name__} of the transport to {endpoint}: {error}",
        request=str(request),
        may_have_run=may_have_run,
    ) from None


# Patched httpx


class MockableTransport:
    """Our transport, unless httpx.HTTPTransport.handle_request was replaced (as pytest-httpx does):

    Then that one.
    """

    def __init__(
        self,
        transport: Transport,
        endpoint: Endpoint,
        options: ClientOptions,
    ) -> None:
        self._transport = transport
        self._endpoint = endpoint
        self._options = options
        self.tls = transport.tls

    def send(self, request: Request, *, deadline: float | None) -> Response:
        """See Transport.send."""
        if httpx.HTTPTransport.handle_request is _REAL_SEND:
            return self._transport.send(request, deadline=deadline)
        with httpx.HTTPTransport(**_settings(self._endpoint, self.tls)) as patched:
            foreign = ForeignTransport(patched, self._endpoint, self._options)
            return foreign.send(request, deadline=deadline)

    def close(self) -> None:
        """See Transport.close."""
        self._transport.close()


class AsyncMockableTransport:
    """The same for httpx.AsyncHTTPTransport.handle_async_request."""

    def __init__(
        self,
        transport: AsyncTransport,
        endpoint: Endpoint,
        options: ClientOptions,
    ) -> None:
        self._transport = transport
        self._endpoint = endpoint
        self._options = options
        self.tls = transport.tls

    async def send(self, request: Request, *, deadline: float | None) -> Response:
        """See Transport.send."""
        if httpx.AsyncHTTPTransport.handle_async_request is _REAL_ASYNC_SEND:
            return await self._transport.send(request, deadline=deadline)
        async with httpx.AsyncHTTPTransport(**_settings(self._endpoint, self.tls)) as patched:
            foreign = AsyncForeignTransport(patched, self._endpoint, self._options)
            return await foreign.send(request, deadline=deadline)

    async def aclose(self) -> None:
        """See Transport.close."""
        await self._transport.aclose()


def _settings(endpoint: Endpoint, tls: TLSKeeper | None) -> dict[str, Any]:
    """An httpx transport that, where the mock lets a request through, goes where ours would."""
    return {
        "verify": tls.current.context if tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        "http1": endpoint.transport != "h2c",
        "http2": endpoint.transport in ("h2", "h2c"),
        "uds": endpoint.path or None,
        "trust_env": False,
    }
