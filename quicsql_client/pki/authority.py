"""A certificate authority that issues the leaves of servers and clients.

ECDSA P-256 keys and SHA-256, as the guide has them. Every certificate carries the key
identifiers, usages and constraints that strict verifiers ask for (RFC 5280, 4.2.1). A leaf never
outlives its CA: asking for that is an error, as a life cut short unasked would surprise on its
last day. Files are read only in `load` and written only in `write`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import floor

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import (
    CertificateIssuerPrivateKeyTypes,
    CertificatePublicKeyTypes,
)
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..errors import ConfigurationError
from .files import (
    PEMSource,
    WrittenPair,
    label_of,
    pair_paths,
    read_pem,
    write_pair,
)
from .inspection import common_name as common_name_of
from .inspection import is_authority, load_certificates, spki_pin
from .names import general_names

CA_DAYS = 3650  # guide, step 1
SERVER_DAYS = 825  # guide, step 2
CLIENT_DAYS = 90  # guide, step 3
_CLOCK_SKEW = timedelta(minutes=5)  # a peer whose clock is a little behind accepts it at once
_MAX_COMMON_NAME = 64  # RFC 5280, ub-common-name


@dataclass(frozen=True)
class IssuedCertificate:
    """A leaf and its private key, in memory.

    certificate_pem: the leaf. chain: the leaf and the CA below it. private_key_pem: PKCS#8, not
    encrypted.
    """

    certificate: x509.Certificate
    certificate_pem: bytes
    private_key_pem: bytes = field(repr=False)
    chain: bytes = field(repr=False)

    @property
    def pin(self) -> str:
        """The hex SHA-256 of the public key: a principal's `spki_sha256`."""
        return spki_pin(self.certificate)

    def write(
        self, folder: str | os.PathLike[str], name: str, *, force: bool = False
    ) -> WrittenPair:
        """Write `name.crt` (the leaf) and `name.key` (mode 0600) into the folder.

        force: replace what is there. Raises: ConfigurationError, naming the file.
        """
        pair = pair_paths(folder, name)
        return write_pair(pair, self.certificate_pem, self.private_key_pem, force=force)


class CertificateAuthority:
    """A CA certificate and its private key; made by `create` or `load`."""

    def __init__(
        self, certificate: x509.Certificate, private_key: CertificateIssuerPrivateKeyTypes
    ) -> None:
        self.certificate = certificate
        self._private_key = private_key

    def __repr__(self) -> str:
        return f"<CertificateAuthority {common_name_of(self.certificate.subject)!r}>"

    @classmethod
    def create(
        cls, common_name: str, days: float = CA_DAYS, *, valid_from: datetime | None = None
    ) -> CertificateAuthority:
        """A new self-signed CA.

        days: how long it lives. valid_from: an aware time, None is now; validity starts five
        minutes earlier. Raises: ConfigurationError for a name or a life that cannot be.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(common_name)
        start, end = _life(days, valid_from)
        builder = _builder(name, name, key.public_key(), start, end)
        builder = builder.add_extension(x509.BasicConstraints(True, path_length=0), critical=True)
        builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
        builder = builder.add_extension(identifier, critical=False)
        return cls(builder.sign(key, hashes.SHA256()), key)

    @classmethod
    def load(
        cls, certificate: PEMSource, key: PEMSource, password: str | bytes | None = None
    ) -> CertificateAuthority:
        """A CA from its two files or PEM texts, ours or made by the openssl command.

        key: PKCS#8 (also encrypted) or SEC1. password: only for an encrypted key.
        Raises: ConfigurationError, naming the file, if one cannot be read, is no CA, or both do
        not belong together.
        """
        found = load_certificates(certificate, "CA certificate")[0]
        label = label_of(key, "CA key")
        private_key = _load_key(read_pem(key, "CA key"), label, password)
        _require_authority(found, label_of(certificate, "CA certificate"))
        if private_key.public_key() != found.public_key():
            raise ConfigurationError(
                f"{label}: is not the key of the CA certificate "
                f"{common_name_of(found.subject)!r}: give the two files that were made together"
            )
        return cls(found, private_key)

    @property
    def certificate_pem(self) -> bytes:
        """The CA certificate: what the other side trusts (`with_root_ca`, `client_ca`)."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def private_key_pem(self) -> bytes:
        """The CA's private key as PKCS#8, not encrypted."""
        return _key_pem(self._private_key)

    @property
    def pin(self) -> str:
        """The hex SHA-256 of the CA's public key."""
        return spki_pin(self.certificate)

    def write(
        self,
        folder: str | os.PathLike[str],
        name: str,
        *,
        password: str | bytes | None = None,
        force: bool = False,
    ) -> WrittenPair:
        """Write `name.crt` and `name.key` (mode 0600); a missing folder is made with mode 0700.

        password: encrypts the key. force: replace what is there.
        Raises: ConfigurationError, naming the file.
        """
        key = _key_pem(self._private_key, password)
        return write_pair(pair_paths(folder, name), self.certificate_pem, key, force=force)

    def issue_server(
        self,
        names: str | Iterable[str],
        days: float = SERVER_DAYS,
        *,
        valid_from: datetime | None = None,
    ) -> IssuedCertificate:
        """A server leaf for every name and address that clients dial.

        names: host names, wildcards such as "*.db.internal" and IP addresses, told apart here;
        the first one is the common name too. days, valid_from: as for `create`.
        Raises: ConfigurationError for a name that is none of these, or a life beyond the CA's.
        Source: guide, step 2.
        """
        listed = [names] if isinstance(names, str) else list(names)
        alternative = general_names(listed)
        first = str(alternative[0].value)
        subject = _name(first if len(first) <= _MAX_COMMON_NAME else "quicsql server")
        usage = ExtendedKeyUsageOID.SERVER_AUTH
        return self._issue(subject, usage, alternative, days, valid_from)

    def issue_client(
        self,
        common_name: str,
        days: float = CLIENT_DAYS,
        *,
        valid_from: datetime | None = None,
    ) -> IssuedCertificate:
        """A client leaf: its common name is the identity (`subject_cn` of a principal).

        days, valid_from: as for `create`. Raises: ConfigurationError for a name that cannot be,
        or a life beyond the CA's. Source: guide, step 3.
        """
        usage = ExtendedKeyUsageOID.CLIENT_AUTH
        return self._issue(_name(common_name), usage, (), days, valid_from)

    def _issue(
        self,
        subject: x509.Name,
        usage: x509.ObjectIdentifier,
        alternative: Sequence[x509.GeneralName],
        days: float,
        valid_from: datetime | None,
    ) -> IssuedCertificate:
        key = ec.generate_private_key(ec.SECP256R1())
        start, end = self._leaf_life(days, valid_from)
        builder = _builder(subject, self.certificate.subject, key.public_key(), start, end)
        builder = builder.add_extension(x509.BasicConstraints(False, None), critical=True)
        builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        builder = builder.add_extension(self._key_identifier(), critical=False)
        if alternative:
            names = x509.SubjectAlternativeName(alternative)
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self._private_key, _digest(self._private_key))
        pem = certificate.public_bytes(Encoding.PEM)
        return IssuedCertificate(certificate, pem, _key_pem(key), pem + self.certificate_pem)

    def _leaf_life(self, days: float, valid_from: datetime | None) -> tuple[datetime, datetime]:
        start, end = _life(days, valid_from)
        last = self.certificate.not_valid_after_utc
        if end > last:
            begin = start + _CLOCK_SKEW + timedelta(minutes=1)  # still right when asked again
            room = (last - begin) / timedelta(days=1)
            raise ConfigurationError(
                f"a leaf of {days:g} days would outlive its CA "
                f"{common_name_of(self.certificate.subject)!r}, which ends {last:%Y-%m-%d %H:%M} "
                f"UTC: ask for at most {max(floor(room * 10) / 10, 0)} days, "
                "or make a new CA"
            )
        if valid_from is None:
            start = max(start, self.certificate.not_valid_before_utc)
        return start, end

    def _key_identifier(self) -> x509.AuthorityKeyIdentifier:
        """The CA's own identifier where it has one: verifiers compare the two."""
        build = x509.AuthorityKeyIdentifier
        try:
            own = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        except x509.ExtensionNotFound:
            return build.from_issuer_public_key(self._private_key.public_key())
        return build.from_issuer_subject_key_identifier(own.value)


