"""The query of a request's URL.

Source: protocol/operations.md.
"""

from __future__ import annotations

from urllib.parse import parse_qs

from .exchange import Exchange

__all__ = ["read_parameters"]


def read_parameters(exchange: Exchange) -> dict[str, str]:
    """The parameters by name, percent-decoded; of several values the first counts."""
    query: bytes = exchange.scope.get("query_string", b"")
    found = parse_qs(query.decode("latin-1"), keep_blank_values=True)
    return {name: values[0] for name, values in found.items()}
