"""`/_auth/session`: mint, renew and revoke session tokens.

The path checks credentials itself: a token renews and revokes itself, and never mints another.
Source: protocol/auth.md, Session tokens.
"""

from __future__ import annotations

from ...wire.document import write_document
from ...wire.messages import Response
from ..auth import Claims, Presented
from .authentication import format_instant, unauthenticated
from .exchange import Exchange, Refusal, json_response

__all__ = ["session"]


async def session(exchange: Exchange) -> Response:
    """The answer to POST, PUT and DELETE. Raises: Refusal, 401, 405 and 409 as documented."""
    if exchange.method == "POST":
        return await _mint(exchange)
    if exchange.method == "PUT":
        return _renew(exchange)
    if exchange.method == "DELETE":
        return _revoke(exchange)
    raise Refusal(405, "use POST (mint), PUT (renew), or DELETE (revoke)")


async def _mint(exchange: Exchange) -> Response:
    authenticator = exchange.settings.authenticator
    principal = await authenticator.authenticate(
        exchange.scope, exchange.scope["headers"], exchange.listening.methods - {"session"}
    )
    if principal is None or not principal.name:
        raise unauthenticated()
    claims = authenticator.signers.tokens.mint(principal.name, principal.method)
    return _hand_over(exchange, claims, principal=principal.name)


def _renew(exchange: Exchange) -> Response:
    claims = _shown(exchange)
    if not claims.is_renewable:  # said even of a token that is over
        raise Refusal(409, "session tokens are not renewable (set auth.session.max_ttl)")
    tokens = exchange.settings.authenticator.signers.tokens
    if not tokens.is_live(claims) or not _is_known(exchange, claims):
        raise unauthenticated()
    return _hand_over(exchange, tokens.renew(claims))


def _revoke(exchange: Exchange) -> Response:
    claims = _shown(exchange)
    tokens = exchange.settings.authenticator.signers.tokens
    if tokens.is_expired(claims) or not _is_known(exchange, claims):
        raise unauthenticated()
    tokens.revoke(claims)
    return Response(204)


def _shown(exchange: Exchange) -> Claims:
    """The claims of the token of the request. Raises: Refusal, 401, when it is not of this server;
    expired and revoked ones are.
    """
    presented = Presented.by(exchange.scope, exchange.scope["headers"])
    claims = exchange.settings.authenticator.signers.tokens.read(presented.bearer_token)
    if claims is None:
        raise unauthenticated()
    return claims


def _is_known(exchange: Exchange, claims: Claims) -> bool:
    return exchange.settings.authenticator.knows(claims.principal)


def _hand_over(exchange: Exchange, claims: Claims, **said: str) -> Response:
    document = {"expires_at": format_instant(claims.expires_ns)}
    if claims.is_renewable:
        document["max_expires_at"] = format_instant(claims.hard_expires_ns)
    token = exchange.settings.authenticator.signers.tokens.encode(claims)
    return json_response(write_document({**document, **said, "token": token}))
