"""The TLS side of a QUIC listener: its certificate and key, and which clients it admits.

The counterpart of an ssl.SSLContext, as QUIC does TLS without the ssl module. Built whole and
never changed: a reload builds a new one (`contexts`). Must not know aioquic, so that it is there
without the extra.
Source: protocol/transports.md, "TLS"; protocol/auth.md, "mTLS".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ...errors import ConfigurationError
from .contexts import ClientAuth, read_file, self_signed_pair, server_context

PrivateKey: TypeAlias = (
    ec.EllipticCurvePrivateKey
    | rsa.RSAPrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)
_CURVES = (ec.SECP256R1, ec.SECP384R1)  # what aioquic signs handshakes with


@dataclass(frozen=True)
class QUICContext:
    """certificate, key: the server's. intermediates: sent with it. client_cas: which authorities'
    clients are let in; without any no certificate is asked for, else `is_required` says whether a
    client must have one."""

    certificate: x509.Certificate
    intermediates: tuple[x509.Certificate, ...]
    key: PrivateKey
    client_cas: tuple[x509.Certificate, ...]
    is_required: bool


def quic_context(
    *, cert: str, key: str, client_ca: str | None, client_auth: ClientAuth
) -> QUICContext:
    """A context from PEM files, the same as `contexts.server_context` takes.

    Raises: ConfigurationError, of that function and for the same reasons; besides for a kind of
    key that QUIC cannot use here.
    """
    server_context(
        cert=cert, key=key, client_ca=client_ca, client_auth=client_auth, min_version="1.3"
    )
    pair = read_file("tls files", cert), read_file("tls files", key)
    return _context(*pair, f"tls files: {key}", client_ca, client_auth)


def self_signed_quic_context(
    *, hosts: Sequence[str], client_ca: str | None, client_auth: ClientAuth
) -> QUICContext:
    """A context with a fresh certificate of its own (`contexts.self_signed_context`)."""
    pair = self_signed_pair(hosts)
    return _context(pair, pair, "tls self_signed", client_ca, client_auth)


def _context(
    cert: bytes, key: bytes, label: str, client_ca: str | None, client_auth: ClientAuth
) -> QUICContext:
    certificate, *intermediates = x509.load_pem_x509_certificates(cert)
    is_required = client_auth is ClientAuth.REQUIRED
    client_cas: tuple[x509.Certificate, ...] = ()
    if client_ca is not None and client_auth is not ClientAuth.NONE:
        client_cas = _authorities(client_ca)
    return QUICContext(
        certificate, tuple(intermediates), _usable_key(key, label), client_cas, is_required
    )


def _authorities(path: str) -> tuple[x509.Certificate, ...]:
    try:
        return tuple(x509.load_pem_x509_certificates(read_file("tls client_ca", path)))
    except ValueError as error:
        raise ConfigurationError(f'tls client_ca "{path}": no certificates found') from error


def _usable_key(pem: bytes, label: str) -> PrivateKey:
    key = load_pem_private_key(pem, None)
    if isinstance(key, PrivateKey) and (
        not isinstance(key, ec.EllipticCurvePrivateKey) or isinstance(key.curve, _CURVES)
    ):
        return key
    raise ConfigurationError(
        f"{label}: this kind of key cannot be used over HTTP/3: take ECDSA P-256"
    )
