"""Certificates, keys and CAs that a user gives: read, checked, matched, described.

Everything is checked when it is given, so that a mistake names its file and not an OpenSSL error
at the first request. Knows nothing of sockets, contexts' settings or HTTP. No private key or
password ever reaches a message or a repr.
"""

from __future__ import annotations

import hashlib
import os
import re
import ssl
import stat
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias, TypeGuard

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from .errors import ConfigurationError, TransportWarning
from .pki.inspection import CertificateFacts, inspect_certificate, is_issued_by

__all__ = [
    "ClientCertificate",
    "PEMSource",
    "RootCA",
    "is_path",
    "load_client_certificate",
    "load_root_ca",
    "read_file",
    "read_source",
    "warn_when_key_is_public",
]

PEMSource: TypeAlias = str | bytes | os.PathLike[str]
"""A path, or PEM text itself: bytes, or a str that holds "-----BEGIN"."""

_GIVEN_PEM = "the PEM given"
_BLOCK = re.compile(
    rb"-----BEGIN (?P<label>[A-Z0-9 ]+)-----\r?\n.*?-----END (?P=label)-----", re.DOTALL
)
_BEGIN = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")
_CERTIFICATE_LABELS = frozenset({"CERTIFICATE", "X509 CERTIFICATE"})
# ASN.1 SEQUENCE with a long length: how every DER certificate, key and PKCS#12 file begins.
_DER_START = (b"\x30\x80", b"\x30\x81", b"\x30\x82", b"\x30\x83")


