"""`GET /<db>/changes`: which rows were written, as Server-Sent Events without an end of their own.

Source: protocol/operations.md, GET /<db>/changes.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Final

from ...wire.messages import Headers
from ...wire.sse import CONTENT_TYPE, MAX_SEQ, PING, Event, encode_event
from ..feed import Feeds, NoFeed, Subscription, TooManySubscribers
from ..policy import Level
from .exchange import Exchange, Refusal, StreamedResponse, unavailable
from .parameters import first_parameter, table_names

__all__ = ["HEARTBEAT_S", "changes", "require_feeds"]

HEARTBEAT_S: Final = 25.0
PIECE_BYTES: Final = 65_536  # events that are there are sent in pieces of about this size

_HEADERS: Final[Headers] = (
    ("content-type", CONTENT_TYPE),
    ("cache-control", "no-store"),
    ("x-accel-buffering", "no"),
)
_DIGITS: Final = re.compile(r"[0-9]+")


def require_feeds(exchange: Exchange) -> Feeds:
    """The feeds. Raises Refusal: 404 when the configuration has none."""
    feeds = exchange.services.registry.feeds
    if feeds is None:
        raise Refusal(404, "change feed not enabled")
    return feeds


async def changes(exchange: Exchange) -> StreamedResponse:
    """An answer without end. Raises Refusal: 400, 404, 503."""
    feeds = require_feeds(exchange)
    since, tables = _since(exchange), table_names(exchange)
    try:
        subscription = feeds.subscribe(
            exchange.database, exchange.principal.name, since=since, tables=tables
        )
    except NoFeed:
        text = "change feed unavailable for this database (no stable path)"
        raise Refusal(404, text) from None
    except TooManySubscribers:
        raise unavailable("too many change-feed subscribers") from None
    exchange.at_end.append(subscription.cut)
    return StreamedResponse(200, _HEADERS, _frames(exchange, subscription))


def _since(exchange: Exchange) -> int:
    """The last event that the client has seen, 0 for none: by the query, else by the header.

    Raises Refusal: 400 for a number in the query that is none.
    """
    given = first_parameter(exchange, "since")
    if given:
        number = _number(given)
        if number is None:
            raise Refusal(400, "since must be an unsigned integer")
        return number
    headers = exchange.scope["headers"]
    last_id = next((value for name, value in headers if name == b"last-event-id"), b"")
    return _number(last_id.decode("latin-1")) or 0


def _number(text: str) -> int | None:
    if not _DIGITS.fullmatch(text):
        return None
    digits = text.lstrip("0") or "0"
    if len(digits) > len(str(MAX_SEQ)) or int(digits) > MAX_SEQ:
        return None
    return int(digits)


async def _frames(exchange: Exchange, subscription: Subscription) -> AsyncGenerator[bytes, None]:
    clock = asyncio.get_running_loop().time
    beat = clock() + HEARTBEAT_S
    events, subscription.opening = subscription.opening, ()  # there may be many: sent, let go
    while True:
        for piece in _pieces(events):
            if subscription.is_cut:
                return
            yield piece
        if subscription.is_over:
            return
        events = await subscription.take(until=beat)
        if clock() >= beat:
            if not _may_read(exchange):
                return
            _note_visit(exchange)
            yield PING
            beat = clock() + HEARTBEAT_S


def _may_read(exchange: Exchange) -> bool:
    """By the grants of now, not those of the request's beginning."""
    policy = exchange.services.current().policy
    return policy.level(exchange.database, exchange.principal.name) >= Level.READ_ONLY


def _note_visit(exchange: Exchange) -> None:
    """A device that only listens is not idle."""
    enrolment = exchange.services.enrolment
    if enrolment is not None:
        enrolment.devices.note_visit(exchange.principal.name)


def _pieces(events: Sequence[Event]) -> Iterator[bytes]:
    frames, size = [], 0
    for event in events:
        frame = encode_event(event)
        frames.append(frame)
        size += len(frame)
        if size >= PIECE_BYTES:
            yield b"".join(frames)
            frames, size = [], 0
    if frames:
        yield b"".join(frames)
