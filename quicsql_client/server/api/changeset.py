"""`POST /<db>/changeset/apply`, `/invert` and `/concat`.

Unlike everywhere else, an unknown or unavailable database is a 422 here.
Source: protocol/operations.md, Changesets.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

from ...wire import changeset as wire
from ...wire.messages import Headers, Response
from ..engine import Access, DatabaseUnavailable, EngineError
from ..engine.changesets import (
    OnConflict,
    apply_changeset,
    concat_changesets,
    invert_changeset,
)
from .exchange import ClientGone, Exchange, Refusal, decode, json_response
from .parameters import first_parameter, table_names

__all__ = ["apply", "concat", "invert"]

_Done = TypeVar("_Done")

_BINARY: Final[Headers] = (("content-type", "application/octet-stream"),)


async def apply(exchange: Exchange) -> Response:
    """Apply the changeset that is the body. Raises Refusal: 413, 400, 422."""
    changeset = await _read_changeset(exchange)
    work = partial(
        apply_changeset,
        changeset=changeset,
        on_conflict=_on_conflict(exchange),
        tables=table_names(exchange),
    )
    await _run(exchange, "apply changeset", work, Access.READ_WRITE)
    return json_response(wire.encode_applied())


async def invert(exchange: Exchange) -> Response:
    """The inverse of the changeset that is the body. Raises Refusal: 413, 400, 422."""
    changeset = await _read_changeset(exchange)

    def work(_connection: object) -> bytes:
        return invert_changeset(changeset)

    return _bytes(await _run(exchange, "invert changeset", work, Access.READ_ONLY))


async def concat(exchange: Exchange) -> Response:
    """The two changesets of the body as one. Raises Refusal: 413, 400, 422."""
    first, second = decode(wire.decode_concat, await exchange.read_body())

    def work(_connection: object) -> bytes:
        return concat_changesets(first, second)

    return _bytes(await _run(exchange, "concat changesets", work, Access.READ_ONLY))


async def _read_changeset(exchange: Exchange) -> bytes:
    body = await exchange.read_body()
    if not body:
        raise Refusal(400, "empty changeset")
    return body


def _on_conflict(exchange: Exchange) -> OnConflict:
    """The first value counts; empty is the default."""
    given = first_parameter(exchange, "on_conflict")
    try:
        return OnConflict(given or OnConflict.ABORT.value)
    except ValueError:
        shown = json.dumps(given, ensure_ascii=False)
        raise Refusal(400, f"on_conflict must be abort|omit|replace, got {shown}") from None


async def _run(
    exchange: Exchange, step: str, work: Callable[[Any], _Done], access: Access
) -> _Done:
    """What work gives, within the statement timeout. Raises Refusal: 422, whatever is wrong."""
    deadline = time.monotonic() + exchange.settings.statement_timeout_s
    try:
        database = exchange.opened_database()
        return await exchange.while_connected(database.call(work, access, deadline))
    except Refusal:
        reason = f'registry: unknown database: "{exchange.database}"'
    except DatabaseUnavailable:
        reason = "database temporarily unavailable"
    except ClientGone:
        reason = "statement timed out"
    except EngineError as exc:
        reason = exc.message
    raise Refusal(422, f"{step}: {reason}")


def _bytes(body: bytes) -> Response:
    return Response(200, _BINARY, body)