@dataclass(frozen=True, slots=True)
class RootCA:
    """CA certificates from one source. source: its path, or "the PEM given"."""

    source: str
    certificates: tuple[x509.Certificate, ...] = field(repr=False)

    def pem(self) -> str:
        """The certificates as PEM text."""
        return "".join(c.public_bytes(Encoding.PEM).decode("ascii") for c in self.certificates)

    def issued(self, leaf: x509.Certificate) -> bool:
        """True when one of these certificates signed `leaf`."""
        return any(is_issued_by(leaf, authority) for authority in self.certificates)


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A client certificate, its chain and its private key, proved to belong together.

    source: where the certificate came from. facts: who it says it is. The key stays as it was
    given, encrypted where it was encrypted.
    """

    source: str
    facts: CertificateFacts
    leaf: x509.Certificate = field(repr=False)
    chain_pem: bytes = field(repr=False)
    key_pem: bytes = field(repr=False)
    password: bytes | None = field(default=None, repr=False)

    def configure(self, context: ssl.SSLContext) -> None:
        """Make `context` present this certificate.

        Raises ConfigurationError when OpenSSL refuses it.
        """
        with _pem_file(self.chain_pem + b"\n" + self.key_pem) as path:
            try:
                # A callable, also for no password: OpenSSL never gets to prompt on a terminal.
                context.load_cert_chain(path, password=lambda: self.password or b"")
            except (ssl.SSLError, ValueError, OSError):
                # The cause is dropped: its text is about a temporary file that is gone.
                raise ConfigurationError(
                    f"OpenSSL refuses the certificate or key of {self.source}: the key may be too "
                    "small or of a kind "
                    "that it does not take; issue a new pair (ECDSA P-256 is a good choice)"
                ) from None

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError(
            "a client certificate holds a private key and is not pickled; load it again instead"
        )


def load_root_ca(source: PEMSource) -> RootCA:
    """Read one or many CA certificates from a path or PEM text;

    Text between the PEM blocks is skipped.

    Raises ConfigurationError, naming the file, when it is missing, a directory, empty, DER, a
    key, cut or holds none.
    """
    name, data = read_source(source, "CA file")
    certificates = _certificates_in(name, data)
    if not certificates:
        raise ConfigurationError(_no_certificate_text(name, data, "a CA certificate"))
    return RootCA(name, certificates)


def load_client_certificate(
    cert: PEMSource,
    key: PEMSource | None = None,
    *,
    password: str | bytes | None = None,
    name: str | None = None,
) -> ClientCertificate:
    """Read a client certificate (with its chain, in any order) and its key, and prove that they
    match.

    key: None when the same PEM holds it. password: of an encrypted key; it is never asked for on
    a terminal. name: what to call PEM text in messages. Warns with TransportWarning when every
    user of the machine can read the key file. Raises ConfigurationError, naming the file and what
    to do.
    """
    cert_name, cert_data = read_source(cert, "client certificate file", name)
    key_name, key_data = (
        (cert_name, cert_data) if key is None else read_source(key, "client key file", name)
    )
    certificates = _certificates_in(cert_name, cert_data)
    key_pem = _key_block(key_data)
    if not certificates:
        raise ConfigurationError(
            _missing_certificate_text(cert_name, cert_data, key_name, key_data)
        )
    if key_pem is None:
        raise ConfigurationError(_missing_key_text(key_name, key_data, key is None))
    secret = password.encode("utf-8") if isinstance(password, str) else password
    private_key = _load_key(key_name, key_pem, secret)
    leaf = _matching(certificates, private_key, cert_name, key_name)
    key_source = cert if key is None else key
    if is_path(key_source):
        warn_when_key_is_public(key_source)
    chain = [leaf, *(c for c in certificates if c is not leaf)]
    chain_pem = b"".join(c.public_bytes(Encoding.PEM) for c in chain)
    return ClientCertificate(cert_name, inspect_certificate(leaf), leaf, chain_pem, key_pem, secret)


# Reading


def is_path(source: PEMSource) -> TypeGuard[str | os.PathLike[str]]:
    """Whether a source is a path, and not PEM text itself."""
    if isinstance(source, str):
        return "-----BEGIN" not in source
    return isinstance(source, os.PathLike)


def read_source(source: PEMSource, what: str, name: str | None = None) -> tuple[str, bytes]:
    """The name to use in messages, and the bytes. Raises ConfigurationError, naming the file."""
    if isinstance(source, bytes | bytearray):
        return name or _GIVEN_PEM, _checked_content(name or _GIVEN_PEM, bytes(source), what)
    if not isinstance(source, str | os.PathLike):
        raise ConfigurationError(
            f"{what}: expected a path or PEM text, got {type(source).__name__}"
        )
    if not is_path(source):
        return name or _GIVEN_PEM, str(source).encode("utf-8", "surrogatepass")
    path = os.fspath(source)
    return path, _checked_content(path, read_file(path, what), what)


def read_file(path: str, what: str) -> bytes:
    """The bytes of a file. Raises ConfigurationError, naming what it is to be, and the file."""
    if not path or "\0" in path:
        raise ConfigurationError(f"{what}: the path is empty or holds a NUL character")
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        raise ConfigurationError(f"{what} {path!r} does not exist; check the path") from error
    except IsADirectoryError as error:
        raise ConfigurationError(
            f"{what} {path!r} is a directory; give the file inside it"
        ) from error
    except OSError as error:
        raise ConfigurationError(f"{what} {path!r} cannot be read: {error.strerror}") from error


def _checked_content(name: str, data: bytes, what: str) -> bytes:
    if not data.strip():
        raise ConfigurationError(f"{what} {name!r} is empty; expected PEM text")
    if data.startswith(_DER_START):
        raise ConfigurationError(
            f"{what} {name!r} is binary (DER or PKCS#12), expected PEM; convert it with "
            f"`openssl x509 -inform der -in {name} -out {name}.pem` (a key: `openssl pkey -inform "
            "der`; "
            "a .p12 or .pfx: `openssl pkcs12 -nodes`)"
        )
    return data


def _blocks(data: bytes) -> Iterator[tuple[str, bytes]]:
    for match in _BLOCK.finditer(data):
        yield match["label"].decode("ascii"), match[0] + b"\n"


def _certificates_in(name: str, data: bytes) -> tuple[x509.Certificate, ...]:
    blocks = [block for label, block in _blocks(data) if label in _CERTIFICATE_LABELS]
    return tuple(_parse_certificate(name, index, block) for index, block in enumerate(blocks, 1))


def _parse_certificate(name: str, index: int, block: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(block)
    except ValueError as error:
        raise ConfigurationError(
            f"{name!r}: certificate {index} is damaged ({error}); copy the file again"
        ) from error


def _labels(data: bytes) -> set[str]:
    return {label.decode("ascii") for label in _BEGIN.findall(data)}


def _has_key(data: bytes) -> bool:
    return any(label.endswith("PRIVATE KEY") for label in _labels(data))


def _key_block(data: bytes) -> bytes | None:
    return next((block for label, block in _blocks(data) if label.endswith("PRIVATE KEY")), None)


# What is wrong


def _no_certificate_text(name: str, data: bytes, expected: str) -> str:
    labels = _labels(data)
    if labels & _CERTIFICATE_LABELS:
        return f"{name!r} is cut: a certificate begins and does not end; copy the file again"
    if _has_key(data):
        return (
            f"{name!r} holds a private key, expected {expected}; keep the key where it is and "
            "give the certificate"
        )
    if "CERTIFICATE REQUEST" in labels or "NEW CERTIFICATE REQUEST" in labels:
        return (
            f"{name!r} holds a signing request, expected {expected}; give the certificate that "
            "the CA made of it"
        )
    return (
        f"{name!r} holds no certificate, expected {expected} in PEM (-----BEGIN CERTIFICATE-----)"
    )


def _missing_certificate_text(
    cert_name: str, cert_data: bytes, key_name: str, key_data: bytes
) -> str:
    is_swapped = _has_key(cert_data) and _CERTIFICATE_LABELS & _labels(key_data)
    if is_swapped and cert_data is not key_data:
        return (
            f"certificate and key are swapped: {cert_name!r} holds the private key and "
            f"{key_name!r} the certificate; "
            "give the certificate first"
        )
    return _no_certificate_text(cert_name, cert_data, "the client certificate")


def _missing_key_text(name: str, data: bytes, is_bundle: bool) -> str:
    if _has_key(data):
        return f"{name!r} is cut: a private key begins and does not end; copy the file again"
    if is_bundle:
        return (
            f"{name!r} holds a certificate and no private key; give the key as the second argument"
        )
    if _labels(data) & _CERTIFICATE_LABELS:
        return f"{name!r} holds a certificate, expected its private key; give the key file"
    return f"{name!r} holds no private key, expected one in PEM (-----BEGIN PRIVATE KEY-----)"


def _load_key(name: str, pem: bytes, password: bytes | None) -> PrivateKeyTypes:
    is_encrypted = b"ENCRYPTED" in pem
    if is_encrypted and not password:
        raise ConfigurationError(
            f"the private key in {name!r} is encrypted and no password was given; pass password="
        )
    try:
        return load_pem_private_key(pem, password if is_encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The cause is dropped: its text may quote what was being decrypted.
        if is_encrypted:
            text = f"the password does not open the private key in {name!r}; check the password"
        else:
            text = (
                f"the private key in {name!r} is damaged or of a kind that TLS does not use; "
                "convert it with `openssl pkcs8 -topk8 -nocrypt`"
            )
        raise ConfigurationError(text) from None


def _matching(
    certificates: tuple[x509.Certificate, ...],
    key: PrivateKeyTypes,
    cert_name: str,
    key_name: str,
) -> x509.Certificate:
    public_key = key.public_key()
    for certificate in certificates:
        if certificate.public_key() == public_key:
            return certificate
    spki = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pin = hashlib.sha256(spki).hexdigest()
    raise ConfigurationError(
        f"the private key in {key_name!r} belongs to another certificate: {cert_name!r} is for "
        f"{inspect_certificate(certificates[0])}, the key has SPKI sha256 {pin}; give the pair "
        "that was issued together"
    )


def warn_when_key_is_public(path: str | os.PathLike[str]) -> None:
    """Warns with TransportWarning when every user of the machine can read the key in the file."""
    if os.name != "posix":
        return
    mode = os.stat(path).st_mode
    if stat.S_ISREG(mode) and mode & stat.S_IROTH:
        warnings.warn(
            f"every user of this machine can read the private key in {os.fspath(path)!r} (mode "
            f"{stat.S_IMODE(mode):04o}); "
            "run chmod 600 on it",
            TransportWarning,
            stacklevel=4,
        )


# PEM to a file for OpenSSL, which reads keys from files only


@contextmanager
def _pem_file(pem: bytes) -> Iterator[str]:
    """A path that holds `pem` while the block runs:

    Memory where the system offers it, else a private file.
    """
    if hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd"):
        descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
        try:
            _write_all(descriptor, pem)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    with tempfile.TemporaryDirectory() as folder:  # made with mode 0700
        path = os.path.join(folder, "pem")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            _write_all(descriptor, pem)
        finally:
            os.close(descriptor)
        yield path


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
