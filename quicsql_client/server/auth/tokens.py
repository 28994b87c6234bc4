"""Session tokens: short-lived bearer tokens that the server mints, renews and revokes.

A token is signed and kept nowhere; what is kept is which chains were revoked. Its layout is that of
the protocol, opaque to clients. It must not know headers, listeners or how the holder was
authenticated in the first place.
Source: protocol/auth.md, Session tokens.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import secrets
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from .encoding import decode_base64url, encode_base64url
from .revocations import Revocations

__all__ = ["TOKEN_PREFIX", "Claims", "SessionTokens"]

TOKEN_PREFIX: Final = b"st_"

_NS: Final = 10**9
_VERSION: Final = 1
# Version, chain, expiry, hard expiry, authentication time, not-before-destructive, tier, scope,
# factors, rotation, credential id; then the principal's name and the MAC.
_HEAD: Final = struct.Struct(">B16sQQQQBBHH16s")
_MAC_BYTES: Final = hashlib.sha256().digest_size
_MAX_CHARACTERS: Final = 1 << 16  # nothing longer is looked at
_NO_CREDENTIAL: Final = bytes(16)
# The factors that upstream notes: a shared secret, a key of the holder's own.
_FACTORS: Final = {"bearer": 1, "password": 1, "mtls": 8, "keyring": 8}
_DEFAULT_IDLE_TTL_S: Final = 900.0


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says, all times in nanoseconds since 1970.

    chain: shared by a minted token and all its renewals. hard_expires_ns: when the chain ends,
    0: it cannot be renewed. begun_ns: when the chain was minted.
    """

    chain: bytes
    principal: str
    expires_ns: int
    hard_expires_ns: int
    begun_ns: int
    factors: int

    @property
    def is_renewable(self) -> bool:
        """Whether PUT can renew the token."""
        return self.hard_expires_ns != 0

    @property
    def ends_ns(self) -> int:
        """When the last token of the chain has expired."""
        return self.hard_expires_ns or self.expires_ns


class SessionTokens:
    """Mints and reads tokens with a random key of its own, so that a restart voids all of them.

    idle_ttl_s: the life of one token (0: the default). max_ttl_s: of a chain, 0: not renewable.
    clock_ns: nanoseconds since 1970.
    """

    def __init__(
        self,
        *,
        idle_ttl_s: float,
        max_ttl_s: float,
        is_enabled: bool = True,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.is_enabled = is_enabled
        self._idle_ns = round((idle_ttl_s or _DEFAULT_IDLE_TTL_S) * _NS)
        self._max_ns = round(max_ttl_s * _NS)
        self._clock_ns = clock_ns
        self._key = secrets.token_bytes(32)
        self._revocations = Revocations(max(self._idle_ns, self._max_ns))

    def mint(self, principal: str, method: str) -> Claims:
        """The claims of a new chain. method: what proved the principal."""
        now = self._clock_ns()
        hard = now + self._max_ns if self._max_ns else 0
        claims = Claims(secrets.token_bytes(16), principal, 0, hard, now, _FACTORS.get(method, 0))
        return dataclasses.replace(claims, expires_ns=self._expiry(now, hard))

    def renew(self, claims: Claims) -> Claims:
        """The next claims of a renewable chain; its end stays."""
        expires_ns = self._expiry(self._clock_ns(), claims.hard_expires_ns)
        return dataclasses.replace(claims, expires_ns=expires_ns)

    def _expiry(self, now: int, hard: int) -> int:
        return min(now + self._idle_ns, hard) if hard else now + self._idle_ns

    def is_due(self, claims: Claims) -> bool:
        """Whether an answer should carry a renewal: in the second half of a renewable token's life,
        unless it lives to the end of its chain.
        """
        remaining_ns = claims.expires_ns - self._clock_ns()
        return claims.expires_ns < claims.hard_expires_ns and 2 * remaining_ns <= self._idle_ns

    def encode(self, claims: Claims) -> str:
        """The token."""
        signed = _pack(claims)
        return TOKEN_PREFIX.decode() + encode_base64url(signed + self._mac(signed))

    def read(self, token: bytes) -> Claims | None:
        """The claims of a token that was signed here, expired and revoked ones too; else None."""
        if not token.startswith(TOKEN_PREFIX) or len(token) > _MAX_CHARACTERS:
            return None
        raw = decode_base64url(token.removeprefix(TOKEN_PREFIX))
        if raw is None or len(raw) < _HEAD.size + _MAC_BYTES:
            return None
        signed, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        return _unpack(signed) if hmac.compare_digest(mac, self._mac(signed)) else None

    def is_expired(self, claims: Claims) -> bool:
        """Whether the token's own time, or its chain's, is over."""
        return self._clock_ns() >= min(claims.expires_ns, claims.ends_ns)

    def is_revoked(self, claims: Claims) -> bool:
        """Whether the chain was revoked."""
        return self._revocations.holds(claims.chain, claims.principal, claims.begun_ns)

    def is_live(self, claims: Claims) -> bool:
        """Whether the token proves its principal now."""
        return not self.is_expired(claims) and not self.is_revoked(claims)

    def revoke(self, claims: Claims) -> None:
        """Refuse every token of the chain from now on."""
        self._revocations.add(claims.chain, claims.principal, claims.ends_ns, self._clock_ns())

    def revoke_all_of(self, principal: str) -> None:
        """Refuse every token that the principal was given so far."""
        self._revocations.add_all_of(principal, self._clock_ns())

    def _mac(self, signed: bytes) -> bytes:
        return hmac.digest(self._key, signed, "sha256")


def _pack(claims: Claims) -> bytes:
    times = (claims.expires_ns, claims.hard_expires_ns, claims.begun_ns, 0)
    head = _HEAD.pack(_VERSION, claims.chain, *times, 0, 0, claims.factors, 0, _NO_CREDENTIAL)
    return head + claims.principal.encode()


def _unpack(signed: bytes) -> Claims | None:
    version, chain, expires_ns, hard_ns, begun_ns, _, _, _, factors, _, _ = _HEAD.unpack_from(
        signed
    )
    if version != _VERSION:
        return None
    return Claims(chain, signed[_HEAD.size :].decode(), expires_ns, hard_ns, begun_ns, factors)
