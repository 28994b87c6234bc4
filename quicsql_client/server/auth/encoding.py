"""The two base64 alphabets, each with exactly the padding that the protocol asks for.

Pure; it knows no keys.
Source: protocol/auth.md, Keyring; protocol/odd-cases.md, 167 and 170.
"""

from __future__ import annotations

import base64
import binascii

__all__ = ["decode_base64", "decode_base64url", "encode_base64url"]


def decode_base64(text: bytes) -> bytes | None:
    """The bytes of a text in the standard alphabet, or None; the padding must be there."""
    if len(text) % 4:  # the library passes over a superfluous "="
        return None
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return None


def encode_base64url(raw: bytes) -> str:
    """The text of some bytes, without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def decode_base64url(text: bytes) -> bytes | None:
    """The bytes of a text, or None when it is not base64url or is padded.

    Unused bits of the last character are ignored.
    """
    if b"+" in text or b"/" in text or b"=" in text:
        return None
    standard = text.replace(b"-", b"+").replace(b"_", b"/")
    return decode_base64(standard + b"=" * (-len(text) % 4))
