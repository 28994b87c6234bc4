"""Changesets as SQLite's session extension makes them: applied, inverted, joined. Opaque bytes.

They are recorded on a stream (`operations.stream`). An empty changeset changes nothing, so nothing
is asked for it; the server would refuse it. Source: protocol/operations.md, Changesets.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias, get_args
from urllib.parse import quote

from ..errors import ProgrammingError
from ..wire.changeset import encode_concat
from ..wire.messages import JSON_HEADERS, OCTET_HEADERS, Request
from . import Operation
from .answers import require_ok
from .query import as_tables, database_path

__all__ = ["OnConflict", "apply_changeset", "concat_changesets", "invert_changeset"]

OnConflict: TypeAlias = Literal["abort", "omit", "replace"]
"""What to do where the rows are not as the changeset takes them to be: undo the whole apply, leave
that change out, or let it win."""


def apply_changeset(
    database: str, changeset: bytes, on_conflict: OnConflict = "abort", tables: Iterable[str] = ()
) -> Operation[None]:
    """Make a changeset's changes, of these tables or of all.

    Raises: DatabaseError on a conflict.
    """
    if on_conflict not in get_args(OnConflict):
        raise ProgrammingError(
            f'on_conflict is "abort", "omit" or "replace", not {on_conflict!r:.40}'
        )
    target = database_path(database, f"changeset/apply?on_conflict={on_conflict}{_listed(tables)}")
    body = _as_bytes(changeset)
    if body:
        request = Request("POST", target, OCTET_HEADERS, body)
        require_ok(request, (yield request))


def _listed(tables: Iterable[str]) -> str:
    """The parameter that names tables. The server splits it at commas and strips blanks."""
    names = as_tables(tables)
    for name in names:
        if "," in name or name != name.strip():
            raise ProgrammingError(
                f"the request cannot name the table {name!r:.80}: it holds a comma, or a blank at "
                "an end"
            )
    return f"&tables={quote(','.join(names), safe='')}" if names else ""


def invert_changeset(database: str, changeset: bytes) -> Operation[bytes]:
    """The changeset that undoes a changeset."""
    target, body = database_path(database, "changeset/invert"), _as_bytes(changeset)
    if not body:
        return b""
    request = Request("POST", target, OCTET_HEADERS, body)
    response = yield request
    require_ok(request, response)
    return response.body


def concat_changesets(database: str, first: bytes, second: bytes) -> Operation[bytes]:
    """One changeset that does what the first and then the second do."""
    target = database_path(database, "changeset/concat")
    body = encode_concat(_as_bytes(first), _as_bytes(second))
    request = Request("POST", target, JSON_HEADERS, body)
    response = yield request
    require_ok(request, response)
    return response.body


def _as_bytes(changeset: Any) -> bytes:
    if not isinstance(changeset, bytes | bytearray | memoryview):
        raise ProgrammingError(f"a changeset is bytes, not {type(changeset).__name__}")
    return bytes(changeset)
