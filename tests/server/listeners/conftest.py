"""Fixtures of the listeners' tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from quicsql_client.server.listeners import HTTPTimeouts, Listener, open_listener

from .applications import echo
from .certificates import PKI
from .clients import OPENED, hang_up

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
