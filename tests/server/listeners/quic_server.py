"""QUIC listeners for the tests, their clients, and a socket that exists in memory only."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aioquic.quic.connection import QuicConnection

from quicsql_client.server.listeners import (
    ClientAuth,
    HTTPTimeouts,
    Listener,
    QUICContext,
)
from quicsql_client.server.listeners.endpoint import Endpoint
from quicsql_client.server.listeners.quic import QUICSocket
from quicsql_client.server.listeners.settings import (
    DEFAULT_TIMEOUTS,
)

from .applications import echo
from .certificates import PKI
from .http3_client import HTTP3Client, Refused, client_configuration, connected
from .made_certificates import CLIENT, Made, make
from .quic_pair import SERVER_ADDRESS

CA = make("client CA", is_ca=True)
MIDDLE = CA.issue("middle", is_ca=True)
ANALYST = CA.issue(uses=[CLIENT])
QUIC = "quicsql_client.server.listeners.quic"
OpenQUIC = Callable[..., Awaitable[Listener]]


def context_for(pki: PKI, auth: ClientAuth, *client_cas: Made) -> QUICContext:
    anchors = client_cas or (CA,)
    return dataclasses.replace(
        pki.quic_context(auth),
        client_cas=() if auth is ClientAuth.NONE else tuple(one.certificate for one in anchors),
    )


class Clients:
    """Configurations of clients that trust the server."""

    def __init__(self, pki: PKI, folder: Path) -> None:
        self._root = pki.server_ca.cert_pem.bytes()
        self._folder = folder

    def __call__(self, identity: Made | None = None, *more: Made, **options: Any) -> Any:
        files = identity.write(self._folder, *more) if identity else None
        return client_configuration(self._root, files, **options)


async def refusal(listener: Listener, configuration: Any) -> Refused:
    """How a client is turned away that asks for something at once."""
    with pytest.raises(Refused) as refused:
        async with connected(listener.address, configuration) as client:
            await client.ask()
    return refused.value


class QUICSocketInMemory(QUICSocket):
    """The server's end, without a socket. sent: what would have gone out."""

    def __init__(
        self, context: QUICContext, timeouts: HTTPTimeouts = DEFAULT_TIMEOUTS, app: Any = echo
    ) -> None:
        endpoint = Endpoint(name="l", kind="h3", app=app, timeouts=timeouts, server=SERVER_ADDRESS)
        super().__init__(endpoint, context)
        self.sent: list[bytes] = []
        self.forgotten = asyncio.Event()

    def forget(self, connection: Any) -> None:
        super().forget(connection)
        self.forgotten.set()

    def send(self, data: bytes, address: Any) -> None:
        self.sent.append(data)

    @property
    def handshakes(self) -> Any:
        return self._handshakes

    @property
    def connections(self) -> Any:
        return self._connections

    def drop_everything(self) -> None:
        for connection in set(self._connections.values()):
            connection.drop()


def first_datagram(configuration: Any) -> bytes:
    client = QuicConnection(configuration=configuration)
    client.connect(SERVER_ADDRESS, 0.0)
    return client.datagrams_to_send(0.0)[0][0]


class Opened:
    """A listener, and connections to it."""

    def __init__(self, open_one: OpenQUIC, pki: PKI) -> None:
        self._open_one = open_one
        self._pki = pki
        self.listener: Any = None

    async def open(self, app: Any = echo, **options: Any) -> Opened:
        context = self._pki.quic_context()
        self.listener = await self._open_one(app, "h3", context=context, **options)
        return self

    def client(self, machine: Any = None, **options: Any) -> Any:
        trust = client_configuration(self._pki.server_ca.cert_pem.bytes(), **options)
        machines = () if machine is None else (machine,)
        return connected(self.listener.address, trust, *machines)


async def refused_with(client: HTTP3Client, stream: int) -> int:
    """The code that a stream, or the connection, ends with."""
    with pytest.raises(Refused) as refused:
        await client.answer(stream)
    return refused.value.code
