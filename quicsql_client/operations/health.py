"""Whether the server answers. Source: protocol/operations.md, "/_health, /_metrics"."""

from __future__ import annotations

from ..errors import OperationalError
from ..wire.health import decode_health
from ..wire.messages import Request
from . import Operation
from .answers import require_ok

__all__ = ["health"]


def health() -> Operation[None]:
    """Returns when the server says that it is well. Raises OperationalError when it is not."""
    request = Request("GET", "/_health")
    response = yield request
    require_ok(request, response)
    status = decode_health(response.body)
    if status != "ok":
        raise OperationalError(f"the server's health is {status!r:.40}")
