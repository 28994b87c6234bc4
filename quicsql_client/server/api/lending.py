"""The stream that a request speaks to: a new one, or the one that its baton brings back.

Words what the sessions refuse as answers; knows no request of a stream.
Source: protocol/hrana.md, Streams and batons.
"""

from __future__ import annotations

from functools import partial

from ..engine import Access, AttachRule
from ..registry import Database
from ..sessions import ForeignBaton, InvalidBaton, Session, TooManySessions
from .exchange import Exchange, Refusal, unavailable

__all__ = ["lend_stream"]


async def lend_stream(exchange: Exchange, baton: str | None) -> Session:
    """The stream of a baton, or a new one for None; busy until the caller suspends or ends it.

    Raises: Refusal (400, 403, 404, 503), ClientGone while it waits for a connection.
    """
    sessions, principal = exchange.services.sessions, exchange.principal.name
    try:
        if baton is not None:
            session = await sessions.resume(baton, exchange.database, principal)
            return await _still_allowed(exchange, session)
        database = exchange.opened_database()
        rule = _attach_rule(exchange, database)
        opening = sessions.open(database, principal, exchange.access, attach_rule=rule)
        return await exchange.while_connected(opening)
    except InvalidBaton:
        raise Refusal(400, "invalid or expired baton") from None
    except ForeignBaton:
        raise Refusal(403, "baton belongs to a different principal") from None
    except TooManySessions:
        raise unavailable("too many open sessions") from None


def _attach_rule(exchange: Exchange, database: Database) -> AttachRule | None:
    principal, policy = exchange.principal.name, exchange.settings.policy
    level_on = partial(policy.level, principal=principal)
    return exchange.services.attaching.rule(principal, database, level_on)


async def _still_allowed(exchange: Exchange, session: Session) -> Session:
    """The stream, unless it may write and its principal no longer may.

    A reload ends such streams one by one; this request may come before it is done.
    Raises: InvalidBaton.
    """
    if session.access is Access.READ_WRITE and exchange.access is Access.READ_ONLY:
        await exchange.services.sessions.end(session)
        raise InvalidBaton
    return session
