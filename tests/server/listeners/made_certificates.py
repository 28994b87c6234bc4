"""Certificates made by hand, right and wrong in every way that a verdict depends on."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
ANY = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
_DAY = datetime.timedelta(days=1)


def ec_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True)
class Made:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: Key

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, common_name: str = "analyst", **traits: object) -> Made:
        """A certificate signed by this one; traits: as of `make`."""
        return make(common_name, self, **traits)  # type: ignore[arg-type]

    def write(self, folder: Path, *more: Made) -> tuple[Path, Path]:
        """The files of certificate (with others behind it) and key."""
        name = f"{self.certificate.serial_number:x}"
        certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
        certificate.write_bytes(b"".join(one.pem for one in (self, *more)))
        key.write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return certificate, key


def make(
    common_name: str,
    issuer: Made | None = None,
    *,
    key: Key | None = None,
    is_ca: bool | None = None,
    path_length: int | None = None,
    key_usage: Sequence[str] | None = None,
    uses: Sequence[x509.ObjectIdentifier] = (),
    days: tuple[float, float] = (-1, 1),
    has_unknown_critical: bool = False,
    names_its_key: bool = False,
) -> Made:
    """A certificate, self-signed without an issuer.

    is_ca: None leaves basicConstraints out. key_usage: names of what is allowed, None leaves it
    out. uses: extended key usages. days: first and last, from now. names_its_key: and its
    issuer's, by identifiers.
    """
    key = key or ec_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.certificate.subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + days[0] * _DAY)
        .not_valid_after(now + days[1] * _DAY)
    )
    if is_ca is not None:
        constraints = x509.BasicConstraints(is_ca, path_length)
        builder = builder.add_extension(constraints, critical=True)
    if key_usage is not None:
        builder = builder.add_extension(_key_usage(key_usage), critical=True)
    if uses:
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    if has_unknown_critical:
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
        builder = builder.add_extension(unknown, critical=True)
    if names_its_key:
        of_issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(
            (issuer.key if issuer else key).public_key()
        )
        builder = builder.add_extension(of_issuer, critical=False)
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = builder.add_extension(own, critical=False)
    signer = issuer.key if issuer else key
    digest = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Made(builder.sign(signer, digest), key)


def _key_usage(allowed: Sequence[str]) -> x509.KeyUsage:
    names = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{name: name in allowed for name in names})
