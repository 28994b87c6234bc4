"""Certificates for mutual TLS: make the two CAs, issue leaves, pin and inspect them.

Steps 1 to 3 of the guide "Configuring mTLS in production" in code. Works in memory: a file is
written only by `write`, read only where a path is given. Knows no network and no server.
"""

from .authority import CertificateAuthority, IssuedCertificate
from .files import WrittenPair
from .inspection import (
    CertificateFacts,
    inspect_certificate,
    inspect_certificates,
    spki_pin,
)

__all__ = [
    "CertificateAuthority",
    "CertificateFacts",
    "IssuedCertificate",
    "WrittenPair",
    "inspect_certificate",
    "inspect_certificates",
    "spki_pin",
]
