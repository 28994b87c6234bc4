# Made from quicsql_client/_async/pool.py
# by tools/async_to_sync.py: do not edit, change the source.
"""Pool: connections to one server, lent to calls and kept for the next ones.

Decides when a connection is used again, and when a request is sent again: only when nothing of it
can have run, or when it changes nothing. Connections of a parent process are never used after a
fork.
"""

from __future__ import annotations

import os
import time

from ..endpoint import Endpoint
from ..errors import (
    LocalProtocolError,
    PoolTimeout,
    TransportError,
)
from ..options import ClientOptions
from ..renewal import TLSKeeper
from ..transports import failures
from ..transports.base import Transport, check_request
from ..transports.deadlines import sooner
from ..transports.httpx import ForeignTransport, MockableTransport
from ..transports.network import SocketStream
from ..transports.resending import MAX_TRIES, may_send_again
from ..transports.shelves import Shelf
from ..wire.messages import Request, Response
from .connection import Connection
from .http3_pool import HTTP3Pool

__all__ = ["Pool", "open_transport"]

DEFAULT_MAX_CONNECTIONS = 32
# Below the server's 120 s (protocol/transports.md, "Timeouts"), so that we are the first to close.
DEFAULT_KEEPALIVE_S = 90.0


def open_transport(endpoint: Endpoint, options: ClientOptions) -> Transport:
    """The transport that these options ask for: a pool of our own, or that of with_transport."""
    if options.transport is not None:
        return ForeignTransport(options.transport, endpoint, options)
    pool = (HTTP3Pool if endpoint.transport == "h3" else Pool)(endpoint, options)
    return MockableTransport(pool, endpoint, options)


class Pool:
    """Connections to one endpoint with one set of options. Opens nothing until the first call.

    max_connections: how many there are at a time; further calls wait. One that can be shared takes
    as many calls as the server allows, another one takes one. keepalive_s: how long an idle one is
    kept. Raises ConfigurationError when the TLS material does not fit.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        options: ClientOptions,
        *,
        max_connections: int = DEFAULT_MAX_CONNECTIONS,
        keepalive_s: float = DEFAULT_KEEPALIVE_S,
    ) -> None:
        self.endpoint = endpoint
        self.options = options
        self.tls = TLSKeeper(options, endpoint) if endpoint.tls else None
        self._max_connections = max_connections
        self._keepalive_s = keepalive_s
        self._is_closed = False
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._process = os.getpid()
        is_shared = SocketStream.is_shareable and self.endpoint.transport in ("h2", "h2c")
        self._shelf = Shelf[Connection](self._max_connections, is_shared=is_shared)

    def send(self, request: Request, *, deadline: float | None) -> Response:
        """The whole answer to `request`, whatever its status.

        deadline: instant of time.monotonic(), None for no limit. The request is sent again only
        when the server did not process it, or when a kept connection proves dead and nothing can
        have run. Raises TransportError, its `may_have_run` set; PoolTimeout when every connection
        stays in use; LocalProtocolError for a request that cannot be sent.
        """
        check_request(request)
        self._check_usable()
        shelf, tries = self._shelf, 0
        while True:
            tries += 1
            connection = self._lend(request, deadline, is_fresh=tries > 1)
            was_used = connection.was_used
            try:
                return connection.exchange(request, deadline)
            except TransportError as error:
                if tries >= MAX_TRIES or not may_send_again(error, request, was_used):
                    raise
            finally:
                shelf.give_back(connection)

    def _lend(self, request: Request, deadline: float | None, *, is_fresh: bool) -> Connection:
        if self.tls is not None:
            self.tls.check()
        while True:
            connection = self._take(request, deadline, is_fresh=is_fresh)
            if connection is None:
                return self._open(request, deadline)
            if self._is_current(connection) and (connection.calls > 1 or connection.is_alive()):
                return connection
            connection.retire()
            self._shelf.give_back(connection)

    def _take(
        self, request: Request, deadline: float | None, *, is_fresh: bool
    ) -> Connection | None:
        try:
            return self._shelf.take(deadline, is_fresh=is_fresh)
        except TimeoutError as error:
            if not self._shelf.all:  # another call tries to open one
                raise failures.connect_timeout(self.endpoint, str(request)) from error
            raise PoolTimeout(
                f"{request}: no connection to {self.endpoint} had room before the deadline; there "
                f"are at most {self._max_connections}",
                request=str(request),
                may_have_run=False,
            ) from error

    def _open(self, request: Request, deadline: float | None) -> Connection:
        connection: Connection | None = None
        try:
            connection = Connection.open(
                self.endpoint,
                self.options,
                self.tls,
                sooner(deadline, self.options.connect_timeout_s),
                str(request),
            )
        finally:
            self._shelf.add(connection)
        return connection

    def _is_current(self, connection: Connection) -> bool:
        """Whether it has not been idle for too long, and was made with the certificates of now."""
        if self.tls is not None and connection.generation != self.tls.current.generation:
            return False
        idle_s = time.monotonic() - connection.idle_since
        return connection.calls > 1 or idle_s < self._keepalive_s

    def _check_usable(self) -> None:
        if self._is_closed:
            raise LocalProtocolError("the client is closed; make a new one")
        if self._process != os.getpid():
            inherited = self._shelf.all
            self._start_afresh()
            if self.tls is not None:
                self.tls.forget_threads()
            for connection in inherited:  # our copies only: the parent's go on, nothing is sent
                connection.close()

    def close(self) -> None:
        """Close the idle connections now, and each other one when its call ends.

        Later calls raise. May be called again.
        """
        self._is_closed = True
        self._shelf.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.endpoint.base_url}, {len(self._shelf.idle)} idle>"