def _name(common_name: str) -> x509.Name:
    if not common_name.strip() or len(common_name) > _MAX_COMMON_NAME:
        raise ConfigurationError(
            f"common name {common_name!r}: expected 1 to {_MAX_COMMON_NAME} characters"
        )
    if not common_name.isprintable():
        raise ConfigurationError(f"common name {common_name!r}: has a control character")
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _life(days: float, valid_from: datetime | None) -> tuple[datetime, datetime]:
    begin = (valid_from or datetime.now(UTC)).replace(microsecond=0)
    if begin.tzinfo is None:
        raise ConfigurationError(f"valid_from {begin}: expected a time with its zone, such as UTC")
    try:
        end = (begin + timedelta(days=days)).replace(microsecond=0)
    except (OverflowError, ValueError) as error:
        raise ConfigurationError(f"{days} days: ends after the year 9999") from error
    if end <= begin:
        raise ConfigurationError(f"{days} days: a certificate must live for some time")
    return begin - _CLOCK_SKEW, end


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: CertificatePublicKeyTypes,
    start: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(start).not_valid_after(end)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """A CA signs certificates and revocation lists; a leaf signs handshakes."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _digest(key: CertificateIssuerPrivateKeyTypes) -> hashes.SHA256 | None:
    """Edwards curves have their digest built in."""
    is_edwards = isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    return None if is_edwards else hashes.SHA256()


def _key_pem(key: CertificateIssuerPrivateKeyTypes, password: str | bytes | None = None) -> bytes:
    secret = _secret(password)
    encryption = BestAvailableEncryption(secret) if secret else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def _secret(password: str | bytes | None) -> bytes | None:
    return password.encode() if isinstance(password, str) else password


def _load_key(
    content: bytes, label: str, password: str | bytes | None
) -> CertificateIssuerPrivateKeyTypes:
    is_encrypted = b"ENCRYPTED" in content
    if is_encrypted and not password:
        raise ConfigurationError(f"{label}: is encrypted: give its password")
    try:
        key = load_pem_private_key(content, _secret(password) if is_encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        reason = "is the password right?" if is_encrypted else "expected a PEM private key"
        raise ConfigurationError(f"{label}: cannot be loaded: {reason}") from error
    if not isinstance(
        key,
        ec.EllipticCurvePrivateKey
        | rsa.RSAPrivateKey
        | ed25519.Ed25519PrivateKey
        | ed448.Ed448PrivateKey,
    ):
        raise ConfigurationError(f"{label}: its kind of key cannot sign: expected ECDSA P-256")
    return key


def _require_authority(certificate: x509.Certificate, label: str) -> None:
    name = common_name_of(certificate.subject)
    if not is_authority(certificate):
        raise ConfigurationError(f"{label}: {name!r} is a leaf, no CA: it cannot issue")
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return  # openssl req -x509 writes none: no usage is excluded
    if not usage.key_cert_sign:
        raise ConfigurationError(f"{label}: {name!r} may not sign certificates (key usage)")
