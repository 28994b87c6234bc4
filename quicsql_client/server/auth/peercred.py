"""Peers of a Unix socket by their uid, as the kernel tells it.

Source: protocol/auth.md, Methods and Precedence.
"""

from __future__ import annotations

from ..config import PeercredMethod
from .presented import ABSENT, Presented, Principal, Verdict

__all__ = ["Peers"]


class Peers:
    """The principals that uids stand for."""

    def __init__(self) -> None:
        self._by_uid: dict[int, Principal] = {}

    def declare(self, name: str, method: PeercredMethod) -> None:
        """Let a uid stand for the principal."""
        if method.uid is not None:
            self._by_uid[method.uid] = Principal(name, "peercred")

    async def judge(self, presented: Presented) -> Verdict:
        """Soft: a uid that stands for nobody counts as absent."""
        uid = presented.extension("unix").get("peer_uid")
        return ABSENT if uid is None else self._by_uid.get(uid, ABSENT)
