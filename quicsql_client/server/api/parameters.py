"""Parameters of a request's query string.

Source: protocol/operations.md.
"""

from __future__ import annotations

from urllib.parse import parse_qs

from .exchange import Exchange

__all__ = ["first_parameter", "read_parameters", "table_names"]


def read_parameters(exchange: Exchange) -> dict[str, str]:
    """The parameters by name, percent-decoded; of several values the first counts."""
    query: bytes = exchange.scope.get("query_string", b"")
    found = parse_qs(query.decode("latin-1"), keep_blank_values=True)
    return {name: values[0] for name, values in found.items()}


def first_parameter(exchange: Exchange, name: str) -> str:
    """The first value of a parameter; "" when it is not there."""
    return read_parameters(exchange).get(name, "")


def table_names(exchange: Exchange) -> frozenset[str]:
    """The names between the commas of `tables`, without blanks; none is all."""
    names = first_parameter(exchange, "tables").split(",")
    return frozenset(name.strip() for name in names) - {""}
