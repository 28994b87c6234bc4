"""Who a request is from: its principal, the 401 of all others, and renewals of session tokens.

It must not know how a credential is proved (`auth`), nor paths of databases.
Source: protocol/auth.md, 401 response and Session tokens.
"""

from __future__ import annotations

import datetime
from typing import Final

from ...wire.messages import Headers
from .exchange import Exchange, Refusal

__all__ = ["authenticate", "format_instant", "renewal_headers", "unauthenticated"]

_WWW_AUTHENTICATE: Final = (("www-authenticate", 'Bearer, Basic realm="restricted"'),)
_NOT_RENEWED: Final = frozenset(("/_auth/session", "/_auth/challenge", "/_auth/enroll"))
_NS: Final = 10**9


def unauthenticated() -> Refusal:
    """401, the same for a missing and for a wrong credential."""
    return Refusal(401, "authentication required", _WWW_AUTHENTICATE)


async def authenticate(exchange: Exchange) -> None:
    """Find the principal. Raises: Refusal, 401."""
    principal = await exchange.settings.authenticator.authenticate(
        exchange.scope, exchange.scope["headers"], exchange.listening.methods
    )
    if principal is None:
        raise unauthenticated()
    exchange.principal = principal


def renewal_headers(exchange: Exchange) -> Headers:
    """The header fields that hand a session token's successor over, on any answer; none when it is
    not due.
    """
    claims = exchange.principal.claims
    tokens = exchange.settings.authenticator.signers.tokens
    if claims is None or exchange.path in _NOT_RENEWED or not tokens.is_due(claims):
        return ()
    renewed = tokens.renew(claims)
    expires = format_instant(renewed.expires_ns)
    return (("x-session-token", tokens.encode(renewed)), ("x-session-expires", expires))


def format_instant(instant_ns: int) -> str:
    """RFC 3339 in UTC of nanoseconds since 1970, cut to whole seconds."""
    instant = datetime.datetime.fromtimestamp(instant_ns // _NS, datetime.UTC)
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")
