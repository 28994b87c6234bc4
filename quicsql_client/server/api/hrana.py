"""The Hrana pipeline: requests on a pinned connection that a baton brings back.

Knows HTTP requests and the lives of streams; what is said on a stream is the conversation's.
Source: protocol/hrana.md, Pipeline request order.
"""

from __future__ import annotations

from ...wire import hrana
from ...wire.messages import Response
from .conversation import Conversation
from .exchange import ClientGone, Exchange, Refusal, decode, json_response
from .lending import lend_stream

__all__ = ["pipeline"]


async def pipeline(exchange: Exchange) -> Response:
    """Serve one request of a stream.

    Order: body (413, 400), its JSON (400 for the whole of it, the baton unspent), the stream (400,
    403, 503), then each request. Raises: Refusal. Source: protocol/hrana.md, Pipeline request
    order.
    """
    asked = decode(hrana.decode_pipeline, await exchange.read_body())
    try:
        baton, results = await _converse(exchange, asked)
    except ClientGone:
        raise Refusal(504, "statement timed out") from None
    return json_response(hrana.encode_answer(baton, asked.requests, results))


async def _converse(
    exchange: Exchange, asked: hrana.Pipeline
) -> tuple[str | None, list[hrana.StreamResult]]:
    """The next baton, None after a close, and a result for each request.

    A client that goes away, or a failure of ours, ends the stream: nobody holds its next baton.
    """
    sessions = exchange.services.sessions
    session = await lend_stream(exchange, asked.baton)
    conversation = Conversation(session)
    try:
        results = await exchange.while_connected(conversation.answer_all(asked.requests))
    except BaseException:
        await sessions.end(session)
        raise
    if conversation.is_closed:
        await sessions.end(session)
        return None, results
    return sessions.suspend(session), results
