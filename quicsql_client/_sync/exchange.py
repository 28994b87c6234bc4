# Made from quicsql_client/_async/exchange.py
# by tools/async_to_sync.py: do not edit, change the source.
"""Exchange: one request and its answer on a connection, and what it means when that fails.

Every failure becomes a TransportError that says whether the server may have acted
(`may_have_run`) and whether any of the answer came (`answer_began`).
"""

from __future__ import annotations

import contextlib
import ssl

from ..endpoint import Endpoint
from ..errors import RemoteProtocolError, TLSError, TransportError
from ..options import ClientOptions
from ..tls import explain_tls_failure, look_context
from ..transports import failures
from ..transports.collector import ResponseCollector
from ..transports.deadlines import sooner
from ..transports.events import RequestNotProcessed
from ..transports.network import SocketStream
from ..wire.messages import Request, Response
from .link import Link

__all__ = ["Exchange", "look_at_certificate"]

# A second look at a server that failed TLS, to name its certificate in the error.
_LOOK_S = 1.0
# How a TLS port answers plain HTTP: with an alert record, or with the text of
# protocol/transports.md.
_TLS_ALERT = b"\x15\x03"
_TLS_PORT_TEXT = b"Client sent an HTTP request to an HTTPS server"


class Exchange:
    """One request and its answer.

    was_used: another exchange on this link has ended well. stream_id: its number there, 0 before
    it has begun.
    """

    def __init__(
        self,
        link: Link,
        endpoint: Endpoint,
        options: ClientOptions,
        request: Request,
        was_used: bool,
    ) -> None:
        self._link = link
        self._stream = link.stream
        self._core = link.core
        self._endpoint = endpoint
        self._options = options
        self._request = request
        self._was_used = was_used
        self._named = str(request)
        self._queued_before = link.core.bytes_queued
        self._deadline: float | None = None
        self._collector = ResponseCollector(request, options.max_response_bytes)
        self.stream_id = 0

    def run(self, deadline: float | None) -> Response:
        """The whole answer."""
        self._deadline = deadline
        try:
            self.stream_id = self._link.start(self._request)
            response = self._collect()
        except RequestNotProcessed as error:
            error.__dict__.update(request=self._named)
            failures.mark(error, may_have_run=False)
            raise
        except RemoteProtocolError as error:
            if self._link.has_ended and not self._has_begun():
                raise self._lost() from error
            error.__dict__.update(request=self._named)
            failures.mark(error, may_have_run=self._may_have_run(), answer_began=self._has_begun())
            raise
        self._refuse_tls_port(response)
        return response

    def _collect(self) -> Response:
        while True:
            event = self._core.next_event(self.stream_id)
            if event is None:
                self._advance()
            elif (response := self._collector.take(event)) is not None:
                return response

    def _advance(self) -> None:
        if self._link.has_ended:
            raise self._lost()
        try:
            self._link.advance(self.stream_id, self._deadline)
        except TimeoutError as error:
            if self._stream.is_congested:
                raise failures.write_timeout(
                    self._endpoint, self._named, may_have_run=self._may_have_run()
                ) from error
            raise failures.read_timeout(self._endpoint, self._named) from error
        if not self._was_used:
            self._check_first_bytes()

    # What is wrong

    def _may_have_run(self) -> bool:
        """Whether anything of the request left."""
        return self._stream.bytes_written > self._queued_before

    def _has_begun(self) -> bool:
        """Whether anything of the answer came."""
        return self._collector.has_started or self._core.has_answered(self.stream_id)

    def _speaks_tls(self) -> bool:
        """Whether the port that took plain HTTP for nonsense does a TLS handshake."""
        return look_at_certificate(self._endpoint, self._deadline) is not None

    def _lost(self) -> TransportError:
        """What the end of the connection means for this exchange."""
        error = self._link.error
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
            return self._explained(error)
        if not self._was_used and not self._core.has_heard:
            if self._endpoint.is_cleartext and self._speaks_tls():
                return self._spoke_plain(error)
            if self._stream.alpn == "h2":
                # A server that lets us in begins with SETTINGS: this one cut the connection before.
                return self._explained(error or ConnectionResetError("end of stream"))
        lost = failures.answer_lost(
            error, self._endpoint, self._named, may_have_run=self._may_have_run()
        )
        failures.mark(lost, may_have_run=True, answer_began=self._has_begun())
        return lost

    def _explained(self, error: BaseException) -> TLSError:
        """An alert after the handshake:

        With TLS 1.3 that is how a server refuses our certificate.
        """
        explained = explain_tls_failure(
            error,
            endpoint=self._endpoint,
            options=self._options,
            server_leaf=self._stream.peer_certificate,
            request=self._named,
        )
        is_refused = explained.reason != "connection_cut" and not self._core.has_heard
        failures.mark(explained, may_have_run=self._may_have_run() and not is_refused)
        return explained

    def _spoke_plain(self, error: BaseException | None) -> TLSError:
        return TLSError(
            f"{self._endpoint} expects TLS and was spoken to in plain HTTP "
            f'(transport "{self._endpoint.transport}"); use transport h2 (Client.h2tls), or dial '
            "the cleartext port",
            reason="plain_http_on_tls_port",
            request=self._named,
            may_have_run=False,
        )

    def _check_first_bytes(self) -> None:
        if not self._endpoint.tls and self._link.first_bytes.startswith(_TLS_ALERT):
            raise self._spoke_plain(None)

    def _refuse_tls_port(self, response: Response) -> None:
        is_refusal = response.status == 400 and response.body.startswith(_TLS_PORT_TEXT)
        if is_refusal and not self._endpoint.tls:
            raise self._spoke_plain(None)


def look_at_certificate(endpoint: Endpoint, deadline: float | None) -> bytes | None:
    """The certificate of a server that failed verification, read over a connection that carries
    nothing of ours.
    """
    with contextlib.suppress(OSError):
        soon = sooner(deadline, _LOOK_S)
        stream = SocketStream.connect(endpoint, soon)
        try:
            stream.start_tls(look_context(endpoint), endpoint.host, soon)
            return stream.peer_certificate
        finally:
            stream.close()
    return None
