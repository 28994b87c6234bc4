"""Listening sockets with TLS, ALPN, HTTP/1.1, HTTP/2, HTTP/3 and Unix sockets, in front of an ASGI
application.

Bytes come in at `listener`, pass `tls` where there is TLS, are told apart in `connection`, become
requests in `http1` and `http2`, and meet the application in `asgi`. Datagrams come in at `quic`
and become requests in `http3_connection`. Must not know what the application does.
Source: protocol/transports.md.
"""

from .asgi import ASGIApplication, Message, Receive, Scope, Send
from .contexts import ClientAuth, self_signed_context, server_context
from .listener import Listener, TLSContext, open_listener
from .quic_context import QUICContext, quic_context, self_signed_quic_context
from .settings import HTTPTimeouts

__all__ = [
    "ASGIApplication",
    "ClientAuth",
    "HTTPTimeouts",
    "Listener",
    "Message",
    "QUICContext",
    "Receive",
    "Scope",
    "Send",
    "TLSContext",
    "open_listener",
    "quic_context",
    "self_signed_context",
    "self_signed_quic_context",
    "server_context",
]
