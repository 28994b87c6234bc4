"""The Hrana cursor: the steps of a batch on a stream, each answered in lines when it has run.

At most one step's result is in memory, cut by the row and byte caps; while the client reads slowly,
nothing more is run.
Source: protocol/hrana.md, Cursor.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterable, Sequence

from ...wire import cursor as wire
from ...wire import hrana
from .conversation import Conversation, Outcomes
from .exchange import ClientGone, Exchange, Refusal, StreamedResponse, decode
from .lending import lend_stream

__all__ = ["cursor"]


async def cursor(exchange: Exchange) -> StreamedResponse:
    """Serve one cursor. Its stream stays open, whatever becomes of the answer.

    Order: body (413, 400), its JSON (400, the baton unspent), the stream (400, 403, 503), then the
    steps, whose failures are lines.
    Raises: Refusal.
    """
    asked = decode(hrana.decode_cursor, await exchange.read_body())
    if asked.steps is None:
        raise Refusal(400, "cursor requires a batch")
    try:
        session = await lend_stream(exchange, asked.baton)
    except ClientGone:
        raise Refusal(504, "statement timed out") from None
    sessions = exchange.services.sessions
    lent = contextlib.ExitStack()
    lent.callback(sessions.suspend, session)
    # An answer that cannot begin never starts its chunks, so they cannot be the ones to give back.
    exchange.at_end.append(lent.close)
    chunks = _lines(exchange, Conversation(session), asked.steps, sessions.baton(session), lent)
    return StreamedResponse(200, (("content-type", wire.CONTENT_TYPE),), chunks)


async def _lines(
    exchange: Exchange,
    conversation: Conversation,
    steps: Sequence[hrana.Step],
    baton: str,
    lent: contextlib.ExitStack,
) -> AsyncGenerator[bytes, None]:
    """The body. lent: gives the stream back once the last line is out, just before the answer ends.

    A client that is gone gets no further steps; the one that runs is interrupted.
    """
    with lent, contextlib.suppress(ClientGone):
        yield wire.encode_prelude(baton)
        outcomes: Outcomes = []
        for step in steps:
            for piece in await exchange.while_connected(_run(conversation, step, outcomes)):
                yield piece


async def _run(conversation: Conversation, step: hrana.Step, outcomes: Outcomes) -> Iterable[bytes]:
    """The lines of one step. They alone keep its result alive."""
    position = len(outcomes)
    outcome = await conversation.run_step(step, outcomes)
    if outcome is None:
        return ()
    if isinstance(outcome, hrana.StreamError):
        return (wire.encode_step_error(position, outcome),)
    return wire.encode_result(position, outcome)
