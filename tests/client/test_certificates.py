"""Each mistake with a certificate, key or CA is an error when it is given, and names its file."""

from __future__ import annotations

import hashlib
import pickle
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from quicsql_client import certificates
from quicsql_client.certificates import (
    load_client_certificate,
    load_root_ca,
)
from quicsql_client.errors import ConfigurationError, TransportWarning
from tests.fix_peers import PKI, Issued, make_certificate


@pytest.fixture
def files(tmp_path: Path, peer_pki: PKI) -> Path:
    """Every kind of file that a user can mix up."""
    ours, other = peer_pki.client, make_certificate("other", use="client")
    der = ours.certificate.public_bytes(serialization.Encoding.DER)
    contents = {
        "cert.pem": ours.cert_pem,
        "key.pem": ours.key_pem(),
        "locked.pem": ours.key_pem(b"hunter2"),
        "other-key.pem": other.key_pem(),
        "ca.pem": peer_pki.server_ca.cert_pem,
        "empty.pem": b" \n",
        "text.pem": b"this is no certificate\n",
        "cert.der": der,
        "cut.pem": ours.cert_pem[:200],
        "cut-key.pem": ours.key_pem()[:100],
        "damaged.pem": ours.cert_pem.replace(b"M", b"A", 40),
        "request.pem": b"-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----",
    }
    for name, data in contents.items():
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing.pem", "does not exist"),
        ("folder", "is a directory"),
        ("empty.pem", "is empty"),
        ("text.pem", "holds no certificate"),
        ("cert.der", "openssl x509 -inform der"),
        ("cut.pem", "is cut"),
        ("damaged.pem", "damaged"),
        ("key.pem", "holds a private key, expected a CA certificate"),
        ("request.pem", "signing request"),
    ],
)
def test_wrong_root_ca(files: Path, name: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_root_ca(files / name)
    assert words in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("cert", "key", "words"),
    [
        ("missing.pem", "key.pem", "missing.pem' does not exist"),
        ("cert.pem", "missing.pem", "missing.pem' does not exist"),
        ("key.pem", "cert.pem", "swapped"),
        ("key.pem", "key.pem", "private key, expected the client certificate"),
        ("key.pem", None, "private key, expected the client certificate"),
        ("cert.pem", "ca.pem", "holds a certificate, expected its private key"),
        ("cert.pem", None, "give the key as the second argument"),
        ("cert.pem", "other-key.pem", "other-key.pem' belongs to another certificate"),
        ("cert.pem", "locked.pem", "encrypted and no password was given"),
        ("cert.pem", "cut-key.pem", "is cut"),
        ("cert.pem", "text.pem", "holds no private key"),
        ("cert.der", "key.pem", "binary (DER"),
        ("empty.pem", "key.pem", "empty.pem' is empty"),
    ],
)
def test_wrong_client_certificate(files: Path, cert: str, key: str | None, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_client_certificate(files / cert, files / key if key else None)
    assert words in str(caught.value)
    assert "MIG" not in str(caught.value)  # how the base64 of every such key begins


def test_mismatch_names_both_sides(files: Path, peer_pki: PKI) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_client_certificate(files / "cert.pem", files / "other-key.pem")
    assert "CN=analyst" in str(caught.value)
    assert pin(peer_pki.client) in str(caught.value)


def test_wrong_password(files: Path) -> None:
    with pytest.raises(ConfigurationError, match="password does not open") as caught:
        load_client_certificate(files / "cert.pem", files / "locked.pem", password="S3CRET")
    assert "S3CRET" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("given", [7, None, ""])
def test_what_is_no_source(given: object) -> None:
    with pytest.raises(ConfigurationError):
        load_root_ca(given)  # type: ignore[arg-type]


def pin(issued: Issued) -> str:
    return hashlib.sha256(
        issued.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    ).hexdigest()


@pytest.mark.parametrize("password", ["hunter2", b"hunter2"])
def test_encrypted_key_is_loaded(files: Path, password: str | bytes, peer_pki: PKI) -> None:
    loaded = load_client_certificate(files / "cert.pem", files / "locked.pem", password=password)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    loaded.configure(context)
    assert loaded.facts.pin == pin(peer_pki.client)
    assert "hunter2" not in repr(loaded)
    assert "PRIVATE" not in repr(loaded)


def test_bundle_in_any_order_as_text_and_bytes(peer_pki: PKI) -> None:
    ours, ca = peer_pki.client, peer_pki.client_ca
    bundle = b"# note\n" + ca.cert_pem + b"junk\n" + ours.key_pem() + ours.cert_pem
    for given in (bundle, bundle.decode()):
        loaded = load_client_certificate(given)
        assert loaded.source == "the PEM given"
        assert loaded.facts.common_name == "analyst"
        assert loaded.chain_pem == ours.cert_pem + ca.cert_pem
        loaded.configure(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


def test_without_memory_files_a_private_file_is_used_and_removed(
    peer_pki: PKI, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delattr("os.memfd_create", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    modes: list[tuple[int, int]] = []

    class Watching(ssl.SSLContext):
        def load_cert_chain(self, certfile: object, *args: object, **kwargs: object) -> None:
            path = Path(str(certfile))
            modes.append((path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777))

    ours = peer_pki.client
    load_client_certificate(ours.cert_pem, ours.key_pem()).configure(
        Watching(ssl.PROTOCOL_TLS_CLIENT)
    )
    assert modes == [(0o600, 0o700)]
    assert list(tmp_path.iterdir()) == []


def test_key_that_everyone_can_read_is_warned_about(files: Path) -> None:
    (files / "key.pem").chmod(0o644)
    with pytest.warns(TransportWarning, match="chmod 600"):
        load_client_certificate(files / "cert.pem", files / "key.pem")


def test_ca_bundle(files: Path, peer_pki: PKI) -> None:
    authorities = [peer_pki.server_ca, peer_pki.client_ca]
    loaded = load_root_ca(b"# two\n" + b"junk\n".join(a.cert_pem for a in authorities))
    assert len(loaded.certificates) == 2
    assert loaded.issued(peer_pki.server.certificate)
    assert not load_root_ca(files / "ca.pem").issued(peer_pki.client.certificate)
    assert loaded.pem().count("BEGIN CERTIFICATE") == 2


def test_client_certificate_is_not_pickled(peer_pki: PKI) -> None:
    loaded = load_client_certificate(peer_pki.client.cert_pem + peer_pki.client.key_pem())
    with pytest.raises(TypeError, match="private key"):
        pickle.dumps(loaded)


def test_every_name_is_there() -> None:
    assert all(hasattr(certificates, name) for name in certificates.__all__)
