"""Each way in which TLS fails has its own sentence and reason, over real handshakes."""

from __future__ import annotations

import pickle
import ssl
import time
import warnings
from collections.abc import Sequence

import pytest

from quicsql_client.endpoint import Endpoint
from quicsql_client.errors import TLSError
from quicsql_client.options import (
    ClientOptions,
    Option,
    with_bearer,
    with_client_cert,
    with_min_tls,
    with_root_ca,
)
from quicsql_client.tls import TLS_REASONS
from quicsql_client.wire.messages import Request
from tests.fix_peers import (
    OK,
    PKI,
    WAIT_S,
    AsyncPool,
    Conversation,
    H2Conversation,
    Issued,
    Peer,
    PeerFactory,
    answering,
    make_certificate,
    speaking_h2,
)

WRITE = Request("POST", "/app/query", (), b"{}")
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


async def failure(address: str, *options: Option, request: Request = WRITE) -> TLSError:
    """What a call over transport h2 raises."""
    endpoint = Endpoint.parse(address, transport="h2")
    pool = AsyncPool(endpoint, ClientOptions.of(options, endpoint))
    with pytest.raises(TLSError) as caught:
        await pool.send(request, deadline=time.monotonic() + WAIT_S)
    await pool.aclose()
    assert caught.value.reason in TLS_REASONS
    assert caught.value.__cause__ is not None
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.reason, str(again)) == (caught.value.reason, str(caught.value))
    return caught.value


def identity(issued: Issued) -> Option:
    return with_client_cert(issued.cert_pem, issued.key_pem())


def assert_says(error: TLSError, reason: str, *words: str) -> None:
    assert error.reason == reason
    missing = [word for word in words if word not in str(error)]
    assert not missing, str(error)


def trusting(pki: PKI, *options: Option) -> Sequence[Option]:
    return with_root_ca(pki.server_ca.cert_pem), *options


async def test_no_root_ca(open_peer: PeerFactory, peer_pki: PKI) -> None:
    peer = open_peer(answering(OK), peer_pki.context())
    error = await failure(peer.address)
    assert_says(error, "untrusted_server", "the system's CAs", "with_root_ca", "CN=db")
    assert "test server CA" in str(error)


async def test_wrong_root_ca_and_no_request(open_peer: PeerFactory, peer_pki: PKI) -> None:
    peer = open_peer(answering(OK), peer_pki.context())
    other = make_certificate("test server CA")
    error = await failure(peer.address, with_root_ca(other.cert_pem), with_bearer("S3CRET"))
    assert_says(error, "untrusted_server", "the root CA 'the PEM given'")
    assert not error.may_have_run
    assert peer.requests == []
    assert "S3CRET" not in str(error)


async def test_client_ca_as_root_ca(open_peer: PeerFactory, peer_pki: PKI) -> None:
    peer = open_peer(answering(OK), peer_pki.context())
    options = with_root_ca(peer_pki.client_ca.cert_pem), identity(peer_pki.client)
    error = await failure(peer.address, *options)
    assert_says(error, "client_ca_as_root_ca", "issued our own client certificate")


@pytest.mark.parametrize("names", [["db.other.example", "10.0.0.9"], []])
async def test_name_not_in_the_certificate(
    open_peer: PeerFactory, peer_pki: PKI, names: list[str]
) -> None:
    leaf = peer_pki.server_ca.issue("127.0.0.1", names)
    peer = open_peer(answering(OK), peer_pki.context(leaf))
    error = await failure(peer.address, *trusting(peer_pki))
    assert_says(error, "name_mismatch", "'127.0.0.1'", ", ".join(names) or "no name at all")


@pytest.mark.parametrize(
    ("first", "last", "reason"),
    [
        (-10, -1, "server_certificate_expired"),
        (1, 10, "server_certificate_not_yet_valid"),
    ],
)
async def test_server_certificate_out_of_date(
    open_peer: PeerFactory, peer_pki: PKI, first: int, last: int, reason: str
) -> None:
    leaf = peer_pki.server_ca.issue("db", ["127.0.0.1"], first_day=first, last_day=last)
    peer = open_peer(answering(OK), peer_pki.context(leaf))
    error = await failure(peer.address, *trusting(peer_pki))
    date = f"{leaf.certificate.not_valid_after_utc:%Y-%m-%d}"
    assert_says(error, reason, date, "clock")


async def test_server_certificate_for_clients(open_peer: PeerFactory, peer_pki: PKI) -> None:
    leaf = peer_pki.server_ca.issue("db", ["127.0.0.1"], use="client")
    peer = open_peer(answering(OK), peer_pki.context(leaf))
    error = await failure(peer.address, *trusting(peer_pki))
    assert_says(error, "server_certificate_wrong_use", "serverAuth")


@pytest.mark.parametrize("size", [2, 200_000])
@pytest.mark.parametrize("version", VERSIONS)
async def test_no_client_certificate(
    open_peer: PeerFactory, peer_pki: PKI, version: ssl.TLSVersion, size: int
) -> None:
    peer = open_peer(answering(OK), peer_pki.context(client_auth=True, version=version))
    request = Request("POST", "/x", (), b"y" * size)
    error = await failure(peer.address, *trusting(peer_pki), request=request)
    assert_says(error, "client_certificate_required", "no client certificate", "with_client_cert")
    assert not error.may_have_run or size > 2


@pytest.mark.parametrize("version", VERSIONS)
async def test_client_certificate_of_an_unknown_ca(
    open_peer: PeerFactory, peer_pki: PKI, version: ssl.TLSVersion
) -> None:
    peer = open_peer(answering(OK), peer_pki.context(client_auth=True, version=version))
    ours = make_certificate("rogue CA").issue("mallory", use="client")
    error = await failure(peer.address, *trusting(peer_pki, identity(ours)))
    assert_says(error, "client_certificate_unknown_ca", "CN=mallory", "rogue CA", "client_ca")
    assert "SPKI sha256" in str(error)


