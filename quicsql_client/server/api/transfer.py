"""`GET /<db>/export` and `/<db>/backup`: the database as a SQLite image.

Both share a few slots, so that images cannot fill memory or disk; a request waits for one. An
export is serialised in memory, up to a cap; a backup has no cap and goes through a temporary file.
Source: protocol/operations.md; protocol/transports.md, Admission.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import tempfile
from collections.abc import AsyncGenerator
from functools import partial
from typing import IO, Final

from ...wire.messages import Headers
from ..engine import Access, EngineError
from ..engine.images import ImageCopy, ImageTooLarge, SizeUnknown, serialise
from ..registry import Database
from .exchange import ClientGone, Exchange, Refusal, StreamedResponse

__all__ = ["backup", "export"]

_log = logging.getLogger("quicsql.server")

# Of a body that is sent or of a file that is read, at a time.
PIECE_BYTES: Final = 256 * 1024


async def export(exchange: Exchange) -> StreamedResponse:
    """The serialised database, without a length. Raises Refusal: 404, 413, 500."""
    database = exchange.opened_database()
    await _take_slot(exchange, "exports")
    work = partial(serialise, max_bytes=exchange.settings.max_export_bytes)
    try:
        image = await exchange.while_connected(database.call(work, Access.READ_ONLY, math.inf))
    except ImageTooLarge as exc:
        raise Refusal(413, "database too large to export") from exc
    except SizeUnknown as exc:
        raise _failure(exchange, "export: could not determine database size", exc) from exc
    except (EngineError, ClientGone) as exc:
        raise _failure(exchange, "export failed", exc) from exc
    return StreamedResponse(200, _headers(exchange), _pieces_of_bytes(image))


async def backup(exchange: Exchange) -> StreamedResponse:
    """A copy of the database, with its length; the copy is made before the first byte is sent.

    It stops when the client leaves. Raises Refusal: 404, 500.
    """
    database = exchange.opened_database()
    await _take_slot(exchange, "backups")
    file = _temporary_file(exchange)
    exchange.at_end.append(file.close)
    try:
        await _copy(exchange, database, file.name)
    except (EngineError, ClientGone) as exc:
        raise _failure(exchange, "backup failed", exc) from exc
    try:
        length = os.fstat(file.fileno()).st_size
    except OSError as exc:
        raise _failure(exchange, "backup: cannot read image", exc) from exc
    return StreamedResponse(200, _headers(exchange), _pieces_of_file(file), length)


async def _take_slot(exchange: Exchange, what: str) -> None:
    """Wait for a slot, which is given back when the answer has been sent."""
    slots = exchange.services.transfer_slots
    try:
        await exchange.while_connected(slots.acquire())
    except ClientGone:
        raise Refusal(503, f"too many concurrent {what}") from None
    exchange.at_end.append(slots.release)


def _temporary_file(exchange: Exchange) -> IO[bytes]:
    """An empty file for this user's eyes only, which is gone when it is closed."""
    try:
        return tempfile.NamedTemporaryFile(prefix="quicsql-backup-", suffix=".sqlite")
    except OSError as exc:
        raise _failure(exchange, "backup: cannot create temp file", exc) from exc


async def _copy(exchange: Exchange, database: Database, path: str) -> None:
    copy = ImageCopy(path)
    try:
        await exchange.while_connected(database.call(copy.run, Access.READ_ONLY, math.inf))
    finally:
        copy.stop()  # nobody waits for it any more: SQLite's interrupt does not reach a backup


def _headers(exchange: Exchange) -> Headers:
    """The name is safe between quotes: it has letters, digits, dots, dashes and underscores."""
    return (
        ("content-type", "application/octet-stream"),
        ("content-disposition", f'attachment; filename="{exchange.database}.sqlite"'),
    )


def _failure(exchange: Exchange, text: str, cause: Exception) -> Refusal:
    reason = cause.__cause__ or cause
    _log.warning("%s: database %s: %s: %s", text, exchange.database, type(reason).__name__, reason)
    return Refusal(500, text)


async def _pieces_of_bytes(image: bytes) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(image), PIECE_BYTES):
        yield image[start : start + PIECE_BYTES]


async def _pieces_of_file(file: IO[bytes]) -> AsyncGenerator[bytes, None]:
    while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
        yield piece
