"""What a certificate says, and the pin of its key. Issues nothing and judges no chain."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..errors import ConfigurationError
from .files import PEMSource, label_of, read_pem

_USAGE_NAMES = {
    ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth",
    ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth",
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE: "anyExtendedKeyUsage",
}
_SECONDS_A_DAY = 86_400


@dataclass(frozen=True)
class CertificateFacts:
    """What one certificate says; times are in UTC.

    subject, issuer: as RFC 4514 text. common_name: the first one of the subject, "" without one.
    subject_alternative_names: "DNS:db.example.com", "IP:203.0.113.10" and the like, in order.
    extended_key_usages: "serverAuth", "clientAuth", else dotted numbers.
    pin: hex SHA-256 of the public key (`spki_sha256` of a principal). serial: hex.
    """

    subject: str
    common_name: str
    issuer: str
    subject_alternative_names: tuple[str, ...]
    extended_key_usages: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    pin: str
    is_ca: bool
    serial: str

    def __str__(self) -> str:
        return f"CN={self.common_name or '(none)'}, SPKI sha256 {self.pin}"

    @property
    def host_names(self) -> tuple[str, ...]:
        """The DNS names and IP addresses among the alternative names, as they are dialled."""
        split = (name.partition(":") for name in self.subject_alternative_names)
        return tuple(name for kind, _, name in split if kind in ("DNS", "IP"))

    def days_left(self, now: datetime | None = None) -> float:
        """Days until `not_after`, below 0 when it is past. now: None is the present."""
        return (self.not_after - (now or datetime.now(UTC))).total_seconds() / _SECONDS_A_DAY


def load_certificates(source: PEMSource, what: str = "certificate") -> list[x509.Certificate]:
    """Every certificate of a path or PEM text, in order, at least one.

    Raises: ConfigurationError, naming the file, if there is none or one is damaged.
    """
    content, label = read_pem(source, what), label_of(source, what)
    if b"-----BEGIN CERTIFICATE-----" not in content:
        raise ConfigurationError(
            f"{label}: no certificates found: expected PEM with a BEGIN CERTIFICATE line"
        )
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise ConfigurationError(f"{label}: a certificate in it is damaged: {error}") from error


def spki_pin(certificate: x509.Certificate | PEMSource) -> str:
    """The pin of a certificate's public key: lower-case hex SHA-256 over its DER form.

    certificate: an object, a path or PEM text (its first certificate). The same string as
    `openssl x509 -pubkey -noout | openssl pkey -pubin -outform DER | openssl dgst -sha256`.
    Raises: ConfigurationError, naming the file. Source: guide, step 3 (`spki_sha256`).
    """
    if not isinstance(certificate, x509.Certificate):
        certificate = load_certificates(certificate)[0]
    key = certificate.public_key()
    return hashlib.sha256(
        key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ).hexdigest()


def inspect_certificate(source: x509.Certificate | PEMSource) -> CertificateFacts:
    """What a certificate says; of a file that holds several, the first one.

    Raises: ConfigurationError, naming the file.
    """
    if not isinstance(source, x509.Certificate):
        source = load_certificates(source)[0]
    return _facts(source)


def inspect_certificates(*sources: PEMSource) -> list[CertificateFacts]:
    """What each certificate of each file or PEM text says, in order: bundles are read whole.

    Raises: ConfigurationError, naming the file.
    """
    return [_facts(found) for source in sources for found in load_certificates(source)]


def common_name(name: x509.Name) -> str:
    """The first common name of a subject or issuer, "" without one."""
    attributes = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(attributes[0].value) if attributes else ""


def is_authority(certificate: x509.Certificate) -> bool:
    """True if its basic constraints say that it may sign others."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def is_issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """True if the authority's key signed it, and its issuer is the authority's subject."""
    try:
        certificate.verify_directly_issued_by(authority)
    except Exception:  # whatever a foreign key or signature makes it raise, the answer is no
        return False
    return True


def _facts(certificate: x509.Certificate) -> CertificateFacts:
    try:
        extensions: Sequence[x509.Extension[x509.ExtensionType]] = list(certificate.extensions)
    except ValueError as error:
        subject = certificate.subject.rfc4514_string()
        raise ConfigurationError(f"certificate {subject!r}: bad extension: {error}") from error
    by_type = {type(extension.value): extension.value for extension in extensions}
    names = by_type.get(x509.SubjectAlternativeName)
    usages = by_type.get(x509.ExtendedKeyUsage)
    return CertificateFacts(
        subject=certificate.subject.rfc4514_string(),
        common_name=common_name(certificate.subject),
        issuer=certificate.issuer.rfc4514_string(),
        subject_alternative_names=_name_texts(names),
        extended_key_usages=_usage_texts(usages),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        pin=spki_pin(certificate),
        is_ca=is_authority(certificate),
        serial=f"{certificate.serial_number:x}",
    )


def _name_texts(names: x509.ExtensionType | None) -> tuple[str, ...]:
    return tuple(map(_name_text, names)) if isinstance(names, x509.SubjectAlternativeName) else ()


def _name_text(name: x509.GeneralName) -> str:
    kinds: dict[type[x509.GeneralName], str] = {
        x509.DNSName: "DNS",
        x509.IPAddress: "IP",
        x509.UniformResourceIdentifier: "URI",
        x509.RFC822Name: "email",
    }
    return f"{kinds.get(type(name), type(name).__name__)}:{name.value}"


def _usage_texts(usages: x509.ExtensionType | None) -> tuple[str, ...]:
    if not isinstance(usages, x509.ExtendedKeyUsage):
        return ()
    return tuple(_USAGE_NAMES.get(usage, usage.dotted_string) for usage in usages)
