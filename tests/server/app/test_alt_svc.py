"""Alt-Svc on the answers of TCP listeners: odd-case 136."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from quicsql_client.server.alt_svc import AltSvc
from quicsql_client.server.app import Application
from quicsql_client.server.config import AuthConfig, Config, CORSConfig, ListenerConfig
from quicsql_client.server.listeners import Listener, open_listener
from tests.fix_application import Client, Start
from tests.fix_principals import by_token, grants, memory

ORIGIN = "https://app.example.com"
CONFIG = Config(
    auth=AuthConfig(principals=(by_token("ann", "ann-token"),)),
    databases=(memory("app", *grants(ann="read-write")),),
    cors=CORSConfig(enabled=True, origins=(ORIGIN,)),
)


class Bound(NamedTuple):
    transport: str
    address: str


def http3(address: str, *, advertise: bool = True) -> ListenerConfig:
    return ListenerConfig(transport="h3", address=address, tls="p", advertise=advertise)


H1 = ListenerConfig(transport="h1", address=":7775")


def told(service: AltSvc, application: Application, transport: str = "h1") -> Client:
    """A client of a TCP listener's application."""
    return Client(service.on(transport, application.on({"bearer"}, "test")), {})


async def value(service: AltSvc, application: Application, transport: str = "h1") -> str | None:
    answer = await told(service, application, transport).send("GET", "/_health")
    return answer.headers.get("alt-svc")


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/app/query", {"authorization": "Bearer ann-token"}, 200),
        ("GET", "/app/export", {"authorization": "Bearer ann-token"}, 200),
        ("GET", "/app/nope", {"authorization": "Bearer ann-token"}, 404),
        ("POST", "/app/query", {}, 401),
        ("OPTIONS", "/", {"origin": ORIGIN, "access-control-request-method": "PUT"}, 204),
    ],
)
async def test_every_answer_says_it(
    start: Start, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    async with start(CONFIG) as running:
        client = told(AltSvc([H1, http3(":7777")]), running.application)
        answer = await client.send(method, path, b'{"sql":"SELECT 1"}', headers=headers)
    assert answer.status == status
    assert answer.headers["alt-svc"] == 'h3=":7777"; ma=2592000'


@pytest.mark.parametrize(
    ("listeners", "wanted"),
    [
        ([H1], None),
        ([H1, http3(":7777", advertise=False)], None),
        ([http3("[::1]:7777")], 'h3=":7777"; ma=2592000'),
        (
            [http3(":7777"), http3(":1"), http3(":2", advertise=False)],
            'h3=":7777"; ma=2592000, h3=":1"; ma=2592000',
        ),
        ([http3(":0"), http3("")], None),
    ],
)
async def test_what_is_told(
    start: Start, listeners: list[ListenerConfig], wanted: str | None
) -> None:
    async with start(CONFIG) as running:
        assert await value(AltSvc(listeners), running.application) == wanted


@pytest.mark.parametrize("transport", ["unix", "h3"])
async def test_not_on_other_listeners(start: Start, transport: str) -> None:
    async with start(CONFIG) as running:
        assert await value(AltSvc([http3(":7777")]), running.application, transport) is None


async def test_the_real_port_once_it_is_bound(start: Start) -> None:
    service = AltSvc([http3(":1", advertise=False), H1, http3("127.0.0.1:0")])
    async with start(CONFIG) as running:
        assert await value(service, running.application) is None
        service.bound([Bound("h3", "[::]:1")])  # the other one is not open
        assert await value(service, running.application) is None
        service.bound([Bound("h3", "[::]:1"), Bound("h1", ":2"), Bound("h3", "127.0.0.1:40123")])
        assert await value(service, running.application) == 'h3=":40123"; ma=2592000'


@contextlib.asynccontextmanager
async def listening(transport: str, address: str, app: Any) -> AsyncIterator[Listener]:
    listener = await open_listener(name="l", transport=transport, address=address, app=app)
    try:
        yield listener
    finally:
        await listener.drain(1.0)


async def exchange(listener: Listener, request: bytes) -> bytes:
    """What comes back for a request that closes the connection."""
    if listener.transport == "unix":
        reader, writer = await asyncio.open_unix_connection(listener.address)
    else:
        host, _, port = listener.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.lower()


async def test_over_sockets(start: Start, tmp_path: Path) -> None:
    service = AltSvc([http3(":7777")])
    refused = b"POST /app/query HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    below = b"OPTIONS * HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    async with start(CONFIG) as running:
        app = running.application.on({"bearer"})
        async with listening("h1", "127.0.0.1:0", service.on("h1", app)) as listener:
            answer = await exchange(listener, refused)
            assert answer.startswith(b"http/1.1 401 ")
            assert b'\r\nalt-svc: h3=":7777"; ma=2592000\r\n' in answer
            assert b"alt-svc" not in await exchange(listener, below)  # below the application
        async with listening("unix", str(tmp_path / "s"), service.on("unix", app)) as listener:
            answer = await exchange(listener, refused)
            assert answer.startswith(b"http/1.1 401 ")
            assert b"alt-svc" not in answer