@pytest.mark.parametrize("version", VERSIONS)
async def test_client_certificate_expired(
    open_peer: PeerFactory, peer_pki: PKI, version: ssl.TLSVersion
) -> None:
    peer = open_peer(answering(OK), peer_pki.context(client_auth=True, version=version))
    ours = peer_pki.client_ca.issue("analyst", use="client", first_day=-9, last_day=-2)
    error = await failure(peer.address, *trusting(peer_pki, identity(ours)))
    date = f"{ours.certificate.not_valid_after_utc:%Y-%m-%d}"
    assert_says(error, "client_certificate_expired", "CN=analyst", date)


@pytest.mark.parametrize("version", VERSIONS)
async def test_client_certificate_for_servers(
    open_peer: PeerFactory, peer_pki: PKI, version: ssl.TLSVersion
) -> None:
    peer = open_peer(answering(OK), peer_pki.context(client_auth=True, version=version))
    ours = peer_pki.client_ca.issue("analyst", use="server")
    error = await failure(peer.address, *trusting(peer_pki, identity(ours)))
    assert_says(error, "client_certificate_rejected", "clientAuth", "CN=analyst")


async def test_server_with_an_old_version(open_peer: PeerFactory, peer_pki: PKI) -> None:
    context = peer_pki.context(version=ssl.TLSVersion.TLSv1_2)
    peer = open_peer(answering(OK), context)
    error = await failure(peer.address, *trusting(peer_pki, with_min_tls("1.3")))
    assert_says(error, "protocol_version", "1.3 and newer")


async def test_tls_1_1_is_refused(open_peer: PeerFactory, peer_pki: PKI) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context = peer_pki.context(version=ssl.TLSVersion.TLSv1_1)
    context.set_ciphers("ALL:@SECLEVEL=0")
    peer = open_peer(answering(OK), context)
    error = await failure(peer.address, *trusting(peer_pki))
    assert_says(error, "protocol_version", "1.2 and newer")


async def test_tls_to_a_plain_port(open_peer: PeerFactory, peer_pki: PKI) -> None:
    def script(conversation: Conversation) -> None:
        conversation.sock.recv(1000)
        conversation.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        conversation.wait_for_end()

    error = await failure(open_peer(script).address, *trusting(peer_pki))
    assert_says(error, "tls_on_plain_port", "does not speak TLS", "h2c")


async def test_no_application_protocol(open_peer: PeerFactory, peer_pki: PKI) -> None:
    def script(conversation: Conversation) -> None:
        conversation.sock.recv(1000)
        conversation.send(b"\x15\x03\x03\x00\x02\x02\x78")
        conversation.wait_for_end()

    error = await failure(open_peer(script).address, *trusting(peer_pki))
    assert_says(error, "no_application_protocol", "h2, http/1.1")


async def test_cut_in_the_handshake(open_peer: PeerFactory, peer_pki: PKI) -> None:
    peer = open_peer(lambda conversation: conversation.sock.recv(1000) and None)
    error = await failure(peer.address, *trusting(peer_pki))
    assert_says(error, "connection_cut", "no client certificate")


async def test_h2_cut_before_the_first_frame(open_peer: PeerFactory, peer_pki: PKI) -> None:
    peer = open_peer(lambda _: None, peer_pki.context(alpn=["h2"]))
    error = await failure(peer.address, *trusting(peer_pki, identity(peer_pki.client)))
    assert_says(error, "connection_cut", "CN=analyst", "requires another certificate")


async def test_unknown_alert(open_peer: PeerFactory, peer_pki: PKI) -> None:
    def script(conversation: Conversation) -> None:
        conversation.sock.recv(1000)
        conversation.send(b"\x15\x03\x03\x00\x02\x02\x50")
        conversation.wait_for_end()

    error = await failure(open_peer(script).address, *trusting(peer_pki))
    assert_says(error, "other", "internal error")


@pytest.mark.parametrize("version", VERSIONS)
async def test_mutual_tls_works(
    open_peer: PeerFactory, peer_pki: PKI, version: ssl.TLSVersion
) -> None:
    seen: list[object] = []

    def script(conversation: H2Conversation) -> None:
        sock = conversation.sock
        assert isinstance(sock, ssl.SSLSocket)
        seen.append((sock.getpeercert() or {}).get("subject"))
        conversation.answer(conversation.read_request())
        conversation.read_request()

    context = peer_pki.context(client_auth=True, version=version, alpn=["h2"])
    peer: Peer = open_peer(speaking_h2(script), context)
    endpoint = Endpoint.parse(f"localhost:{peer.port}", transport="h2")
    options = trusting(peer_pki, identity(peer_pki.client), with_bearer("t"))
    pool = AsyncPool(endpoint, ClientOptions.of(options, endpoint))
    response = await pool.send(WRITE, deadline=time.monotonic() + WAIT_S)
    await pool.aclose()
    assert response.status == 200
    assert seen == [((("commonName", "analyst"),),)]


async def test_insecure_skips_verification(open_peer: PeerFactory, peer_pki: PKI) -> None:
    leaf = make_certificate("anyone", names=["elsewhere.example"], use="server", last_day=-1)
    peer = open_peer(answering(OK), peer_pki.context(leaf))
    endpoint = Endpoint.parse(peer.address, transport="h2", insecure=True)
    pool = AsyncPool(endpoint, ClientOptions())
    assert (await pool.send(WRITE, deadline=time.monotonic() + WAIT_S)).body == b"ok"
    await pool.aclose()
