"""aioquic's QUIC and HTTP/3 machines as this server needs them, sans I/O.

All that is private to aioquic is touched in this module and in no other; the extra `h3` pins the
versions in which it was read, and tests/server/listeners/test_quic_machine.py says first when one
of these names has moved. What is changed, and why:

    the client's certificate   aioquic asks no client for one, and has no name for who it is
    stream limits              128 is wired in
    the size of a handshake    a client could send 16 MiB before anybody knows it
    windows                    grow with what arrives; ours with what the application has taken
    what a client has not read is bounded by nobody; here it can be asked for
    QPACK                      a dynamic table turns a byte into kilobytes, and outlives requests

Must not know sockets, the application, or who is admitted.
Source: RFC 9000, RFC 9114, RFC 9204; protocol/transports.md, "Limits".
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import pylsqpack
from aioquic.buffer import Buffer, encode_uint_var  # type: ignore[attr-defined]
from aioquic.h3.connection import (
    ErrorCode,
    FrameType,
    H3Connection,
    ProtocolError,
    Setting,
    encode_frame,
)
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import (
    QuicConnection,
    QuicConnectionAdapter,
    QuicConnectionError,
    QuicReceiveContext,
)
from aioquic.quic.packet import QuicErrorCode, QuicHeader, QuicProtocolVersion, pull_quic_header
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream
from cryptography import x509

from .qpack_guard import blows_up
from .quic_context import QUICContext
from .settings import (
    ANNOUNCED_HEADER_LIST_BYTES,
    CONNECTION_WINDOW_BYTES,
    MAX_CRYPTO_BYTES,
    MAX_QUIC_STREAMS,
    QUIC_CONTROL_WINDOW_BYTES,
    QUIC_STREAM_WINDOW_BYTES,
)

VERSIONS = (QuicProtocolVersion.VERSION_1,)
CONNECTION_ID_BYTES = 8

_log = logging.getLogger("quicsql.server.quic")


def configuration_of(context: QUICContext, idle_s: float) -> QuicConfiguration:
    """aioquic's configuration of new connections. idle_s: after which a silent client is gone."""
    return QuicConfiguration(
        is_client=False,
        alpn_protocols=["h3"],
        connection_id_length=CONNECTION_ID_BYTES,
        idle_timeout=idle_s,
        max_data=CONNECTION_WINDOW_BYTES,
        max_stream_data=QUIC_STREAM_WINDOW_BYTES,
        supported_versions=list(VERSIONS),
        # Not promised to stay: `load_cert_chain` reads files, and not all that OpenSSL reads.
        certificate=context.certificate,
        certificate_chain=list(context.intermediates),
        private_key=context.key,
    )


def read_header(data: bytes) -> QuicHeader | None:
    """The header of a datagram's first packet; None: it is no QUIC packet."""
    try:
        return pull_quic_header(Buffer(data=data), host_cid_length=CONNECTION_ID_BYTES)
    except ValueError:
        return None


class _Quiet(QuicConnectionAdapter):
    """aioquic's warnings are about its peers, and no peer shall fill our log."""

    def log(self, level: int, msg: object, *args: Any, **kwargs: Any) -> None:
        super().log(logging.DEBUG, msg, *args, **kwargs)


