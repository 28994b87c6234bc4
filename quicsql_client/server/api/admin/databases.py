"""`/_admin/databases`, `/_admin/stats`: the databases that a caller administers.

Source: protocol/operations.md, Admin.
"""

from __future__ import annotations

from ....wire.messages import Response
from .errand import Errand, answer_with

__all__ = ["list_databases"]


async def list_databases(errand: Errand) -> Response:
    """Each database that the caller administers, and who uses it; an empty list for others."""
    databases = errand.exchange.services.registry.list()
    return answer_with(
        databases=[
            {"kind": one.kind, "name": one.name, "open": one.is_open, "refs": one.usage.count}
            for one in databases
            if errand.administers(one.name)
        ]
    )
