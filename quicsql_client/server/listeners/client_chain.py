"""The verdict on clients' certificates where no TLS library gives one: on QUIC, whose aioquic
checks that a client has the key of its certificate, and leaves the chain to us.

The judge is OpenSSL, as on the TCP listeners, so that both agree; `cryptography.x509.verification`
knows the rules of the web only, and refuses authorities with Edwards keys and leaves of
`openssl x509 -req`, which are X.509 v1. What OpenSSL checks by the purpose and the security level
of a TLS connection, neither of which can be set here, is checked below. Must not know QUIC or
requests.
Source: protocol/auth.md, "mTLS"; RFC 5280 6; RFC 8446 6.2 for the alerts.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import crypto

from .quic_context import QUICContext

MAX_INTERMEDIATES: Final = 8
"""Of a client's chain; more are refused unseen."""

_MIN_RSA_BITS = 2048
_MIN_CURVE_BITS = 224
_MIN_DIGEST_BYTES = 28  # SHA-1 has 20
_EXPIRED, _NOT_YET_VALID = 10, 9  # X509_V_ERR_CERT_HAS_EXPIRED, X509_V_ERR_CERT_NOT_YET_VALID

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


class Alert(enum.IntEnum):
    """What TLS lets a server say about a client's certificate."""

    BAD_CERTIFICATE = 42
    UNSUPPORTED_CERTIFICATE = 43
    CERTIFICATE_EXPIRED = 45
    UNKNOWN_CA = 48
    CERTIFICATE_REQUIRED = 116

    @property
    def text(self) -> str:
        """Its name, as OpenSSL spells it."""
        return self.name.lower().replace("_", " ")


class CertificateRefused(Exception):
    """A client that is not admitted. alert: what the client is told; the text is for the log."""

    def __init__(self, alert: Alert, detail: str = "") -> None:
        super().__init__(f"{alert.text}: {detail}" if detail else alert.text)
        self.alert = alert


_ALERTS = {_EXPIRED: Alert.CERTIFICATE_EXPIRED, _NOT_YET_VALID: Alert.BAD_CERTIFICATE}


class Admission:
    """Which clients a context lets in."""

    def __init__(self, context: QUICContext) -> None:
        self._is_required = context.is_required
        self.asks_for_certificate = bool(context.client_cas)
        self._store = crypto.X509Store()
        # Every certificate of the bundle is an anchor, an intermediate as well.
        self._store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
        for authority in context.client_cas:
            self._store.add_cert(crypto.X509.from_cryptography(authority))

    def judge(
        self, leaf: x509.Certificate | None, intermediates: Sequence[x509.Certificate]
    ) -> x509.Certificate | None:
        """The certificate that identifies a client, verified now; None: it has none, and needs
        none.

        leaf: what the client presented and has the key of. intermediates: what it sent with that,
        in any order. Raises: CertificateRefused.
        """
        if not self.asks_for_certificate:
            return None
        if leaf is None:
            if self._is_required:
                raise CertificateRefused(Alert.CERTIFICATE_REQUIRED)
            return None
        if len(intermediates) > MAX_INTERMEDIATES:
            raise CertificateRefused(Alert.BAD_CERTIFICATE, "the chain is too long")
        try:
            _, *authorities = chain = self._build_chain(leaf, intermediates)
            _require_client(leaf)
            for authority in authorities:
                _require_authority(authority)
            for certificate in chain:
                _require_strong_key(certificate)
            for certificate in chain[:-1]:  # the last one is trusted, whoever signed it
                _require_strong_signature(certificate)
        except ValueError as error:  # of cryptography, which reads extensions when asked for
            raise CertificateRefused(Alert.BAD_CERTIFICATE, f"malformed: {error}") from error
        return leaf

    def _build_chain(
        self, leaf: x509.Certificate, intermediates: Sequence[x509.Certificate]
    ) -> list[x509.Certificate]:
        """From the leaf to an anchor."""
        judge = crypto.X509StoreContext(
            self._store,
            crypto.X509.from_cryptography(leaf),
            [crypto.X509.from_cryptography(one) for one in intermediates],
        )
        try:
            return [one.to_cryptography() for one in judge.get_verified_chain()]
        except crypto.X509StoreContextError as error:
            code, depth, text = error.errors
            alert = _ALERTS.get(code, Alert.UNKNOWN_CA)
            detail = f"{text} (at depth {depth})" if depth else text
            raise CertificateRefused(alert, detail) from error


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _require_client(leaf: x509.Certificate) -> None:
    uses = _extension(leaf, x509.ExtendedKeyUsage)
    if uses is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in uses:
        raise CertificateRefused(Alert.UNSUPPORTED_CERTIFICATE, "not one for clients")
    usage = _extension(leaf, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        raise CertificateRefused(Alert.UNSUPPORTED_CERTIFICATE, "its key may not sign")


def _require_authority(certificate: x509.Certificate) -> None:
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        raise CertificateRefused(Alert.UNKNOWN_CA, "its issuer is no authority")
    uses = _extension(certificate, x509.ExtendedKeyUsage)
    if uses is not None and not (
        ExtendedKeyUsageOID.CLIENT_AUTH in uses
        or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in uses
    ):
        raise CertificateRefused(Alert.UNKNOWN_CA, "its issuer is not one for clients")


def _require_strong_key(certificate: x509.Certificate) -> None:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        is_strong = key.key_size >= _MIN_RSA_BITS
    elif isinstance(key, ec.EllipticCurvePublicKey):
        is_strong = key.curve.key_size >= _MIN_CURVE_BITS
    else:
        is_strong = isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey)
    if not is_strong:
        raise CertificateRefused(Alert.BAD_CERTIFICATE, "a weak key")


def _require_strong_signature(certificate: x509.Certificate) -> None:
    digest = certificate.signature_hash_algorithm  # None: of an Edwards key, which has its own
    if digest is not None and digest.digest_size < _MIN_DIGEST_BYTES:
        raise CertificateRefused(Alert.BAD_CERTIFICATE, f"signed with {digest.name}")
