"""The method `session`: a request that shows a session token.

Source: protocol/auth.md, Methods and Precedence.
"""

from __future__ import annotations

from collections.abc import Collection

from .devices import Devices
from .presented import ABSENT, Presented, Principal, Verdict
from .tokens import TOKEN_PREFIX, SessionTokens

__all__ = ["TokenHolders"]


class TokenHolders:
    """The principals that tokens prove. names, devices: who exists now; tokens of others are
    refused.
    """

    def __init__(self, tokens: SessionTokens, names: Collection[str], devices: Devices) -> None:
        self._tokens = tokens
        self._names = names
        self._devices = devices

    async def judge(self, presented: Presented) -> Verdict:
        """Absent where session tokens are off, and for tokens of another kind."""
        token = presented.bearer_token
        if not self._tokens.is_enabled or not token.startswith(TOKEN_PREFIX):
            return ABSENT
        claims = self._tokens.read(token)
        if claims is None or not self._tokens.is_live(claims):
            return None
        name = claims.principal
        if name not in self._names and not self._devices.note_visit(name):
            return None
        return Principal(name, "session", claims)
