# Made from quicsql_client/_async/http3_pool.py
# by tools/async_to_sync.py: do not edit, change the source.
"""HTTP3Pool: QUIC connections to one server, lent to one call each and kept for the next one.

Decides as `pool` does when a connection is used again, and when a request is sent again: only when
nothing of it can have run, or when it changes nothing. Connections of a parent process are never
used after a fork. Needs the extra `h3`.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from ..endpoint import Endpoint
from ..errors import (
    ConfigurationError,
    LocalProtocolError,
    PoolTimeout,
    TransportError,
)
from ..options import ClientOptions
from ..renewal import TLSKeeper
from ..transports import failures
from ..transports.base import check_request
from ..transports.deadlines import sooner
from ..transports.resending import MAX_TRIES, may_send_again
from ..transports.slots import Slots
from ..wire.messages import Request, Response
from .http3_connection import HTTP3Connection

if TYPE_CHECKING:
    from ..transports.http3 import HTTP3Core

__all__ = ["HTTP3Pool"]

DEFAULT_MAX_CONNECTIONS = 32
# Servers may end a connection that is idle for 60 s; a little less, so that we are the first.
DEFAULT_KEEPALIVE_S = 50.0


class HTTP3Pool:
    """Connections to one endpoint with one set of options. Opens nothing until the first call.

    max_connections: how many calls run at a time, further ones wait. keepalive_s: how long an
    idle connection is kept. Raises ConfigurationError when the TLS material does not fit, and when
    the extra `h3` is not installed.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        options: ClientOptions,
        *,
        max_connections: int = DEFAULT_MAX_CONNECTIONS,
        keepalive_s: float = DEFAULT_KEEPALIVE_S,
    ) -> None:
        self._core = _load_core()
        self.endpoint = endpoint
        self.options = options
        self.tls: TLSKeeper | None
        self.tls = self._keeper = TLSKeeper(options, endpoint)
        self._max_connections = max_connections
        self._keepalive_s = keepalive_s
        self._is_closed = False
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._idle: deque[HTTP3Connection] = deque()
        self._slots = Slots(self._max_connections)

    def send(self, request: Request, *, deadline: float | None) -> Response:
        """The whole answer to `request`, whatever its status.

        deadline: instant of time.monotonic(), None for no limit. The request is sent again only
        when the server did not process it, or when a kept connection proves dead and nothing can
        have run. Raises TransportError, its `may_have_run` set; PoolTimeout when every connection
        stays in use; LocalProtocolError for a request that cannot be sent.
        """
        check_request(request)
        self._check_usable()
        slots = self._slots
        try:
            slots.acquire(deadline)
        except TimeoutError as error:
            raise PoolTimeout(
                f"{request}: all {self._max_connections} connections to {self.endpoint} stayed in "
                "use until the deadline",
                request=str(request),
                may_have_run=False,
            ) from error
        try:
            return self._send_until_processed(request, deadline)
        finally:
            slots.release()

    def _send_until_processed(self, request: Request, deadline: float | None) -> Response:
        tries = 0
        while True:
            tries += 1
            connection = self._lend(request, deadline, is_fresh=tries > 1)
            try:
                return connection.exchange(request, deadline)
            except TransportError as error:
                if tries >= MAX_TRIES or not may_send_again(error, request, connection.was_used):
                    raise
            finally:
                self._take_back(connection)

    def _lend(self, request: Request, deadline: float | None, *, is_fresh: bool) -> HTTP3Connection:
        self._keeper.check()
        while not is_fresh:
            connection = self._pop_idle()
            if connection is None:
                break
            if self._is_current(connection) and self._is_alive(connection, request, deadline):
                return connection
            connection.close()
        return HTTP3Connection.open(
            self._core,
            self.endpoint,
            self._keeper,
            sooner(deadline, self.options.connect_timeout_s),
            str(request),
        )

    def _is_alive(
        self, connection: HTTP3Connection, request: Request, deadline: float | None
    ) -> bool:
        try:
            return connection.is_alive(deadline)
        except TimeoutError as error:
            connection.close()
            raise failures.connect_timeout(self.endpoint, str(request)) from error
        except BaseException:
            connection.close()
            raise

    def _take_back(self, connection: HTTP3Connection) -> None:
        with self._lock:
            is_kept = (
                connection.is_reusable and self._is_current(connection) and not self._is_closed
            )
            if is_kept:
                self._idle.append(connection)
        if not is_kept:
            connection.close()

    def _pop_idle(self) -> HTTP3Connection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _is_current(self, connection: HTTP3Connection) -> bool:
        """Whether it has not been idle for too long, and was made with the certificates of now."""
        if connection.generation != self._keeper.current.generation:
            return False
        return time.monotonic() - connection.idle_since < self._keepalive_s

    def _check_usable(self) -> None:
        if self._is_closed:
            raise LocalProtocolError("the client is closed; make a new one")
        if self._process != os.getpid():
            inherited = self._idle
            self._start_afresh()
            self._keeper.forget_threads()
            for connection in inherited:  # our copies only: the parent's go on, nothing is sent
                connection.abandon()

    def close(self) -> None:
        """Close the idle connections now, and each other one when its call ends.

        Later calls raise. May be called again.
        """
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, deque()
        is_ours = self._process == os.getpid()
        for connection in idle:
            if is_ours:
                connection.close()
            else:
                connection.abandon()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.endpoint.base_url}, {len(self._idle)} idle>"


def _load_core() -> type[HTTP3Core]:
    try:
        from ..transports.http3 import HTTP3Core
    except ImportError as error:
        raise ConfigurationError(
            'transport "h3" needs aioquic: pip install "quicsql-client[h3]"'
        ) from error
    return HTTP3Core
