"""Parameters of a request's query string.

Source: protocol/operations.md.
"""

from __future__ import annotations

from urllib.parse import parse_qs

from .exchange import Exchange

__all__ = ["first_parameter", "table_names"]


def first_parameter(exchange: Exchange, name: str) -> str:
    """The first value of a parameter; "" when it is not there."""
    query: bytes = exchange.scope.get("query_string", b"")
    return parse_qs(query.decode("latin-1"), keep_blank_values=True).get(name, [""])[0]


def table_names(exchange: Exchange) -> frozenset[str]:
    """The names between the commas of `tables`, without blanks; none is all."""
    names = first_parameter(exchange, "tables").split(",")
    return frozenset(name.strip() for name in names) - {""}
