"""aioquic's QUIC machine as a client needs it, sans I/O.

All that is private to aioquic in the client is touched here and in `http3_framing`; the extra
`h3` pins the versions in which it was read. What is changed, and why:

    who the server is    verified before our certificate goes out, with OpenSSL's rules and numbers
    streams of a server  three are enough for HTTP/3; 128 are allowed by aioquic
    why it ended         known at once, not after a closing period
    acknowledgements     sent when an exchange is over, as nobody may be there to send them later

Must not know sockets, HTTP, or what is sent again. Source: RFC 9000, RFC 9001.
"""

from __future__ import annotations

import logging
import ssl
from typing import Any

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection, QuicConnectionAdapter
from aioquic.quic.events import ConnectionTerminated
from aioquic.quic.packet import QuicErrorCode, QuicProtocolVersion
from aioquic.tls import Alert, AlertDescription
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from ..endpoint import Endpoint
from ..errors import ConnectError, RemoteProtocolError, TLSError
from ..options import ClientOptions
from .quic_trust import name_of_server, verify_server

__all__ = ["QUICMachine"]

_IDLE_TIMEOUT_S = 60.0
_PINGS_PER_IDLE_TIME = 3
# Control and the two of QPACK; one more of each for what RFC 9114, 6.2 has the peer ignore.
_MAX_PEER_STREAMS = 6
_NO_VERSION = "Could not find a common protocol version"
_IDLE = "Idle timeout"
_MAX_QUOTED = 80
_CRYPTO_ERRORS = range(QuicErrorCode.CRYPTO_ERROR, QuicErrorCode.CRYPTO_ERROR + 0x100)

_log = logging.getLogger("quicsql_client.quic")


class _Quiet(QuicConnectionAdapter):
    """aioquic's warnings are about its peers, and no peer shall fill our log."""

    def log(self, level: int, msg: object, *args: Any, **kwargs: Any) -> None:
        super().log(logging.DEBUG, msg, *args, **kwargs)


class _BadCertificate(Alert):
    description = AlertDescription.bad_certificate


class _UnknownCA(Alert):
    description = AlertDescription.unknown_ca


def _configuration(endpoint: Endpoint, options: ClientOptions) -> QuicConfiguration:
    configuration = QuicConfiguration(
        is_client=True,
        alpn_protocols=["h3"],
        server_name=name_of_server(endpoint),
        idle_timeout=_IDLE_TIMEOUT_S,
        supported_versions=[QuicProtocolVersion.VERSION_1],
        # aioquic's own check is replaced by ours, see `_initialize`.
        verify_mode=ssl.CERT_NONE,
    )
    ours = options.client_cert
    if ours is not None:
        chain = x509.load_pem_x509_certificates(ours.chain_pem)
        configuration.certificate, configuration.certificate_chain = chain[0], chain[1:]
        configuration.private_key = load_pem_private_key(ours.key_pem, _password(ours))
    return configuration


def _password(ours: Any) -> bytes | None:
    """cryptography refuses a password for a key that is not encrypted."""
    return ours.password if b"ENCRYPTED" in ours.key_pem else None


