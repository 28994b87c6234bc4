"""The parts that need no socket: contexts, ClientHello, frame guard, deadline, request body."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from h2.errors import ErrorCodes

from quicsql_client.errors import ConfigurationError
from quicsql_client.server.listeners import ClientAuth, self_signed_context, server_context
from quicsql_client.server.listeners.asgi import RequestBody
from quicsql_client.server.listeners.client_hello import is_whole_record, offered_protocols
from quicsql_client.server.listeners.deadline import Deadline
from quicsql_client.server.listeners.frame_guard import Flood, FrameGuard

from .certificates import PKI
from .clients import HTTP2Client
from .conftest import Open

# --- contexts


def build(pki: PKI, **changes: Any) -> ssl.SSLContext:
    options = {
        "cert": pki.path("server.pem"),
        "key": pki.path("server.key"),
        "client_ca": pki.path("client-ca.pem"),
        "client_auth": ClientAuth.REQUIRED,
        "min_version": "1.2",
    }
    return server_context(**{**options, **changes})


def test_context_that_asks_for_certificates(pki: PKI) -> None:
    context = build(pki)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.num_tickets == 0
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert build(pki, client_auth=ClientAuth.OPTIONAL).verify_mode is ssl.CERT_OPTIONAL
    assert build(pki, min_version="1.3").minimum_version is ssl.TLSVersion.TLSv1_3
    assert build(pki, min_version="").minimum_version is ssl.TLSVersion.TLSv1_2


def test_context_that_does_not(pki: PKI) -> None:
    for context in (build(pki, client_ca=None), build(pki, client_auth=ClientAuth.NONE)):
        assert context.verify_mode is ssl.CERT_NONE
        assert context.num_tickets > 0


def test_tls12_suites_have_forward_secrecy(pki: PKI) -> None:
    names = [suite["name"] for suite in build(pki).get_ciphers() if suite["protocol"] != "TLSv1.3"]
    assert names
    assert all(name.startswith("ECDHE-") for name in names)
    assert not any(name.endswith(("SHA256", "SHA384")) and "GCM" not in name for name in names)


def test_files_that_cannot_work(pki: PKI, tmp_path: Path) -> None:
    pki.write_server_pair("stranger")
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing here\n")
    key = ec.generate_private_key(ec.SECP256R1())
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"pass"),
        )
    )
    cases: list[tuple[dict[str, Any], str]] = [
        ({"cert": "/nowhere/a.pem"}, "tls files: open /nowhere/a.pem: no such file or directory"),
        ({"key": "/nowhere/a.key"}, "tls files: open /nowhere/a.key: no such file or directory"),
        ({"key": pki.path("stranger.key")}, "is not the private key of"),
        ({"cert": str(empty)}, "are no PEM certificate and key"),
        ({"key": str(locked)}, "encrypted"),
        ({"client_ca": str(empty)}, f'tls client_ca "{empty}": no certificates found'),
        ({"client_ca": "/nowhere/ca"}, "tls client_ca: open /nowhere/ca: no such file"),
        ({"min_version": "1.1"}, 'invalid min_version "1.1" (want 1.2 or 1.3)'),
    ]
    for changes, text in cases:
        with pytest.raises(ConfigurationError) as caught:
            build(pki, **changes)
        assert text in str(caught.value)


async def test_self_signed_certificate(open_one: Open) -> None:
    hosts = ["db.example.com", "10.1.2.3", "127.0.0.1"]
    context = self_signed_context(
        hosts=hosts, client_ca=None, client_auth=ClientAuth.NONE, min_version="1.3"
    )
    listener = await open_one(transport="h2", context=context)
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    trust.set_alpn_protocols(["h2"])
    client = await HTTP2Client.open(listener.address, trust)
    der = client.writer.get_extra_info("ssl_object").getpeercert(True)
    certificate = x509.load_der_x509_certificate(der)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["db.example.com"]
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    assert addresses == ["127.0.0.1", "::1", "10.1.2.3"]
    assert certificate.subject.rfc4514_string() == "CN=localhost"
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)
    assert (await client.answer(client.request()))[0] == 200


def test_self_signed_names() -> None:
    def make(hosts: list[str]) -> ssl.SSLContext:
        return self_signed_context(
            hosts=hosts, client_ca=None, client_auth=ClientAuth.NONE, min_version="1.2"
        )

    assert make([]).minimum_version is ssl.TLSVersion.TLSv1_2
    with pytest.raises(ConfigurationError, match="ASCII"):
        make(["dömäin"])


# --- ClientHello


def hello(alpn: list[str] | None) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if alpn is not None:
        context.set_alpn_protocols(alpn)
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def test_offered_protocols() -> None:
    assert offered_protocols(hello(["h2", "http/1.1"])) == (b"h2", b"http/1.1")
    assert offered_protocols(hello(["x"])) == (b"x",)
    assert offered_protocols(hello(None)) is None


def test_cut_and_foreign_client_hellos_offer_nothing() -> None:
    whole = hello(["h2"])
    for size in range(len(whole)):
        assert not is_whole_record(whole[:size]) or size == 0
        assert offered_protocols(whole[:size]) is None
    assert is_whole_record(whole)
    assert is_whole_record(b"GET /")
    assert offered_protocols(b"\x17" + whole[1:]) is None
    assert offered_protocols(whole[:5] + b"\x02" + whole[6:]) is None


# --- frame guard


def frames(kind: int, count: int, length: int = 0, flags: int = 0) -> bytes:
    header = length.to_bytes(3, "big") + bytes([kind, flags]) + b"\0\0\0\1"
    return (header + b"\0" * length) * count


@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_guard_finds_frames_however_they_are_cut(step: int) -> None:
    guard = FrameGuard(clock=lambda: 0.0)
    data = b"P" * 24 + frames(0, 10, 500) + frames(6, 1000, 8)
    for at in range(0, len(data), step):
        guard.check(data[at : at + step])
    with pytest.raises(Flood, match="control frames"):
        guard.check(frames(6, 1, 8))


def test_guard_forgives_with_time() -> None:
    now = 0.0
    guard = FrameGuard(clock=lambda: now)
    guard.check(b"P" * 24 + frames(3, 500, 4))
    now = 1.0
    guard.check(frames(3, 100, 4))
    with pytest.raises(Flood, match="resets"):
        guard.check(frames(3, 1, 4))


def test_guard_does_not_count_ordinary_frames() -> None:
    guard = FrameGuard(clock=lambda: 0.0)
    one_request = frames(1, 1, 30) + frames(0, 1, 100, 1) + frames(8, 2, 4) + frames(0, 1, 0, 1)
    guard.check(b"P" * 24 + one_request * 5000)
    with pytest.raises(Flood) as caught:
        guard.check(b"\xff\xff\xff\x00\x00\x00\x00\x00\x01")
    assert caught.value.error_code is ErrorCodes.FRAME_SIZE_ERROR


def test_guard_bounds_header_blocks() -> None:
    guard = FrameGuard(clock=lambda: 0.0)
    guard.check(b"P" * 24 + frames(1, 1, 1000) + frames(9, 60, 16384))
    guard.check(frames(1, 1, 1000) + frames(9, 60, 16384))
    with pytest.raises(Flood, match="header block"):
        guard.check(frames(9, 10, 16384))


# --- deadline and body


async def test_deadline_fires_once_at_the_last_time_set() -> None:
    loop = asyncio.get_running_loop()
    fired: asyncio.Queue[float] = asyncio.Queue()
    deadline = Deadline(lambda: fired.put_nowait(loop.time()))
    start = loop.time()
    deadline.arm(5)
    deadline.arm(0.05)  # earlier than the pending wake-up
    deadline.arm(0.15)  # later
    at = await asyncio.wait_for(fired.get(), 5)
    assert 0.14 <= at - start < 4
    deadline.arm(0.02)
    deadline.disarm()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(fired.get(), 0.1)
    deadline.close()


async def test_request_body_orders_its_messages() -> None:
    taken: list[int] = []
    body = RequestBody(taken.append)
    body.push(b"ab")
    body.push(b"cd")
    assert await body.receive() == {"type": "http.request", "body": b"abcd", "more_body": True}
    body.push(b"e")
    body.finish()
    assert await body.receive() == {"type": "http.request", "body": b"e", "more_body": False}
    assert taken == [4, 1]
    waiting = asyncio.create_task(body.receive())
    await asyncio.sleep(0)
    assert not waiting.done()
    body.disconnect()
    assert await waiting == {"type": "http.disconnect"}
    assert await body.receive() == {"type": "http.disconnect"}


async def test_broken_request_body_says_disconnect_after_what_came() -> None:
    body = RequestBody(lambda size: None)
    body.push(b"ab")
    body.fail(400, "bad chunk")
    assert (await body.receive())["body"] == b"ab"
    assert await body.receive() == {"type": "http.disconnect"}
    assert body.failure == (400, "bad chunk")
