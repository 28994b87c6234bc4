"""HTTP/2 on one connection, by h2: a stream a request, windows both ways, floods cut off.

Bodies: a stream's window is given back as its application takes the bytes, so what nobody reads
stays within the windows. Answers: a stream writes at most a frame at a time, as far as both windows
and the socket let it, and otherwise waits; nothing is queued for it. Must not know TLS.
Source: protocol/transports.md, "Limits"; RFC 9113.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame, SettingsFrame

from .deadline import Deadline
from .fields import read_request
from .frame_guard import Flood, FrameGuard
from .http2_stream import HTTP2Stream
from .link import Link
from .settings import (
    ANNOUNCED_HEADER_LIST_BYTES,
    CONNECTION_WINDOW_BYTES,
    CONTROL_BACKLOG_BYTES,
    DECODED_HEADER_LIST_BYTES,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_BYTES,
    STREAM_WINDOW_BYTES,
    UNREAD_BODY_BYTES,
)

_SLICE_BYTES = 32 * 1024  # what is parsed before the answers to it go out
_FLUSH_BYTES = 64 * 1024
_INITIAL_CONNECTION_WINDOW = 65535

_ANNOUNCED = {
    SettingCodes.MAX_CONCURRENT_STREAMS: MAX_CONCURRENT_STREAMS,
    SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
    SettingCodes.MAX_FRAME_SIZE: MAX_FRAME_BYTES,
    SettingCodes.MAX_HEADER_LIST_SIZE: ANNOUNCED_HEADER_LIST_BYTES,
}


def _new_machine() -> H2Connection:
    """h2's server side with our limits; its first frame, SETTINGS, is written by `_preface`."""
    machine = H2Connection(
        H2Configuration(
            client_side=False,
            header_encoding=None,
            validate_outbound_headers=False,  # asgi.Exchange has looked at them
            normalize_outbound_headers=False,
        )
    )
    # h2 ends the connection when a client opens a stream too many; a client that has not seen
    # our SETTINGS yet may. Beyond the announced number we refuse streams ourselves, and h2's limit
    # is the second wall.
    limits = {**_ANNOUNCED, SettingCodes.MAX_CONCURRENT_STREAMS: 2 * MAX_CONCURRENT_STREAMS}
    machine.local_settings = Settings(client=False, initial_values=limits)
    machine.max_inbound_frame_size = MAX_FRAME_BYTES
    machine.decoder.max_header_list_size = DECODED_HEADER_LIST_BYTES
    machine.initiate_connection()
    machine.clear_outbound_data_buffer()
    machine.increment_flow_control_window(CONNECTION_WINDOW_BYTES - _INITIAL_CONNECTION_WINDOW)
    return machine


_PREFACE = SettingsFrame(0, settings={int(code): size for code, size in _ANNOUNCED.items()})


