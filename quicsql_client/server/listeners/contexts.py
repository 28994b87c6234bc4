"""TLS contexts of listeners: certificate, client CA, versions, cipher suites, ALPN.

A context is built whole and never changed afterwards: loading a wrong pair into a live context
raises and leaves it without any certificate, so a reload builds a new one and swaps it
(`Listener.replace_context`). Must not know sockets or HTTP.
Source: protocol/transports.md, "TLS"; protocol/auth.md, "mTLS".
"""

from __future__ import annotations

import datetime
import enum
import ipaddress
import os
import ssl
import tempfile
from collections.abc import Sequence
from typing import NoReturn

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ...errors import ConfigurationError

ALPN_PROTOCOLS = ("h2", "http/1.1")

# TLS 1.2 only; 1.3 has its own three suites. AEAD first; the ECDHE CBC suites with SHA-1 are there
# for the old clients that the upstream serves.
_TLS12_CIPHERS = (
    "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA"
    ":ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA"
)
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_SELF_SIGNED_DAYS = 365
_LOOPBACK = ("127.0.0.1", "::1")


class ClientAuth(enum.Enum):
    """Whether a listener asks for a client certificate; one that is given is always verified."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


def server_context(
    *, cert: str, key: str, client_ca: str | None, client_auth: ClientAuth, min_version: str
) -> ssl.SSLContext:
    """A context from PEM files.

    Without client_ca no certificate is ever requested, whatever client_auth says. min_version:
    "1.2" or "1.3" ("" is 1.2).
    Raises: ConfigurationError naming the file, when one cannot be read, holds no certificate, or
    the key is another certificate's or encrypted.
    Source: protocol/config.md, "tls.<profile>"; protocol/auth.md, "mTLS".
    """
    context = _bare_context(min_version)
    for path in (cert, key):
        read_file("tls files", path)
    try:
        context.load_cert_chain(cert, key, password=_refuse_passphrase)
    except ssl.SSLError as error:
        raise ConfigurationError(_pair_problem(cert, key, error)) from error
    _ask_for_client_certificates(context, client_ca, client_auth)
    return context


def self_signed_context(
    *, hosts: Sequence[str], client_ca: str | None, client_auth: ClientAuth, min_version: str
) -> ssl.SSLContext:
    """A context with a fresh certificate of its own: ECDSA P-256, CN localhost, 365 days.

    hosts: names and addresses for the SAN; the loopback addresses are always there, and the name
    localhost when hosts has no name. The key exists in memory, and for a moment in a private
    temporary file, as the ssl module loads keys from files only.
    Source: protocol/config.md, "tls.<profile>", self_signed.
    """
    context = _bare_context(min_version)
    pair = self_signed_pair(hosts)
    with tempfile.TemporaryDirectory(prefix="quicsql-tls-") as directory:
        path = os.path.join(directory, "pair.pem")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pair)
        context.load_cert_chain(path)
    _ask_for_client_certificates(context, client_ca, client_auth)
    return context


def _bare_context(min_version: str) -> ssl.SSLContext:
    minimum = _VERSIONS.get(min_version or "1.2")
    if minimum is None:
        raise ConfigurationError(f'tls: invalid min_version "{min_version}" (want 1.2 or 1.3)')
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = minimum
    context.set_ciphers(_TLS12_CIPHERS)
    context.set_alpn_protocols(list(ALPN_PROTOCOLS))
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    return context


def _ask_for_client_certificates(
    context: ssl.SSLContext, client_ca: str | None, client_auth: ClientAuth
) -> None:
    if client_ca is None or client_auth is ClientAuth.NONE:
        return
    read_file("tls client_ca", client_ca)
    try:
        context.load_verify_locations(cafile=client_ca)
    except ssl.SSLError as error:
        raise ConfigurationError(f'tls client_ca "{client_ca}": no certificates found') from error
    # Every certificate of the bundle is an anchor, an intermediate as well: that is how the
    # upstream reads it.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    # A resumed session would bring back an identity without looking at the certificate again.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    required = client_auth is ClientAuth.REQUIRED
    context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL


def read_file(subject: str, path: str) -> bytes:
    """The content of a file. Raises: ConfigurationError `<subject>: open <path>: ...`."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ConfigurationError(f"{subject}: open {path}: {os_error_text(error)}") from error


def os_error_text(error: OSError) -> str:
    """The system's own words for an error, in the lower case that error chains use."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]


def _pair_problem(cert: str, key: str, error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"tls files: {key} is not the private key of {cert}; give the two files of one pair"
    reason = (error.reason or "not PEM").lower().replace("_", " ")
    return f"tls files: {cert} and {key} are no PEM certificate and key ({reason})"


def _refuse_passphrase() -> NoReturn:
    # Without this OpenSSL would ask on the terminal, and the server would hang at its start.
    raise ConfigurationError(
        "tls files: the private key is encrypted; give an unencrypted key (mode 0600)"
    )


def self_signed_pair(hosts: Sequence[str]) -> bytes:
    """A fresh private key and its certificate for these hosts, as one PEM text."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))  # clocks differ
        .not_valid_after(now + datetime.timedelta(days=_SELF_SIGNED_DAYS))
        .add_extension(x509.SubjectAlternativeName(_alternative_names(hosts)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private + certificate.public_bytes(Encoding.PEM)


def _alternative_names(hosts: Sequence[str]) -> list[x509.GeneralName]:
    names: list[str] = []
    addresses = [ipaddress.ip_address(text) for text in _LOOPBACK]
    for host in hosts:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            names.append(host)
        else:
            if address not in addresses:
                addresses.append(address)
    try:
        dns = [x509.DNSName(name) for name in names or ["localhost"]]
    except ValueError as error:
        raise ConfigurationError(
            f"tls self_signed: hosts {names} must be ASCII names or addresses"
        ) from error
    return [*dns, *(x509.IPAddress(address) for address in addresses)]
