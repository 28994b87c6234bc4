"""What lets a device in: tokens that the configuration knows by hash, and single-use codes.

Source: protocol/auth.md, Device enrolment, 5 and 7.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from typing import Final

__all__ = ["CODE_PREFIX", "digest_of", "is_configured", "new_code"]

CODE_PREFIX: Final = "ec_"
_CODE_BYTES: Final = 24


def new_code() -> str:
    """A code that nobody can guess: 42 characters."""
    drawn = base64.b32encode(secrets.token_bytes(_CODE_BYTES)).decode()
    return CODE_PREFIX + drawn.rstrip("=").lower()


def digest_of(token: str) -> str:
    """What is kept of a token or code: lower-case hex SHA-256."""
    return hashlib.sha256(token.encode()).hexdigest()


def is_configured(digest: str, hashes: Iterable[str]) -> bool:
    """Whether a digest is one of these; takes as long for any of them as for none."""
    return any([hmac.compare_digest(digest, known) for known in hashes])
