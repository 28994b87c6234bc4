"""What a transport is: a whole request in, a whole answer out. Knows no socket and no library."""

from __future__ import annotations

import re
from typing import Protocol

from ..errors import LocalProtocolError
from ..renewal import TLSKeeper
from ..wire.messages import Request, Response

__all__ = [
    "CONNECTION_FIELDS",
    "FIELD_NAME",
    "FIELD_VALUE",
    "AsyncTransport",
    "Transport",
    "check_request",
    "is_safe_method",
    "tells_length",
]

# RFC 9110, 5.1 and 5.5, as regular expressions: a name in lower case, a value without blanks at its
# ends.
FIELD_NAME = r"[a-z0-9!#$%&'*+.^_`|~-]+"
FIELD_VALUE = r"[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?|"
# RFC 9113, 8.2.2: fields that speak of one connection.
CONNECTION_FIELDS = frozenset(
    {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"}
)
# How a message is framed, and to whom it goes, is the connection's business.
_NOT_OURS = CONNECTION_FIELDS | {"host", "content-length", "te"}
# RFC 9110, 9.1; a target of RFC 3986 holds no blank and no non-ASCII character.
_METHOD = re.compile(r"[A-Z]+")
_TARGET = re.compile(r"/[\x21-\x7e]*")
_FIELD_NAME = re.compile(FIELD_NAME)
_FIELD_VALUE = re.compile(FIELD_VALUE)
# RFC 9110, 9.2.1: may be sent again, as they change nothing.
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Transport(Protocol):
    """Carries requests to one server. Safe for use from many threads.

    tls: what its connections are encrypted with; None without TLS, or when it is not ours.
    """

    tls: TLSKeeper | None

    def send(self, request: Request, *, deadline: float | None) -> Response:
        """The whole answer. deadline:

        Instant of `time.monotonic()` by which it must be there, None for no limit.

        Raises a TransportError when no whole answer came; its `may_have_run` says whether the
        server may have acted.
        """
        ...

    def close(self) -> None:
        """Close what is idle, and what is in use as soon as it is free. May be called again."""
        ...


class AsyncTransport(Protocol):
    """The same for tasks of an event loop."""

    tls: TLSKeeper | None

    async def send(self, request: Request, *, deadline: float | None) -> Response:
        """See Transport.send. A cancelled call's connection is closed, never used again."""
        ...

    async def aclose(self) -> None:
        """See Transport.close."""
        ...


def tells_length(request: Request) -> bool:
    """Whether the request says how long its body is, also where it has none (RFC 9110, 8.6)."""
    return bool(request.body) or request.method in ("POST", "PUT", "PATCH")


def is_safe_method(method: str) -> bool:
    """True for a method that changes nothing, so that the request may be sent again."""
    return method in _SAFE


def check_request(request: Request) -> None:
    """Prove that the request says on the wire what it says here.

    Raises LocalProtocolError, quoting no value.
    """
    if not _METHOD.fullmatch(request.method):
        raise LocalProtocolError(f"not an HTTP method: {request.method!r:.40}")
    if not _TARGET.fullmatch(request.target):
        raise LocalProtocolError(
            "request target: expected a path that starts with / and is percent-encoded; "
            "it holds a blank, a control or a non-ASCII character"
        )
    for name, value in request.headers:
        if not _FIELD_NAME.fullmatch(name):
            raise LocalProtocolError(f"not a header name in lower case: {name!r:.40}")
        if name in _NOT_OURS:
            raise LocalProtocolError(f"header {name}: the connection sets it, or has no use for it")
        if not _FIELD_VALUE.fullmatch(value):
            raise LocalProtocolError(
                f"header {name}: its value holds a line break, a control or a non-Latin-1 "
                "character, "
                "or a blank at an end"
            )
