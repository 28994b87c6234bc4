"""AsyncConnection: one connection to the server, carrying one exchange at a time.

Connects, shakes hands, and says whether it can be used again. The pool decides what to do when it
cannot.
"""

from __future__ import annotations

import time

from ..endpoint import Endpoint
from ..options import ClientOptions
from ..renewal import TLSKeeper, TLSMaterial
from ..tls import check_server_pin, explain_tls_failure, is_verification_failure
from ..transports import failures
from ..transports.events import ConnectionCore
from ..transports.http1 import HTTP1Connection
from ..transports.http2 import HTTP2Connection
from ..transports.network import AsyncSocketStream
from ..wire.messages import Request, Response
from .exchange import AsyncExchange, look_at_certificate

__all__ = ["AsyncConnection"]


class AsyncConnection:
    """A socket and the protocol core that speaks on it. Made by `open`.

    generation: of the certificates that it was made with.
    """

    def __init__(
        self,
        stream: AsyncSocketStream,
        core: ConnectionCore,
        endpoint: Endpoint,
        options: ClientOptions,
        generation: int = 0,
    ) -> None:
        self._stream = stream
        self._core = core
        self._endpoint = endpoint
        self._options = options
        self._is_intact = True
        self.generation = generation
        self.was_used = False
        self.idle_since = time.monotonic()

    @classmethod
    async def open(
        cls,
        endpoint: Endpoint,
        options: ClientOptions,
        tls: TLSKeeper | None,
        deadline: float | None,
        request: str,
    ) -> AsyncConnection:
        """Connect and finish the TLS handshake, with the certificates of now.

        Raises ConnectError, ConnectTimeout or TLSError: nothing was sent.
        """
        try:
            stream = await AsyncSocketStream.connect(endpoint, deadline)
        except TimeoutError as error:
            raise failures.connect_timeout(endpoint, request) from error
        except OSError as error:
            raise failures.connect_failure(error, endpoint, request) from error
        try:
            generation = 0
            if tls is not None:
                material = tls.current
                options, generation = material.options, material.generation
                await cls._shake_hands(stream, endpoint, material, deadline, request)
                tls.note_server(stream.peer_certificate)
            core = _core_for(endpoint, stream.alpn)
            return cls(stream, core, endpoint, options, generation)
        except BaseException:
            stream.close()
            raise

    @staticmethod
    async def _shake_hands(
        stream: AsyncSocketStream,
        endpoint: Endpoint,
        material: TLSMaterial,
        deadline: float | None,
        request: str,
    ) -> None:
        options = material.options
        try:
            await stream.start_tls(material.context, endpoint.host, deadline)
            check_server_pin(stream.peer_certificate, options, endpoint)
        except TimeoutError as error:
            raise failures.connect_timeout(endpoint, request) from error
        except OSError as error:
            stream.close()
            leaf = None
            if is_verification_failure(error):
                leaf = await look_at_certificate(endpoint, deadline)
            explained = explain_tls_failure(
                error, endpoint=endpoint, options=options, server_leaf=leaf, request=request
            )
            failures.mark(explained, may_have_run=False)
            raise explained from error

    @property
    def is_reusable(self) -> bool:
        """True when the last exchange ended well and another one may begin."""
        return self._is_intact and self._core.max_streams > 0

    def is_alive(self) -> bool:
        """Look, without waiting, at what came while the connection was idle:

        True when it may be used again.
        """
        try:
            while self._core.max_streams:
                data = self._stream.read_available()
                if data is None:
                    return True
                self._core.receive_data(data)
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Close at once. May be called again."""
        self._is_intact = False
        self._stream.close()

    async def exchange(self, request: Request, deadline: float | None) -> Response:
        """Send the request and read the whole answer, at most options.max_response_bytes of body.

        When this does not return, for whatever reason, the connection is of no more use. Raises
        TransportError, its `may_have_run` set.
        """
        self._is_intact = False
        exchange = AsyncExchange(
            self._stream, self._core, self._endpoint, self._options, request, self.was_used
        )
        response = await exchange.run(deadline)
        self.was_used = True
        self._is_intact = True
        self.idle_since = time.monotonic()
        return response


def _core_for(endpoint: Endpoint, alpn: str | None) -> ConnectionCore:
    if endpoint.transport == "h2c" or alpn == "h2":
        return HTTP2Connection(endpoint.authority, endpoint.scheme)
    return HTTP1Connection(endpoint.authority)
