"""HTTP/3 servers that follow a script, on aioquic: loopback, port 0, a thread with a loop each."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import QuicServer
from aioquic.buffer import encode_uint_var
from aioquic.h3.connection import FrameType, H3Connection, encode_frame
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, QuicEvent, StreamReset
from cryptography import x509

from quicsql_client._async.http3_pool import AsyncHTTP3Pool
from quicsql_client._sync.http3_pool import HTTP3Pool
from quicsql_client.server.config import (
    AuthConfig,
    Config,
    ListenerConfig,
    MethodConfig,
    MTLSMethod,
    PrincipalConfig,
    TLSProfile,
)
from quicsql_client.testing.reference import ServerThread
from tests.fix_peers import PKI, WAIT_S, Issued

# Both colours, for tests that are written in one and made for the other.
__all__ = [
    "AsyncHTTP3Pool",
    "HTTP3Pool",
    "QUICConversation",
    "QUICPeer",
    "QUICPeerFactory",
    "answer_ok",
    "configuration_for",
    "silent_port",
]

Fields = Sequence[tuple[str, str]]


class _Framing(H3Connection):
    """Whatever a script sends goes out."""

    def _get_local_settings(self) -> dict[int, int]:
        return {}


class QUICConversation(QuicConnectionProtocol):
    """The server's side of one connection. number: which one of the peer's, from 1."""

    peer: QUICPeer

    def __init__(self, *arguments: Any, **keys: Any) -> None:
        super().__init__(*arguments, **keys)
        self.quic: Any = self._quic
        self.http: Any = None
        self.number = 0
        self.bodies: dict[int, bytes] = {}
        self._control_id = 0

    def quic_event_received(self, event: QuicEvent) -> None:
        if self.http is None:
            self._control_id = self.quic.get_next_available_stream_id(is_unidirectional=True)
            self.http = _Framing(self._quic)
            self.number = self.peer.count(self)
        if isinstance(event, ConnectionTerminated | StreamReset):
            self.peer.ended.release()
        for part in self.http.handle_event(event):
            if isinstance(part, HeadersReceived):
                self.bodies.setdefault(part.stream_id, b"")
                if self.peer.at_head is not None:
                    self.peer.at_head(self, part.stream_id)
            elif isinstance(part, DataReceived):
                self.bodies[part.stream_id] += part.data
            if isinstance(part, HeadersReceived | DataReceived) and part.stream_ended:
                self.peer.requests.append(self.bodies[part.stream_id])
                self.peer.script(self, part.stream_id)
        self.transmit()

    def answer(
        self, stream: int, body: bytes = b"ok", fields: Fields = (), *, is_last: bool = True
    ) -> None:
        """A whole answer, or its beginning; `fields` in the place of those that belong there."""
        self.send_fields(stream, fields or ((":status", "200"), ("content-length", str(len(body)))))
        self.http.send_data(stream, body, end_stream=is_last)
        self.transmit()

    def send_fields(self, stream: int, fields: Fields, *, is_last: bool = False) -> None:
        encoded = [(name.encode(), value.encode()) for name, value in fields]
        self.http.send_headers(stream, encoded, end_stream=is_last)
        self.transmit()

    def send_raw(self, stream: int, data: bytes, *, is_last: bool = False) -> None:
        self.quic.send_stream_data(stream, data, is_last)
        self.transmit()

    def send_control(self, kind: int, payload: bytes) -> None:
        """A frame on the control stream."""
        self.send_raw(self._control_id, encode_frame(kind, payload))

    def send_goaway(self, stream: int) -> None:
        """A GOAWAY, in two pieces."""
        frame = encode_frame(FrameType.GOAWAY, encode_uint_var(stream))
        self.send_raw(self._control_id, frame[:2])
        self.send_raw(self._control_id, frame[2:])

    def reset(self, stream: int, code: int) -> None:
        self.quic.reset_stream(stream, code)
        self.transmit()


Script = Callable[[QUICConversation, int], None]


def answer_ok(conversation: QUICConversation, stream: int) -> None:
    """A script: every request is answered with "ok"."""
    conversation.answer(stream)


def configuration_for(
    leaf: Issued, chain: Sequence[x509.Certificate] = (), **keys: Any
) -> QuicConfiguration:
    """A server's configuration."""
    keys.setdefault("alpn_protocols", ["h3"])
    return QuicConfiguration(
        is_client=False,
        certificate=leaf.certificate,
        certificate_chain=list(chain),
        private_key=leaf.key,
        **keys,
    )


