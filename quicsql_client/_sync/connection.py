# Made from quicsql_client/_async/connection.py
# by tools/async_to_sync.py: do not edit, change the source.
"""Connection: one connection to the server, and the calls that it has.

Connects, shakes hands, and says how many calls it can take. The pool decides what to do when it
can take none.
"""

from __future__ import annotations

import time

from ..endpoint import Endpoint
from ..options import ClientOptions
from ..renewal import TLSKeeper, TLSMaterial
from ..tls import check_server_pin, explain_tls_failure, is_verification_failure
from ..transports import failures
from ..transports.events import ConnectionCore, RequestNotProcessed
from ..transports.http1 import HTTP1Connection
from ..transports.http2 import HTTP2Connection
from ..transports.network import SocketStream
from ..wire.messages import Request, Response
from .exchange import Exchange, look_at_certificate
from .link import Link

__all__ = ["Connection"]

# A shared connection on which a call failed gets no new ones, when the peer has been asked for so
# long and said nothing: it may be gone without a word.
_MAX_SILENCE_S = 5.0


class Connection:
    """A connection, made by `open`.

    generation: of the certificates that it was made with. calls: how many have it now, counted by
    the pool. was_used: an exchange on it has ended well. idle_since: the end of the last one.
    """

    def __init__(
        self,
        stream: SocketStream,
        core: ConnectionCore,
        endpoint: Endpoint,
        options: ClientOptions,
        generation: int = 0,
    ) -> None:
        self._link = Link(stream, core)
        self._endpoint = endpoint
        self._options = options
        self._is_retired = False
        self.generation = generation
        self.calls = 0
        self.was_used = False
        self.idle_since = time.monotonic()

    @classmethod
    def open(
        cls,
        endpoint: Endpoint,
        options: ClientOptions,
        tls: TLSKeeper | None,
        deadline: float | None,
        request: str,
    ) -> Connection:
        """Connect and finish the TLS handshake, with the certificates of now.

        Raises ConnectError, ConnectTimeout or TLSError: nothing was sent.
        """
        try:
            stream = SocketStream.connect(endpoint, deadline)
        except TimeoutError as error:
            raise failures.connect_timeout(endpoint, request) from error
        except OSError as error:
            raise failures.connect_failure(error, endpoint, request) from error
        try:
            generation = 0
            if tls is not None:
                material = tls.current
                options, generation = material.options, material.generation
                cls._shake_hands(stream, endpoint, material, deadline, request)
                tls.note_server(stream.peer_certificate)
            core = _core_for(endpoint, stream.alpn)
            return cls(stream, core, endpoint, options, generation)
        except BaseException:
            stream.close()
            raise

    @staticmethod
    def _shake_hands(
        stream: SocketStream,
        endpoint: Endpoint,
        material: TLSMaterial,
        deadline: float | None,
        request: str,
    ) -> None:
        options = material.options
        try:
            stream.start_tls(material.context, endpoint.host, deadline)
            check_server_pin(stream.peer_certificate, options, endpoint)
        except TimeoutError as error:
            raise failures.connect_timeout(endpoint, request) from error
        except OSError as error:
            stream.close()
            leaf = None
            if is_verification_failure(error):
                leaf = look_at_certificate(endpoint, deadline)
            explained = explain_tls_failure(
                error, endpoint=endpoint, options=options, server_leaf=leaf, request=request
            )
            failures.mark(explained, may_have_run=False)
            raise explained from error

    @property
    def capacity(self) -> int:
        """How many calls it may have at a time, 0 when it is of no more use."""
        return 0 if self._is_retired else self._link.capacity

    def is_alive(self) -> bool:
        """Look, without waiting, at what came while the connection was idle.

        True when it may be used again.
        """
        return self._link.is_alive()

    def retire(self) -> None:
        """Take no more calls; those that it has go on."""
        self._is_retired = True

    def close(self) -> None:
        """Close at once. May be called again."""
        self._link.close()

    def exchange(self, request: Request, deadline: float | None) -> Response:
        """Send the request and read the whole answer, at most options.max_response_bytes of body.

        When this does not return, other calls go on where the protocol allows it. Raises
        TransportError, its `may_have_run` set.
        """
        exchange = Exchange(self._link, self._endpoint, self._options, request, self.was_used)
        try:
            response = exchange.run(deadline)
        except BaseException as error:  # cancelling, too, ends this exchange for the server
            self._link.give_up(exchange.stream_id)
            self._is_retired = self._is_retired or self._is_doubtful(error)
            raise
        self._link.finish()
        self.was_used = True
        self.idle_since = time.monotonic()
        return response

    def _is_doubtful(self, error: BaseException) -> bool:
        """Whether other calls had better go elsewhere, though the connection still stands."""
        is_shared = self._link.capacity > 1
        is_declined = isinstance(error, RequestNotProcessed)
        return is_declined or not is_shared or self._link.silence_s > _MAX_SILENCE_S


def _core_for(endpoint: Endpoint, alpn: str | None) -> ConnectionCore:
    if endpoint.transport == "h2c" or alpn == "h2":
        return HTTP2Connection(endpoint.authority, endpoint.scheme)
    return HTTP1Connection(endpoint.authority)
