# Made from quicsql_client/_async/channel.py
# by tools/async_to_sync.py: do not edit, change the source.
"""The way to the server that a client shares with its streams: signs, sends, drives operations."""

from __future__ import annotations

import time
from typing import TypeVar

from ..auth import Basic
from ..certificates import ClientCertificate
from ..endpoint import Endpoint
from ..errors import AuthenticationError
from ..operations import Operation
from ..operations.identity import Identity
from ..options import ClientOptions
from ..renewal import TLSKeeper
from ..transports.httpx import PoolTransport
from ..wire.messages import Request, Response
from .pool import open_transport

__all__ = ["Channel"]

_T = TypeVar("_T")


class Channel:
    """A transport, with the identity and the deadline that its calls carry.

    tls: what connections are encrypted with; None without TLS, or when it is not ours.
    """

    def __init__(self, endpoint: Endpoint, options: ClientOptions) -> None:
        self._endpoint = endpoint
        self._options = options
        self._transport = open_transport(endpoint, options)
        self.tls: TLSKeeper | None = self._transport.tls
        self.identity = Identity(options.credential, options.ed25519, time.monotonic)

    @property
    def user(self) -> str | None:
        """The user of basic auth, else the common name of the client certificate, else None."""
        if isinstance(self._options.credential, Basic):
            return self._options.credential.user
        certificate = self._certificate
        return certificate.facts.common_name or None if certificate is not None else None

    @property
    def _certificate(self) -> ClientCertificate | None:
        """What new connections present now."""
        return self.tls.current.options.client_cert if self.tls is not None else None

    def run(self, operation: Operation[_T]) -> _T:
        """Drive an operation to its value, each of its requests with what identifies the client."""
        return self.run_as_it_is(self.identity.identified(operation))

    def run_as_it_is(self, operation: Operation[_T]) -> _T:
        """Drive an operation whose requests say themselves who asks; all within one deadline."""
        timeout_s = self._options.timeout_s
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        try:
            return self._drive(operation, deadline)
        except AuthenticationError as refused:
            raise self._explained(refused) from None

    def _drive(self, operation: Operation[_T], deadline: float | None) -> _T:
        try:
            request = next(operation)
            while True:
                try:
                    response = self._transport.send(request, deadline=deadline)
                except BaseException as exc:  # the operation must learn of cancelling, too
                    request = operation.throw(exc)
                else:
                    request = operation.send(response)
        except StopIteration as finished:
            value: _T = finished.value
            return value

    def _explained(self, refused: AuthenticationError) -> AuthenticationError:
        """The server does not say which half is wrong, so say which identity it was shown."""
        if refused.http_status is None:  # nothing was sent
            return refused
        presented = [self.identity.presented()]
        certificate = self._certificate
        if certificate is not None:
            presented.append(
                f"presented {certificate.facts} from {certificate.source!r}, which no "
                "principal of the server maps (by subject_cn or spki_sha256)"
            )
        return AuthenticationError(
            ": ".join([str(refused), *filter(None, presented)]),
            http_status=refused.http_status,
            sql=refused.sql,
        )

    def send(self, request: Request, *, deadline: float | None) -> Response:
        """The whole answer to one request with what identifies the client. See Transport."""
        return self._drive(self.identity.exchange(request), deadline)

    def http_transport(self) -> PoolTransport:
        """The same way to the server, for an httpx client."""
        return PoolTransport(self, self._endpoint, self._options.without_credentials())

    def close(self) -> None:
        """Close the transport and its connections."""
        self._transport.close()
