"""A listening socket with all its connections: open, swap the TLS context, drain.

Must not know HTTP. Source: protocol/transports.md, "Transports" and "Shutdown".
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from typing import Protocol, TypeAlias

from ...errors import ConfigurationError
from .addresses import bind_tcp, bind_unix, bound_address, file_identity, join_address
from .asgi import ASGIApplication
from .connection import Connection
from .endpoint import Endpoint
from .quic_context import QUICContext
from .settings import DEFAULT_TIMEOUTS, HTTPTimeouts
from .tls import TLSLayer

TLSContext: TypeAlias = ssl.SSLContext | QUICContext

_TRANSPORTS = ("h1", "h2c", "h2", "h3", "unix")


class Listener(Protocol):
    """An open listener (made by `open_listener`).

    name, transport: as given. address: the bound "host:port" with the real port, or the socket
    path.
    """

    name: str
    transport: str
    address: str

    @property
    def app(self) -> ASGIApplication:
        """The application that this listener calls."""

    def replace_context(self, context: TLSContext) -> None:
        """Use this context for new handshakes; connections that are there keep theirs.

        Raises: ConfigurationError when the listener has no use for it.
        """

    async def drain(self, grace_s: float) -> int:
        """Stop accepting, let what is in flight end within grace_s seconds, abort the rest.

        Clients of HTTP/2 and HTTP/3 are sent GOAWAY, HTTP/1.1 answers carry Connection: close,
        idle connections close at once. Returns how many connections were aborted with a request
        in flight. May be called again, with another time.
        """


class StreamListener:
    """A listening TCP or Unix socket with all its connections; see `Listener`."""

    def __init__(
        self, endpoint: Endpoint, listening: socket.socket, context: ssl.SSLContext | None
    ) -> None:
        self.name = endpoint.name
        self.transport = endpoint.kind
        host, port = endpoint.server
        self.address = host if port is None else join_address(host, port)
        self._endpoint = endpoint
        self._listening = listening
        self._context = context
        self._handshakes: set[TLSLayer] = set()
        self._server: asyncio.Server | None = None
        is_unix = endpoint.kind == "unix"
        self._file = file_identity(self.address) if is_unix else None

    @property
    def app(self) -> ASGIApplication:
        """The application that this listener calls."""
        return self._endpoint.app

    async def start(self) -> None:
        """Accept connections."""
        loop = asyncio.get_running_loop()
        if self.transport == "unix":
            self._server = await loop.create_unix_server(self._factory(), sock=self._listening)
        else:
            self._server = await loop.create_server(self._factory(), sock=self._listening)

    def _factory(self) -> Callable[[], asyncio.Protocol]:
        if self._context is None:
            return lambda: Connection(self._endpoint)
        return self._new_tls_layer

    def _new_tls_layer(self) -> TLSLayer:
        assert self._context is not None  # noqa: S101 - the factory for TLS listeners
        layer = TLSLayer(
            self._context,
            Connection(self._endpoint),
            name=self.name,
            timeouts=self._endpoint.timeouts,
            on_done=self._handshakes.discard,
        )
        self._handshakes.add(layer)
        return layer

    def replace_context(self, context: TLSContext) -> None:
        """Use this TLS context for new handshakes; connections that are there keep theirs.

        Raises: ConfigurationError on a listener without TLS.
        """
        if self._context is None or not isinstance(context, ssl.SSLContext):
            raise ConfigurationError(
                f"listener {self.name}: transport {self.transport} has no TLS context to replace"
            )
        self._context = context

    async def drain(self, grace_s: float) -> int:
        """Stop accepting, let what is in flight end within grace_s seconds, abort the rest."""
        self._endpoint.is_draining = True
        if self._server is not None:
            self._server.close()
        self._remove_file()
        for layer in list(self._handshakes):
            layer.abort()
        return await self._endpoint.drain(grace_s)

    def _remove_file(self) -> None:
        """Remove the socket's file, unless another server has put its own there meanwhile."""
        if self._file is not None and file_identity(self.address) == self._file:
            os.unlink(self.address)
        self._file = None


async def open_listener(
    *,
    name: str,
    transport: str,
    address: str,
    app: ASGIApplication,
    context: TLSContext | None = None,
    socket_mode: int | None = None,
    timeouts: HTTPTimeouts = DEFAULT_TIMEOUTS,
) -> Listener:
    """Bind and accept.

    transport: "h1", "h2c", "h2" (needs an ssl.SSLContext), "h3" (needs a QUICContext) or "unix";
    where there is no TLS, a context is ignored, as the upstream does. address: host:port,
    [address]:port, :port, "" (any port on all interfaces), or the path of a Unix socket.
    socket_mode: permissions of that socket.
    Raises: ConfigurationError `listener <name>: ...` when the address cannot be bound, the
    transport is unknown or not installed, or h2 or h3 come without their context.
    Source: protocol/transports.md; protocol/config.md, "listeners[]".
    """
    if transport not in _TRANSPORTS:
        raise ConfigurationError(
            f"listener {name}: unknown transport {transport!r} (want h1, h2c, h2, h3 or unix)"
        )
    if transport == "h3":
        return await _open_h3(name, address, app, context, timeouts)
    if transport == "h2" and not isinstance(context, ssl.SSLContext):
        raise ConfigurationError(f"listener {name}: transport h2 needs a TLS context")
    server: tuple[str, int | None]
    if transport == "unix":
        listening, server = bind_unix(name, address, socket_mode), (address, None)
    else:
        listening = await bind_tcp(name, address)
        server = bound_address(listening)
    endpoint = Endpoint(name=name, kind=transport, app=app, timeouts=timeouts, server=server)
    used = context if transport == "h2" and isinstance(context, ssl.SSLContext) else None
    listener = StreamListener(endpoint, listening, used)
    try:
        await listener.start()
    except BaseException:
        listening.close()
        raise
    return listener


async def _open_h3(
    name: str,
    address: str,
    app: ASGIApplication,
    context: TLSContext | None,
    timeouts: HTTPTimeouts,
) -> Listener:
    if not isinstance(context, QUICContext):
        raise ConfigurationError(f"listener {name}: transport h3 needs a QUIC context")
    try:
        from .http3 import open_http3_listener
    except ImportError as error:
        raise ConfigurationError(
            f'listener {name}: transport h3 needs aioquic: pip install "quicsql-client[server,h3]"'
        ) from error
    return await open_http3_listener(
        name=name, address=address, app=app, context=context, timeouts=timeouts
    )
