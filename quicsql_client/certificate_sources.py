"""Where certificates come from, and whether they have changed there: files, PEM, environment
variables, PKCS#12.

A source is asked again and again (`renewal`); what it gives is checked by `certificates`. Opens no
connection. No source shows a key or a password.
Source: design/decisions.md, 3; design/requirements.md, B1 and B10.
"""

from __future__ import annotations

import os
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from .certificates import (
    ClientCertificate,
    PEMSource,
    RootCA,
    is_path,
    load_client_certificate,
    load_root_ca,
    read_file,
    warn_when_key_is_public,
)
from .errors import ConfigurationError

__all__ = [
    "CertificateEnvironment",
    "CertificateFiles",
    "CertificateSource",
    "PKCS12File",
    "RootCAFiles",
]

Password: TypeAlias = str | bytes | None


class CertificateSource(Protocol):
    """A place that a client certificate and its key can be read from, more than once."""

    def stamp(self) -> Hashable:
        """Something cheap to get that differs after the source has changed; never raises."""
        ...

    def load(self) -> ClientCertificate:
        """The certificate as it is now. Raises ConfigurationError, naming the place."""
        ...


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """PEM files; symbolic links are followed each time, as Kubernetes swaps them. PEM text may
    stand in place of a path, and never changes.

    key: None when `cert` holds it too. password: of an encrypted key.
    """

    cert: PEMSource
    key: PEMSource | None = None
    password: Password = field(default=None, repr=False)

    def stamp(self) -> Hashable:
        """The identity, size and time of each file that the paths lead to."""
        return _stamp_of(self.cert), _stamp_of(self.key)

    def load(self) -> ClientCertificate:
        """The pair. Raises ConfigurationError, naming the file."""
        return load_client_certificate(self.cert, self.key, password=self.password)

    def __repr__(self) -> str:
        return f"CertificateFiles({_shown(self.cert)}, {_shown(self.key)})"


@dataclass(frozen=True, slots=True)
class CertificateEnvironment:
    """PEM text in environment variables. cert, key, password: the variables' names.

    key: None when the certificate's variable holds it too.
    """

    cert: str
    key: str | None = None
    password: str | None = None

    def stamp(self) -> Hashable:
        """The variables' values, hashed."""
        names = (self.cert, self.key, self.password)
        return tuple(hash(os.environ.get(name)) if name else None for name in names)

    def load(self) -> ClientCertificate:
        """The pair. Raises ConfigurationError, naming the variable."""
        names = " and ".join(name for name in (self.cert, self.key) if name)
        return load_client_certificate(
            _variable(self.cert),
            _variable(self.key) if self.key else None,
            password=_variable(self.password) if self.password else None,
            name=f"environment {names}",
        )


@dataclass(frozen=True, slots=True)
class PKCS12File:
    """A .p12 or .pfx file with certificate, key and chain. password: of the file."""

    path: str | os.PathLike[str]
    password: Password = field(default=None, repr=False)

    def stamp(self) -> Hashable:
        """The identity, size and time of the file that the path leads to."""
        return _stamp_of(self.path)

    def load(self) -> ClientCertificate:
        """The pair and its chain. Raises ConfigurationError, naming the file."""
        name = os.fspath(self.path)
        data = read_file(name, "PKCS#12 file")
        secret = self.password.encode() if isinstance(self.password, str) else self.password
        try:
            key, leaf, chain = pkcs12.load_key_and_certificates(data, secret)
        except (ValueError, TypeError):
            # The cause is dropped: its text may quote what was being decrypted.
            raise ConfigurationError(
                f"PKCS#12 file {name!r}: not PKCS#12, or the password does not open it; check both"
            ) from None
        if key is None or leaf is None:
            missing = "private key" if key is None else "certificate"
            raise ConfigurationError(
                f"PKCS#12 file {name!r} holds no {missing}; export it with both (`openssl pkcs12 "
                "-export -in leaf.crt -inkey leaf.key -certfile chain.crt`)"
            )
        warn_when_key_is_public(name)
        certificates = b"".join(one.public_bytes(Encoding.PEM) for one in (leaf, *chain))
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return load_client_certificate(certificates, pem, name=name)


@dataclass(frozen=True, slots=True)
class RootCAFiles:
    """The CA certificates of one path, read anew when the file has changed; or fixed PEM text."""

    source: PEMSource

    def stamp(self) -> Hashable:
        """The identity, size and time of the file."""
        return _stamp_of(self.source)

    def load(self) -> RootCA:
        """The CAs. Raises ConfigurationError, naming the file."""
        return load_root_ca(self.source)

    def __repr__(self) -> str:
        return f"RootCAFiles({_shown(self.source)})"


def _stamp_of(source: PEMSource | None) -> Hashable:
    if source is None or not is_path(source):
        return None
    try:
        found = os.stat(source)
    except (OSError, ValueError) as error:
        return type(error).__name__
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _variable(name: str) -> bytes:
    value = os.environ.get(name)
    if value is None:
        raise ConfigurationError(f"environment variable {name} is not set; it is to hold PEM text")
    return value.encode()


def _shown(source: PEMSource | None) -> str:
    if source is None:
        return "None"
    return repr(os.fspath(source)) if is_path(source) else "<PEM>"
