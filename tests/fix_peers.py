"""A small PKI made in the run, and servers that follow a script: loopback, port 0."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from quicsql_client._async.pool import AsyncPool
from quicsql_client._sync.pool import Pool

# Both colours, for tests that are written in one and made for the other.
__all__ = [
    "OK",
    "PKI",
    "WAIT_S",
    "AsyncPool",
    "Conversation",
    "H2Conversation",
    "Issued",
    "Peer",
    "PeerFactory",
    "Pool",
    "answering",
    "make_certificate",
    "speaking_h2",
]

WAIT_S = 10.0
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
_USES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}
_DAY = datetime.timedelta(days=1)


@dataclass
class Issued:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def cert_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self, password: bytes | None = None) -> bytes:
        cipher: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password:
            cipher = serialization.BestAvailableEncryption(password)
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, cipher
        )

    def issue(
        self,
        cn: str,
        names: Sequence[str] = (),
        *,
        use: str = "server",
        first_day: int = -20,
        last_day: int = 30,
    ) -> Issued:
        return make_certificate(cn, self, names, use=use, first_day=first_day, last_day=last_day)


def make_certificate(
    cn: str,
    issuer: Issued | None = None,
    names: Sequence[str] = (),
    *,
    use: str = "",
    first_day: int = -20,
    last_day: int = 30,
) -> Issued:
    """A CA without `use`, else a leaf for "server" or "client"."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)])
    now = datetime.datetime.now(datetime.UTC)
    signer = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + first_day * _DAY)
        .not_valid_after(now + last_day * _DAY)
        .add_extension(x509.BasicConstraints(ca=not use, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_name(n) for n in names]), critical=False
        )
    if use:
        builder = builder.add_extension(x509.ExtendedKeyUsage([_USES[use]]), critical=False)
    return Issued(builder.sign(signer, hashes.SHA256()), key)


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@dataclass
class PKI:
    """Two authorities, as a real installation has them."""

    folder: Path
    server_ca: Issued = field(default_factory=lambda: make_certificate("test server CA"))
    client_ca: Issued = field(default_factory=lambda: make_certificate("test client CA"))

    def __post_init__(self) -> None:
        self.server = self.server_ca.issue("db", ["localhost", "127.0.0.1"])
        self.client = self.client_ca.issue("analyst", use="client")

    def context(
        self,
        leaf: Issued | None = None,
        *,
        client_auth: bool = False,
        alpn: Sequence[str] = ("http/1.1",),
        version: ssl.TLSVersion | None = None,
    ) -> ssl.SSLContext:
        """A server's context."""
        leaf = leaf or self.server
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        path = self.folder / f"{leaf.certificate.serial_number}.pem"
        path.touch(mode=0o600)
        path.write_bytes(leaf.cert_pem + leaf.key_pem())
        context.load_cert_chain(path)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if client_auth:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=self.client_ca.cert_pem.decode())
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context


class Conversation:
    """The server's side of one connection, for a script."""

    def __init__(self, sock: socket.socket, number: int, requests: list[bytes]) -> None:
        self.sock = sock
        self.number = number
        self._requests = requests
        self._buffer = b""

    def read_request(self) -> bytes:
        """One whole HTTP/1.1 request, kept in `requests`; b"" when the client is gone."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._fill():
                return b""
        head, _, rest = self._buffer.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        while len(rest) < length:
            if not self._fill():
                return b""
            rest = self._buffer.partition(b"\r\n\r\n")[2]
        self._buffer = rest[length:]
        whole = head + b"\r\n\r\n" + rest[:length]
        self._requests.append(whole)
        return whole

    def _fill(self) -> bool:
        data = self.sock.recv(65536)
        self._buffer += data
        return bool(data)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def wait_for_end(self) -> None:
        """Read until the client closes."""
        with contextlib.suppress(OSError):
            while self.sock.recv(65536):
                pass

    def reset(self) -> None:
        """End with RST rather than FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


Script = Callable[[Conversation], None]


