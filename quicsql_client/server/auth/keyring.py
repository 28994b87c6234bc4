"""Ed25519 signatures over a challenge and the request line.

Source: protocol/auth.md, Keyring.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ...errors import ConfigurationError
from ..config import KeyringMethod
from .authorized_keys import parse_authorized_key
from .challenges import Challenges
from .encoding import decode_base64
from .presented import ABSENT, Presented, Principal, Scope, Verdict

__all__ = ["Keyring", "signed_bytes"]


class Keyring:
    """The principals that keys prove.

    roster: names by public key, of the file of authorized keys; a key that a principal declares is
    that principal's, whatever the roster says.
    """

    def __init__(self, challenges: Challenges, roster: Mapping[bytes, str]) -> None:
        self._challenges = challenges
        self._by_key = {key: Principal(name, "keyring") for key, name in roster.items()}

    def declare(self, name: str, method: KeyringMethod) -> None:
        """Let a key stand for the principal. Raises: ConfigurationError for a line without one."""
        try:
            key = parse_authorized_key(method.ed25519)
        except ValueError as exc:
            where = f'init auth: auth: principal "{name}" keyring: auth'
            raise ConfigurationError(f"{where}: parse authorized key: {exc}") from exc
        self._by_key[key.public_key] = Principal(name, "keyring")

    async def judge(self, presented: Presented) -> Verdict:
        """A signature that is there is right, or the request is refused."""
        fields = presented.fields
        signature = fields.get(b"x-keyring-signature", b"")
        if not signature:
            return ABSENT
        challenge = fields.get(b"x-keyring-challenge", b"")
        if not self._challenges.is_valid(challenge):
            return None
        try:
            key = parse_authorized_key(fields.get(b"x-keyring-key", b"").decode()).public_key
        except ValueError:
            return None
        principal = self._by_key.get(key)
        if principal is None:
            return None
        signed = signed_bytes(challenge, presented.scope)
        return principal if _is_signed(key, signature, signed) else None


def signed_bytes(challenge: bytes, scope: Scope) -> bytes:
    """What the signature of a request covers: the challenge, the method, the percent-decoded path
    and the query as sent. Not the body.
    """
    method, path = str(scope["method"]).encode(), unquote_to_bytes(scope["raw_path"])
    return b"\n".join((challenge, method, path, scope["query_string"]))


def _is_signed(key: bytes, signature: bytes, signed: bytes) -> bool:
    raw = decode_base64(signature)
    if raw is None:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(raw, signed)
    except (ValueError, InvalidSignature):  # ValueError: not a point of the curve
        return False
    return True
