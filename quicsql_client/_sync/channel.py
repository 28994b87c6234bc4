# Made from quicsql_client/_async/channel.py
# by tools/async_to_sync.py: do not edit, change the source.
"""The way to the server that a client shares with its streams: signs, sends, drives operations."""

from __future__ import annotations

import time
from typing import TypeVar

from ..auth import Basic
from ..endpoint import Endpoint
from ..errors import AuthenticationError
from ..operations import Operation
from ..options import ClientOptions
from ..renewal import TLSKeeper
from ..transports.httpx import PoolTransport
from ..wire.messages import Request, Response
from .pool import open_transport

__all__ = ["Channel"]

_T = TypeVar("_T")


class Channel:
    """A transport, with the credential and the deadline that its calls carry."""

    def __init__(self, endpoint: Endpoint, options: ClientOptions) -> None:
        self._endpoint = endpoint
        self._options = options
        self._transport = open_transport(endpoint, options)

    @property
    def tls(self) -> TLSKeeper | None:
        """What connections are encrypted with; None without TLS, or when it is not ours."""
        return self._transport.tls

    @property
    def user(self) -> str | None:
        """The user of basic auth, else the common name of the client certificate, else None."""
        if isinstance(self._options.credential, Basic):
            return self._options.credential.user
        certificate = self.tls.current.options.client_cert if self.tls is not None else None
        return certificate.facts.common_name or None if certificate is not None else None

    def run(self, operation: Operation[_T]) -> _T:
        """Drive an operation to its value, all its requests within one deadline."""
        timeout_s = self._options.timeout_s
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        try:
            request = next(operation)
            while True:
                try:
                    response = self._send(request, deadline)
                except BaseException as exc:  # the operation must learn of cancelling, too
                    request = operation.throw(exc)
                else:
                    request = operation.send(response)
        except StopIteration as finished:
            value: _T = finished.value
            return value
        except AuthenticationError as refused:
            raise self._explained(refused) from None

    def _explained(self, refused: AuthenticationError) -> AuthenticationError:
        """The server does not say which half is wrong, so say which identity it was shown."""
        certificate = self.tls.current.options.client_cert if self.tls is not None else None
        if certificate is None:
            return refused
        return AuthenticationError(
            f"{refused}: presented {certificate.facts} from {certificate.source!r}, which no "
            "principal of the server maps (by subject_cn or spki_sha256)",
            http_status=refused.http_status,
            sql=refused.sql,
        )

    def _send(self, request: Request, deadline: float | None) -> Response:
        credential = self._options.credential
        if credential is not None:
            request = request.with_headers(credential.headers_for(request))
        return self._transport.send(request, deadline=deadline)

    def http_transport(self) -> PoolTransport:
        """The same way to the server, for an httpx client."""
        return PoolTransport(self._transport, self._endpoint, self._options)

    def close(self) -> None:
        """Close the transport and its connections."""
        self._transport.close()
