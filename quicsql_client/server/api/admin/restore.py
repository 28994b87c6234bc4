"""`/_admin/restore`: a database's file is replaced by an image that the client sends.

The image is written beside the file, checked there, and takes its place in one step while nobody
uses the database.
Source: protocol/operations.md, POST /_admin/restore; protocol/transports.md, Timeouts.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterable
from functools import partial
from typing import Final
from urllib.parse import parse_qs

from ....wire.messages import Response
from ...drafts import Draft, in_thread
from ...engine import DatabaseBusy, UnknownDatabase
from ...engine.checking import ImageCheck
from ..exchange import BodyStalled, ClientGone, Exchange, Refusal
from .errand import BUSY, NOT_SERVER_ADMIN, Errand, answer_with

__all__ = ["restore"]

_PIECE_BYTES: Final = 1024 * 1024  # written at a time
_UPLOAD_FAILED: Final = "restore: upload failed"
_NO_DATABASE: Final = "restore: uploaded file is not a valid SQLite database"


async def restore(errand: Errand) -> Response:
    """Replace the file of a database. Raises: Refusal; the parameter is looked at before the
    caller.
    """
    name = errand.database = _parameter(errand.exchange)
    if not name:
        raise Refusal(400, "restore requires a ?database= query parameter")
    if not errand.is_server_admin:
        raise Refusal(403, NOT_SERVER_ADMIN)
    file = errand.exchange.served_database(name).file
    if file is None:
        raise Refusal(400, "restore is only supported for file databases")
    try:
        size_bytes = await _restore(errand, file)
    except OSError as error:
        errand.log("restore of database %s failed: %s", name, error.strerror)
        raise Refusal(500, "restore failed") from error
    errand.detail = f"{size_bytes} bytes"
    return answer_with(bytes=size_bytes, database=name, status="restored")


def _parameter(exchange: Exchange) -> str:
    query: bytes = exchange.scope.get("query_string", b"")
    return parse_qs(query.decode("latin-1")).get("database", [""])[0]


async def _restore(errand: Errand, file: str) -> int:
    draft = await in_thread(lambda: Draft(os.path.realpath(file)))
    try:
        size_bytes = await _take_upload(errand.exchange, draft)
        await _check(errand, draft)
        await _replace(errand, draft)
    finally:
        await in_thread(draft.discard)
    return size_bytes


async def _take_upload(exchange: Exchange, draft: Draft) -> int:
    """Writes the body into the draft; its size. Raises: Refusal, 413, 400; OSError."""
    try:
        async with contextlib.aclosing(exchange.body_pieces(is_timed=True)) as chunks:
            await _write_all(chunks, draft, exchange.settings.max_restore_bytes)
    except (BodyStalled, ClientGone):
        raise exchange.broken_body(400, _UPLOAD_FAILED) from None
    return await in_thread(draft.sync)


async def _write_all(chunks: AsyncIterable[bytes], draft: Draft, cap_bytes: int) -> None:
    """cap_bytes: negative is none."""
    size_bytes, held = 0, bytearray()
    async for chunk in chunks:
        size_bytes += len(chunk)
        if size_bytes > cap_bytes >= 0:
            raise Refusal(413, "restore image exceeds the size cap")
        held += chunk
        if len(held) >= _PIECE_BYTES:
            await in_thread(partial(draft.write, bytes(held)))
            held.clear()
    await in_thread(partial(draft.write, bytes(held)))


async def _check(errand: Errand, draft: Draft) -> None:
    check = ImageCheck(draft.path)
    try:
        fault = await errand.exchange.while_connected(in_thread(check.run, check.stop))
    except ClientGone:
        raise Refusal(400, _UPLOAD_FAILED) from None
    if fault is not None:
        errand.log("restore of database %s refused: %s", errand.database, fault)
        raise Refusal(400, _NO_DATABASE)


async def _replace(errand: Errand, draft: Draft) -> None:
    """Raises: Refusal, 404, 409; OSError."""
    try:
        async with errand.exchange.services.registry.offline(errand.database):
            await in_thread(draft.replace_database)
    except UnknownDatabase:
        raise Refusal(404, "unknown database") from None
    except DatabaseBusy:
        raise Refusal(409, BUSY) from None
