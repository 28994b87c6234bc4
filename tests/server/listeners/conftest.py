"""Fixtures of the listeners' tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from quicsql_client.server.listeners import ClientAuth, HTTPTimeouts, Listener, open_listener

from .applications import echo
from .certificates import PKI
from .clients import OPENED, hang_up
from .quic_server import Clients, Opened, OpenQUIC, context_for

Open: TypeAlias = Callable[..., Awaitable[Listener]]

QUICK = HTTPTimeouts(linger_s=0.3)


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> PKI:
    """Authorities and a server pair, on disk."""
    return PKI.create(tmp_path_factory.mktemp("pki"))


@pytest.fixture(autouse=True)
async def hang_up_after_the_test() -> AsyncIterator[None]:
    """A test that fails leaves no connection open, which would fail the tests after it too."""
    yield
    while OPENED:
        await hang_up(OPENED.pop())


@pytest.fixture
async def open_one() -> AsyncIterator[Open]:
    """Opens listeners on loopback (default: h1, echo) and closes them after the test."""
    opened: list[Listener] = []

    async def open_it(app: Any = echo, transport: str = "h1", **options: Any) -> Listener:
        options = {"name": "l", "address": "127.0.0.1:0", "timeouts": QUICK, **options}
        listener = await open_listener(transport=transport, app=app, **options)
        opened.append(listener)
        return listener

    yield open_it
    for listener in opened:
        await listener.drain(0)


@pytest.fixture
def open_quic(open_one: Open, pki: PKI) -> OpenQUIC:
    """Opens an h3 listener that asks for certificates of CA as it is told."""

    async def open_it(auth: ClientAuth = ClientAuth.NONE, app: Any = echo, **options: Any) -> Any:
        return await open_one(app, "h3", context=context_for(pki, auth), **options)

    return open_it


@pytest.fixture
def clients(pki: PKI, tmp_path: Path) -> Clients:
    """Configurations of QUIC clients that trust the server."""
    return Clients(pki, tmp_path)


@pytest.fixture
def h3(open_one: Open, pki: PKI) -> Opened:
    """`await h3.open(app)`, then `async with h3.client() as client`."""
    return Opened(open_one, pki)
