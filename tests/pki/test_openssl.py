"""Ours and the openssl command's: each accepts what the other made, step by step of the guide."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from quicsql_client.pki import CertificateAuthority, inspect_certificate, spki_pin

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="needs the openssl command as the judge"
)


def openssl(folder: Path, *arguments: str, given: bytes = b"") -> bytes:
    done = subprocess.run(["openssl", *arguments], cwd=folder, input=given, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.fixture(scope="module")
def guide_ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA by the very commands of the guide, step 1."""
    folder = tmp_path_factory.mktemp("guide")
    key = ("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "ca.key")
    openssl(folder, *key)
    openssl(
        folder,
        *("req", "-x509", "-new", "-key", "ca.key", "-sha256", "-days", "3650"),
        *("-subj", "/CN=quicsql client CA", "-out", "ca.crt"),
    )
    return folder


@pytest.mark.parametrize("purpose", ["sslserver", "sslclient"])
def test_openssl_verifies_our_leaves_strictly(tmp_path: Path, purpose: str) -> None:
    authority = CertificateAuthority.create("a CA")
    authority.write(tmp_path, "ca")
    authority.issue_server(["db.example.com", "203.0.113.10"]).write(tmp_path, "sslserver")
    authority.issue_client("analyst").write(tmp_path, "sslclient")
    verify = ("verify", "-x509_strict", "-CAfile", "ca.crt", "-purpose", purpose)
    assert openssl(tmp_path, *verify, f"{purpose}.crt") == f"{purpose}.crt: OK\n".encode()
    wrong = {"sslserver": "sslclient", "sslclient": "sslserver"}[purpose]
    done = subprocess.run(["openssl", *verify, f"{wrong}.crt"], cwd=tmp_path, capture_output=True)
    assert done.returncode != 0


def test_openssl_matches_names_and_addresses(tmp_path: Path) -> None:
    authority = CertificateAuthority.create("a CA")
    authority.write(tmp_path, "ca")
    names = ["db.example.com", "*.db.internal", "203.0.113.10"]
    authority.issue_server(names).write(tmp_path, "server")
    for check in (
        ("-verify_hostname", "x.db.internal"),
        ("-verify_hostname", "db.example.com"),
        ("-verify_ip", "203.0.113.10"),
    ):
        openssl(tmp_path, "verify", "-x509_strict", *check, "-CAfile", "ca.crt", "server.crt")


def test_the_pin_is_the_string_of_the_guides_command(tmp_path: Path) -> None:
    pair = CertificateAuthority.create("a CA").issue_client("analyst").write(tmp_path, "analyst")
    public = openssl(tmp_path, "x509", "-in", "analyst.crt", "-pubkey", "-noout")
    der = openssl(tmp_path, "pkey", "-pubin", "-outform", "DER", given=public)
    text = openssl(tmp_path, "dgst", "-sha256", given=der).decode()
    assert re.findall(r"\b[0-9a-f]{64}\b", text) == [spki_pin(pair.certificate)]


def test_openssl_reads_our_keys_and_they_fit_their_certificates(tmp_path: Path) -> None:
    authority = CertificateAuthority.create("a CA")
    authority.write(tmp_path, "ca", password="pw")
    authority.issue_client("c").write(tmp_path, "c")
    for name, password in (("ca", ("-passin", "pass:pw")), ("c", ())):
        of_key = openssl(tmp_path, "pkey", "-in", f"{name}.key", *password, "-pubout")
        assert of_key == openssl(tmp_path, "x509", "-in", f"{name}.crt", "-pubkey", "-noout")


def test_a_ca_of_the_guide_issues_leaves_that_openssl_verifies(
    guide_ca: Path, tmp_path: Path
) -> None:
    assert (guide_ca / "ca.key").read_text().startswith("-----BEGIN EC PRIVATE KEY-----")
    authority = CertificateAuthority.load(guide_ca / "ca.crt", guide_ca / "ca.key")
    authority.issue_client("analyst").write(tmp_path, "analyst")
    ca = str(guide_ca / "ca.crt")
    openssl(tmp_path, "verify", "-purpose", "sslclient", "-CAfile", ca, "analyst.crt")


def test_keys_of_openssl_load_in_every_form_of_theirs(guide_ca: Path, tmp_path: Path) -> None:
    source = ("-in", str(guide_ca / "ca.key"), "-out")
    aes = ("-aes256", "-passout", "pass:pw")
    openssl(tmp_path, "pkcs8", "-topk8", "-nocrypt", *source, "pkcs8.key")
    openssl(tmp_path, "pkcs8", "-topk8", "-passout", "pass:pw", *source, "locked.key")
    openssl(tmp_path, "ec", *aes, *source, "sec1-locked.key")
    parameters = openssl(tmp_path, "ecparam", "-name", "prime256v1")
    (tmp_path / "with-parameters.key").write_bytes(parameters + (guide_ca / "ca.key").read_bytes())
    names = ("pkcs8", "locked", "sec1-locked", "with-parameters")
    loaded = [
        CertificateAuthority.load(guide_ca / "ca.crt", tmp_path / f"{name}.key", "pw")
        for name in names
    ]
    assert {authority.pin for authority in loaded} == {spki_pin(guide_ca / "ca.crt")}


@pytest.mark.parametrize("algorithm", ["RSA", "ED25519"])
def test_cas_with_other_keys_issue_too(tmp_path: Path, algorithm: str) -> None:
    openssl(tmp_path, "genpkey", "-algorithm", algorithm, "-out", "ca.key")
    make = ("req", "-x509", "-new", "-key", "ca.key", "-days", "900", "-subj", "/CN=a CA")
    openssl(tmp_path, *make, "-out", "ca.crt")
    authority = CertificateAuthority.load(tmp_path / "ca.crt", tmp_path / "ca.key")
    authority.issue_server("localhost").write(tmp_path, "server")
    openssl(tmp_path, "verify", "-purpose", "sslserver", "-CAfile", "ca.crt", "server.crt")


def test_a_leaf_of_the_guides_commands_is_inspected(guide_ca: Path, tmp_path: Path) -> None:
    (tmp_path / "client.ext").write_text("extendedKeyUsage = clientAuth\n")
    openssl(tmp_path, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "analyst.key")
    request = ("req", "-new", "-key", "analyst.key", "-subj", "/CN=analyst", "-out", "analyst.csr")
    openssl(tmp_path, *request)
    openssl(
        tmp_path,
        *("x509", "-req", "-in", "analyst.csr", "-CA", str(guide_ca / "ca.crt")),
        *("-CAkey", str(guide_ca / "ca.key"), "-set_serial", "7", "-days", "90", "-sha256"),
        *("-extfile", "client.ext", "-out", "analyst.crt"),
    )
    facts = inspect_certificate(tmp_path / "analyst.crt")
    assert (facts.common_name, facts.issuer) == ("analyst", "CN=quicsql client CA")
    assert facts.extended_key_usages == ("clientAuth",)
    assert facts.serial == "7"
