"""Which chains of session tokens are refused before their time, in bounded memory.

It must not know tokens, keys or clocks.
Source: protocol/auth.md, Session tokens (DELETE).
"""

from __future__ import annotations

from typing import Final

__all__ = ["MAX_CHAINS_PER_PRINCIPAL", "Revocations"]

MAX_CHAINS_PER_PRINCIPAL: Final = 1024
"""More revoked chains than this, all of them unexpired, revoke every chain of their principal: the
list stays short, no revoked token comes back, and nobody else is signed out."""


class Revocations:
    """Revoked chains, each until it would have expired.

    longest_ns: the longest life of a chain. Times are nanoseconds since 1970.
    """

    def __init__(self, longest_ns: int) -> None:
        self._longest_ns = longest_ns
        self._chains: dict[str, dict[bytes, int]] = {}
        self._all_until: dict[str, int] = {}

    def holds(self, chain: bytes, principal: str, begun_ns: int) -> bool:
        """Whether the chain, begun then, was revoked."""
        if begun_ns <= self._all_until.get(principal, -1):
            return True
        return chain in self._chains.get(principal, ())

    def add(self, chain: bytes, principal: str, ends_ns: int, now_ns: int) -> None:
        """Revoke a chain that would end then."""
        self._forget(now_ns)
        chains = self._chains.setdefault(principal, {})
        chains[chain] = ends_ns
        if len(chains) > MAX_CHAINS_PER_PRINCIPAL:
            self.add_all_of(principal, now_ns)

    def add_all_of(self, principal: str, now_ns: int) -> None:
        """Revoke every chain of the principal begun until now."""
        self._forget(now_ns)
        self._chains.pop(principal, None)
        self._all_until[principal] = now_ns

    def _forget(self, now_ns: int) -> None:
        """Drop what has expired by itself."""
        for principal, chains in list(self._chains.items()):
            kept = {chain: ends_ns for chain, ends_ns in chains.items() if ends_ns > now_ns}
            if kept:
                self._chains[principal] = kept
            else:
                del self._chains[principal]
        self._all_until = {
            principal: until_ns
            for principal, until_ns in self._all_until.items()
            if until_ns + self._longest_ns > now_ns
        }
