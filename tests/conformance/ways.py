"""The way to each listener of a variant, and what comes back.

httpx sends, so that the judge shares no code with our own client. One client for each listener and
identity: certificates on TLS listeners, bearer tokens elsewhere.
"""

from __future__ import annotations

import contextlib
import json
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

TOKENS: Mapping[str, str | None] = {
    "anon": None,
    "tok": "secret-token",
    "tok2": "second-token",
    "ro": "read-token",
    "adm": "app-admin-token",
    "root": "admin-token",
    "badtok": "wrong",
    **{f"r{number}": f"r{number}-token" for number in range(1, 10)},
}
ANSWER_TIMEOUT_S = 30.0
NO_ANSWER = (httpx.HTTPError, OSError)


@dataclass(frozen=True)
class Answer:
    """What came back. frames, ended: of an event stream."""

    status: int
    headers: Mapping[str, str]
    content: bytes = b""
    frames: list[dict[str, Any]] = field(default_factory=list)
    ended: bool = False

    @property
    def text(self) -> str:
        return self.content.decode(errors="replace")

    def document(self) -> Any:
        """The JSON value of the body. Raises ValueError."""
        return json.loads(self.content)


class Ways:
    """Clients for the listeners of one running server. addresses: by the listener's name."""

    def __init__(self, addresses: Mapping[str, str], tls: frozenset[str], pki: Path) -> None:
        self._addresses = addresses
        self._tls = tls
        self._pki = pki
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._clients: dict[tuple[str, str], httpx.Client] = {}

    def client(self, listener: str, identity: str) -> httpx.Client:
        """The client that is kept for this listener and identity."""
        key = listener, identity
        if key not in self._clients:
            self._clients[key] = self._open(*key)
        return self._clients[key]

    @contextlib.contextmanager
    def fresh(self, listener: str, identity: str) -> Iterator[httpx.Client]:
        """A client with connections of its own."""
        with self._open(listener, identity) as client:
            yield client

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    def _open(self, listener: str, identity: str) -> httpx.Client:
        address = self._addresses[listener]
        headers = {"accept-encoding": "identity"}
        if token := TOKENS.get(identity):
            headers["authorization"] = f"Bearer {token}"
        shared: dict[str, Any] = {"headers": headers, "timeout": ANSWER_TIMEOUT_S}
        if listener == "unix":
            transport = httpx.HTTPTransport(uds=address)
            return httpx.Client(base_url="http://localhost", transport=transport, **shared)
        port = address.rpartition(":")[2]
        if listener in self._tls:
            url, context = f"https://localhost:{port}", self._context(identity)
            return httpx.Client(base_url=url, verify=context, http2=True, **shared)
        is_h2c = listener == "h2c"
        return httpx.Client(
            base_url=f"http://127.0.0.1:{port}", http1=not is_h2c, http2=is_h2c, **shared
        )

    def _context(self, identity: str) -> ssl.SSLContext:
        """Trusts the server's CA and presents the identity's certificate, if it is no token."""
        if identity not in self._contexts:
            context = ssl.create_default_context(cafile=str(self._pki / "server-ca.crt"))
            if identity not in TOKENS:
                context.load_cert_chain(
                    self._pki / f"{identity}.crt", self._pki / f"{identity}.key"
                )
            self._contexts[identity] = context
        return self._contexts[identity]