class QUICMachine(QuicConnection):
    """One connection, not resumed and without 0-RTT: no request comes before the handshake."""

    def __init__(self, endpoint: Endpoint, options: ClientOptions) -> None:
        super().__init__(configuration=_configuration(endpoint, options))
        self._logger = _Quiet(_log, {"id": self.original_destination_connection_id.hex()})
        self._endpoint = endpoint
        self._options = options
        self._refusal: Exception | None = None
        self._is_verified = False
        self._is_closed_here = False
        for limit, most in (
            (self._local_max_streams_bidi, 0),
            (self._local_max_streams_uni, _MAX_PEER_STREAMS),
        ):
            limit.value = limit.sent = most

    # The handshake

    def _initialize(self, peer_cid: bytes) -> None:
        """aioquic makes its TLS machine here; the server's proof of its key is what we wait for."""
        super()._initialize(peer_cid)
        prove = self.tls._client_handle_certificate_verify

        def prove_and_verify(input_buf: Any) -> None:
            prove(input_buf)
            self._verify()

        self.tls._client_handle_certificate_verify = prove_and_verify  # type: ignore[method-assign]

    def _verify(self) -> None:
        leaf = self.tls._peer_certificate
        assert leaf is not None  # noqa: S101  # it has just proved its key
        try:
            verify_server(leaf, self.tls._peer_certificate_chain, self._options, self._endpoint)
        except (ssl.SSLCertVerificationError, TLSError) as error:
            self._refusal = error
            is_unknown = isinstance(error, ssl.SSLCertVerificationError)
            raise (_UnknownCA if is_unknown else _BadCertificate) from error
        self._is_verified = True

    @property
    def is_trusted(self) -> bool:
        """Whether the handshake is done on our side, and the server is who it should be."""
        return self._handshake_complete and self._is_verified

    @property
    def is_confirmed(self) -> bool:
        """Whether the server has taken our part of the handshake, and with it our certificate."""
        return self._handshake_confirmed

    @property
    def peer_certificate(self) -> bytes | None:
        """What the server presented (DER), None before."""
        leaf = self.tls._peer_certificate if self._connect_called else None
        return leaf.public_bytes(Encoding.DER) if leaf is not None else None

    # Time

    @property
    def ping_interval_s(self) -> float:
        """How long both sides may be silent while an answer is waited for."""
        return self._idle_timeout() / _PINGS_PER_IDLE_TIME

    @property
    def probe_timeout_s(self) -> float:
        """After which an acknowledgement is late, by what the way to the server has shown."""
        return self._loss.get_probe_timeout()

    def hasten_acknowledgements(self) -> None:
        """Have what is owed to the peer go with the next datagrams."""
        for space in self._loss.spaces:
            if space.ack_at is not None:
                space.ack_at = 0.0

    # What is sent

    def unacknowledged_bytes(self, stream_id: int) -> int:
        """What was given for a stream, and the server has not said to have."""
        stream = self._streams.get(stream_id)
        return 0 if stream is None else len(stream.sender._buffer)

    # The end

    def close(
        self,
        error_code: int = QuicErrorCode.NO_ERROR,
        frame_type: int | None = None,
        reason_phrase: str = "",
    ) -> None:
        if self._close_event is None:
            self._is_closed_here = True
        super().close(error_code, frame_type, reason_phrase)

    @property
    def failure(self) -> Exception | None:
        """Why the connection is of no more use; None while it is.

        ssl.SSLError for an alert of TLS, TLSError, ConnectError where the server takes none,
        RemoteProtocolError for a breach of the peer's, ConnectionError else.
        """
        event = self._close_event
        if self._refusal is not None or event is None:
            return self._refusal
        return _failure_of(event, is_ours=self._is_closed_here)


def _failure_of(event: ConnectionTerminated, *, is_ours: bool) -> Exception:
    is_transport = event.frame_type is not None
    if is_transport and event.error_code in _CRYPTO_ERRORS:
        return _alert(event.error_code - QuicErrorCode.CRYPTO_ERROR)
    if event.reason_phrase == _NO_VERSION and event.error_code == QuicErrorCode.INTERNAL_ERROR:
        return TLSError(
            "the server speaks another version of QUIC than 1 (RFC 9000); update it",
            reason="protocol_version",
            may_have_run=False,
        )
    said = f"{event.reason_phrase!r:.{_MAX_QUOTED}}" if event.reason_phrase else "no reason given"
    if not is_ours:
        if event.reason_phrase == _IDLE:
            return ConnectionAbortedError("the server has been silent for QUIC's idle timeout")
        if is_transport and event.error_code == QuicErrorCode.CONNECTION_REFUSED:
            return ConnectError(f"the server takes no more connections ({said})")
        return ConnectionResetError(f"closed by the server (0x{event.error_code:x}, {said})")
    what = "QUIC" if is_transport else "HTTP/3"
    return RemoteProtocolError(f"the peer breaks {what}: {said}")


def _alert(number: int) -> ssl.SSLError:
    """The alert as the ssl module would raise it."""
    try:
        name = AlertDescription(number).name
    except ValueError:
        name = f"number_{number}"
    error = ssl.SSLError(1, f"alert {name.replace('_', ' ')}")
    error.reason = f"TLSV13_ALERT_{name.upper()}"
    return error
