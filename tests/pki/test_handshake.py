"""Real mutual TLS between two `ssl` ends in memory, with what our CAs issued."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from quicsql_client.pki import CertificateAuthority, IssuedCertificate, spki_pin


@dataclass
class Setup:
    """Two CAs as in the guide, and a folder for the files that `ssl` needs."""

    folder: Path
    server_ca: CertificateAuthority
    client_ca: CertificateAuthority

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf = self.server_ca.issue_server(["db.example.com", "*.db.internal", "203.0.113.10"])
        context.load_cert_chain(*leaf.write(self.folder, "server"))
        context.load_verify_locations(cadata=self.client_ca.certificate_pem.decode())
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    def client_context(self, leaf: IssuedCertificate | None) -> ssl.SSLContext:
        pem = self.server_ca.certificate_pem.decode()
        context = ssl.create_default_context(cadata=pem)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        if leaf:
            context.load_cert_chain(*leaf.write(self.folder, "client"))
        return context


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    create = CertificateAuthority.create
    return Setup(tmp_path, create("quicsql server CA"), create("quicsql client CA"))


def shake_hands(
    server: ssl.SSLContext, client: ssl.SSLContext, name: str
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both ends after a whole handshake. Raises what the end that refused raised."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    waiting = set(ends)
    for _ in range(10):
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.discard(end)
            except ssl.SSLWantReadError:
                continue
        if not waiting:
            return ends
    raise AssertionError("the handshake did not end")


@pytest.mark.parametrize("name", ["db.example.com", "a.db.internal", "203.0.113.10"])
def test_mutual_tls_is_accepted_strictly_for_every_kind_of_name(setup: Setup, name: str) -> None:
    leaf = setup.client_ca.issue_client("analyst")
    client, server = shake_hands(setup.server_context(), setup.client_context(leaf), name)
    assert client.version() == server.version() == "TLSv1.3"
    presented = server.getpeercert(binary_form=True)
    assert presented is not None
    assert spki_pin(ssl.DER_cert_to_PEM_cert(presented)) == leaf.pin
    facts = server.getpeercert()
    assert facts is not None
    assert facts["subject"] == ((("commonName", "analyst"),),)


@pytest.mark.parametrize("name", ["other.example.com", "b.a.db.internal", "203.0.113.11"])
def test_a_name_that_was_not_asked_for_is_refused(setup: Setup, name: str) -> None:
    leaf = setup.client_ca.issue_client("analyst")
    with pytest.raises(ssl.SSLCertVerificationError, match=r"mismatch|not valid for"):
        shake_hands(setup.server_context(), setup.client_context(leaf), name)


def test_no_certificate_no_connection(setup: Setup) -> None:
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        shake_hands(setup.server_context(), setup.client_context(None), "db.example.com")


@pytest.mark.parametrize("kind", ["server CA", "server leaf", "expired", "not yet valid"])
def test_client_certificates_that_are_not_good_are_refused(setup: Setup, kind: str) -> None:
    now, day = datetime.now(UTC), timedelta(days=1)
    leaves = {
        "server CA": lambda: setup.server_ca.issue_client("analyst"),
        "server leaf": lambda: setup.client_ca.issue_server("analyst"),
        "expired": lambda: setup.client_ca.issue_client("analyst", 1, valid_from=now - 2 * day),
        "not yet valid": lambda: setup.client_ca.issue_client("a", 1, valid_from=now + 2 * day),
    }
    client = setup.client_context(leaves[kind]())
    with pytest.raises(ssl.SSLError) as caught:
        shake_hands(setup.server_context(), client, "db.example.com")
    assert isinstance(caught.value, ssl.SSLCertVerificationError)


def test_a_reissued_name_with_a_new_key_is_accepted_and_has_a_new_pin(setup: Setup) -> None:
    first, second = setup.client_ca.issue_client("a"), setup.client_ca.issue_client("a")
    _, server = shake_hands(setup.server_context(), setup.client_context(second), "a.db.internal")
    assert server.getpeercert(binary_form=True)
    assert first.pin != second.pin
