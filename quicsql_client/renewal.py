"""TLS contexts that follow their certificates: looked at again and again, built afresh, swapped.

    in use --the sources' stamp changed--> load, match, build --well--> a new generation in use
                                                              --bad---> the old one stays, warned of

A context in use is never changed: OpenSSL would be left without any certificate by a bad pair.
Connections remember the generation that they were made in, and those of an older one are drained
by the pool. There is no thread: whoever opens a connection asks. Opens no connection itself.
Source: design/decisions.md, 3, "Certificates are sources".
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509

from .endpoint import Endpoint
from .errors import ConfigurationError
from .options import ClientOptions
from .pki.inspection import CertificateFacts, inspect_certificate
from .tls import client_context

__all__ = ["TLSKeeper", "TLSMaterial", "TLSStatus"]

_log = logging.getLogger("quicsql_client")

# Warn when less than this is left of a certificate's life, whichever is shorter: renewal is late.
_WARN_BEFORE: Final = timedelta(days=7)
_WARN_FRACTION: Final = 10


@dataclass(frozen=True, slots=True)
class TLSStatus:
    """What a client's TLS stands on now.

    client: the certificate that new connections present, None without one. server: what the
    server presented last, None before the first connection. generation: how many times the
    material was renewed. problem: why the last renewal was not taken, None when all is well.
    """

    client: CertificateFacts | None
    server: CertificateFacts | None
    generation: int
    problem: str | None


@dataclass(frozen=True, slots=True)
class TLSMaterial:
    """What belongs together and is swapped as one.

    options: with the certificates that `context` holds. generation: grows with each renewal;
    connections of an older one are to be drained.
    """

    options: ClientOptions
    context: ssl.SSLContext
    generation: int


class TLSKeeper:
    """What new connections to an endpoint are made with, and its renewals.

    current: the material of now. clock: monotonic seconds. Safe for use from many threads. Raises
    ConfigurationError when the material does not fit.
    """

    def __init__(
        self,
        options: ClientOptions,
        endpoint: Endpoint,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._check_s = options.certificate_check_s
        self._stamp = options.certificate_stamp()
        self.current = TLSMaterial(options, client_context(options, endpoint), 0)
        self._problem: str | None = None
        self._server: bytes | None = None
        self._warned_of: x509.Certificate | None = None
        self.forget_threads()

    def forget_threads(self) -> None:
        """Begin anew after a fork: a lock that another thread held stays held in the child."""
        self._lock = threading.Lock()
        self._checked_at = self._clock()

    def check(self) -> None:
        """Ask the sources when it is time, and renew if they have changed.

        Costs a look at the clock, and now and then one `stat` for each file. Never raises: material
        that is bad is warned of in the log, once for each change, and the old one stays.
        """
        if self._check_s is None or self._clock() - self._checked_at < self._check_s:
            return
        if not self._lock.acquire(blocking=False):
            return  # another thread is at it
        try:
            self._checked_at = self._clock()
            self._warn_when_late()
            stamp = self.current.options.certificate_stamp()
            if stamp != self._stamp:
                self._renew(stamp)
        except ConfigurationError as error:
            _log.warning("certificates not renewed, the old ones stay in use: %s", error)
        finally:
            self._lock.release()

    def reload(self) -> None:
        """Read every source now. Raises ConfigurationError: the old material stays in use then."""
        with self._lock:
            self._checked_at = self._clock()
            self._renew(self.current.options.certificate_stamp())

    def _renew(self, stamp: object) -> None:
        """Take what the sources hold. Of a source that changes meanwhile, the next check learns."""
        self._stamp = stamp
        try:
            options = self.current.options.with_certificates_read_again()
            context = client_context(options, self._endpoint)
        except ConfigurationError as error:
            self._problem = error.message
            raise
        self._problem = None
        self.current = TLSMaterial(options, context, self.current.generation + 1)
        if options.client_cert is not None:
            _log.info("certificates renewed: now presenting %s", options.client_cert.facts)

    def _warn_when_late(self) -> None:
        """Say once of each certificate that its end is near."""
        ours = self.current.options.client_cert
        if ours is None or ours.leaf is self._warned_of:
            return
        life = ours.facts.not_after - ours.facts.not_before
        left = ours.facts.not_after - datetime.now(UTC)
        if left < min(_WARN_BEFORE, life / _WARN_FRACTION):
            self._warned_of = ours.leaf
            _log.warning(
                "the client certificate from %s (%s) %s: renew it",
                ours.source,
                ours.facts,
                _ending(left, ours.facts.not_after),
            )

    def note_server(self, leaf: bytes | None) -> None:
        """Remember the certificate (DER) that the server presented."""
        self._server = leaf or self._server

    def status(self) -> TLSStatus:
        """What both sides presented last, and whether the last renewal was taken."""
        ours = self.current.options.client_cert
        return TLSStatus(
            client=ours.facts if ours else None,
            server=_facts_of(self._server),
            generation=self.current.generation,
            problem=self._problem,
        )


def _ending(left: timedelta, not_after: datetime) -> str:
    when = f"{not_after:%Y-%m-%d %H:%M} UTC"
    if left < timedelta(0):
        return f"has expired ({when})"
    return f"expires in {left / timedelta(hours=1):.0f} hours ({when})"


def _facts_of(der: bytes | None) -> CertificateFacts | None:
    if der is None:
        return None
    try:
        return inspect_certificate(x509.load_der_x509_certificate(der))
    except (ValueError, ConfigurationError):  # a server may present what we cannot read
        return None
