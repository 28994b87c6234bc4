"""HTTP/3 client core: exchanges on one QUIC connection, both machines inside.

Datagrams and instants in, datagrams, events and the next instant out; no socket, no clock, no
thread. What the peer does wrong on one stream fails that exchange; anything else ends the
connection. All that is kept is bounded by a window or a count. The one module of HTTP/3 that others
import, and late: it needs the extra `h3`. Source: RFC 9114; protocol/transports.md.

    quic            QUIC and TLS            http2_stream  one exchange, as in HTTP/2
    quic_trust      who the server is       fields        what header fields may say
    http3_framing   frames and fields
"""

from __future__ import annotations

from aioquic.h3.connection import ErrorCode
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived
from aioquic.quic.events import (
    HandshakeCompleted,
    PingAcknowledged,
    QuicEvent,
    StopSendingReceived,
    StreamReset,
)

from ..endpoint import Endpoint
from ..errors import LocalProtocolError, RemoteProtocolError
from ..options import ClientOptions
from ..wire.messages import Request
from .base import tells_length
from .events import Event, RequestNotProcessed, ResponseEnded
from .fields import check_fields, check_size
from .frames import StreamBreach
from .http2_stream import Stream
from .http3_framing import Framing
from .quic import QUICMachine

__all__ = ["HTTP3Core"]

# aioquic keeps what it is given until the server has it: so much of a body at a time.
_BACKLOG_BYTES = 1 << 20
_PIECE_BYTES = 1 << 16
# QUIC counts what the peer may send.
_NO_WINDOW = 1 << 62
_PEER = ("server", 0)  # the socket knows the address; the machine is only to recognise it
_PROBE_ID = 1
_KEEP_ALIVE_ID = 2
_MOST_PROBE_S = 1.0
_PROBES = 3


