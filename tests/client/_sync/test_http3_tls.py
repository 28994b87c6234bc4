# Made from tests/client/_async/test_http3_tls.py
# by tools/async_to_sync.py: do not edit, change the source.
"""TLS fails over QUIC with the reasons and the sentences that it has over TCP."""

from __future__ import annotations

import pickle
import time
from dataclasses import dataclass

import pytest
from aioquic.quic.packet import QuicProtocolVersion
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from quicsql_client.endpoint import Endpoint
from quicsql_client.errors import TLSError
from quicsql_client.options import (
    ClientOptions,
    Option,
    with_bearer,
    with_client_cert,
    with_root_ca,
    with_server_pin,
)
from quicsql_client.pki import spki_pin
from quicsql_client.tls import TLS_REASONS
from quicsql_client.wire.messages import Request
from tests.fix_peers import PKI, WAIT_S, Issued, make_certificate
from tests.fix_quic_peers import (
    HTTP3Pool,
    QUICPeerFactory,
    answer_ok,
    configuration_for,
)

WRITE = Request("POST", "/app/query", (), b"{}")


def pool_for(address: str, *options: Option, insecure: bool = False) -> HTTP3Pool:
    endpoint = Endpoint.parse(address, transport="h3", insecure=insecure)
    return HTTP3Pool(endpoint, ClientOptions.of(options, endpoint))


def failure(
    address: str, *options: Option, request: Request = WRITE, insecure: bool = False
) -> TLSError:
    """What a call raises; nothing can have run."""
    pool = pool_for(address, *options, insecure=insecure)
    with pytest.raises(TLSError) as caught:
        pool.send(request, deadline=time.monotonic() + WAIT_S)
    pool.close()
    assert caught.value.reason in TLS_REASONS
    assert not caught.value.may_have_run
    assert caught.value.request == str(request)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.reason, str(again)) == (caught.value.reason, str(caught.value))
    return caught.value


def assert_says(error: TLSError, reason: str, *words: str) -> None:
    assert error.reason == reason, str(error)
    missing = [word for word in words if word not in str(error)]
    assert not missing, str(error)


def identity(issued: Issued) -> Option:
    return with_client_cert(issued.cert_pem, issued.key_pem())


# The server's certificate


@dataclass(frozen=True)
class ServerCase:
    """A server's leaf, as it is issued, and what is said of it."""

    reason: str
    words: tuple[str, ...]
    names: tuple[str, ...] = ("127.0.0.1", "localhost")
    days: tuple[int, int] = (-20, 30)
    use: str = "server"


SERVERS = {
    "expired": ServerCase("server_certificate_expired", ("clock", "CN=db"), days=(-10, -1)),
    "not yet": ServerCase("server_certificate_not_yet_valid", ("clock",), days=(1, 10)),
    "for clients": ServerCase("server_certificate_wrong_use", ("serverAuth",), use="client"),
    "other names": ServerCase(
        "name_mismatch", ("'127.0.0.1'", "db.example, 10.0.0.9"), ("db.example", "10.0.0.9")
    ),
    "no names": ServerCase("name_mismatch", ("no name at all",), ()),
}


@pytest.mark.parametrize("how", SERVERS)
def test_certificate_of_the_server(
    open_quic_peer: QUICPeerFactory, peer_pki: PKI, how: str
) -> None:
    case = SERVERS[how]
    first, last = case.days
    leaf = peer_pki.server_ca.issue("db", case.names, use=case.use, first_day=first, last_day=last)
    peer = open_quic_peer(answer_ok, configuration_for(leaf))
    error = failure(peer.address, with_root_ca(peer_pki.server_ca.cert_pem), with_bearer("S3CRET"))
    assert_says(error, case.reason, *case.words)
    assert peer.requests == []
    assert "S3CRET" not in str(error)


def test_host_name_not_in_the_certificate(open_quic_peer: QUICPeerFactory, peer_pki: PKI) -> None:
    leaf = peer_pki.server_ca.issue("localhost", ["db.example", "127.0.0.1"])
    peer = open_quic_peer(answer_ok, configuration_for(leaf))
    error = failure(f"localhost:{peer.port}", with_root_ca(peer_pki.server_ca.cert_pem))
    assert_says(error, "name_mismatch", "'localhost'", "db.example")


def test_no_root_ca(open_quic_peer: QUICPeerFactory, peer_pki: PKI) -> None:
    error = failure(open_quic_peer().address)
    assert_says(error, "untrusted_server", "the system's CAs", "with_root_ca", "test server CA")


def test_wrong_root_ca(open_quic_peer: QUICPeerFactory, peer_pki: PKI) -> None:
    other = make_certificate("test server CA")
    error = failure(open_quic_peer().address, with_root_ca(other.cert_pem))
    assert_says(error, "untrusted_server", "the root CA 'the PEM given'")


def test_client_ca_as_root_ca(open_quic_peer: QUICPeerFactory, peer_pki: PKI) -> None:
    options = with_root_ca(peer_pki.client_ca.cert_pem), identity(peer_pki.client)
    error = failure(open_quic_peer().address, *options)
    assert_says(error, "client_ca_as_root_ca", "issued our own client certificate")


