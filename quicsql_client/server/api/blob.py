"""`/<db>/blob/provision`, `create`, `write`, `read`, `size` and `delete`.

An upload goes to a temporary file first and a download comes in pieces, so that neither a slow
client nor a large object holds a connection or much memory.
Source: protocol/operations.md, Blobs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import re
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from functools import partial
from typing import Any, Final, TypeVar

from ...wire import blob as wire
from ...wire.messages import Headers, Response
from ..config import is_valid_database_name
from ..engine import Access, EngineError, blobs
from ..engine.blob_spool import Chunk, Spool
from .exchange import (
    BodyStalled,
    ClientGone,
    Exchange,
    Refusal,
    StreamedResponse,
    json_response,
)
from .parameters import read_parameters

__all__ = ["create", "delete", "provision", "read", "size", "write"]

_Done = TypeVar("_Done")

_log = logging.getLogger("quicsql.server")

_BINARY: Final[Headers] = (("content-type", "application/octet-stream"),)
_LEVELS: Final = {"fastest": 1, "fast": 3, "default": 6, "better": 8, "best": 9}
_NUMBER: Final = re.compile(r"[+-]?[0-9]+")
_INT64: Final = range(-(1 << 63), 1 << 63)
_MAX_DIGITS: Final = 1000  # Python refuses to convert much longer ones

# Of an upload that is handed to the disk at a time.
_BATCH_BYTES: Final = 256 * 1024
_TOO_LARGE: Final = "object exceeds the maximum blob size"


async def provision(exchange: Exchange) -> Response:
    """Make a store, and set its options. Raises Refusal: 400, 404, 422."""
    stores = _Stores(exchange)
    parameters = stores.parameters
    chunk_bytes = _int64(parameters.get("chunk", ""))
    work = partial(
        blobs.provision_store,
        chunk_bytes=chunk_bytes if chunk_bytes and chunk_bytes > 0 else None,
        level=_LEVELS.get(parameters.get("compress", "")),
    )
    await stores.run("provision", work, Access.READ_WRITE)
    return json_response(wire.encode_done())


async def create(exchange: Exchange) -> Response:
    """Make an empty object. Raises Refusal: 400, 404, 422."""
    stores = _Stores(exchange)
    object_id = await stores.run("create", blobs.create_object, Access.READ_WRITE)
    return json_response(wire.encode_created(object_id))


async def size(exchange: Exchange) -> Response:
    """How many bytes an object has. Raises Refusal: 400, 404, 422."""
    stores = _Stores(exchange)
    work = partial(blobs.measure_object, object_id=await stores.object_id(Access.READ_ONLY))
    return json_response(wire.encode_size(await stores.run("size", work, Access.READ_ONLY)))


async def delete(exchange: Exchange) -> Response:
    """Remove an object. Raises Refusal: 400, 404, 422."""
    stores = _Stores(exchange)
    work = partial(blobs.delete_object, object_id=await stores.object_id(Access.READ_WRITE))
    await stores.run("delete", work, Access.READ_WRITE)
    return json_response(wire.encode_done())


async def read(exchange: Exchange) -> Response | StreamedResponse:
    """The content of an object. One that is replaced meanwhile is cut off, never mixed.

    Raises Refusal: 400, 404, 422.
    """
    stores = _Stores(exchange)
    work = partial(blobs.begin_reading, object_id=await stores.object_id(Access.READ_ONLY))
    content, piece = await stores.run("size", work, Access.READ_ONLY)
    if piece.next_chunk == content.end_chunk and len(piece.data) == content.size_bytes:
        return Response(200, _BINARY, piece.data)
    return StreamedResponse(200, _BINARY, _pieces(stores, content, piece), content.size_bytes)


async def _pieces(
    stores: _Stores, content: blobs.Content, piece: blobs.Piece
) -> AsyncGenerator[bytes, None]:
    """Ends early, which cuts the answer, when there is no more of this content."""
    left = content.size_bytes
    while len(piece.data) <= left:
        yield piece.data
        left -= len(piece.data)
        if piece.next_chunk >= content.end_chunk:
            break
        work = partial(blobs.go_on_reading, content=content, next_chunk=piece.next_chunk)
        try:
            piece = await stores.call(work, Access.READ_ONLY, math.inf)
        except (EngineError, ClientGone) as exc:
            stores.log("read cut off", exc)
            return


async def write(exchange: Exchange) -> Response:
    """Give an object the body as its content. An upload that breaks leaves it as it was.

    Raises Refusal: 400, 404, 413, 422.
    """
    stores = _Stores(exchange)
    object_id = await stores.object_id(Access.READ_WRITE)
    # Nobody may watch for the client now: that would read its body.
    work = partial(blobs.open_writer, object_id=object_id)
    options = await stores.run("open writer", work, Access.READ_WRITE, is_watched=False)
    replace = partial(_replace, stores, object_id)
    spool = Spool(options)
    try:
        if not await _receive(exchange, stores, spool):
            await replace("truncate", (), is_watched=False)
            raise Refusal(413, _TOO_LARGE)
        await replace("write", spool.chunks())
        return json_response(wire.encode_size(spool.size_bytes))
    finally:
        await asyncio.to_thread(spool.close)


async def _receive(exchange: Exchange, stores: _Stores, spool: Spool) -> bool:
    """Spool the body; False when it is too large, or says that it will be. Raises Refusal: 422 when
    it does not come whole, or the disk does not take it.
    """
    max_bytes = exchange.settings.max_blob_bytes
    announced = dict(exchange.scope["headers"]).get(b"content-length", b"")
    if (_int64(announced.decode("latin-1")) or 0) > max_bytes:
        return False
    try:
        async with contextlib.aclosing(exchange.body_pieces()) as pieces:
            return await _spool(pieces, spool, max_bytes)
    except BodyStalled:
        raise exchange.broken_body(422, "write: the body stalled") from None
    except ClientGone:
        raise exchange.broken_body(422, "write: the body broke off") from None
    except OSError as exc:
        stores.log("write", exc)
        raise exchange.broken_body(422, f"write: {os.strerror(exc.errno or 0)}") from exc


async def _spool(pieces: AsyncGenerator[bytes, None], spool: Spool, max_bytes: int) -> bool:
    batch = bytearray()
    async for piece in pieces:
        batch += piece
        if spool.size_bytes + len(batch) > max_bytes:
            return False
        if len(batch) >= _BATCH_BYTES:
            await asyncio.to_thread(spool.add, bytes(batch))
            batch.clear()
    await asyncio.to_thread(spool.add, bytes(batch))
    await asyncio.to_thread(spool.finish)
    return True


async def _replace(
    stores: _Stores, object_id: int, step: str, chunks: Iterable[Chunk], *, is_watched: bool = True
) -> None:
    """In one transaction, however long it takes."""
    stopped = threading.Event()
    work = partial(blobs.replace_content, object_id=object_id, chunks=chunks, stopped=stopped)
    try:
        await stores.run(step, work, Access.READ_WRITE, math.inf, is_watched=is_watched)
    finally:
        stopped.set()


class _Stores:
    """The database of a request, and the store that its `?store=` names.

    Raises Refusal: 400 without a store, 404 when the database is not served.
    """

    def __init__(self, exchange: Exchange) -> None:
        self.parameters = read_parameters(exchange)
        self._store = self.parameters.get("store", "")
        if not is_valid_database_name(self._store):
            raise Refusal(400, "invalid or missing ?store=")
        self._exchange = exchange
        self._database = exchange.opened_database()
        self._timeout_s = exchange.settings.statement_timeout_s

    async def object_id(self, access: Access) -> int:
        """What `?id=` says.

        Raises Refusal: 400; but an unknown store comes first: who may write makes it, else 404.
        """
        text = self.parameters.get("id")
        object_id = None if text is None else _int64(text)
        if object_id is not None:
            return object_id
        is_writer = access is Access.READ_WRITE
        look = blobs.ensure_store if is_writer else blobs.find_store
        await self.run("open blobstore", look, access, is_watched=False)
        raise Refusal(400, "missing ?id=" if text is None else "invalid ?id=")

    async def run(
        self,
        step: str,
        work: Callable[..., _Done],
        access: Access,
        timeout_s: float | None = None,
        *,
        is_watched: bool = True,
    ) -> _Done:
        """What work gives for the store. timeout_s: None is the statement timeout. is_watched:
        whether it ends when the client leaves.

        Raises Refusal: 404, 422, with the step's name.
        """
        try:
            return await self.call(
                partial(work, store=self._store), access, timeout_s, is_watched=is_watched
            )
        except blobs.StoreNotFound as exc:
            raise Refusal(404, exc.message) from None
        except blobs.ObjectNotFound as exc:
            raise Refusal(404, f"{step}: {exc.message}") from None
        except blobs.StoreUnusable as exc:
            step = step if step == "provision" else "open blobstore"
            raise Refusal(422, f"{step}: {exc.message}") from exc
        except ClientGone:
            raise Refusal(422, f"{step}: statement timed out") from None
        except EngineError as exc:
            raise Refusal(422, f"{step}: {exc.message}") from exc

    async def call(
        self,
        work: Callable[[Any], _Done],
        access: Access,
        timeout_s: float | None = None,
        *,
        is_watched: bool = True,
    ) -> _Done:
        """What work gives. Raises: EngineError, ClientGone."""
        deadline = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        calling = self._database.call(work, access, deadline, leaves_traces=False)
        return await (self._exchange.while_connected(calling) if is_watched else calling)

    def log(self, what: str, cause: Exception) -> None:
        """Say what went wrong where, as far as the client cannot be told."""
        _log.warning(
            "blob %s: database %s store %s: %s: %s",
            *(what, self._exchange.database, self._store, type(cause).__name__, cause),
        )


def _int64(text: str) -> int | None:
    """A number in base 10 that fits in 64 bits; None for anything else."""
    if len(text) > _MAX_DIGITS or not _NUMBER.fullmatch(text):
        return None
    number = int(text)
    return number if number in _INT64 else None
