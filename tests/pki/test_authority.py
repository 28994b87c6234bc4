"""Every extension of what a CA issues, by name, and lives and names that cannot be."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID

from quicsql_client.errors import ConfigurationError
from quicsql_client.pki import CertificateAuthority, IssuedCertificate, inspect_certificate


def key_usages(certificate: x509.Certificate) -> set[str]:
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    names = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign"),
    )
    return {name for name in names if getattr(usage.value, name)}


def subject_key_digest(certificate: x509.Certificate) -> bytes:
    extension = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    assert not extension.critical
    return extension.value.digest


def authority_key_digest(certificate: x509.Certificate) -> bytes | None:
    extension = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    assert not extension.critical
    return extension.value.key_identifier


def extension_names(certificate: x509.Certificate) -> set[str]:
    return {type(extension.value).__name__ for extension in certificate.extensions}


def assert_is_leaf(leaf: x509.Certificate, authority: x509.Certificate) -> None:
    constraints = leaf.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert not constraints.value.ca
    assert key_usages(leaf) == {"digital_signature"}
    assert authority_key_digest(leaf) == subject_key_digest(authority)
    assert subject_key_digest(leaf) != subject_key_digest(authority)
    leaf.verify_directly_issued_by(authority)


def test_a_ca_says_that_it_signs_leaves_and_nothing_else() -> None:
    certificate = CertificateAuthority.create("quicsql server CA").certificate
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value.ca
    assert constraints.value.path_length == 0
    assert key_usages(certificate) == {"key_cert_sign", "crl_sign"}
    assert authority_key_digest(certificate) == subject_key_digest(certificate)
    assert certificate.subject == certificate.issuer
    assert certificate.subject.rfc4514_string() == "CN=quicsql server CA"
    assert extension_names(certificate) == {
        *("BasicConstraints", "KeyUsage", "SubjectKeyIdentifier", "AuthorityKeyIdentifier")
    }
    certificate.verify_directly_issued_by(certificate)


def test_keys_are_p256_and_signatures_sha256() -> None:
    authority = CertificateAuthority.create("a CA")
    for certificate in (authority.certificate, authority.issue_client("c").certificate):
        key = certificate.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert key.curve.name == "secp256r1"
        assert certificate.signature_hash_algorithm is not None
        assert certificate.signature_hash_algorithm.name == "sha256"


def test_a_server_leaf_has_its_names_told_apart() -> None:
    authority = CertificateAuthority.create("a CA")
    names = ["DB.example.com.", "*.db.internal", "203.0.113.10", "2001:db8::1", "[::1]", "db_1"]
    leaf = authority.issue_server([*names, "db.example.com"]).certificate
    assert_is_leaf(leaf, authority.certificate)
    facts = inspect_certificate(leaf)
    assert facts.subject_alternative_names == (
        "DNS:db.example.com",
        "DNS:*.db.internal",
        "IP:203.0.113.10",
        "IP:2001:db8::1",
        "IP:::1",
        "DNS:db_1",
    )
    assert facts.common_name == "db.example.com"
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_a_single_name_may_be_a_bare_string() -> None:
    leaf = CertificateAuthority.create("a CA").issue_server("localhost")
    assert inspect_certificate(leaf.certificate).subject_alternative_names == ("DNS:localhost",)


def test_a_name_too_long_for_a_common_name_still_is_an_alternative_name() -> None:
    name = "a" * 60 + ".example.com"
    facts = inspect_certificate(CertificateAuthority.create("a CA").issue_server(name).certificate)
    assert facts.common_name == "quicsql server"
    assert facts.subject_alternative_names == (f"DNS:{name}",)


def test_a_client_leaf_is_its_common_name() -> None:
    authority = CertificateAuthority.create("a CA")
    leaf = authority.issue_client("analyst").certificate
    assert_is_leaf(leaf, authority.certificate)
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert leaf.subject.rfc4514_string() == "CN=analyst"
    assert "SubjectAlternativeName" not in extension_names(leaf)


@pytest.mark.parametrize(
    ("issue", "days"),
    [
        (lambda ca: ca.certificate, 3650),
        (lambda ca: ca.issue_server("localhost").certificate, 825),
        (lambda ca: ca.issue_client("analyst").certificate, 90),
        (lambda ca: ca.issue_client("analyst", days=0.5).certificate, 0.5),
    ],
    ids=["ca", "server", "client", "half a day"],
)
def test_lives_are_those_of_the_guide(issue: object, days: float) -> None:
    assert callable(issue)
    facts = inspect_certificate(issue(CertificateAuthority.create("a CA")))
    assert facts.days_left() == pytest.approx(days, abs=0.01)


def test_validity_starts_a_little_before_now_for_clocks_that_are_behind() -> None:
    authority = CertificateAuthority.create("a CA")
    for certificate in (authority.certificate, authority.issue_client("c").certificate):
        ago = datetime.now(UTC) - inspect_certificate(certificate).not_before
        assert timedelta(minutes=4) < ago < timedelta(minutes=7)


def test_valid_from_makes_certificates_of_another_time() -> None:
    authority = CertificateAuthority.create("a CA")
    past = authority.issue_client("c", 1, valid_from=datetime.now(UTC) - timedelta(days=3))
    assert inspect_certificate(past.certificate).days_left() == pytest.approx(-2, abs=0.01)
    future = authority.issue_client("c", 1, valid_from=datetime.now(UTC) + timedelta(days=3))
    assert inspect_certificate(future.certificate).not_before > datetime.now(UTC)


def test_a_leaf_does_not_start_before_its_ca() -> None:
    authority = CertificateAuthority.create("a CA", valid_from=datetime.now(UTC))
    leaf = authority.issue_client("c").certificate
    assert leaf.not_valid_before_utc >= authority.certificate.not_valid_before_utc


def test_a_leaf_that_would_outlive_its_ca_is_refused_and_says_what_is_left() -> None:
    authority = CertificateAuthority.create("short CA", days=10)
    with pytest.raises(ConfigurationError, match=r"outlive its CA 'short CA'.*at most 9\.9 days"):
        authority.issue_client("c", days=11)
    assert authority.issue_client("c", days=9.9).certificate.not_valid_after_utc


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "db.example.com:7777", "https://db", "a..b", "-a.example", "a b", "1.2.3.400"),
        *("*.com", "*", "a.*.example", "db.exämple", "x" * 64 + ".example", "a." * 127 + "com"),
    ],
)
def test_a_server_name_that_cannot_be_is_refused_by_name(name: str) -> None:
    authority = CertificateAuthority.create("a CA")
    with pytest.raises(ConfigurationError, match="expected a host name") as caught:
        authority.issue_server(["localhost", name])
    assert repr(name.strip()) in str(caught.value)


def test_a_server_leaf_without_names_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="needs a name"):
        CertificateAuthority.create("a CA").issue_server([])


@pytest.mark.parametrize("name", ["", "  ", "x" * 65, "a\nb", "a\x00b"])
def test_a_common_name_that_cannot_be_is_refused(name: str) -> None:
    authority = CertificateAuthority.create("a CA")
    with pytest.raises(ConfigurationError, match="common name"):
        authority.issue_client(name)
    with pytest.raises(ConfigurationError, match="common name"):
        CertificateAuthority.create(name)


@pytest.mark.parametrize("days", [0, -1, 1e-9, 10**7, float("inf"), float("nan")])
def test_a_life_that_cannot_be_is_refused(days: float) -> None:
    with pytest.raises(ConfigurationError, match="days"):
        CertificateAuthority.create("a CA", days=days)


def test_valid_from_without_a_zone_is_refused() -> None:
    naive = datetime.now(UTC).replace(tzinfo=None)
    with pytest.raises(ConfigurationError, match="zone"):
        CertificateAuthority.create("a CA", valid_from=naive)


def test_serial_numbers_differ_and_private_keys_do_not_show() -> None:
    authority = CertificateAuthority.create("a CA")
    first, second = authority.issue_client("c"), authority.issue_client("c")
    assert first.certificate.serial_number != second.certificate.serial_number
    assert first.private_key_pem != second.private_key_pem
    assert "PRIVATE" not in repr(first) + repr(authority)


def test_a_chain_is_the_leaf_and_then_its_ca() -> None:
    authority = CertificateAuthority.create("a CA")
    leaf = authority.issue_client("c")
    found = x509.load_pem_x509_certificates(leaf.chain)
    assert found == [leaf.certificate, authority.certificate]
    assert isinstance(leaf, IssuedCertificate)


def test_the_verifier_of_cryptography_accepts_a_server_leaf_for_its_names_only() -> None:
    authority = CertificateAuthority.create("a CA")
    leaf = authority.issue_server(["db.example.com", "*.db.internal"]).certificate
    store = verification.Store([authority.certificate])
    builder = verification.PolicyBuilder().store(store)
    for name in ("db.example.com", "x.db.internal"):
        verifier = builder.build_server_verifier(x509.DNSName(name))
        assert verifier.verify(leaf, []) == [leaf, authority.certificate]
    with pytest.raises(verification.VerificationError):
        builder.build_server_verifier(x509.DNSName("other.example")).verify(leaf, [])


def test_the_verifier_of_cryptography_accepts_a_client_leaf_without_names() -> None:
    authority, other = CertificateAuthority.create("a CA"), CertificateAuthority.create("a CA")
    leaf = authority.issue_client("analyst").certificate
    policy = verification.ExtensionPolicy.webpki_defaults_ee().may_be_present(
        x509.SubjectAlternativeName, verification.Criticality.AGNOSTIC, None
    )
    ca_policy = verification.ExtensionPolicy.webpki_defaults_ca()
    for trusted, is_good in ((authority, True), (other, False)):
        builder = verification.PolicyBuilder().store(verification.Store([trusted.certificate]))
        builder = builder.extension_policies(ca_policy=ca_policy, ee_policy=policy)
        verifier = builder.build_client_verifier()
        if is_good:
            assert verifier.verify(leaf, []).chain == [leaf, authority.certificate]
        else:
            with pytest.raises(verification.VerificationError):
                verifier.verify(leaf, [])
