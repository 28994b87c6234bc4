"""Static bearer tokens, known by their SHA-256 alone.

Source: protocol/auth.md, Methods.
"""

from __future__ import annotations

import hashlib

from ..config import BearerMethod
from .presented import ABSENT, Presented, Principal, Verdict

__all__ = ["BearerTokens"]


class BearerTokens:
    """The principals that tokens prove."""

    def __init__(self) -> None:
        self._by_hash: dict[str, Principal] = {}

    def declare(self, name: str, method: BearerMethod) -> None:
        """Let a token stand for the principal."""
        self._by_hash[method.token_hash.lower()] = Principal(name, "bearer")

    async def judge(self, presented: Presented) -> Verdict:
        """A token that is there is right, or the request is refused."""
        token = presented.bearer_token
        if not token:
            return ABSENT
        # The table is asked by digest: its timing tells about digests only, from which no token can
        # be built.
        return self._by_hash.get(hashlib.sha256(token).hexdigest())
