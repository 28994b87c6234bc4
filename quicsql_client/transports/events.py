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
    """The client side of one HTTP connection: exchanges, each known by a number.

    After each call of a method, what `data_to_send` gives goes to the peer. Nothing raises what
    the peer does wrong but `next_event`, to each exchange that it concerns.
    """

    @property
    def max_streams(self) -> int:
        """How many exchanges may go on at a time, 0 when none may begin any more."""
        ...

    @property
    def has_heard(self) -> bool:
        """True when the peer has said anything at all on this connection."""
        ...

    @property
    def bytes_queued(self) -> int:
        """How much there has been for the peer until now, given out by `data_to_send` or not."""
        ...

    def start_request(self, request: Request) -> int:
        """Begin an exchange: its number.

        Raises RequestNotProcessed when the peer lets none begin any more, LocalProtocolError when
        the caller may not.
        """
        ...

    def data_to_send(self) -> bytes:
        """The next bytes for the peer, b"" when there are none; of large bodies a part."""
        ...

    def receive_data(self, data: bytes) -> None:
        """Take what the peer sent; b"" is the end of its stream."""
        ...

    def next_event(self, stream_id: int) -> Event | None:
        """The next event of this exchange, or None when more data is needed.

        After ResponseEnded, and after it raised, the number means nothing any more. Raises
        RemoteProtocolError where the peer breaks the protocol, RequestNotProcessed where it says
        that it did nothing.
        """
        ...

    def has_answered(self, stream_id: int) -> bool:
        """True when something of this exchange's answer has come, False when it has ended, too."""
        ...

    def take_news(self) -> set[int]:
        """The exchanges for which something has come since the last call."""
        ...

    def cancel(self, stream_id: int) -> None:
        """Give an exchange up, in whatever state. Others go on where the protocol allows it."""
        ...
