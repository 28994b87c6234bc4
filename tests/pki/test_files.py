"""What is written, with which modes, and what is never replaced unasked."""

import os
import stat
from pathlib import Path

import pytest

from quicsql_client.errors import ConfigurationError
from quicsql_client.pki import CertificateAuthority, inspect_certificate


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority.create("a CA")


def test_keys_are_private_and_so_is_a_new_folder(
    tmp_path: Path, authority: CertificateAuthority
) -> None:
    before = os.umask(0)
    try:
        pair = authority.write(tmp_path / "new", "client-ca")
        leaf = authority.issue_client("c").write(tmp_path / "new", "c")
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "new") == 0o700
    assert (mode_of(pair.key), mode_of(leaf.key)) == (0o600, 0o600)
    assert mode_of(leaf.certificate) == 0o644
    assert pair.key.read_bytes() == authority.private_key_pem
    assert pair.certificate.read_bytes() == authority.certificate_pem


@pytest.mark.parametrize("there", ["c.crt", "c.key"])
def test_a_file_that_is_there_is_not_replaced_and_nothing_is_written(
    tmp_path: Path, authority: CertificateAuthority, there: str
) -> None:
    (tmp_path / there).write_text("mine")
    with pytest.raises(ConfigurationError, match=there):
        authority.issue_client("c").write(tmp_path, "c")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(there, "mine")]


def test_a_dangling_link_counts_as_there(tmp_path: Path, authority: CertificateAuthority) -> None:
    (tmp_path / "c.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match=r"c\.key"):
        authority.issue_client("c").write(tmp_path, "c")
    assert not (tmp_path / "elsewhere").exists()


def test_force_replaces_whole_files_leaves_no_trace_and_tightens_the_mode(
    tmp_path: Path, authority: CertificateAuthority
) -> None:
    (tmp_path / "c.key").write_text("old")
    (tmp_path / "c.key").chmod(0o644)
    with (tmp_path / "c.key").open() as reader:
        leaf = authority.issue_client("c")
        pair = leaf.write(tmp_path, "c", force=True)
        assert reader.read() == "old"  # a rename: who had it open keeps the old file
    assert pair.key.read_bytes() == leaf.private_key_pem
    assert mode_of(pair.key) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.crt", "c.key"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/x", ".hidden", "-rf", "a\nb", "a\\b"])
def test_a_name_that_would_leave_the_folder_is_refused(
    tmp_path: Path, authority: CertificateAuthority, name: str
) -> None:
    with pytest.raises(ConfigurationError, match="cannot be a file name"):
        authority.write(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_an_error_that_names_it(
    tmp_path: Path, authority: CertificateAuthority
) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(ConfigurationError, match=r"/f.*cannot be written"):
        authority.write(tmp_path / "f", "ca")


def test_what_was_written_loads_again_with_and_without_a_password(
    tmp_path: Path, authority: CertificateAuthority
) -> None:
    plain = authority.write(tmp_path, "plain")
    locked = authority.write(tmp_path, "locked", password="open sesame")
    assert b"ENCRYPTED" in locked.key.read_bytes()
    for pair, password in ((plain, None), (plain, "unused"), (locked, "open sesame")):
        again = CertificateAuthority.load(pair.certificate, str(pair.key), password)
        leaf = again.issue_client("c").certificate
        leaf.verify_directly_issued_by(authority.certificate)


def test_a_ca_loads_from_pem_text(authority: CertificateAuthority) -> None:
    again = CertificateAuthority.load(authority.certificate_pem.decode(), authority.private_key_pem)
    assert again.pin == authority.pin


@pytest.mark.parametrize(
    ("password", "text"), [(None, "is encrypted: give its password"), ("no", "password right")]
)
def test_an_encrypted_key_with_a_wrong_password_names_file_but_not_password(
    tmp_path: Path, authority: CertificateAuthority, password: str | None, text: str
) -> None:
    pair = authority.write(tmp_path, "ca", password="open sesame")
    with pytest.raises(ConfigurationError, match=text) as caught:
        CertificateAuthority.load(pair.certificate, pair.key, password)
    assert str(pair.key) in str(caught.value)
    assert "sesame" not in str(caught.value)


def test_files_that_are_no_ca_are_refused_by_name(
    tmp_path: Path, authority: CertificateAuthority
) -> None:
    ca = authority.write(tmp_path, "ca")
    leaf = authority.issue_client("c").write(tmp_path, "leaf")
    other = CertificateAuthority.create("other CA").write(tmp_path, "other")
    (tmp_path / "bad.crt").write_text(
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
    )
    cases = [
        (leaf.certificate, leaf.key, r"leaf\.crt'.*is a leaf, no CA"),
        (ca.certificate, other.key, r"other\.key'.*not the key of the CA certificate 'a CA'"),
        (ca.key, ca.key, r"ca\.key'.*no certificates found"),
        (ca.certificate, ca.certificate, r"ca\.crt'.*expected a PEM private key"),
        (tmp_path / "bad.crt", ca.key, r"bad\.crt'.*damaged"),
        (tmp_path / "none.crt", ca.key, r"none\.crt'.*cannot be read: No such file"),
        (ca.certificate, tmp_path, r"cannot be read: Is a directory"),
        (Path("a\0b"), ca.key, r"cannot be read"),
    ]
    for certificate, key, text in cases:
        with pytest.raises(ConfigurationError, match=text):
            CertificateAuthority.load(certificate, key)


def test_a_file_too_large_for_pem_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "big.crt").open("wb") as file:
        file.truncate(17 * 1024 * 1024)
    with pytest.raises(ConfigurationError, match=r"big\.crt.*larger than"):
        inspect_certificate(tmp_path / "big.crt")