def test_key_that_is_too_small(open_quic_peer: QUICPeerFactory, peer_pki: PKI) -> None:
    """OpenSSL's security level refuses it over TCP."""
    key = rsa.generate_private_key(65537, 1024)
    like = peer_pki.server.certificate
    names = like.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    weak = (
        x509.CertificateBuilder(like.issuer, like.subject, key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(like.not_valid_before_utc)
        .not_valid_after(like.not_valid_after_utc)
        .add_extension(names, critical=False)
        .sign(peer_pki.server_ca.key, hashes.SHA256())
    )
    configuration = configuration_for(peer_pki.server)
    configuration.certificate, configuration.private_key = weak, key
    peer = open_quic_peer(answer_ok, configuration)
    error = failure(peer.address, with_root_ca(peer_pki.server_ca.cert_pem))
    assert_says(error, "untrusted_server")


def test_intermediates(open_quic_peer: QUICPeerFactory, peer_pki: PKI) -> None:
    """The server sends them, or one of them is what we trust."""
    middle = make_certificate("middle CA", peer_pki.server_ca)
    leaf = middle.issue("db", ["127.0.0.1"])
    whole = open_quic_peer(answer_ok, configuration_for(leaf, [middle.certificate]))
    cut = open_quic_peer(answer_ok, configuration_for(leaf))
    for peer, anchor in ((whole, peer_pki.server_ca), (cut, middle)):
        pool = pool_for(peer.address, with_root_ca(anchor.cert_pem))
        assert pool.send(WRITE, deadline=time.monotonic() + WAIT_S).body == b"ok"
        pool.close()
    error = failure(cut.address, with_root_ca(peer_pki.server_ca.cert_pem))
    assert_says(error, "untrusted_server", "intermediate certificates")


@pytest.mark.parametrize("insecure", [False, True])
def test_pins(open_quic_peer: QUICPeerFactory, peer_pki: PKI, insecure: bool) -> None:
    peer = open_quic_peer()
    trust = () if insecure else (with_root_ca(peer_pki.server_ca.cert_pem),)
    right = with_server_pin("0" * 64, spki_pin(peer_pki.server.certificate))
    pool = pool_for(peer.address, *trust, right, insecure=insecure)
    assert pool.send(WRITE, deadline=time.monotonic() + WAIT_S).body == b"ok"
    pool.close()
    error = failure(peer.address, *trust, with_server_pin("0" * 64), insecure=insecure)
    assert_says(error, "server_pin_mismatch", "0" * 64)
    assert len(peer.requests) == 1


def test_insecure_skips_verification(open_quic_peer: QUICPeerFactory) -> None:
    leaf = make_certificate("anyone", names=["elsewhere.example"], use="server", last_day=-1)
    peer = open_quic_peer(answer_ok, configuration_for(leaf))
    pool = pool_for(peer.address, insecure=True)
    assert pool.send(WRITE, deadline=time.monotonic() + WAIT_S).body == b"ok"
    pool.close()


def test_no_application_protocol(open_quic_peer: QUICPeerFactory, peer_pki: PKI) -> None:
    configuration = configuration_for(peer_pki.server, alpn_protocols=["other"])
    peer = open_quic_peer(answer_ok, configuration)
    error = failure(peer.address, with_root_ca(peer_pki.server_ca.cert_pem))
    assert_says(error, "no_application_protocol", "h3")


def test_another_version_of_quic(open_quic_peer: QUICPeerFactory, peer_pki: PKI) -> None:
    configuration = configuration_for(
        peer_pki.server, supported_versions=[QuicProtocolVersion.VERSION_2]
    )
    peer = open_quic_peer(answer_ok, configuration)
    error = failure(peer.address, with_root_ca(peer_pki.server_ca.cert_pem))
    assert_says(error, "protocol_version", "QUIC")


# The client's certificate, against the reference server


def test_mutual_tls_works(mtls_server: str, peer_pki: PKI) -> None:
    pool = pool_for(
        mtls_server, with_root_ca(peer_pki.server_ca.cert_pem), identity(peer_pki.client)
    )
    response = pool.send(Request("GET", "/_health"), deadline=time.monotonic() + WAIT_S)
    pool.close()
    assert response.status == 200


def test_encrypted_key_works(mtls_server: str, peer_pki: PKI) -> None:
    ours = with_client_cert(peer_pki.client.cert_pem, peer_pki.client.key_pem(b"pw"), password="pw")
    pool = pool_for(mtls_server, with_root_ca(peer_pki.server_ca.cert_pem), ours)
    response = pool.send(Request("GET", "/_health"), deadline=time.monotonic() + WAIT_S)
    pool.close()
    assert response.status == 200


@pytest.mark.parametrize("size", [2, 200_000])
def test_no_client_certificate(mtls_server: str, peer_pki: PKI, size: int) -> None:
    error = failure(
        mtls_server,
        with_root_ca(peer_pki.server_ca.cert_pem),
        request=Request("POST", "/x", (), b"y" * size),
    )
    assert_says(error, "client_certificate_required", "no client certificate", "with_client_cert")


def test_client_certificate_of_an_unknown_ca(mtls_server: str, peer_pki: PKI) -> None:
    ours = make_certificate("rogue CA").issue("mallory", use="client")
    error = failure(mtls_server, with_root_ca(peer_pki.server_ca.cert_pem), identity(ours))
    assert_says(error, "client_certificate_unknown_ca", "CN=mallory", "rogue CA", "client_ca")


def test_client_certificate_expired(mtls_server: str, peer_pki: PKI) -> None:
    ours = peer_pki.client_ca.issue("analyst", use="client", first_day=-9, last_day=-2)
    error = failure(mtls_server, with_root_ca(peer_pki.server_ca.cert_pem), identity(ours))
    date = f"{ours.certificate.not_valid_after_utc:%Y-%m-%d}"
    assert_says(error, "client_certificate_expired", "CN=analyst", date)


def test_client_certificate_for_servers(mtls_server: str, peer_pki: PKI) -> None:
    ours = peer_pki.client_ca.issue("analyst", use="server")
    error = failure(mtls_server, with_root_ca(peer_pki.server_ca.cert_pem), identity(ours))
    assert_says(error, "client_certificate_rejected", "clientAuth", "CN=analyst")
