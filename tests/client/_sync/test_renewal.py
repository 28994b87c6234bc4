# Made from tests/client/_async/test_renewal.py
# by tools/async_to_sync.py: do not edit, change the source.
"""Certificates that are replaced under a running client, over real handshakes and real files."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from quicsql_client import (
    Client,
    ConfigurationError,
    Option,
    TLSError,
    with_bearer,
    with_certificate_check,
    with_client_cert,
    with_root_ca,
    with_server_pin,
)
from quicsql_client.pki import spki_pin
from tests.fix_peers import PKI, Conversation, Issued, PeerFactory, make_certificate

ALWAYS = with_certificate_check(1e-6)
NEVER = with_certificate_check(None)


def serials(conversation: Conversation) -> None:
    """Answers each request with the serial number of the certificate that the client presented."""
    presented = conversation.sock.getpeercert()  # type: ignore[attr-defined]
    body = presented["serialNumber"].lower().lstrip("0").encode()
    while conversation.read_request():
        head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n"
        conversation.send(head % len(body) + body)


def serial(issued: Issued) -> str:
    return f"{issued.certificate.serial_number:x}"


def in_place(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)


def by_rename(folder: Path, name: str, content: bytes) -> None:
    (folder / "fresh").write_bytes(content)
    (folder / "fresh").chmod(0o600)
    os.replace(folder / "fresh", folder / name)


class Secret:
    """A folder of a pair, as Kubernetes mounts it: names that lead through a link that is swapped,
    or plain files.
    """

    def __init__(self, folder: Path, issued: Issued) -> None:
        self.folder = folder
        self._versions = 0
        self.put(issued)
        for name in ("tls.crt", "tls.key"):
            (folder / name).symlink_to(Path("..data", name))

    def put(self, issued: Issued) -> None:
        self._versions += 1
        version = self.folder / f"..{self._versions}"
        version.mkdir()
        for name, content in (("tls.crt", issued.cert_pem), ("tls.key", issued.key_pem())):
            (version / name).touch(mode=0o600)
            (version / name).write_bytes(content)
        (self.folder / "..fresh").symlink_to(version.name)
        os.replace(self.folder / "..fresh", self.folder / "..data")


def plain(folder: Path, issued: Issued) -> None:
    for name, content in (("tls.crt", issued.cert_pem), ("tls.key", issued.key_pem())):
        (folder / name).touch(mode=0o600)
        (folder / name).write_bytes(content)


@pytest.fixture
def connect(tmp_path: Path, peer_pki: PKI, open_peer: PeerFactory) -> Callable[..., Client]:
    """A client of a server that tells whom it sees, on the pair in tmp_path."""

    def make(*options: Option, insecure: bool = False) -> Client:
        peer = open_peer(serials, peer_pki.context(client_auth=True))
        return Client.h2tls(
            f"localhost:{peer.port}",
            with_root_ca(peer_pki.server_ca.cert_pem),
            with_client_cert(tmp_path / "tls.crt", tmp_path / "tls.key"),
            *options,
            insecure=insecure,
        )

    return make


def seen(client: Client) -> str:
    """The serial number that the server sees."""
    return client.http.get("/").text


@pytest.mark.parametrize("replace", [in_place, by_rename])
def test_replaced_files_are_used_by_the_next_call(
    tmp_path: Path,
    peer_pki: PKI,
    connect: Callable[..., Client],
    replace: Callable[[Path, str, bytes], None],
) -> None:
    first, second = peer_pki.client, peer_pki.client_ca.issue("analyst", use="client")
    plain(tmp_path, first)
    with connect(ALWAYS) as client:
        assert seen(client) == serial(first)
        replace(tmp_path, "tls.crt", second.cert_pem)
        replace(tmp_path, "tls.key", second.key_pem())
        assert seen(client) == serial(second)
        status = client.tls_status()
        assert status is not None
        assert status.client is not None
        assert (status.client.serial, status.generation) == (serial(second), 1)


def test_a_swapped_link_is_seen(
    tmp_path: Path, peer_pki: PKI, connect: Callable[..., Client]
) -> None:
    second = peer_pki.client_ca.issue("analyst", use="client")
    secret = Secret(tmp_path, peer_pki.client)
    with connect(ALWAYS) as client:
        assert seen(client) == serial(peer_pki.client)
        secret.put(second)
        assert seen(client) == serial(second)


def test_half_a_renewal_keeps_the_old_pair_and_is_told_once(
    tmp_path: Path,
    peer_pki: PKI,
    connect: Callable[..., Client],
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, second = peer_pki.client, peer_pki.client_ca.issue("analyst", use="client")
    plain(tmp_path, first)
    with connect(ALWAYS) as client:
        by_rename(tmp_path, "tls.crt", second.cert_pem)
        for _ in range(3):
            assert seen(client) == serial(first)
        (told,) = [r for r in caplog.records if r.levelno == logging.WARNING]
        assert "tls.key" in told.getMessage()
        assert "PRIVATE" not in told.getMessage()
        status = client.tls_status()
        assert status is not None
        assert "belongs to another certificate" in (status.problem or "")
        by_rename(tmp_path, "tls.key", second.key_pem())
        assert seen(client) == serial(second)
        status = client.tls_status()
        assert status is not None
        assert status.problem is None


def test_reload_takes_new_files_at_once_and_refuses_bad_ones(
    tmp_path: Path, peer_pki: PKI, connect: Callable[..., Client]
) -> None:
    first, second = peer_pki.client, peer_pki.client_ca.issue("analyst", use="client")
    plain(tmp_path, first)
    with connect(NEVER) as client:
        plain(tmp_path, second)
        assert seen(client) == serial(first)
        client.reload_certificates()
        assert seen(client) == serial(second)
        in_place(tmp_path, "tls.key", b"no key\n")
        with pytest.raises(ConfigurationError, match=r"tls\.key"):
            client.reload_certificates()
        assert seen(client) == serial(second)


def test_a_renewed_root_ca_is_trusted(
    tmp_path: Path, peer_pki: PKI, open_peer: PeerFactory
) -> None:
    plain(tmp_path, peer_pki.client)
    other = make_certificate("another CA")
    (tmp_path / "ca.crt").write_bytes(other.cert_pem)
    peer = open_peer(serials, peer_pki.context(client_auth=True))
    client = Client.h2tls(
        f"localhost:{peer.port}",
        with_root_ca(tmp_path / "ca.crt"),
        with_client_cert(tmp_path / "tls.crt", tmp_path / "tls.key"),
        ALWAYS,
    )
    with client:
        with pytest.raises(TLSError) as refused:
            client.health()
        assert refused.value.reason == "untrusted_server"
        by_rename(tmp_path, "ca.crt", other.cert_pem + peer_pki.server_ca.cert_pem)
        assert seen(client) == serial(peer_pki.client)


def test_both_sides_are_in_the_status(
    tmp_path: Path, peer_pki: PKI, connect: Callable[..., Client]
) -> None:
    plain(tmp_path, peer_pki.client)
    with connect() as client:
        before = client.tls_status()
        assert before is not None
        assert before.server is None
        seen(client)
        status = client.tls_status()
        assert status is not None
        assert status.client is not None
        assert status.server is not None
        assert (status.client.common_name, status.server.common_name) == ("analyst", "db")


def test_an_end_that_is_near_is_told_once(
    tmp_path: Path,
    peer_pki: PKI,
    connect: Callable[..., Client],
    caplog: pytest.LogCaptureFixture,
) -> None:
    plain(tmp_path, peer_pki.client_ca.issue("analyst", use="client", first_day=-90, last_day=2))
    with connect(ALWAYS) as client:
        seen(client)
        seen(client)
    (told,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "expires in 48 hours" in told
    assert str(tmp_path / "tls.crt") in told


def test_a_client_without_tls_has_nothing_to_renew() -> None:
    with Client.h1("localhost:1") as client:
        assert client.tls_status() is None
        with pytest.raises(ConfigurationError, match="no TLS"):
            client.reload_certificates()


# Pins of the server


def test_the_right_pin_is_accepted_alone_or_among_others(
    tmp_path: Path, peer_pki: PKI, connect: Callable[..., Client]
) -> None:
    plain(tmp_path, peer_pki.client)
    pin = spki_pin(peer_pki.server.certificate)
    with connect(with_server_pin("0" * 64, pin.upper())) as client:
        assert seen(client) == serial(peer_pki.client)


def test_another_key_than_the_pinned_one_gets_no_request(
    tmp_path: Path, peer_pki: PKI, open_peer: PeerFactory
) -> None:
    plain(tmp_path, peer_pki.client)
    peer = open_peer(serials, peer_pki.context(client_auth=True))
    client = Client.h2tls(
        f"localhost:{peer.port}",
        with_root_ca(peer_pki.server_ca.cert_pem),
        with_client_cert(tmp_path / "tls.crt", tmp_path / "tls.key"),
        with_server_pin("0" * 64),
    )
    with client:
        with pytest.raises(TLSError, match=spki_pin(peer_pki.server.certificate)) as refused:
            client.health()
    assert refused.value.reason == "server_pin_mismatch"
    assert not refused.value.may_have_run
    peer.wait_ended()
    assert peer.requests == []


def test_a_pin_alone_proves_a_server_and_may_be_sent_a_token(
    tmp_path: Path, peer_pki: PKI, connect: Callable[..., Client]
) -> None:
    plain(tmp_path, peer_pki.client)
    pin = spki_pin(peer_pki.server.certificate)
    options = (with_server_pin(pin), with_bearer("a-token"))  # warns of nothing
    with connect(*options, insecure=True) as client:
        assert seen(client) == serial(peer_pki.client)
