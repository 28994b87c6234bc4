"""Listening sockets with TLS, ALPN, HTTP/1.1, HTTP/2 and Unix sockets, in front of an ASGI
application.

Bytes come in at `listener`, pass `tls` where there is TLS, are told apart in `connection`, become
requests in `http1` and `http2`, and meet the application in `asgi`. Must not know what the
application does.
Source: protocol/transports.md.
"""

from .asgi import ASGIApplication, Message, Receive, Scope, Send
from .contexts import ClientAuth, self_signed_context, server_context
from .listener import Listener, open_listener
from .settings import HTTPTimeouts

__all__ = [
    "ASGIApplication",
    "ClientAuth",
    "HTTPTimeouts",
    "Listener",
    "Message",
    "Receive",
    "Scope",
    "Send",
    "open_listener",
    "self_signed_context",
    "server_context",
]
