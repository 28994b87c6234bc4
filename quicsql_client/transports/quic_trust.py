"""Whether a server met over QUIC is to be trusted: by the rules that OpenSSL keeps over TCP.

aioquic's own check says "bad certificate" to everything; here each failure is the ssl module's
error with OpenSSL's number, so that one text explains it whatever the transport. Needs the extra
`h3`. Opens no connection. Source: protocol/transports.md, "TLS".
"""

from __future__ import annotations

import contextlib
import ipaddress
import ssl
from collections.abc import Sequence

import service_identity
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import crypto
from service_identity.cryptography import (
    verify_certificate_hostname,
    verify_certificate_ip_address,
)

from ..endpoint import Endpoint
from ..options import ClientOptions
from ..tls import check_server_pin

__all__ = ["name_of_server", "verify_server"]

# OpenSSL's X509_V_ERR_ numbers (x509_vfy.h).
_NO_ISSUER, _WRONG_USE, _NAME_MISMATCH, _IP_MISMATCH = 20, 26, 62, 64
_KEY_TOO_SMALL, _WEAK_DIGEST = 66, 68
# OpenSSL's security level 2, which Python's contexts have: 112 bits.
_LEAST_MODULUS_BITS = 2048
_WEAK_DIGESTS = frozenset({"md5", "sha1"})


def name_of_server(endpoint: Endpoint) -> str:
    """The host as TLS spells it: in ASCII. Raises UnicodeError for what is no host name."""
    return endpoint.host if endpoint.host.isascii() else endpoint.host.encode("idna").decode()


def verify_server(
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    options: ClientOptions,
    endpoint: Endpoint,
) -> None:
    """Prove that the server is the one dialled; pins hold also where endpoint.insecure.

    Raises ssl.SSLCertVerificationError with its verify_code, and TLSError for a pin.
    """
    if not endpoint.insecure:
        try:
            chain = _verified_chain(leaf, intermediates, options)
            _check_uses(chain)
            _check_strength(chain)
            _check_name(leaf, name_of_server(endpoint))
        except ValueError as error:  # certificates are parsed as they are read
            if isinstance(error, ssl.SSLCertVerificationError):
                raise
            raise _failure(_NO_ISSUER, "a certificate that cannot be read") from error
    check_server_pin(leaf.public_bytes(Encoding.DER), options, endpoint)


def _verified_chain(
    leaf: x509.Certificate, intermediates: Sequence[x509.Certificate], options: ClientOptions
) -> list[x509.Certificate]:
    """From the leaf to the anchor, signatures and dates proved."""
    context = crypto.X509StoreContext(
        _store(options),
        crypto.X509.from_cryptography(leaf),
        [crypto.X509.from_cryptography(one) for one in intermediates],
    )
    try:
        return [one.to_cryptography() for one in context.get_verified_chain()]
    except crypto.X509StoreContextError as error:
        code, _, text = error.errors
        raise _failure(code, text) from error


def _store(options: ClientOptions) -> crypto.X509Store:
    store = crypto.X509Store()
    # A CA of the user's is an anchor as it is, also an intermediate one.
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    for authority in options.root_cas:
        for certificate in authority.certificates:
            store.add_cert(crypto.X509.from_cryptography(certificate))
    if not options.root_cas:
        places = ssl.get_default_verify_paths()
        for cafile, capath in ((places.cafile, None), (None, places.capath)):
            if cafile or capath:
                with contextlib.suppress(crypto.Error):  # as OpenSSL: what is not there is not
                    store.load_locations(cafile, capath)
    return store


def _check_uses(chain: Sequence[x509.Certificate]) -> None:
    """Where a certificate names its uses, one must be to be a server's, or to issue those."""
    for certificate in chain:
        try:
            uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        except x509.ExtensionNotFound:
            continue
        if ExtendedKeyUsageOID.SERVER_AUTH not in uses:
            raise _failure(_WRONG_USE, "unsuitable certificate purpose")


def _check_strength(chain: Sequence[x509.Certificate]) -> None:
    for certificate in chain:
        key = certificate.public_key()
        bits = key.key_size if isinstance(key, rsa.RSAPublicKey | dsa.DSAPublicKey) else None
        if bits is not None and bits < _LEAST_MODULUS_BITS:
            raise _failure(_KEY_TOO_SMALL, "a key of the chain is too small")
    for certificate in chain[:-1]:  # the anchor's signature proves nothing
        digest = certificate.signature_hash_algorithm
        if digest is not None and digest.name in _WEAK_DIGESTS:
            raise _failure(_WEAK_DIGEST, "a signature of the chain is too weak")


def _check_name(leaf: x509.Certificate, host: str) -> None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    try:
        if address is not None:
            verify_certificate_ip_address(leaf, host)
        else:
            verify_certificate_hostname(leaf, host)
    except (service_identity.VerificationError, service_identity.CertificateError) as error:
        code = _NAME_MISMATCH if address is None else _IP_MISMATCH
        raise _failure(code, "the name is not in the certificate") from error
    except ValueError as error:  # not a name that a certificate could hold
        raise _failure(_NAME_MISMATCH, "not a name of a host") from error


def _failure(code: int, text: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, f"certificate verify failed: {text}")
    error.reason = "CERTIFICATE_VERIFY_FAILED"
    error.verify_code = code
    error.verify_message = text
    return error
