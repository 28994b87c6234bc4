"""Certificates for the listeners' tests: issued by trustme, and by hand where one must be wrong."""

from __future__ import annotations

import datetime
import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from quicsql_client.server.listeners import ClientAuth, QUICContext, quic_context, server_context


@dataclass(frozen=True)
class PKI:
    """Two authorities, one for servers and one for clients, and a foreign one."""

    directory: Path
    server_ca: trustme.CA
    client_ca: trustme.CA
    foreign_ca: trustme.CA

    @classmethod
    def create(cls, directory: Path) -> PKI:
        pki = cls(directory, trustme.CA(), trustme.CA(), trustme.CA())
        pki.client_ca.cert_pem.write_to_path(directory / "client-ca.pem")
        pki.write_server_pair("server")
        return pki

    def path(self, name: str) -> str:
        return str(self.directory / name)

    def text(self, name: str) -> str:
        return (self.directory / name).read_text()

    def write_server_pair(self, name: str) -> None:
        leaf = self.server_ca.issue_cert("localhost", "127.0.0.1")
        leaf.cert_chain_pems[0].write_to_path(self.directory / f"{name}.pem")
        leaf.private_key_pem.write_to_path(self.directory / f"{name}.key")

    def context(
        self,
        client_auth: ClientAuth = ClientAuth.NONE,
        *,
        pair: str = "server",
        min_version: str = "1.2",
    ) -> ssl.SSLContext:
        """A listener's context from the files."""
        return server_context(
            cert=self.path(f"{pair}.pem"),
            key=self.path(f"{pair}.key"),
            client_ca=self.path("client-ca.pem"),
            client_auth=client_auth,
            min_version=min_version,
        )

    def quic_context(
        self, client_auth: ClientAuth = ClientAuth.NONE, *, pair: str = "server"
    ) -> QUICContext:
        """The same for a QUIC listener."""
        return quic_context(
            cert=self.path(f"{pair}.pem"),
            key=self.path(f"{pair}.key"),
            client_ca=self.path("client-ca.pem"),
            client_auth=client_auth,
        )

    def client(
        self,
        identity: trustme.LeafCert | str | None = None,
        *,
        alpn: tuple[str, ...] = (),
        maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    ) -> ssl.SSLContext:
        """A client's context that trusts the server CA. identity: a leaf, or a PEM pair's path."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.server_ca.configure_trust(context)
        context.maximum_version = maximum
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if isinstance(identity, str):
            context.load_cert_chain(identity)
        elif identity is not None:
            identity.configure_cert(context)
        return context

    def server_only_leaf(self) -> str:
        """The path of a pair from the client CA that may only be used by servers."""
        issuer = x509.load_pem_x509_certificate(self.client_ca.cert_pem.bytes())
        issuer_key = serialization.load_pem_private_key(
            self.client_ca.private_key_pem.bytes(), None
        )
        assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "analyst")]))
            .issuer_name(issuer.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(issuer_key, hashes.SHA256())
        )
        path = self.directory / "server-only.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        return str(path)
