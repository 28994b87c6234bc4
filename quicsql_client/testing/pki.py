"""Certificates made for one test run: two CAs, a server leaf for this machine, clients by name."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from quicsql_client.pki import CertificateAuthority, spki_pin

__all__ = ["ClientFiles", "EphemeralPKI"]

_SERVER_NAMES = ("localhost", "127.0.0.1", "::1")


class ClientFiles(NamedTuple):
    """The files of one client identity, as `with_client_cert` takes them."""

    certificate: Path
    key: Path


class EphemeralPKI:
    """A PKI in a folder: `root_ca` for clients, `client_ca` and the server leaf for servers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._server_ca = CertificateAuthority.create("quicsql test server CA")
        self._client_ca = CertificateAuthority.create("quicsql test client CA")
        leaf = self._server_ca.issue_server(_SERVER_NAMES).write(folder, "server")
        self.server_certificate, self.server_key = leaf.certificate, leaf.key
        self.root_ca = self._write("server-ca.crt", self._server_ca.certificate_pem)
        self.client_ca = self._write("client-ca.crt", self._client_ca.certificate_pem)
        self._clients: dict[str, ClientFiles] = {}

    def client(self, common_name: str) -> ClientFiles:
        """The certificate and key of this identity; issued when first asked for."""
        if common_name not in self._clients:
            issued = self._client_ca.issue_client(common_name)
            pair = issued.write(self.folder, f"client-{len(self._clients)}")
            self._clients[common_name] = ClientFiles(pair.certificate, pair.key)
        return self._clients[common_name]

    def pin(self, common_name: str) -> str:
        """The identity's public key hash, as `spki_sha256` takes it."""
        return spki_pin(self.client(common_name).certificate)

    def _write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path
