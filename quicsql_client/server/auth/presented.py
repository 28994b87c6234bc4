"""What a request presents, and what a method can say of it.

It must not know any method, nor how a credential is stored.
Source: protocol/auth.md, Precedence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias

from .tokens import Claims

__all__ = ["ABSENT", "ANONYMOUS", "Absent", "Headers", "Method", "Presented", "Principal", "Scope"]

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]
Scope: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated identity. name: "" is the anonymous one. method: what proved it, such as
    "mtls". claims: of the session token that proved it, else None.
    """

    name: str
    method: str
    claims: Claims | None = field(default=None, repr=False, compare=False)


ANONYMOUS: Final = Principal("", "none")


class Absent:
    """The type of ABSENT, which says that a request holds no credential of a method."""


ABSENT: Final = Absent()

Verdict: TypeAlias = Principal | Absent | None
"""What a method says: a principal, absent (ask the next one), or None (refused: ask no other)."""


@dataclass(frozen=True, slots=True)
class Presented:
    """The parts of a request that can hold a credential.

    fields: header fields by lower-case name; of repeated ones the first.
    """

    scope: Scope
    fields: Mapping[bytes, bytes]

    @classmethod
    def by(cls, scope: Scope, headers: Headers) -> Presented:
        """What a request with this scope and these headers presents."""
        fields: dict[bytes, bytes] = {}
        for name, value in headers:
            fields.setdefault(name, value)
        return cls(scope, fields)

    def extension(self, name: str) -> Mapping[str, Any]:
        """An ASGI extension of the connection; empty when the listener offers none."""
        found: Mapping[str, Any] = (self.scope.get("extensions") or {}).get(name) or {}
        return found

    @property
    def bearer_token(self) -> bytes:
        """The token of `Authorization: Bearer `: exactly that scheme and one blank, trimmed; b""
        is absent.
        """
        scheme, _, rest = self.fields.get(b"authorization", b"").partition(b" ")
        return rest.strip() if scheme == b"Bearer" else b""


class Method(Protocol):
    """One way of proving who one is."""

    async def judge(self, presented: Presented) -> Verdict:
        """What the method says of a request."""
        ...
