"""Clients that speak bytes: what a well-behaved library would not send, the tests can."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Any

import h2.connection
import h2.events
from h2.config import H2Configuration

TIMEOUT_S = 10.0
OPENED: list[asyncio.StreamWriter] = []
"""Every connection of the running test, for the fixture that hangs up after it."""


async def connect(
    address: str, context: ssl.SSLContext | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to "host:port", or to a Unix socket's path."""
    if address.startswith("/"):
        reader, writer = await asyncio.open_unix_connection(address)
    else:
        host, _, port = address.rpartition(":")
        name = "localhost" if context else None
        reader, writer = await asyncio.open_connection(
            host.strip("[]"), int(port), ssl=context, server_hostname=name
        )
    OPENED.append(writer)
    return reader, writer


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close, whatever the other side has done."""
    writer.close()
    with contextlib.suppress(OSError, ssl.SSLError):
        await writer.wait_closed()


async def talk(address: str, data: bytes, context: ssl.SSLContext | None = None) -> bytes:
    """Send bytes and read until the server closes."""
    reader, writer = await connect(address, context)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            writer.write(data)
            return await reader.read(-1)
    finally:
        await hang_up(writer)


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """One answer with Content-Length or chunks: status, headers, body."""
    async with asyncio.timeout(TIMEOUT_S):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin1").split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])
        }
        body = b""
        if headers.get("transfer-encoding") == "chunked":
            while size := int(await reader.readline(), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readexactly(2)
        elif "content-length" in headers:
            body = await reader.readexactly(int(headers["content-length"]))
        return int(head[0].split()[1]), headers, body


def head_of(answer: bytes) -> tuple[int, str]:
    """Status and lower-case head of raw answer bytes."""
    head = answer.partition(b"\r\n\r\n")[0].decode("latin1")
    return int(head.split()[1]), head.lower()


class HTTP2Client:
    """h2's client machine on a connection, driven by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.machine = h2.connection.H2Connection(
            H2Configuration(
                client_side=True,
                header_encoding="utf-8",
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.events: list[h2.events.Event] = []
        self.is_closed = False

    @classmethod
    async def open(cls, address: str, context: ssl.SSLContext | None = None) -> HTTP2Client:
        client = cls(*await connect(address, context))
        client.machine.initiate_connection()
        client.flush()
        return client

    def flush(self) -> None:
        self.writer.write(self.machine.data_to_send())

    def request(
        self,
        method: str = "GET",
        path: str = "/",
        *,
        end: bool = True,
        extra: tuple[tuple[str, str], ...] = (),
    ) -> int:
        stream_id = self.machine.get_next_available_stream_id()
        head = [(":method", method), (":scheme", "https"), (":path", path)]
        self.machine.send_headers(
            stream_id, [*head, (":authority", "localhost"), *extra], end_stream=end
        )
        self.flush()
        return stream_id

    async def send_data(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        """A piece of a body, when the windows have room for it."""
        machine = self.machine
        await self.read_while(lambda: machine.local_flow_control_window(stream_id) < len(data))
        machine.send_data(stream_id, data, end_stream=end)
        self.flush()

    async def until(
        self, kind: type[Any], stream_id: int | None = None, *, credit: bool = True
    ) -> Any:
        """The first event of a kind (on a stream); None when the server closes before."""

        def find() -> Any:
            for event in self.events:
                wanted = stream_id is None or getattr(event, "stream_id", None) == stream_id
                if isinstance(event, kind) and wanted:
                    return event
            return None

        await self.read_while(lambda: find() is None, credit=credit)
        return find()

    async def read_while(self, condition: Callable[[], bool], *, credit: bool = True) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while condition() and not self.is_closed:
                try:
                    data = await self.reader.read(65536)
                except OSError:
                    data = b""
                if not data:
                    self.is_closed = True
                    return
                self._take(data, credit)

    async def read_more(self) -> None:
        """Read until something happens."""
        before = len(self.events)
        await self.read_while(lambda: len(self.events) == before)

    def _take(self, data: bytes, credit: bool) -> None:
        for event in self.machine.receive_data(data):
            self.events.append(event)
            if credit and isinstance(event, h2.events.DataReceived):
                size = event.flow_controlled_length or 0
                self.machine.acknowledge_received_data(size, event.stream_id or 0)
        self.flush()

    async def answer(self, stream_id: int) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of a whole answer; status 0 when there is none."""
        ended = await self.until(h2.events.StreamEnded, stream_id)
        assert ended is not None, f"no whole answer on stream {stream_id}: {self.events}"
        head: dict[str, str] = {}
        body = b""
        for event in self.events:
            if isinstance(event, h2.events.ResponseReceived) and event.stream_id == stream_id:
                head = {str(name): str(value) for name, value in event.headers or ()}
            if isinstance(event, h2.events.DataReceived) and event.stream_id == stream_id:
                body += event.data or b""
        return int(head.pop(":status", "0")), head, body

    async def close(self) -> None:
        await hang_up(self.writer)
