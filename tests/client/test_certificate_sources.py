"""Sources of client certificates: what each reads, how it says what is wrong, that it sees changes.

Renewal itself is `test_renewal`'s.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from quicsql_client.certificate_sources import (
    CertificateEnvironment,
    CertificateFiles,
    CertificateSource,
    PKCS12File,
    RootCAFiles,
)
from quicsql_client.errors import ConfigurationError, TransportWarning
from quicsql_client.options import ClientOptions, with_client_cert, with_server_pin
from tests.fix_peers import PKI, Issued, make_certificate

PASSWORD = b"hunter2"


def p12(issued: Issued, *chain: Issued, password: bytes = PASSWORD) -> bytes:
    return pkcs12.serialize_key_and_certificates(
        b"analyst",
        issued.key,
        issued.certificate,
        [one.certificate for one in chain],
        serialization.BestAvailableEncryption(password),
    )


@pytest.fixture
def container(tmp_path: Path, peer_pki: PKI) -> Path:
    path = tmp_path / "analyst.p12"
    path.touch(mode=0o600)
    path.write_bytes(p12(peer_pki.client, peer_pki.client_ca))
    return path


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch, peer_pki: PKI) -> CertificateEnvironment:
    monkeypatch.setenv("LEAF", peer_pki.client.cert_pem.decode())
    monkeypatch.setenv("KEY", peer_pki.client.key_pem(PASSWORD).decode())
    monkeypatch.setenv("KEY_PASSWORD", PASSWORD.decode())
    return CertificateEnvironment("LEAF", "KEY", "KEY_PASSWORD")


def test_a_pkcs12_file_brings_leaf_key_and_chain(container: Path, peer_pki: PKI) -> None:
    loaded = PKCS12File(container, PASSWORD).load()
    assert loaded.source == str(container)
    assert loaded.leaf == peer_pki.client.certificate
    assert loaded.chain_pem.count(b"BEGIN CERTIFICATE") == 2


@pytest.mark.parametrize("password", [None, "hunter3"])
def test_a_password_that_does_not_open_is_told_without_it(
    container: Path, password: str | None
) -> None:
    with pytest.raises(ConfigurationError, match="password does not open it") as caught:
        PKCS12File(container, password).load()
    assert "hunter" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_pkcs12_file_without_key_is_told(tmp_path: Path, peer_pki: PKI) -> None:
    path = tmp_path / "certificates.p12"
    encryption = serialization.BestAvailableEncryption(PASSWORD)
    path.write_bytes(
        pkcs12.serialize_key_and_certificates(
            None, None, None, [peer_pki.client.certificate], encryption
        )
    )
    with pytest.raises(ConfigurationError, match="holds no private key"):
        PKCS12File(path, PASSWORD).load()


def test_an_open_pkcs12_file_is_warned_of(container: Path) -> None:
    container.chmod(0o644)
    with pytest.warns(TransportWarning, match=r"analyst\.p12"):
        PKCS12File(container, PASSWORD).load()


def test_variables_of_the_environment(pair: CertificateEnvironment, peer_pki: PKI) -> None:
    assert pair.load().leaf == peer_pki.client.certificate


def test_a_variable_that_is_not_set_is_named(
    pair: CertificateEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KEY")
    with pytest.raises(ConfigurationError, match="KEY is not set"):
        pair.load()


def test_what_is_wrong_with_a_variable_names_it(
    pair: CertificateEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEAF", "no certificate")
    with pytest.raises(ConfigurationError, match="LEAF"):
        pair.load()


def test_a_changed_variable_changes_the_stamp(
    pair: CertificateEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pair.stamp()
    assert pair.stamp() == before
    monkeypatch.setenv("KEY", "another")
    assert pair.stamp() != before


@pytest.mark.parametrize("kind", [PKCS12File, CertificateFiles, RootCAFiles])
def test_a_changed_or_missing_file_changes_the_stamp(
    tmp_path: Path, kind: type[CertificateFiles]
) -> None:
    path = tmp_path / "file"
    source = kind(path)
    missing = source.stamp()
    path.write_bytes(b"first")
    first = source.stamp()
    assert source.stamp() == first != missing
    path.write_bytes(b"second!")
    assert source.stamp() != first
    path.unlink()
    assert source.stamp() == missing


def test_pem_text_never_changes(peer_pki: PKI) -> None:
    source = CertificateFiles(peer_pki.client.cert_pem, peer_pki.client.key_pem().decode())
    assert source.stamp() == source.stamp() == (None, None)
    assert source.load().facts.common_name == "analyst"


def test_no_source_shows_a_secret(peer_pki: PKI) -> None:
    sources: tuple[CertificateSource, ...] = (
        CertificateFiles(peer_pki.client.cert_pem, peer_pki.client.key_pem(), "hunter2"),
        PKCS12File("a.p12", "hunter2"),
    )
    for source in sources:
        assert "hunter2" not in repr(source)
        assert "PRIVATE" not in repr(source)


def test_a_source_of_ones_own_is_an_option(container: Path) -> None:
    option = with_client_cert(PKCS12File(container, PASSWORD))
    configured = ClientOptions.of([option])
    assert configured.client_cert is not None
    assert configured.client_cert.facts.common_name == "analyst"
    assert "hunter2" not in repr(option) + repr(configured)


def test_a_source_takes_no_second_key(container: Path) -> None:
    with pytest.raises(ConfigurationError, match="brings its own key"):
        with_client_cert(PKCS12File(container, PASSWORD), "key.pem")


def test_options_are_read_again_from_their_sources(tmp_path: Path, peer_pki: PKI) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.touch(mode=0o600)
    bundle.write_bytes(peer_pki.client.cert_pem + peer_pki.client.key_pem())
    configured = ClientOptions.of([with_client_cert(os.fspath(bundle))])
    stamp = configured.certificate_stamp()
    other = make_certificate("other", peer_pki.client_ca, use="client")
    bundle.write_bytes(other.cert_pem + other.key_pem())
    assert configured.certificate_stamp() != stamp
    again = configured.with_certificates_read_again()
    assert again.client_cert is not None
    assert again.client_cert.facts.common_name == "other"


@pytest.mark.parametrize("pins", [(), ("",), ("ab",), ("x" * 64,), (b"0" * 64,)])
def test_what_is_no_pin_is_refused(pins: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match="64 hexadecimal digits"):
        with_server_pin(*pins)