class QUICPeer:
    """A server that runs `script` for each whole request; at_head: for each one's header fields.

    requests: the bodies read. connections: how many have spoken HTTP/3. ended: released for each
    connection that has ended, and each request that was cancelled.
    """

    def __init__(
        self,
        script: Script,
        configuration: QuicConfiguration,
        *,
        at_head: Script | None = None,
        port: int = 0,
    ) -> None:
        self.script = script
        self.at_head = at_head
        self.requests: list[bytes] = []
        self.conversations: list[QUICConversation] = []
        self.ended = threading.Semaphore(0)
        self._configuration = configuration
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", port))
        self.port = self._socket.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server: QuicServer = self.run(self._start())

    async def _start(self) -> QuicServer:
        kind = type("Conversation", (QUICConversation,), {"peer": self})
        _, server = await self._loop.create_datagram_endpoint(
            lambda: QuicServer(configuration=self._configuration, create_protocol=kind),
            sock=self._socket,
        )
        return server

    @property
    def connections(self) -> int:
        return len(self.conversations)

    def count(self, conversation: QUICConversation) -> int:
        self.conversations.append(conversation)
        return len(self.conversations)

    def run(self, work: Any) -> Any:
        """What a coroutine gives in the peer's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_S)

    def do(self, action: Callable[[], Any]) -> Any:
        """What a function gives in the peer's loop."""

        async def work() -> Any:
            return action()

        return self.run(work())

    def wait_ended(self) -> None:
        assert self.ended.acquire(timeout=WAIT_S)

    def close(self, *, is_silent: bool = False) -> None:
        """Close, with a farewell to each connection unless is_silent. May be called again."""
        if self._loop.is_closed():
            return
        self.run(self._stop(is_silent))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()
        self._loop.close()

    async def _stop(self, is_silent: bool) -> None:
        transport: Any = self._server._transport
        if is_silent:
            for conversation in self.conversations:
                if conversation._timer is not None:
                    conversation._timer.cancel()
            transport.close()
        else:
            self._server.close()
        for _ in range(2):  # asyncio closes the socket in its next turn
            await asyncio.sleep(0)


class QUICPeerFactory:
    """Makes peers that end with the test; their server certificate is that of the test's PKI."""

    def __init__(self, pki: PKI) -> None:
        self._pki = pki
        self._peers: list[QUICPeer] = []

    def __call__(
        self,
        script: Script = answer_ok,
        configuration: QuicConfiguration | None = None,
        *,
        at_head: Script | None = None,
        port: int = 0,
    ) -> QUICPeer:
        configuration = configuration or configuration_for(self._pki.server)
        self._peers.append(QUICPeer(script, configuration, at_head=at_head, port=port))
        return self._peers[-1]

    def close(self) -> None:
        for peer in self._peers:
            peer.close()


@pytest.fixture
def open_quic_peer(peer_pki: PKI) -> Iterator[QUICPeerFactory]:
    """Makes HTTP/3 servers of scripts."""
    factory = QUICPeerFactory(peer_pki)
    yield factory
    factory.close()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A UDP port that is bound and never answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@pytest.fixture
def mtls_server(peer_pki: PKI, tmp_path: Path) -> Iterator[str]:
    """The address of the reference server's HTTP/3, which admits clients of the test's PKI."""
    files = {
        "server.crt": peer_pki.server.cert_pem,
        "server.key": peer_pki.server.key_pem(),
        "client-ca.crt": peer_pki.client_ca.cert_pem,
    }
    for name, content in files.items():
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_bytes(content)
    certificate, key, client_ca = (str(tmp_path / name) for name in files)
    profile = TLSProfile(
        mode="files", cert=certificate, key=key, client_ca=client_ca, min_version="1.3"
    )
    listener = ListenerConfig(
        name="h3", transport="h3", address="127.0.0.1:0", tls="prod", auth=("mtls",)
    )
    methods = (MethodConfig(mtls=MTLSMethod(subject_cn="analyst")),)
    config = Config(
        tls={"prod": profile},
        listeners=(listener,),
        auth=AuthConfig(principals=(PrincipalConfig(name="analyst", methods=methods),)),
    )
    with ServerThread(config) as server:
        yield server.addresses["h3"]