class Peer:
    """A server that runs `script` for each connection. requests: the HTTP/1.1 requests read."""

    def __init__(
        self, script: Script, context: ssl.SSLContext | None = None, path: str | None = None
    ) -> None:
        family = socket.AF_UNIX if path else socket.AF_INET
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        self._listener.bind(path or ("127.0.0.1", 0))
        self._listener.listen(64)
        self.address = path or f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.port = 0 if path else self._listener.getsockname()[1]
        self.requests: list[bytes] = []
        self.connections = 0
        self.ended = threading.Semaphore(0)
        self._script = script
        self._context = context
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(
                target=self._serve, args=(sock, self.connections), daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        sock.settimeout(WAIT_S)
        with contextlib.suppress(OSError):
            try:
                if self._context is not None:
                    sock = self._context.wrap_socket(sock, server_side=True)
                self._open.add(sock)
                self._script(Conversation(sock, number, self.requests))
            finally:
                sock.close()
        self.ended.release()

    def wait_ended(self) -> None:
        """Until one more script has ended and its socket is closed."""
        assert self.ended.acquire(timeout=WAIT_S)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(WAIT_S)
            assert not thread.is_alive()


class H2Conversation:
    """The server's side of an HTTP/2 connection, h2 inside."""

    def __init__(self, conversation: Conversation) -> None:
        self.sock = conversation.sock
        self.number = conversation.number
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.h2.initiate_connection()
        self.bodies: dict[int, bytes] = {}
        self.headers: dict[int, list[tuple[str, str]]] = {}
        self.resets: list[int] = []
        self._asked: deque[int] = deque()
        self.flush()

    def flush(self) -> None:
        data = self.h2.data_to_send()
        if data:
            self.sock.sendall(data)

    def read_request(self) -> int:
        """The stream of the next whole request; 0 when the client is gone."""
        while not self._asked:
            data = self.sock.recv(65536)
            if not data:
                return 0
            for event in self.h2.receive_data(data):
                self.see(event)
            self.flush()
        return self._asked.popleft()

    def see(self, event: h2.events.Event) -> None:
        """Keep what an event says of requests."""
        if isinstance(event, h2.events.RequestReceived):
            self.headers[event.stream_id or 0] = [
                (bytes(k).decode(), bytes(v).decode()) for k, v in event.headers or ()
            ]
        elif isinstance(event, h2.events.DataReceived):
            stream = event.stream_id or 0
            self.bodies[stream] = self.bodies.get(stream, b"") + bytes(event.data or b"")
            self.h2.acknowledge_received_data(event.flow_controlled_length or 0, stream)
        elif isinstance(event, h2.events.StreamEnded):
            self._asked.append(event.stream_id or 0)
        elif isinstance(event, h2.events.StreamReset):
            self.resets.append(event.stream_id or 0)

    def answer(self, stream: int, body: bytes = b"ok", status: str = "200") -> None:
        """A whole answer, unless the client has given it up; no larger than the client's window."""
        if stream in self.resets:
            return
        self.h2.send_headers(stream, [(":status", status), ("content-length", str(len(body)))])
        for at in range(0, len(body), 16384):
            self.h2.send_data(stream, body[at : at + 16384])
        self.h2.end_stream(stream)
        self.flush()

    def send_goaway(self, last_stream: int) -> None:
        """A graceful GOAWAY frame, without ending the state machine."""
        payload = struct.pack(">II", last_stream, 0)
        self.sock.sendall(struct.pack(">HBBBI", 0, len(payload), 7, 0, 0) + payload)


def answering(*answers: bytes) -> Script:
    """A script that gives these answers in turn on each connection, then waits for the end."""

    def script(conversation: Conversation) -> None:
        for answer in answers:
            if not conversation.read_request():
                return
            conversation.send(answer)
        conversation.wait_for_end()

    return script


def speaking_h2(script: Callable[[H2Conversation], None]) -> Script:
    """A script on an HTTP/2 connection."""
    return lambda conversation: script(H2Conversation(conversation))


PeerFactory = Callable[..., Peer]


@pytest.fixture(scope="session")
def peer_pki(tmp_path_factory: pytest.TempPathFactory) -> PKI:
    return PKI(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def open_peer() -> Iterator[PeerFactory]:
    """Opens servers that the test's end closes."""
    peers: list[Peer] = []

    def open_one(
        script: Script, context: ssl.SSLContext | None = None, path: str | None = None
    ) -> Peer:
        peers.append(Peer(script, context, path))
        return peers[-1]

    yield open_one
    for peer in peers:
        peer.close()
