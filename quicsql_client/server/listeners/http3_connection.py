"""HTTP/3 on one QUIC connection whose client has been admitted: a stream a request.

Bodies: a stream's window is given back as its application takes the bytes, so what nobody reads
stays within the windows. Answers: see `http3_stream`. A request that breaks the rules of HTTP/3
ends the connection (aioquic closes it); floods of cancelled requests do too. Must not know
datagrams or certificates.
Source: protocol/transports.md, "Limits" and "Shutdown"; RFC 9114.
"""

from __future__ import annotations

from typing import Protocol

from aioquic.h3.connection import ErrorCode
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.events import QuicEvent, StopSendingReceived, StreamDataReceived, StreamReset

from .asgi import ASGIApplication, Scope
from .deadline import Deadline
from .endpoint import Endpoint
from .fields import read_request, refusal
from .frame_guard import Allowance, Flood
from .http3_stream import HTTP3Stream
from .quic_machine import HTTP3Machine, QUICMachine
from .scope import ConnectionFacts
from .settings import (
    CONNECTION_BACKLOG_BYTES,
    MAX_FIELD_BLOCK_BYTES,
    MAX_QUIC_STREAMS,
    STREAM_BACKLOG_BYTES,
)

# A client may cancel all its requests at once, and again after a moment.
_CANCEL_BURST, _CANCELS_PER_S = 2 * MAX_QUIC_STREAMS, 100.0
_NEXT_REQUEST = 4  # requests have the stream IDs 0, 4, 8, ...
_PINGS_PER_IDLE_TIME = 3
_PING_ID = 1


class QUICLink(Protocol):
    """What HTTP/3 asks of the connection that carries it (`quic_connection.QUICConnection`)."""

    endpoint: Endpoint
    machine: QUICMachine

    def advance_soon(self) -> None:
        """Send what the machine has to send."""

    def close(self, code: int) -> None:
        """Close at once; the client is told the code."""


