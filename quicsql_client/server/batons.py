"""Batons: signed, opaque names of a stream at one moment of its life.

A baton is base64url without padding of an id (16 bytes), a generation (8 bytes, big-endian) and the
HMAC-SHA256 of both with a key of this process: 75 characters. It knows no sessions, clocks or
principals.
Source: protocol/hrana.md, Streams and batons.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets

ID_BYTES = 16
_GENERATION_BYTES = 8
_SIGNED_BYTES = ID_BYTES + _GENERATION_BYTES
_TOTAL_BYTES = _SIGNED_BYTES + hashlib.sha256().digest_size
_BATON_CHARACTERS = 75
_MAX_CHARACTERS = 256  # nothing longer is looked at


class BatonSigner:
    """Makes and reads batons with a random key of its own, so that a restart ends all of them."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def sign(self, session_id: bytes, generation: int) -> str:
        """The baton of a session at a generation."""
        signed = session_id + generation.to_bytes(_GENERATION_BYTES, "big")
        return base64.urlsafe_b64encode(signed + self._mac(signed)).rstrip(b"=").decode("ascii")

    def read(self, baton: str) -> tuple[bytes, int] | None:
        """The id and generation of a baton that was signed here, else None.

        CR, LF and the two unused bits of the last character are ignored, as upstream does.
        """
        raw = _decoded(baton)
        if raw is None:
            return None
        signed, mac = raw[:_SIGNED_BYTES], raw[_SIGNED_BYTES:]
        if not hmac.compare_digest(mac, self._mac(signed)):
            return None
        return signed[:ID_BYTES], int.from_bytes(signed[ID_BYTES:], "big")

    def _mac(self, signed: bytes) -> bytes:
        return hmac.digest(self._key, signed, "sha256")


def _decoded(baton: str) -> bytes | None:
    if len(baton) > _MAX_CHARACTERS or not baton.isascii():
        return None
    text = baton.replace("\r", "").replace("\n", "")
    if len(text) != _BATON_CHARACTERS or "+" in text or "/" in text or "=" in text:
        return None
    try:
        raw = base64.b64decode(text + "=", altchars=b"-_", validate=True)
    except binascii.Error:
        return None
    return raw if len(raw) == _TOTAL_BYTES else None
