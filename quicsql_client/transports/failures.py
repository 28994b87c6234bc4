"""Foreign exceptions of a connection become ours here, each with what was tried and what to do.

Does no I/O.

Every TransportError made here says in `may_have_run` whether the server may have acted on the
request.
"""

from __future__ import annotations

import errno
import socket
import ssl

from ..endpoint import Endpoint
from ..errors import (
    ConnectError,
    ConnectTimeout,
    ReadTimeout,
    RemoteProtocolError,
    TransportError,
    WriteTimeout,
)

__all__ = [
    "answer_lost",
    "connect_failure",
    "connect_timeout",
    "mark",
    "read_timeout",
    "refuse_encoded",
    "write_timeout",
]

_ADVICE = {
    errno.ECONNREFUSED: "nothing listens there: is the server running, and is the port right?",
    errno.ENOENT: "there is no such socket: is the server running, and is the path right?",
    errno.EACCES: "this user may not open it: look at the socket's mode and owner",
    errno.EHOSTUNREACH: "no way to that host: look at the address and the network",
    errno.ENETUNREACH: "no way to that network: look at the address and the network",
}


def connect_failure(error: OSError, endpoint: Endpoint, request: str) -> ConnectError:
    """No connection: nothing was sent."""
    if isinstance(error, socket.gaierror):
        text = f"cannot resolve the host name {endpoint.host!r}: {error.strerror}; check the name"
    else:
        reason = error.strerror or str(error) or type(error).__name__
        advice = _ADVICE.get(error.errno or 0, "")
        text = f"cannot connect to {endpoint}: {reason}" + (f"; {advice}" if advice else "")
    return ConnectError(text, request=request, may_have_run=False)


def connect_timeout(endpoint: Endpoint, request: str) -> ConnectTimeout:
    """The connection, or its TLS handshake, took too long: nothing was sent."""
    udp = ""
    if endpoint.transport == "h3":
        udp = "HTTP/3 goes over UDP, which firewalls often block: try h2 (Client.h2tls). "
    return ConnectTimeout(
        f"no connection to {endpoint} in time; is it reachable, and does it speak "
        f"{endpoint.transport}? {udp}"
        "See with_connect_timeout and with_timeout",
        request=request,
        may_have_run=False,
    )


def write_timeout(endpoint: Endpoint, request: str, *, may_have_run: bool) -> WriteTimeout:
    """The request could not be sent before the deadline."""
    return WriteTimeout(
        f"{request}: {endpoint} did not take the whole request before the deadline; see "
        "with_timeout",
        request=request,
        may_have_run=may_have_run,
    )


def read_timeout(endpoint: Endpoint, request: str) -> ReadTimeout:
    """The answer was not whole before the deadline."""
    return ReadTimeout(
        f"{request}: no whole answer from {endpoint} before the deadline; it may still be working "
        "on it. See with_timeout",
        request=request,
        may_have_run=True,
    )


def answer_lost(
    error: BaseException | None, endpoint: Endpoint, request: str, *, may_have_run: bool
) -> TransportError:
    """The connection ended before the answer was whole."""
    reason = _reason(error)
    if may_have_run:
        text = (
            f"{request}: the connection to {endpoint} ended before the answer came ({reason}); it "
            "may have taken effect"
        )
    else:
        text = (
            f"{request}: the connection to {endpoint} ended before the request was sent "
            f"({reason}); nothing ran"
        )
    return TransportError(
        text, request=request, may_have_run=may_have_run, is_retryable=not may_have_run
    )


def refuse_encoded(coding: str, request: str) -> RemoteProtocolError:
    """An answer in a content coding, which we never ask for: inflating it could fill the memory."""
    return RemoteProtocolError(
        f"{request}: the answer is encoded ({coding!r:.40}), though only identity was asked for",
        request=request,
        may_have_run=True,
    )


def _reason(error: BaseException | None) -> str:
    if error is None:
        return "end of stream"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or 'error').lower().replace('_', ' ')}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error)


def mark(error: TransportError, *, may_have_run: bool, answer_began: bool = False) -> None:
    """Note on the error, unless it is there already, how far the request came."""
    error.__dict__.setdefault("may_have_run", may_have_run)
    error.__dict__.setdefault("answer_began", answer_began)
