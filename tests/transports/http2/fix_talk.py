"""Our core with what it has said and heard: requests started, answers collected, frames seen."""

from __future__ import annotations

from dataclasses import dataclass, field

from quicsql_client.errors import RemoteProtocolError
from quicsql_client.transports.events import BodyPart, ResponseEnded, ResponseStarted
from quicsql_client.transports.http2 import HTTP2Connection
from quicsql_client.wire.messages import Headers, Request

from .fix_frames import GOAWAY, RST_STREAM, Frame, settings, split

GET = Request("GET", "/")
POST = Request("POST", "/app/query", (("x-a", "1"),), b"body")


@dataclass
class Answer:
    """What has come of one answer. error: how it failed, if it did."""

    status: int | None = None
    headers: Headers = ()
    parts: list[bytes] = field(default_factory=list)
    is_whole: bool = False
    error: RemoteProtocolError | None = None

    @property
    def body(self) -> bytes:
        self.parts = [b"".join(self.parts)]
        return self.parts[0]


@dataclass
class Talk:
    """A connection, and the answers that have come on it."""

    core: HTTP2Connection = field(default_factory=lambda: HTTP2Connection("db:1", "https"))
    answers: dict[int, Answer] = field(default_factory=dict)

    def start(self, request: Request = GET) -> int:
        stream_id = self.core.start_request(request)
        self.answers[stream_id] = Answer()
        return stream_id

    def sent(self) -> list[Frame]:
        """The frames that are due, all of them."""
        data = b""
        while piece := self.core.data_to_send():
            data += piece
        return list(split(data))

    def errors_sent(self) -> list[tuple[str, int]]:
        """The error codes that are due: ("goaway", code) or ("reset", code)."""
        found = []
        for frame in self.sent():
            if frame.kind == GOAWAY:
                found.append(("goaway", int.from_bytes(frame.payload[4:8], "big")))
            elif frame.kind == RST_STREAM:
                found.append(("reset", int.from_bytes(frame.payload, "big")))
        return found

    def hear(self, data: bytes) -> None:
        """Take bytes of the peer, and all events that come of them."""
        self.core.receive_data(data)
        for stream_id in self.core.take_news():
            self.collect(stream_id)

    def collect(self, stream_id: int) -> Answer:
        answer = self.answers[stream_id]
        try:
            while not (answer.is_whole or answer.error):
                event = self.core.next_event(stream_id)
                if event is None:
                    break
                if isinstance(event, ResponseStarted):
                    assert answer.status is None
                    answer.status, answer.headers = event.status, event.headers
                elif isinstance(event, BodyPart):
                    assert answer.status is not None
                    assert event.data
                    answer.parts.append(event.data)
                else:
                    assert isinstance(event, ResponseEnded)
                    answer.is_whole = True
        except RemoteProtocolError as error:
            answer.error = error
        return answer


def opened(opening: bytes | None = None) -> Talk:
    """One whose peer has begun, with SETTINGS where nothing else is said; nothing is due."""
    talk = Talk()
    talk.core.receive_data(settings() if opening is None else opening)
    talk.sent()
    return talk