class HTTP3Connection:
    """The requests of one connection."""

    def __init__(self, link: QUICLink, facts: ConnectionFacts) -> None:
        self._link = link
        self._facts = facts
        self._endpoint = link.endpoint
        self._quic = link.machine
        self._h3 = HTTP3Machine(link.machine)
        self._streams: dict[int, HTTP3Stream] = {}
        self._unread: set[int] = set()  # done with here, but the client has not ended its side
        self._next_id = 0  # of the request after the last one
        self._refused_from: int | None = None  # after GOAWAY
        self._cancels = Allowance(_CANCEL_BURST, _CANCELS_PER_S)
        self._keep_alive = Deadline(self._ping)
        self._endpoint.add(self)
        if self._endpoint.is_draining:
            self.shutdown()

    # --- from the QUIC connection

    def handle(self, event: QuicEvent) -> None:
        """Something happened on a stream."""
        try:
            if isinstance(event, StreamDataReceived):
                self._data_received(event)
            elif isinstance(event, StreamReset | StopSendingReceived):
                self._cancelled(event)
        except Flood:
            self._quic.close(ErrorCode.H3_EXCESSIVE_LOAD)

    def progress(self) -> None:
        """The client may have acknowledged something."""
        for stream in self._streams.values():
            stream.look_again()
        self._close_if_drained()

    def lost(self) -> None:
        """The connection is gone."""
        self._keep_alive.close()
        for stream in self._streams.values():
            stream.client_gone()
        self._endpoint.remove(self)

    # --- from the listener

    def shutdown(self) -> None:
        """Say GOAWAY, let the requests in flight end, then close."""
        if self._refused_from is None:
            self._refused_from = self._next_id
            self._h3.send_goaway(self._refused_from)
            self._link.advance_soon()

    def abort(self) -> bool:
        """Close at once; whether a request was cut."""
        is_busy = bool(self._streams)
        self._link.close(ErrorCode.H3_NO_ERROR)
        return is_busy

    def _close_if_drained(self) -> None:
        if self._refused_from is not None and not self._streams and self._quic.is_flushed:
            self._link.close(ErrorCode.H3_NO_ERROR)

    def _ping(self) -> None:
        """While a request is worked on, silence is no reason for either side to give up."""
        if self._streams:
            self._quic.send_ping(_PING_ID)
            self._link.advance_soon()
            self._keep_alive.arm(self._quic.idle_timeout_s / _PINGS_PER_IDLE_TIME)

    # --- events

    def _data_received(self, event: StreamDataReceived) -> None:
        stream_id = event.stream_id
        if stream_id in self._unread:
            if event.end_stream:
                self._unread.discard(stream_id)
            return
        for part in self._h3.handle_event(event):
            stream = self._streams.get(stream_id)
            if isinstance(part, HeadersReceived):
                if stream is None:  # else trailers, which nobody wants
                    stream = self._request_received(part)
            elif not isinstance(part, DataReceived):
                continue  # of an extension that was not offered
            elif stream is not None and part.data:
                stream.body.push(part.data)
            if stream is not None and part.stream_ended:
                stream.is_read = True
                stream.body.finish()
        if self._h3.held_bytes(stream_id) > MAX_FIELD_BLOCK_BYTES:
            self._refuse_block(stream_id)
        if event.end_stream:
            self._unread.discard(stream_id)
        self.account(stream_id)

    def _request_received(self, event: HeadersReceived) -> HTTP3Stream | None:
        stream_id = event.stream_id
        is_late = self._refused_from is not None and stream_id >= self._refused_from
        if is_late or len(self._streams) >= MAX_QUIC_STREAMS:
            self._cancels.spend("too many requests")
            self._quic.reset_stream(stream_id, ErrorCode.H3_REQUEST_REJECTED)
            self._read_no_more(stream_id, ErrorCode.H3_REQUEST_REJECTED)
            return None
        app, scope = read_request(self._facts, "3", event.headers, self._endpoint.app)
        return self._begin(stream_id, app, scope)

    def _begin(self, stream_id: int, app: ASGIApplication, scope: Scope) -> HTTP3Stream:
        if not self._streams:
            self._keep_alive.arm(self._quic.idle_timeout_s / _PINGS_PER_IDLE_TIME)
        self._next_id = max(self._next_id, stream_id + _NEXT_REQUEST)
        self._streams[stream_id] = stream = HTTP3Stream(self, self._quic, self._h3, stream_id)
        work = stream.exchange(scope).run(app)
        stream.task = self._endpoint.spawn(work, lambda: self._done(stream))
        return stream

    def _refuse_block(self, stream_id: int) -> None:
        """Answer, or cancel, a request whose header block, or trailers, have become too long."""
        stream = self._streams.get(stream_id)
        if stream is None:
            answer = refusal(self._facts, "3", 431, "the header fields are too long")
            stream = self._begin(stream_id, *answer)
        else:
            stream.client_gone()
        stream.is_read = True
        self._read_no_more(stream_id, ErrorCode.H3_EXCESSIVE_LOAD)

    def _read_no_more(self, stream_id: int, code: int) -> None:
        """Drop what the client still sends on a stream, and ask it not to."""
        self._quic.stop_reading(stream_id, code)
        self._h3.forget(stream_id)
        self._unread.add(stream_id)

    def _cancelled(self, event: StreamReset | StopSendingReceived) -> None:
        stream_id = event.stream_id
        is_reset = isinstance(event, StreamReset)
        if is_reset and stream_id in self._unread:
            self._unread.discard(stream_id)
            return
        self._h3.handle_event(event)
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.is_read = stream.is_read or is_reset
            if not stream.body.is_disconnected:
                stream.client_gone()
                self._cancels.spend("too many cancelled requests")

    # --- from the streams

    def account(self, stream_id: int) -> None:
        """Tell QUIC how many of a stream's bytes are held here."""
        stream = self._streams.get(stream_id)
        body = 0 if stream is None else stream.body.buffered_bytes
        self._quic.hold(stream_id, self._h3.held_bytes(stream_id) + body)

    def send_soon(self) -> None:
        """Send what the machine has to send."""
        self._link.advance_soon()

    @property
    def backlog_bytes(self) -> int:
        """How much of its answer each stream may have on the way."""
        return min(STREAM_BACKLOG_BYTES, CONNECTION_BACKLOG_BYTES // max(1, len(self._streams)))

    @property
    def write_stall_s(self) -> float:
        """How long a client may acknowledge nothing of an answer."""
        return self._endpoint.timeouts.write_stall_s

    def _done(self, stream: HTTP3Stream) -> None:
        del self._streams[stream.id]
        stream.settle()
        if stream.is_read:
            self._h3.forget(stream.id)
        else:
            self._read_no_more(stream.id, ErrorCode.H3_NO_ERROR)
        self.account(stream.id)
        self._link.advance_soon()