class HTTP2Connection:
    """Speaks HTTP/2 over a link."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._endpoint = link.endpoint
        self._h2 = _new_machine()
        self._guard = FrameGuard()
        self._streams: dict[int, HTTP2Stream] = {}
        self._leftovers: dict[int, int] = {}  # bodies nobody reads: how much more is dropped
        self._highest_id = 0
        self._is_finished = False
        self._is_flush_due = False
        self._is_paused = False
        self._loop = asyncio.get_running_loop()
        self._deadline = Deadline(self._expire)
        self._deadline.arm(link.endpoint.timeouts.header_s)
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            RequestReceived: self._request_received,
            DataReceived: self._data_received,
            StreamEnded: self._stream_ended,
            StreamReset: self._stream_reset,
            WindowUpdated: self._window_updated,
            RemoteSettingsChanged: self._settings_changed,
            ConnectionTerminated: self._terminated,
        }
        link.write(_PREFACE.serialize())
        self._flush()

    @property
    def is_busy(self) -> bool:
        """Whether a request is in flight."""
        return bool(self._streams)

    # --- from the link

    def data_received(self, data: bytes) -> None:
        """Bytes of the peer."""
        for at in range(0, len(data), _SLICE_BYTES):
            if self._is_finished:
                return
            piece = data[at : at + _SLICE_BYTES]
            try:
                self._guard.check(piece)
                for event in self._h2.receive_data(piece):
                    handler = self._handlers.get(type(event))
                    if handler is not None:
                        handler(event)
            except Flood as flood:
                self._end(flood.error_code, str(flood))
                return
            except ProtocolError:  # h2 has queued the GOAWAY that names it
                self._flush()
                self._cut()
                return
            self._flush()
            self._regulate_reading()

    def _regulate_reading(self) -> None:
        """A peer that does not read our answers to its control frames is not read either."""
        size = self._link.transport.get_write_buffer_size()
        if size > CONTROL_BACKLOG_BYTES and not self._is_paused:
            self._is_paused = True
            self._link.transport.pause_reading()

    def writable(self) -> None:
        """The peer has taken what was waiting."""
        if self._is_paused:
            self._is_paused = False
            self._link.transport.resume_reading()

    def eof_received(self) -> None:
        """The peer will send nothing more, window updates neither: it is gone."""
        self._cut()
        self._link.close()

    def lost(self) -> None:
        """The connection is gone."""
        self._finish()

    def shutdown(self) -> None:
        """Say GOAWAY, let the streams in flight end, then close."""
        if not self._is_finished:
            self._say_goaway(ErrorCodes.NO_ERROR)
            self._close_if_drained()

    def _expire(self) -> None:
        if not self._streams:
            self._say_goaway(ErrorCodes.NO_ERROR)
            self._finish()
            self._link.close()

    def _say_goaway(self, code: ErrorCodes, reason: str = "") -> None:
        # h2's own close_connection() ends its state machine, and with it the streams in flight.
        self._flush()
        frame = GoAwayFrame(0, last_stream_id=self._highest_id, error_code=code)
        frame.additional_data = reason.encode()
        self._link.write(frame.serialize())

    def _end(self, code: ErrorCodes, reason: str) -> None:
        self._say_goaway(code, reason)
        self._cut()

    def _cut(self) -> None:
        """Stop everything after an error; what was written still goes out."""
        self._finish()
        self._link.linger()

    def _finish(self) -> None:
        if self._is_finished:
            return
        self._is_finished = True
        self._deadline.close()
        for stream in self._streams.values():
            stream.client_gone()

    def _close_if_drained(self) -> None:
        if not self._streams:
            self._flush()
            self._finish()
            self._link.close()

    # --- output

    def _flush(self) -> None:
        self._is_flush_due = False
        data = self._h2.data_to_send()
        if data:
            self._link.write(data)

    def flush_soon(self, size: int) -> None:
        """Write out at the end of this turn of the loop, together with what other streams say."""
        if size >= _FLUSH_BYTES:
            self._flush()
        elif not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush)

    # --- events

    def _request_received(self, event: RequestReceived) -> None:
        stream_id = event.stream_id
        self._highest_id = max(self._highest_id, stream_id)
        if self._endpoint.is_draining or len(self._streams) >= MAX_CONCURRENT_STREAMS:
            self._guard.resets.spend("too many streams")
            self._h2.reset_stream(stream_id, ErrorCodes.REFUSED_STREAM)
            return
        self._deadline.disarm()
        stream = HTTP2Stream(self, self._h2, self._link, stream_id)
        app, scope = read_request(self._link.facts, "2", event.headers, self._endpoint.app)
        self._streams[stream_id] = stream
        stream.run(app, scope, lambda: self._stream_done(stream))

    def _data_received(self, event: DataReceived) -> None:
        stream = self._streams.get(event.stream_id)
        owed = event.flow_controlled_length
        if stream is not None and not stream.is_over:
            owed -= len(event.data)  # the padding goes back at once
            if event.data:
                stream.body.push(bytes(event.data))
        if owed:
            self._h2.acknowledge_received_data(owed, event.stream_id)
        if event.stream_id in self._leftovers:
            self._leftovers[event.stream_id] -= len(event.data)
            if self._leftovers[event.stream_id] < 0:
                self._refuse_leftover(event.stream_id)

    def _stream_ended(self, event: StreamEnded) -> None:
        self._leftovers.pop(event.stream_id, None)
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            stream.body.finish()

    def _stream_reset(self, event: StreamReset) -> None:
        self._leftovers.pop(event.stream_id, None)
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            # Not before it has begun: what is asked and given up in one breath is treated as what
            # is given up a moment later, so that it ends the Hrana stream that it speaks of.
            asyncio.get_running_loop().call_soon(stream.client_gone)

    def _window_updated(self, event: WindowUpdated) -> None:
        if event.stream_id == 0:
            self._wake_all()
        else:
            stream = self._streams.get(event.stream_id)
            if stream is not None:
                stream.wake()

    def _settings_changed(self, event: RemoteSettingsChanged) -> None:
        self._wake_all()

    def _wake_all(self) -> None:
        for stream in self._streams.values():
            stream.wake()

    def _terminated(self, event: ConnectionTerminated) -> None:
        """The client says GOAWAY: h2 lets us send nothing after that, and clients close then."""
        self._cut()  # not a plain close: what the client says yet must not be met by a reset

    # --- from the streams

    def give_credit(self, size: int, stream_id: int) -> None:
        """size bytes of a body have been taken."""
        if not self._is_finished:
            self._h2.acknowledge_received_data(size, stream_id)
            self.flush_soon(0)

    def _stream_done(self, stream: HTTP2Stream) -> None:
        del self._streams[stream.id]
        if self._is_finished:
            return
        if stream.settle():
            self._drop_leftover(stream)
        self.flush_soon(0)
        if not self._streams:
            if self._endpoint.is_draining:
                self._close_if_drained()
            else:
                self._deadline.arm(self._endpoint.timeouts.idle_s)

    def _drop_leftover(self, stream: HTTP2Stream) -> None:
        """Let a short body come to its end unread: not every client is prepared for a reset in the
        middle of its request, whatever it has been answered.
        """
        self._leftovers[stream.id] = UNREAD_BODY_BYTES
        if stream.announced_bytes() > UNREAD_BODY_BYTES:
            self._refuse_leftover(stream.id)
        else:
            linger_s = self._endpoint.timeouts.linger_s
            self._loop.call_later(linger_s, self._refuse_leftover, stream.id)

    def _refuse_leftover(self, stream_id: int) -> None:
        if self._leftovers.pop(stream_id, None) is not None and not self._is_finished:
            with contextlib.suppress(ProtocolError):  # the stream has ended meanwhile
                self._h2.reset_stream(stream_id, ErrorCodes.NO_ERROR)
            self.flush_soon(0)
