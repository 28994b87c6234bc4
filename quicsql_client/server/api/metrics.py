"""`/_metrics`: what the server counted, for any caller that the listener admits.

Source: protocol/operations.md, /_health, /_metrics.
"""

from __future__ import annotations

from typing import Final

from ...wire.messages import Headers, Response
from .exchange import Exchange

__all__ = ["report"]

_HEADERS: Final[Headers] = (("content-type", "text/plain; version=0.0.4"),)


def report(exchange: Exchange) -> Response:
    """The counters as they are now, and how many streams are open and databases served."""
    services = exchange.services
    gauges = {
        "active_sessions": len(services.sessions.list()),
        "databases": len(services.registry.names()),
    }
    return Response(200, _HEADERS, services.metrics.text(gauges))
