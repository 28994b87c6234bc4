"""Challenges for keyring signatures: signed by the server, kept nowhere.

Source: protocol/auth.md, Keyring.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Final

from .encoding import decode_base64url, encode_base64url

__all__ = ["Challenges"]

_NONCE_BYTES: Final = 16
_EXPIRY_BYTES: Final = 8
_SIGNED_BYTES: Final = _NONCE_BYTES + _EXPIRY_BYTES
_TOTAL_BYTES: Final = _SIGNED_BYTES + hashlib.sha256().digest_size
_CHARACTERS: Final = 75
_VALID_NS: Final = 60 * 10**9


class Challenges:
    """Issues and checks challenges with a random key of its own, so that a restart voids them.

    clock_ns: nanoseconds since 1970.
    """

    def __init__(self, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._key = secrets.token_bytes(32)
        self._clock_ns = clock_ns

    def issue(self) -> str:
        """A challenge that is valid for a minute, any number of times."""
        expiry_ns = self._clock_ns() + _VALID_NS
        signed = secrets.token_bytes(_NONCE_BYTES) + expiry_ns.to_bytes(_EXPIRY_BYTES, "big")
        return encode_base64url(signed + self._mac(signed))

    def is_valid(self, challenge: bytes) -> bool:
        """Whether this was issued here and has not expired."""
        if len(challenge) != _CHARACTERS:
            return False
        raw = decode_base64url(challenge)
        if raw is None or len(raw) != _TOTAL_BYTES:
            return False
        signed, mac = raw[:_SIGNED_BYTES], raw[_SIGNED_BYTES:]
        if not hmac.compare_digest(mac, self._mac(signed)):
            return False
        return self._clock_ns() < int.from_bytes(signed[_NONCE_BYTES:], "big")

    def _mac(self, signed: bytes) -> bytes:
        return hmac.digest(self._key, signed, "sha256")
