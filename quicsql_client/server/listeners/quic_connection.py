"""One QUIC connection of a listener: its datagrams, its timers, and who its client is.

    handshake --client admitted--> HTTP/3 --either side closes--> ending --some round trips--> gone
       |  \\-- refused: alert --------------------------------------^                            ^
       \\-- not done in time ---------------------------------------------------------------------|

No HTTP/3 exists before the client's certificate has been judged: nothing that is sent early can
become a request. Must not know requests or the socket.
Source: protocol/transports.md, "Timeouts"; protocol/auth.md, "mTLS"; RFC 9000 10, RFC 9001 4.8.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

from aioquic.quic.events import (
    ConnectionIdIssued,
    ConnectionIdRetired,
    ConnectionTerminated,
    HandshakeCompleted,
)
from aioquic.quic.packet import QuicErrorCode, QuicFrameType
from cryptography.hazmat.primitives.serialization import Encoding

from .client_chain import Admission, CertificateRefused
from .deadline import Deadline
from .endpoint import Endpoint
from .http3_connection import HTTP3Connection
from .quic_machine import QUICMachine
from .scope import TLS_1_3, ConnectionFacts, internet_peer, verified_peer

_log = logging.getLogger("quicsql.server")


class Carrier(Protocol):
    """The socket, as a connection sees it."""

    def send(self, data: bytes, address: Any) -> None:
        """Send a datagram, unless too many wait already."""

    def claim(self, cid: bytes, connection: QUICConnection) -> None:
        """Datagrams with this connection ID are the connection's."""

    def release(self, cid: bytes) -> None:
        """They are not any more."""

    def handshake_done(self, connection: QUICConnection) -> None:
        """The client is admitted."""

    def forget(self, connection: QUICConnection) -> None:
        """The connection is gone."""


class QUICConnection:
    """Drives a machine. admission: the judge, whatever is reloaded meanwhile."""

    def __init__(
        self, machine: QUICMachine, admission: Admission, endpoint: Endpoint, carrier: Carrier
    ) -> None:
        self.machine = machine
        self.endpoint = endpoint
        self.cids: set[bytes] = set()
        self._admission = admission
        self._carrier = carrier
        self._http: HTTP3Connection | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._soon: asyncio.Handle | None = None
        self._is_gone = False
        self._deadline = Deadline(self.drop)
        self._deadline.arm(endpoint.timeouts.handshake_s)

    # --- from the socket and the clock

    def datagram_received(self, data: bytes, address: Any) -> None:
        """A datagram of the client, or of somebody who has seen its connection ID."""
        now = self._loop.time()
        self._drive(lambda: self.machine.receive_datagram(data, address, now))

    def _timer_rang(self) -> None:
        timer, self._timer = self._timer, None
        assert timer is not None  # noqa: S101 - it rang
        now = max(timer.when(), self._loop.time())
        self._drive(lambda: self.machine.handle_timer(now))

    def advance_soon(self) -> None:
        """Send what the machine has to send, at the end of this turn of the loop."""
        if self._soon is None and not self._is_gone:
            self._soon = self._loop.call_soon(self._advance_now)

    def _advance_now(self) -> None:
        self._soon = None
        self._drive(lambda: None)

    # --- driving

    def _drive(self, step: Callable[[], None]) -> None:
        try:
            step()
            self._advance()
        except Exception:  # the border to aioquic: what one client sends must not hurt another
            _log.exception(
                "listener %s: a QUIC connection failed, peer %s",
                *(self.endpoint.name, self.machine.get_peer_address()),
            )
            self.drop()

    def _advance(self) -> None:
        self._take_events()
        for data, address in self.machine.datagrams_to_send(self._loop.time()):
            self._carrier.send(data, address)
        self._take_events()  # sending issues connection IDs
        if self._http is not None:
            if self.machine.is_ending:
                self._end_http()
            else:
                self._http.progress()
        self._set_timer()

    def _set_timer(self) -> None:
        at = self.machine.get_timer()
        if self._timer is not None:
            if self._timer.when() == at:
                return
            self._timer.cancel()
            self._timer = None
        if at is not None and not self._is_gone:
            self._timer = self._loop.call_at(at, self._timer_rang)

    def _take_events(self) -> None:
        while (event := self.machine.next_event()) is not None:
            if isinstance(event, ConnectionIdIssued):
                self._carrier.claim(event.connection_id, self)
            elif isinstance(event, ConnectionIdRetired):
                self._carrier.release(event.connection_id)
            elif isinstance(event, HandshakeCompleted):
                self._admit()
            elif isinstance(event, ConnectionTerminated):
                self.drop()
            elif self._http is not None:
                self._http.handle(event)

    def _admit(self) -> None:
        self._deadline.close()
        peer = self.machine.get_peer_address()
        try:
            leaf = self._admission.judge(
                self.machine.peer_certificate, self.machine.peer_intermediates
            )
        except CertificateRefused as refusal:
            _log.info(
                "listener %s: TLS handshake with %s failed: %s", self.endpoint.name, peer, refusal
            )
            code = QuicErrorCode.CRYPTO_ERROR + refusal.alert
            self.machine.close(code, QuicFrameType.CRYPTO, refusal.alert.text)
            return
        der = None if leaf is None else leaf.public_bytes(Encoding.DER)
        facts = ConnectionFacts(
            scheme="https",
            client=internet_peer(peer),
            server=self.endpoint.server,
            extensions={"tls": verified_peer(der, TLS_1_3)},
        )
        self._carrier.handshake_done(self)
        self._http = HTTP3Connection(self, facts)

    # --- ending

    def close(self, code: int) -> None:
        """Close at once; the client is told the code."""
        self.machine.close(code)
        self._advance_now()

    def drop(self) -> None:
        """Forget the connection without a word."""
        self._is_gone = True
        self._end_http()
        self._deadline.close()
        for handle in (self._timer, self._soon):
            if handle is not None:
                handle.cancel()
        self._timer = self._soon = None
        self._carrier.forget(self)

    def _end_http(self) -> None:
        http, self._http = self._http, None
        if http is not None:
            http.lost()
