"""A whole database as one answer. Source: protocol/operations.md, "GET /<db>/export"."""

from __future__ import annotations

from ..errors import RemoteProtocolError
from ..wire.messages import Request
from . import Operation
from .answers import require_ok
from .query import database_path

__all__ = ["export"]

_MAGIC = b"SQLite format 3\0"  # sqlite.org/fileformat.html, 1.3.1


def export(database: str) -> Operation[bytes]:
    """The database as the bytes of a SQLite file; none for one that nothing was ever written to.

    Raises: DataError (413) for one above the server's max_export_bytes.
    """
    request = Request("GET", database_path(database, "export"))
    response = yield request
    require_ok(request, response)
    if response.body and not response.body.startswith(_MAGIC):
        raise RemoteProtocolError(f"{request}: the server's answer is not a SQLite database")
    return response.body
