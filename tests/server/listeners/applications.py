"""ASGI applications that the listeners' tests put behind a listener."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from quicsql_client.server.listeners import Receive, Scope, Send


async def read_body(receive: Receive) -> bytes:
    """The whole body; AssertionError when the client goes away before its end."""
    body = bytearray()
    while True:
        message = await receive()
        assert message["type"] == "http.request", message
        body += message["body"]
        if not message["more_body"]:
            return bytes(body)


async def answer(send: Send, body: bytes, status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Says what it was asked, as JSON."""
    body = await read_body(receive)
    seen: dict[str, Any] = {
        "method": scope["method"],
        "path": scope["path"],
        "raw_path": scope["raw_path"].decode(),
        "query": scope["query_string"].decode(),
        "version": scope["http_version"],
        "scheme": scope["scheme"],
        "headers": [(name.decode(), value.decode()) for name, value in scope["headers"]],
        "client": scope["client"],
        "server": scope["server"],
        "extensions": scope["extensions"],
        "length": len(body),
        "body": body[:100].decode("latin1"),
    }
    await answer(send, json.dumps(seen).encode())


async def refuse_unread(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers 401 without looking at the body."""
    await answer(send, b"no", 401)


class Gate:
    """An application that holds its answer until it is let go, and notes what happens to it."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.released = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.messages: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        self.entered.set()
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.messages.append((await receive())["type"])
            self.cancelled.set()
            raise
        await answer(send, b"late")
