"""Ed25519 signatures over a challenge and the request line.

Source: protocol/auth.md, Keyring.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ...errors import ConfigurationError
from ..config import KeyringMethod
from .authorized_keys import parse_authorized_key
from .challenges import Challenges
from .devices import Devices
from .encoding import decode_base64
from .presented import ABSENT, Presented, Principal, Scope, Verdict

__all__ = ["Keyring", "proven_key", "signed_bytes"]


_SIGNATURE: Final = b"x-keyring-signature"


class Keyring:
    """The principals that keys prove.

    roster: names by public key, of the file of authorized keys; a key that a principal declares is
    that principal's, whatever the roster says. A key of either is never an enrolled device's.
    """

    def __init__(
        self, challenges: Challenges, roster: Mapping[bytes, str], devices: Devices
    ) -> None:
        self._challenges = challenges
        self._devices = devices
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
        if not presented.fields.get(_SIGNATURE):
            return ABSENT
        # The signature comes before the look-up: an unknown key costs as much as a known one.
        key = proven_key(presented, self._challenges)
        if key is None:
            return None
        return self._by_key.get(key) or self._devices.holder_of(key)


def proven_key(presented: Presented, challenges: Challenges) -> bytes | None:
    """The public key that a request shows and has signed itself with, known or not; else None."""
    fields = presented.fields
    challenge = fields.get(b"x-keyring-challenge", b"")
    if not challenges.is_valid(challenge):
        return None
    try:
        key = parse_authorized_key(fields.get(b"x-keyring-key", b"").decode()).public_key
    except ValueError:
        return None
    signed = signed_bytes(challenge, presented.scope)
    return key if _is_signed(key, fields.get(_SIGNATURE, b""), signed) else None


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
