"""Pins and facts of certificates, of bundles and of odd ones."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID, ObjectIdentifier

from quicsql_client.errors import ConfigurationError
from quicsql_client.pki import (
    CertificateAuthority,
    inspect_certificate,
    inspect_certificates,
    spki_pin,
)


def test_a_pin_is_the_same_from_every_source(tmp_path: Path) -> None:
    leaf = CertificateAuthority.create("a CA").issue_client("c")
    pair = leaf.write(tmp_path, "c")
    sources: list[x509.Certificate | bytes | Path] = [leaf.certificate, leaf.certificate_pem]
    sources += [leaf.chain, pair.certificate]
    assert {spki_pin(source) for source in sources} == {leaf.pin}
    assert spki_pin(str(pair.certificate)) == spki_pin(leaf.certificate_pem.decode()) == leaf.pin
    assert len(leaf.pin) == 64
    assert leaf.pin == leaf.pin.lower()


def test_facts_of_a_leaf() -> None:
    authority = CertificateAuthority.create("a CA")
    leaf = authority.issue_client("analyst", 2)
    facts = inspect_certificate(leaf.certificate_pem)
    assert (facts.subject, facts.issuer) == ("CN=analyst", "CN=a CA")
    assert facts.common_name == "analyst"
    assert facts.extended_key_usages == ("clientAuth",)
    assert facts.subject_alternative_names == ()
    assert facts.pin == leaf.pin
    assert not facts.is_ca
    assert facts.serial == f"{leaf.certificate.serial_number:x}"
    assert facts.not_after.tzinfo is UTC
    assert facts.days_left(facts.not_after - timedelta(hours=12)) == 0.5
    assert facts.days_left(facts.not_after + timedelta(days=1)) == -1


def test_bundles_and_many_files_are_read_whole_and_in_order(tmp_path: Path) -> None:
    first, second = CertificateAuthority.create("one"), CertificateAuthority.create("two")
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(b"a comment\n" + first.certificate_pem + second.certificate_pem)
    leaf = first.issue_client("c")
    facts = inspect_certificates(bundle, leaf.certificate_pem)
    assert [fact.common_name for fact in facts] == ["one", "two", "c"]
    assert [fact.is_ca for fact in facts] == [True, True, False]


def test_a_certificate_with_nothing_in_it() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(x509.Name([]))
    now = datetime.now(UTC)
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    builder = builder.public_key(key.public_key()).serial_number(5)
    facts = inspect_certificate(builder.sign(key, hashes.SHA256()))
    assert (facts.subject, facts.common_name, facts.serial) == ("", "", "5")
    assert (facts.extended_key_usages, facts.is_ca) == ((), False)


def test_names_and_usages_that_are_rare_are_told_too() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "o")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    builder = builder.public_key(key.public_key()).serial_number(5)
    names = [x509.UniformResourceIdentifier("spiffe://x/y"), x509.RFC822Name("a@example.com")]
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    usages = x509.ExtendedKeyUsage([ObjectIdentifier("1.2.3.4")])
    builder = builder.add_extension(usages, critical=False)
    facts = inspect_certificate(builder.sign(key, hashes.SHA256()))
    assert facts.subject_alternative_names == ("URI:spiffe://x/y", "email:a@example.com")
    assert facts.extended_key_usages == ("1.2.3.4",)


@pytest.mark.parametrize("content", [b"", b"hello", b"-----BEGIN PRIVATE KEY-----\nAA==\n"])
def test_what_holds_no_certificate_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.crt").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"x\.crt'.*no certificates found"):
        spki_pin(tmp_path / "x.crt")
