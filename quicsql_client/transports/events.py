"""What the HTTP connection cores say, and what they are:

Bytes in, events out. No socket, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

from ..errors import RemoteProtocolError
from ..wire.messages import Headers, Request

__all__ = [
    "BodyPart",
    "ConnectionCore",
    "Event",
    "RequestNotProcessed",
    "ResponseEnded",
    "ResponseStarted",
]


@dataclass(frozen=True, slots=True)
class ResponseStarted:
    """Status (200 to 999) and header fields, names in lower case."""

    status: int
    headers: Headers


@dataclass(frozen=True, slots=True)
class BodyPart:
    """The next bytes of the body."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ResponseEnded:
    """The answer is whole."""


Event: TypeAlias = ResponseStarted | BodyPart | ResponseEnded


class RequestNotProcessed(RemoteProtocolError):
    """The server says that it did nothing with the request:

    It may be sent again, on another connection.
    """

    is_retryable = True


class ConnectionCore(Protocol):
    """The client side of one HTTP connection, one request at a time.

    Raises RemoteProtocolError where the peer breaks the protocol; the connection is then of no
    more use.
    """

    @property
    def is_reusable(self) -> bool:
        """True when no exchange is going on and another one may begin."""
        ...

    @property
    def has_heard(self) -> bool:
        """True when the peer has said anything at all on this connection."""
        ...

    def start_request(self, request: Request) -> bytes:
        """Begin an exchange: the bytes to send.

        What flow control holds back comes out of `receive_data` later.
        """
        ...

    def receive_data(self, data: bytes) -> bytes:
        """Take what the peer sent (b"" is its end of stream):

        The bytes to send in answer, often none.
        """
        ...

    def next_event(self) -> Event | None:
        """The next event of the answer, or None when more data is needed."""
        ...
