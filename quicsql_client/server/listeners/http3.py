"""A listening UDP socket for HTTP/3: open, swap the certificate, drain.

The one module of HTTP/3 that others import, and late: it needs the extra `h3`.

    http3 -> quic -> quic_connection -> http3_connection -> http3_stream -> asgi
      (socket)          (handshake)        (requests)
               quic_machine: aioquic, and all that is private to it

Source: protocol/transports.md, "Transports" and "Shutdown".
"""

from __future__ import annotations

from ...errors import ConfigurationError
from .addresses import bind_udp, bound_address, join_address
from .asgi import ASGIApplication
from .endpoint import Endpoint
from .quic import QUICSocket
from .quic_context import QUICContext
from .settings import HTTPTimeouts


class HTTP3Listener:
    """An open listener for HTTP/3 (made by `open_http3_listener`); see `listener.Listener`."""

    transport = "h3"

    def __init__(self, endpoint: Endpoint, socket: QUICSocket) -> None:
        self.name = endpoint.name
        host, port = endpoint.server
        self.address = host if port is None else join_address(host, port)
        self._endpoint = endpoint
        self._socket = socket

    @property
    def app(self) -> ASGIApplication:
        """The application that this listener calls."""
        return self._endpoint.app

    def replace_context(self, context: object) -> None:
        """Use this context for new handshakes; connections that are there keep theirs.

        Raises: ConfigurationError when it is none for QUIC.
        """
        if not isinstance(context, QUICContext):
            raise ConfigurationError(f"listener {self.name}: transport h3 takes a QUIC context")
        self._socket.replace_context(context)

    async def drain(self, grace_s: float) -> int:
        """Stop accepting, let what is in flight end within grace_s seconds, abort the rest.

        Clients are sent GOAWAY; idle connections close at once. Returns how many connections were
        aborted with a request in flight; then the port is free. May be called again.
        """
        self._endpoint.is_draining = True
        self._socket.drop_handshakes()
        try:
            return await self._endpoint.drain(grace_s)
        finally:
            await self._socket.close()


async def open_http3_listener(
    *, name: str, address: str, app: ASGIApplication, context: QUICContext, timeouts: HTTPTimeouts
) -> HTTP3Listener:
    """Bind and accept. Raises: ConfigurationError `listener <name>: listen udp ...`."""
    bound = await bind_udp(name, address)
    server = bound_address(bound)
    endpoint = Endpoint(name=name, kind="h3", app=app, timeouts=timeouts, server=server)
    try:
        return HTTP3Listener(endpoint, await QUICSocket.open(bound, endpoint, context))
    except BaseException:
        bound.close()
        raise
