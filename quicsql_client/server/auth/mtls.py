"""Client certificates: the verified leaf's Common Name or key.

The handshake has verified the chain; here a certificate only gets a name.
Source: protocol/auth.md, mTLS.
"""

from __future__ import annotations

from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from ...pki import spki_pin
from ..config import MTLSMethod
from .presented import ABSENT, Presented, Principal, Verdict

__all__ = ["Certificates"]


class Certificates:
    """The principals that certificates prove."""

    def __init__(self) -> None:
        self._by_cn: dict[str, Principal] = {}
        self._by_spki: dict[str, Principal] = {}

    def declare(self, name: str, method: MTLSMethod) -> None:
        """Let a Common Name, a key or either stand for the principal."""
        principal = Principal(name, "mtls")
        if method.subject_cn:
            self._by_cn[method.subject_cn] = principal
        if method.spki_sha256:
            self._by_spki[method.spki_sha256.lower()] = principal

    async def judge(self, presented: Presented) -> Verdict:
        """By the leaf's subject CN, else its key. Unmapped counts as absent."""
        chain = presented.extension("tls").get("client_cert_chain")
        if not chain:
            return ABSENT
        common_name, pin = _identity_of(chain[0])
        return self._by_cn.get(common_name) or self._by_spki.get(pin) or ABSENT


@lru_cache(maxsize=1024)
def _identity_of(pem: str) -> tuple[str, str]:
    """(subject CN, hex SHA-256 of the SubjectPublicKeyInfo) of a leaf; "" for what it lacks. SANs
    are ignored.
    """
    leaf = x509.load_pem_x509_certificate(pem.encode())
    names = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    common_name = names[-1].value if names else ""
    try:
        pin = spki_pin(leaf)
    except (
        ValueError,
        UnsupportedAlgorithm,
    ):  # a key type unknown here has no pin, its CN still counts
        return str(common_name), ""
    return str(common_name), pin
