"""HTTP Basic against bcrypt hashes.

Source: protocol/auth.md, Methods and Precedence.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

import bcrypt

from ..config import PasswordMethod
from .encoding import decode_base64
from .presented import ABSENT, Presented, Principal, Verdict

__all__ = ["Passwords"]

# bcrypt itself reads no further; the library refuses what is longer instead of cutting it.
_BCRYPT_MAX_BYTES: Final = 72
_BCRYPT_DEFAULT_COST: Final = 10
_BCRYPT_ALPHABET: Final = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
# Password checks are pure CPU: more at once than this would only starve the statements.
_CONCURRENT_PASSWORD_CHECKS: Final = 2
_REMEMBERED_PASSWORDS: Final = 1024


class Passwords:
    """The principals that a user and a password prove."""

    def __init__(self, declared: Iterable[tuple[str, PasswordMethod]]) -> None:
        self._by_user: dict[bytes, tuple[Principal, bytes]] = {}
        for name, method in declared:
            stored = method.password_hash.encode()
            self._by_user[method.user.encode()] = Principal(name, "password"), stored
        costs = [_cost_of(stored) for _, stored in self._by_user.values()]
        self._checks = _PasswordChecks(max(costs, default=_BCRYPT_DEFAULT_COST))

    async def judge(self, presented: Presented) -> Verdict:
        """Absent when there are no Basic credentials that can be parsed."""
        credentials = _basic_credentials(presented)
        if credentials is None:
            return ABSENT
        user, password = credentials
        known = self._by_user.get(user)
        stored = known[1] if known else None
        is_right = await self._checks.check(user, password, stored)
        return known[0] if known and is_right else None


class _PasswordChecks:
    """bcrypt off the event loop, of equal cost for known and unknown users.

    A right password is remembered as a keyed digest under a random key, for as long as the
    configuration lives, so that a connection does not pay bcrypt for each request; a wrong one is
    never remembered.
    """

    def __init__(self, highest_cost: int) -> None:
        self._dummy = _dummy_hash(highest_cost)
        self._slots = asyncio.Semaphore(_CONCURRENT_PASSWORD_CHECKS)
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, None] = OrderedDict()

    async def check(self, user: bytes, password: bytes, stored: bytes | None) -> bool:
        """Whether the password belongs to the stored hash.

        stored: None is an unknown user, who gets False after the time of a comparison.
        """
        seal = self._seal(user, password)
        if stored is not None and seal in self._right:
            self._right.move_to_end(seal)
            return True
        async with self._slots:
            is_equal = await asyncio.to_thread(_matches, password, stored or self._dummy)
        if stored is None or not is_equal:
            return False
        self._right[seal] = None
        if len(self._right) > _REMEMBERED_PASSWORDS:
            self._right.popitem(last=False)
        return True

    def _seal(self, user: bytes, password: bytes) -> bytes:
        # A colon cannot stand in the user's name (it ends there), so the pair has one spelling.
        return hmac.digest(self._key, user + b":" + password, "sha256")


def _matches(password: bytes, stored: bytes) -> bool:
    try:
        return bcrypt.checkpw(password[:_BCRYPT_MAX_BYTES], stored)
    except ValueError:  # not a bcrypt hash, or a NUL in the password: nobody's password
        return False


def _cost_of(stored: bytes) -> int:
    parts = stored.split(b"$")
    if len(parts) == 4 and parts[2].isdigit() and 4 <= int(parts[2]) <= 31:
        return int(parts[2])
    return _BCRYPT_DEFAULT_COST


def _dummy_hash(cost: int) -> bytes:
    """A well-formed bcrypt hash of no known password.

    It is drawn at random: computing one would slow every reload.
    """
    digest = "".join(secrets.choice(_BCRYPT_ALPHABET) for _ in range(31))
    return bcrypt.gensalt(cost) + digest.encode()


def _basic_credentials(presented: Presented) -> tuple[bytes, bytes] | None:
    """(user, password) of `Authorization: Basic`, or None where it cannot be parsed: that counts as
    absent.
    """
    scheme, _, rest = presented.fields.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"basic":
        return None
    decoded = decode_base64(rest)
    if decoded is None:
        return None
    user, colon, password = decoded.partition(b":")
    return (user, password) if colon else None
