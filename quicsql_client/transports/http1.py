"""HTTP/1.1 client core:

H11 inside, stricter where an answer could be mistaken. No socket, no clock.

Every foreign exception ends here as RemoteProtocolError. Source: RFC 9112;
protocol/transports.md.
"""

from __future__ import annotations

import h11

from ..errors import LocalProtocolError, RemoteProtocolError
from ..wire.messages import Headers, Request
from .base import tells_length
from .events import BodyPart, Event, ResponseEnded, ResponseStarted

__all__ = ["HTTP1Connection"]

# Status line and header block of an answer.
_MAX_HEADER_BYTES = 65536
# How much of a complaint, which may quote the peer, goes into a message.
_MAX_QUOTED = 120


class HTTP1Connection:
    """One HTTP/1.1 connection. authority: the Host header."""

    def __init__(self, authority: str) -> None:
        self._authority = authority
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEADER_BYTES)
        self._stream_id = 0
        self._out = b""
        self._is_ended = True
        self._is_head = False
        self._is_broken = False
        self._heard = False
        self._has_peer_ended = False
        self._has_news = False
        self._has_answered = False
        self._queued = 0

    @property
    def max_streams(self) -> int:
        return 0 if self._is_broken else 1

    @property
    def has_heard(self) -> bool:
        return self._heard

    @property
    def bytes_queued(self) -> int:
        return self._queued

    def start_request(self, request: Request) -> int:
        if self._is_broken or not self._is_ended:
            raise LocalProtocolError("the connection is busy or of no more use")
        self._stream_id += 1
        self._is_ended = self._has_answered = False
        self._is_head = request.method == "HEAD"
        head = h11.Request(
            method=request.method, target=request.target, headers=_fields(request, self._authority)
        )
        pieces = [self._h11.send(head)]
        if request.body:
            pieces.append(self._h11.send(h11.Data(data=request.body)))
        pieces.append(self._h11.send(h11.EndOfMessage()))
        self._out = b"".join(piece for piece in pieces if piece)
        self._queued += len(self._out)
        return self._stream_id

    def data_to_send(self) -> bytes:
        data, self._out = self._out, b""
        return data

    def receive_data(self, data: bytes) -> None:
        self._heard = self._heard or bool(data)
        if self._is_ended:  # nothing was asked: whatever this is, it must not answer the next call
            self._is_broken = True
        elif not self._has_peer_ended:
            self._has_news = True
            self._has_answered = self._has_answered or bool(data)
            self._has_peer_ended = not data
            self._h11.receive_data(data)

    def has_answered(self, stream_id: int) -> bool:
        return self._has_answered and stream_id == self._stream_id

    def take_news(self) -> set[int]:
        has_news, self._has_news = self._has_news, False
        return {self._stream_id} if has_news else set()

    def cancel(self, stream_id: int) -> None:
        """HTTP/1.1 knows no way to give one exchange up: the connection is of no more use."""
        if stream_id == self._stream_id and not self._is_ended:
            self._is_broken = self._is_ended = True
            self._out = b""

    def next_event(self, stream_id: int) -> Event | None:
        if self._is_ended or stream_id != self._stream_id:
            raise LocalProtocolError("no exchange of this number is going on")
        while True:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                what = "it was cut before its end" if self._has_peer_ended else str(error)
                raise self._broken(what) from error
            if isinstance(event, h11.InformationalResponse):
                self._check_informational(event)
                continue
            return self._translate(event)

    def _translate(self, event: object) -> Event | None:
        if isinstance(event, h11.Data):
            return BodyPart(bytes(event.data))
        if isinstance(event, h11.Response):
            return self._started(event)
        if isinstance(event, h11.EndOfMessage):
            return self._ended()
        if event is h11.NEED_DATA:
            return None
        raise self._broken("the connection was closed or switched in the middle of an exchange")

    def _check_informational(self, event: h11.InformationalResponse) -> None:
        if event.status_code == 101:
            raise self._broken("101 Switching Protocols, which nobody asked for")

    def _started(self, event: h11.Response) -> ResponseStarted:
        headers: Headers = tuple(
            (name.decode("ascii"), value.decode("latin-1")) for name, value in event.headers
        )
        names = [name for name, _ in headers]
        has_length, is_chunked = "content-length" in names, "transfer-encoding" in names
        if has_length and is_chunked:
            # RFC 9112, 6.3: to be handled as an error, two readers could see two different ends.
            raise self._broken("both content-length and transfer-encoding")
        is_bodiless = self._is_head or event.status_code in (204, 304)
        if event.status_code < 300 and not (has_length or is_chunked or is_bodiless):
            # An end by closing the connection cannot be told from a cut.
            raise self._broken("an answer without content-length that is not chunked")
        return ResponseStarted(event.status_code, headers)

    def _ended(self) -> ResponseEnded:
        surplus, is_closed = self._h11.trailing_data
        self._is_ended = True
        is_done = self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE
        if surplus or is_closed or not is_done:
            self._is_broken = True
        else:
            self._h11.start_next_cycle()
        return ResponseEnded()

    def _broken(self, what: str) -> RemoteProtocolError:
        self._is_broken = self._is_ended = True
        return RemoteProtocolError(f"the answer is not valid HTTP/1.1: {what[:_MAX_QUOTED]}")


def _fields(request: Request, authority: str) -> list[tuple[str, str]]:
    fields = [("host", authority), ("accept-encoding", "identity")]
    if tells_length(request):
        fields.append(("content-length", str(len(request.body))))
    return [*fields, *request.headers]