class HTTP3Core:
    """One connection. now: instants of one clock, in seconds.

    After each call of a method, what `datagrams_to_send` gives goes to the peer, and `handle_timer`
    is called at `next_timer`.
    """

    def __init__(self, endpoint: Endpoint, options: ClientOptions, now: float) -> None:
        self._endpoint = endpoint
        self._quic = QUICMachine(endpoint, options)
        self._h3: Framing | None = None
        self._streams: dict[int, Stream] = {}
        self._heard_at = now
        self._pinged_at = now
        self._probe_until: float | None = None
        self._has_heard = False
        self._quic.connect(_PEER, now)

    # Datagrams and time

    def receive_datagram(self, data: bytes, now: float) -> None:
        """Take what the peer sent. Nothing that it does wrong raises here."""
        self._heard_at = now
        self._quic.receive_datagram(data, _PEER, now)
        self._take_events()

    def datagrams_to_send(self, now: float) -> list[bytes]:
        """What is to be sent now."""
        for stream_id, stream in self._streams.items():
            self._feed(stream_id, stream)
        return [data for data, _ in self._quic.datagrams_to_send(now)]

    def next_timer(self) -> float | None:
        """When `handle_timer` is to be called next, whatever comes before."""
        instants = [self._quic.get_timer(), self._probe_until]
        if self._streams:
            instants.append(self._keep_alive_at)
        return min((instant for instant in instants if instant is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Note that it is now; does nothing before the time has come."""
        timer = self._quic.get_timer()
        if timer is not None and now >= timer:
            self._quic.handle_timer(now)
        if self._streams and now >= self._keep_alive_at:
            self._pinged_at = now
            self._quic.send_ping(_KEEP_ALIVE_ID)
        self._take_events()

    @property
    def _keep_alive_at(self) -> float:
        """While an answer is waited for, silence is no reason for either side to give up."""
        return max(self._heard_at, self._pinged_at) + self._quic.ping_interval_s

    # What it is worth

    @property
    def is_trusted(self) -> bool:
        """True when requests may be sent: the server is who it should be."""
        return self._h3 is not None

    @property
    def is_confirmed(self) -> bool:
        """True when the server has accepted the handshake, and with it our certificate."""
        return self._quic.is_confirmed

    @property
    def peer_certificate(self) -> bytes | None:
        """What the server presented (DER), None before."""
        return self._quic.peer_certificate

    @property
    def failure(self) -> Exception | None:
        """Why the connection is of no more use, as `QUICMachine.failure`; None while it is."""
        return self._quic.failure

    @property
    def max_streams(self) -> int:
        """How many exchanges may go on at a time, 0 when none may begin any more."""
        is_leaving = self._h3 is None or self._h3.goaway is not None
        return 0 if is_leaving or self.failure is not None else 1

    # Is anybody there?

    def start_probe(self, now: float) -> None:
        """Ask the peer for a sign; `probe_result` tells."""
        self._probe_until = now + min(_PROBES * self._quic.probe_timeout_s, _MOST_PROBE_S)
        self._has_heard = False
        self._quic.send_ping(_PROBE_ID)

    def probe_result(self, now: float) -> bool | None:
        """Whether the sign came; None while it may still come."""
        if self._has_heard or self.failure is not None:
            self._probe_until = None
            return self.failure is None
        if self._probe_until is not None and now < self._probe_until:
            return None
        self._probe_until = None
        return False

    # Exchanges

    def start_request(self, request: Request) -> int:
        """Begin an exchange: its number. Raises RequestNotProcessed when none may begin."""
        h3 = self._h3
        if h3 is None or len(self._streams) >= self.max_streams:
            raise RequestNotProcessed("the connection is closing or full; nothing was sent")
        stream_id = self._quic.get_next_available_stream_id()
        h3.send_headers(stream_id, self._fields(request), end_stream=not request.body)
        self._streams[stream_id] = Stream(stream_id, request, 0, _NO_WINDOW)
        return stream_id

    def _fields(self, request: Request) -> list[tuple[bytes, bytes]]:
        fields = [
            (":method", request.method),
            (":scheme", self._endpoint.scheme),
            (":authority", self._endpoint.authority),
            (":path", request.target),
            ("accept-encoding", "identity"),
        ]
        if tells_length(request):
            fields.append(("content-length", str(len(request.body))))
        fields += request.headers
        return [(name.encode("ascii"), value.encode("latin-1")) for name, value in fields]

    def _feed(self, stream_id: int, stream: Stream) -> None:
        h3 = self._h3
        while h3 is not None and stream.unsent:
            if self._quic.unacknowledged_bytes(stream_id) > _BACKLOG_BYTES:
                return
            piece, stream.unsent = stream.unsent[:_PIECE_BYTES], stream.unsent[_PIECE_BYTES:]
            h3.send_data(stream_id, bytes(piece), end_stream=not stream.unsent)

    def has_unsent(self, stream_id: int) -> bool:
        """True when the server has not taken the whole request."""
        stream = self._streams.get(stream_id)
        is_left = stream is not None and bool(stream.unsent)
        return is_left or self._quic.unacknowledged_bytes(stream_id) > 0

    def has_answered(self, stream_id: int) -> bool:
        """True when the head of this exchange's answer has come."""
        stream = self._streams.get(stream_id)
        return stream is not None and stream.has_started

    def next_event(self, stream_id: int) -> Event | None:
        """The next event of this exchange, or None when more is needed.

        Raises RemoteProtocolError where the peer breaks the protocol, RequestNotProcessed where it
        says that it did nothing, and `failure` when the connection has ended.
        """
        stream = self._streams.get(stream_id)
        if stream is None:
            raise LocalProtocolError("no exchange of this number is going on")
        if not stream.events:
            if self.failure is not None:
                raise self.failure
            return None
        event = stream.events.popleft()
        if isinstance(event, RemoteProtocolError):
            self._forget(stream_id)
            raise event
        if isinstance(event, ResponseEnded):
            self._forget(stream_id)
            self._quic.hasten_acknowledgements()
        return event

    def close(self) -> None:
        """Say farewell; what is going on is given up."""
        self._streams.clear()
        self._quic.close(ErrorCode.H3_NO_ERROR)

    def _forget(self, stream_id: int) -> None:
        del self._streams[stream_id]

    # What the peer does

    def _take_events(self) -> None:
        while (event := self._quic.next_event()) is not None:
            if isinstance(event, HandshakeCompleted):
                if self._quic.is_trusted:
                    self._h3 = Framing(self._quic)
            elif isinstance(event, PingAcknowledged):
                self._has_heard = True
            elif self._h3 is not None:
                self._take_event(self._h3, event)

    def _take_event(self, h3: Framing, event: QuicEvent) -> None:
        stream = self._streams.get(getattr(event, "stream_id", -1))
        if isinstance(event, StreamReset) and stream is not None:
            self._take_reset(stream, event.error_code)
        elif isinstance(event, StopSendingReceived) and stream is not None:
            stream.unsent = memoryview(b"")  # nobody reads the rest; the answer may still come
        for part in h3.handle_event(event):
            self._take_part(part)
        if h3.goaway is not None:
            self._refuse_from(h3.goaway)

    def _take_part(self, part: H3Event) -> None:
        if not isinstance(part, HeadersReceived | DataReceived):
            return
        stream = self._streams.get(part.stream_id)
        if stream is None or stream.is_over:
            return
        try:
            if isinstance(part, HeadersReceived):
                check_size(part.headers)
                stream.take_section(check_fields(part.headers), is_last=part.stream_ended)
            else:
                size = len(part.data)
                stream.take_data(part.data, size, is_last=part.stream_ended)
        except StreamBreach as breach:
            self._fail(stream, RemoteProtocolError(f"the peer breaks HTTP/3: {breach}"))
        else:
            if part.stream_ended:
                self._end(stream)

    def _end(self, stream: Stream) -> None:
        if stream.unsent:  # answered before all was sent: nobody reads the rest
            self._quic.reset_stream(stream.stream_id, ErrorCode.H3_REQUEST_CANCELLED)
            if self._h3 is not None:
                self._h3.forget(stream.stream_id)
        stream.close()

    def _take_reset(self, stream: Stream, code: int) -> None:
        if stream.is_over:
            return
        if code == ErrorCode.H3_REQUEST_REJECTED and not stream.has_started:
            what = "the server refused the stream and did not process it"
            self._fail(stream, RequestNotProcessed(what))
        else:
            self._fail(stream, RemoteProtocolError(f"the server reset the stream ({_name(code)})"))

    def _refuse_from(self, first: int) -> None:
        what = "the server is leaving (GOAWAY) and did not process the request"
        for stream_id, stream in self._streams.items():
            if stream_id >= first and not stream.is_over:
                self._fail(stream, RequestNotProcessed(what))

    @staticmethod
    def _fail(stream: Stream, error: RemoteProtocolError) -> None:
        stream.close()
        stream.events.append(error)


def _name(code: int) -> str:
    try:
        return ErrorCode(code).name
    except ValueError:
        return f"0x{code:x}"
