"""An HTTP/3 client on aioquic, driven by hand: what a library would not do, the tests can."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.buffer import Buffer  # type: ignore[attr-defined]
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import (
    QuicEvent,
    StopSendingReceived,
    StreamDataReceived,
    StreamReset,
)

TIMEOUT_S = 10.0
_GOAWAY = 7
_SERVER_CONTROL_STREAM = 3


class Refused(ConnectionError):
    """The server closed the connection. code: what it said."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"0x{code:x} {reason}")
        self.code = code
        self.reason = reason


class NeverReading(QuicConnection):
    """A client that gives no more room than it announced, as if nobody read what arrives."""

    def _write_stream_limits(self, *args: Any, **keys: Any) -> None:
        """No MAX_STREAM_DATA."""

    def _write_connection_limits(self, *args: Any, **keys: Any) -> None:
        """No MAX_DATA."""


class _Framing(H3Connection):
    """aioquic's client misses the body of an answer to HEAD; the tests look for themselves."""

    def _check_content_length(self, stream: Any) -> None:
        """Nothing."""


class HTTP3Client(QuicConnectionProtocol):
    """One connection. heads, bodies: by stream, as far as they have come. whole: streams that the
    server has ended. events: resets and stops. goaways: the stream IDs said."""

    def __init__(self, quic: QuicConnection) -> None:
        super().__init__(quic)
        self.quic = quic
        self.http = _Framing(quic)
        self.heads: dict[int, list[tuple[bytes, bytes]]] = {}
        self.bodies: dict[int, bytearray] = {}
        self.whole: set[int] = set()
        self.events: list[StreamReset | StopSendingReceived] = []
        self.goaways: list[int] = []
        self._control = b""
        self._changed = asyncio.Event()

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, StreamReset | StopSendingReceived):
            self.events.append(event)
        elif isinstance(event, StreamDataReceived) and event.stream_id == _SERVER_CONTROL_STREAM:
            self._control += event.data
            self.goaways = _goaways(self._control)
        for part in self.http.handle_event(event):
            self._keep(part)
        self._changed.set()

    def _keep(self, event: H3Event) -> None:
        if isinstance(event, HeadersReceived):
            self.heads.setdefault(event.stream_id, event.headers)
        elif isinstance(event, DataReceived):
            self.bodies.setdefault(event.stream_id, bytearray()).extend(event.data)
        if isinstance(event, HeadersReceived | DataReceived) and event.stream_ended:
            self.whole.add(event.stream_id)

    async def until(self, condition: Callable[[], Any]) -> Any:
        """The first true value of condition. Raises: Refused when the connection ends before."""
        async with asyncio.timeout(TIMEOUT_S):
            while not (value := condition()):
                if self.is_closed:
                    event = self.quic._close_event  # its own event comes only after a while
                    assert event is not None
                    raise Refused(event.error_code, event.reason_phrase)
                self._changed.clear()
                await self._changed.wait()
        return value

    def datagram_received(self, data: bytes | str, addr: Any) -> None:
        super().datagram_received(data, addr)
        self._changed.set()

    @property
    def is_closed(self) -> bool:
        return self.quic._close_event is not None

    async def until_closed(self) -> Refused:
        """How the server closes the connection."""
        try:
            await self.until(lambda: False)
        except Refused as refused:
            return refused
        raise AssertionError("unreachable")

    def request(
        self,
        method: str = "GET",
        path: str = "/",
        body: bytes = b"",
        *,
        end: bool = True,
        extra: tuple[tuple[str, str], ...] = (),
    ) -> int:
        head = [(":method", method), (":scheme", "https"), (":authority", "localhost")]
        return self.send_head([*head, (":path", path), *extra], body, end=end)

    def send_head(
        self, fields: list[tuple[str, str]], body: bytes = b"", *, end: bool = True
    ) -> int:
        """Open a stream with exactly these fields."""
        stream_id = self.quic.get_next_available_stream_id()
        encoded = [(name.encode(), value.encode()) for name, value in fields]
        self.http.send_headers(stream_id, encoded, end_stream=end and not body)
        if body:
            self.http.send_data(stream_id, body, end)
        self.transmit()
        return stream_id

    def send(self, stream_id: int, body: bytes, *, end: bool = False) -> None:
        self.http.send_data(stream_id, body, end)
        self.transmit()

    def event(self, kind: type[StreamReset | StopSendingReceived], stream_id: int) -> Any:
        """The first event of a kind on a stream, or None."""
        found = (one for one in self.events if isinstance(one, kind) and one.stream_id == stream_id)
        return next(found, None)

    async def head(self, stream_id: int) -> tuple[int, dict[str, str]]:
        """Status and headers, as soon as they are there."""
        fields = await self.until(lambda: self.heads.get(stream_id))
        headers = {name.decode(): value.decode() for name, value in fields}
        return int(headers.pop(":status")), headers

    async def answer(self, stream_id: int) -> tuple[int, dict[str, str], bytes]:
        """A whole answer. Raises: Refused when the stream is reset, or the connection closed."""

        def is_ended() -> bool:
            reset = self.event(StreamReset, stream_id)
            if reset is not None:
                raise Refused(reset.error_code, "stream reset")
            return stream_id in self.whole

        await self.until(is_ended)
        return (*await self.head(stream_id), bytes(self.bodies.get(stream_id, b"")))

    async def ask(self, *arguments: Any, **keys: Any) -> tuple[int, dict[str, str], bytes]:
        """A request and its whole answer."""
        return await self.answer(self.request(*arguments, **keys))


