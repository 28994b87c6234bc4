"""Principals, their credentials and databases with grants, made in code."""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import dataclass
from typing import Any

import bcrypt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from quicsql_client.server.config import (
    BearerMethod,
    DatabaseConfig,
    GrantConfig,
    MethodConfig,
    MTLSMethod,
    PasswordMethod,
    PrincipalConfig,
)


@dataclass(frozen=True)
class Leaf:
    """A certificate as a listener hands it over. pin: hex SHA-256 of its public key."""

    pem: str
    pin: str


def issue_leaf(*common_names: str) -> Leaf:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text) for text in common_names])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pem = certificate.public_bytes(Encoding.PEM).decode()
    return Leaf(pem, hashlib.sha256(spki).hexdigest())


def by_token(name: str, token: str) -> PrincipalConfig:
    digest = hashlib.sha256(token.encode()).hexdigest()
    return PrincipalConfig(
        name=name, methods=(MethodConfig(bearer=BearerMethod(token_hash=digest)),)
    )


def by_password(name: str, user: str, password: str) -> PrincipalConfig:
    stored = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
    method = PasswordMethod(user=user, password_hash=stored)
    return PrincipalConfig(name=name, methods=(MethodConfig(password=method),))


def by_certificate(name: str, *, cn: str | None = None, pin: str | None = None) -> PrincipalConfig:
    method = MTLSMethod(subject_cn=cn, spki_sha256=pin)
    return PrincipalConfig(name=name, methods=(MethodConfig(mtls=method),))


def grants(**levels: str) -> tuple[GrantConfig, ...]:
    """Grants by principal; `everyone` is the wildcard."""
    return tuple(
        GrantConfig(principal="*" if name == "everyone" else name, level=level)
        for name, level in levels.items()
    )


def memory(name: str, *granted: GrantConfig, **keys: Any) -> DatabaseConfig:
    return DatabaseConfig(name=name, backend="memory", grants=granted, **keys)


def stored(name: str, *granted: GrantConfig, **keys: Any) -> DatabaseConfig:
    return DatabaseConfig(
        name=name,
        backend="file",
        path=f"{name}.db",
        pragmas_preset="recommended",
        grants=granted,
        **keys,
    )