class QUICMachine(QuicConnection):
    """One connection. It offers no session tickets, and so neither resumption nor 0-RTT: no
    request comes before the handshake, and no identity outlives its connection."""

    def __init__(
        self,
        configuration: QuicConfiguration,
        *,
        original_cid: bytes,
        retry_cid: bytes | None,
        asks_for_certificate: bool,
    ) -> None:
        """original_cid, retry_cid: connection IDs of the client's first packet and of a Retry."""
        super().__init__(
            configuration=configuration,
            original_destination_connection_id=original_cid,
            retry_source_connection_id=retry_cid,
        )
        self._logger = _Quiet(_log, {"id": original_cid.hex()})
        self._asks_for_certificate = asks_for_certificate
        # Both are announced in the handshake. The count of streams grows by one for each that
        # ends, so this is how many are open at a time.
        for limit in (self._local_max_streams_bidi, self._local_max_streams_uni):
            limit.value = limit.sent = MAX_QUIC_STREAMS
        self._local_max_stream_data_uni = QUIC_CONTROL_WINDOW_BYTES
        self._held: dict[int, int] = {}

    # --- the handshake

    def _initialize(self, peer_cid: bytes) -> None:
        """aioquic makes its TLS machine here, right before it reads the ClientHello."""
        super()._initialize(peer_cid)
        self.tls._request_client_certificate = self._asks_for_certificate

    def _handle_crypto_frame(
        self, context: QuicReceiveContext, frame_type: int, buf: Buffer
    ) -> None:
        at = buf.tell()
        end = buf.pull_uint_var() + buf.pull_uint_var()
        if end > MAX_CRYPTO_BYTES:
            raise QuicConnectionError(
                QuicErrorCode.CRYPTO_BUFFER_EXCEEDED, frame_type, "the handshake is too long"
            )
        buf.seek(at)
        super()._handle_crypto_frame(context, frame_type, buf)

    @property
    def peer_certificate(self) -> x509.Certificate | None:
        """What the client presented in the handshake and has the key of; nothing else is
        verified."""
        return self.tls._peer_certificate

    @property
    def peer_intermediates(self) -> list[x509.Certificate]:
        """What it sent with that."""
        return self.tls._peer_certificate_chain

    @property
    def is_ending(self) -> bool:
        """Whether either side has closed the connection: nothing that is sent now arrives."""
        return self._close_event is not None

    @property
    def idle_timeout_s(self) -> float:
        """After which silence the connection ends, by what both sides said."""
        return self._idle_timeout()

    # --- windows: what arrived is a client's own again when nobody here holds it any more

    def hold(self, stream_id: int, size: int) -> None:
        """size bytes of what arrived on a stream are held by those above, in all."""
        if size:
            self._held[stream_id] = size
        else:
            self._held.pop(stream_id, None)

    def _write_stream_limits(
        self, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream
    ) -> None:
        receiver, stream_id = stream.receiver, stream.stream_id or 0
        full = QUIC_CONTROL_WINDOW_BYTES if stream_id & 2 else QUIC_STREAM_WINDOW_BYTES
        left = stream.max_stream_data_local - receiver.highest_offset
        if not receiver.is_finished and left < full // 2:
            taken = receiver.starting_offset() - self._held.get(stream_id, 0)
            stream.max_stream_data_local = max(stream.max_stream_data_local, taken + full)
        with _hidden(receiver, "highest_offset"):  # from its size aioquic would double the window
            super()._write_stream_limits(builder, space, stream)

    def _write_connection_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:
        limit = self._local_max_data
        if limit.value - limit.used < CONNECTION_WINDOW_BYTES // 2:
            taken = limit.used - self._unordered_bytes() - sum(self._held.values())
            limit.value = max(limit.value, taken + CONNECTION_WINDOW_BYTES)
        with _hidden(limit, "used"):
            super()._write_connection_limits(builder, space)

    def _unordered_bytes(self) -> int:
        """What arrived, or was skipped, behind a gap: aioquic keeps room for all of it."""
        receivers = (stream.receiver for stream in self._streams.values())
        return sum(one.highest_offset - one.starting_offset() for one in receivers)

    # --- answers

    def unacknowledged_bytes(self, stream_id: int) -> int:
        """What was sent on a stream, or waits to be, and the client has not said to have."""
        stream = self._streams.get(stream_id)
        return 0 if stream is None else len(stream.sender._buffer)

    @property
    def is_flushed(self) -> bool:
        """Whether the client has all of every answer that was not reset."""
        return not any(
            stream.sender._buffer and stream.sender._reset_error_code is None
            for stream_id, stream in self._streams.items()
            if not stream_id & 3  # requests
        )

    def stop_reading(self, stream_id: int, code: int) -> None:
        """Ask the client to send no more on a stream, if it may yet."""
        stream = self._streams.get(stream_id)
        if stream is not None and not stream.receiver.is_finished:
            self.stop_stream(stream_id, code)


@contextlib.contextmanager
def _hidden(owner: Any, counter: str) -> Iterator[None]:
    """Show 0 in place of a counter."""
    value = getattr(owner, counter)
    setattr(owner, counter, 0)
    try:
        yield
    finally:
        setattr(owner, counter, value)


class _ExcessiveLoad(ProtocolError):
    error_code = ErrorCode.H3_EXCESSIVE_LOAD


class HTTP3Machine(H3Connection):
    """The framing of one connection's requests, with neither a dynamic table nor what is built
    on extended CONNECT.

    A request that breaks the rules of its version ends the connection, as with HTTP/2.
    """

    def __init__(self, quic: QUICMachine) -> None:
        # The first stream that aioquic opens is the control stream.
        self._control_id = quic.get_next_available_stream_id(is_unidirectional=True)
        super().__init__(quic)
        self._decoder = pylsqpack.Decoder(0, 0)

    def _get_local_settings(self) -> dict[int, int]:
        return {
            Setting.QPACK_MAX_TABLE_CAPACITY: 0,
            Setting.QPACK_BLOCKED_STREAMS: 0,
            Setting.MAX_FIELD_SECTION_SIZE: ANNOUNCED_HEADER_LIST_BYTES,
        }

    def _validate_settings(self, settings: dict[int, int]) -> None:
        super()._validate_settings(settings)
        # aioquic gives its encoder the table that these settings offer, however large.
        settings[Setting.QPACK_MAX_TABLE_CAPACITY] = 0
        settings[Setting.QPACK_BLOCKED_STREAMS] = 0

    def _decode_headers(self, stream_id: int, frame_data: bytes | None) -> Any:
        if frame_data is not None and blows_up(frame_data):
            raise _ExcessiveLoad("the header fields are too many")
        return super()._decode_headers(stream_id, frame_data)

    def held_bytes(self, stream_id: int) -> int:
        """What arrived on a stream and waits for the rest of its frame."""
        stream = self._stream.get(stream_id)
        return 0 if stream is None else len(stream.buffer)

    def forget(self, stream_id: int) -> None:
        """Drop what is kept for a stream; no event of it may be handled any more."""
        self._stream.pop(stream_id, None)

    def send_goaway(self, stream_id: int) -> None:
        """Say that requests from this stream on will not be served (RFC 9114 5.2)."""
        frame = encode_frame(FrameType.GOAWAY, encode_uint_var(stream_id))
        self._quic.send_stream_data(self._control_id, frame)