def _goaways(control: bytes) -> list[int]:
    """The IDs in the GOAWAY frames of a control stream."""
    buf = Buffer(data=control)
    buf.pull_uint_var()  # the stream's type
    found = []
    with contextlib.suppress(ValueError):
        while not buf.eof():
            kind, length = buf.pull_uint_var(), buf.pull_uint_var()
            payload = Buffer(data=buf.pull_bytes(length))
            if kind == _GOAWAY:
                found.append(payload.pull_uint_var())
    return found


def client_configuration(
    root_ca: bytes,
    identity: tuple[str | Path, str | Path] | None = None,
    *,
    alpn: str = "h3",
    **options: Any,
) -> QuicConfiguration:
    """What a client trusts, and who it is: paths of a certificate chain and its key."""
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=[alpn], server_name="localhost", cadata=root_ca, **options
    )
    if identity is not None:
        configuration.load_cert_chain(*identity)
    return configuration


@contextlib.asynccontextmanager
async def connected(
    address: str,
    configuration: QuicConfiguration,
    machine: type[QuicConnection] = QuicConnection,
) -> AsyncIterator[HTTP3Client]:
    """A connection whose handshake is done on the client's side, which is before the server has
    looked at a certificate.

    Raises: Refused when the handshake fails before.
    """
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    client = HTTP3Client(machine(configuration=configuration))
    transport, _ = await loop.create_datagram_endpoint(
        lambda: client, remote_addr=(host.strip("[]"), int(port))
    )
    try:
        # A connected socket is sent to without an address, and aioquic wants to give one.
        sock = transport.get_extra_info("socket")
        client.connect(sock.getpeername())
        async with asyncio.timeout(TIMEOUT_S):
            await _handshake(client)
        yield client
    finally:
        client.close()
        transport.close()
        await asyncio.sleep(0)  # asyncio closes the socket in its next turn


async def _handshake(client: HTTP3Client) -> None:
    connected = asyncio.ensure_future(client.wait_connected())
    closed = asyncio.ensure_future(client.until_closed())
    await asyncio.wait([connected, closed], return_when=asyncio.FIRST_COMPLETED)
    if connected.done() and connected.exception() is None:
        closed.cancel()
        return
    connected.cancel()
    raise await closed
