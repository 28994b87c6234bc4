"""Blob stores of a database: numbered objects of bytes, kept as chunks in three tables of it.

    stores    a name, the last number given out, and how the store keeps what is written
    objects   by store and number: size, and the range of its chunks
    chunks    a new range for each content; a number is never used twice (AUTOINCREMENT)

So a reader that comes back for the next chunks finds those of the content it began with, or none.
Every function is work for `Database.call` that leaves the connection as it was, in one transaction.
The names of stores are values, never names of tables. It knows no HTTP and not who asks.
Source: protocol/operations.md, Blobs.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, cast

import apsw

from .access import EngineError, SQLFailure, StatementTimeout
from .blob_spool import BlobOptions, Chunk, unpacked

__all__ = [
    "Content",
    "ObjectDamaged",
    "ObjectNotFound",
    "Piece",
    "StoreNotFound",
    "StoreUnusable",
    "begin_reading",
    "create_object",
    "delete_object",
    "ensure_store",
    "find_store",
    "go_on_reading",
    "measure_object",
    "open_writer",
    "provision_store",
    "replace_content",
]

PIECE_BYTES: Final = 256 * 1024  # what a reader gets at a time, and at most one chunk more

_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS _quicsql_blob_stores(id INTEGER PRIMARY KEY,"
    " name TEXT NOT NULL UNIQUE, last_object INTEGER NOT NULL DEFAULT 0,"
    " chunk_bytes INTEGER NOT NULL, level INTEGER NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS _quicsql_blob_objects(store INTEGER NOT NULL, id INTEGER NOT NULL,"
    " size INTEGER NOT NULL DEFAULT 0, first_chunk INTEGER NOT NULL DEFAULT 0,"
    " end_chunk INTEGER NOT NULL DEFAULT 0, PRIMARY KEY(store, id)) STRICT",
    "CREATE TABLE IF NOT EXISTS _quicsql_blob_chunks(id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " size INTEGER NOT NULL, data BLOB NOT NULL) STRICT",
)
_COUNT_TABLES: Final = (
    "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN"
    " ('_quicsql_blob_stores', '_quicsql_blob_objects', '_quicsql_blob_chunks')"
)
_FIND_STORE: Final = "SELECT id, chunk_bytes, level FROM _quicsql_blob_stores WHERE name = ?"
_ADD_STORE: Final = "INSERT INTO _quicsql_blob_stores(name, chunk_bytes, level) VALUES(?, ?, ?)"
_SET_OPTIONS: Final = "UPDATE _quicsql_blob_stores SET chunk_bytes = ?, level = ? WHERE id = ?"
_NEXT_OBJECT: Final = (
    "UPDATE _quicsql_blob_stores SET last_object = last_object + 1 WHERE id = ?"
    " RETURNING last_object"
)
_ADD_OBJECT: Final = "INSERT INTO _quicsql_blob_objects(store, id) VALUES(?, ?)"
_FIND_OBJECT: Final = (
    "SELECT size, first_chunk, end_chunk FROM _quicsql_blob_objects WHERE store = ? AND id = ?"
)
_SET_OBJECT: Final = (
    "UPDATE _quicsql_blob_objects SET size = ?, first_chunk = ?, end_chunk = ?"
    " WHERE store = ? AND id = ?"
)
_REMOVE_OBJECT: Final = "DELETE FROM _quicsql_blob_objects WHERE store = ? AND id = ?"
_ADD_CHUNK: Final = "INSERT INTO _quicsql_blob_chunks(id, size, data) VALUES(?, ?, ?)"
_FIND_CHUNKS: Final = (
    "SELECT id, size, data FROM _quicsql_blob_chunks WHERE id >= ? AND id < ? ORDER BY id"
)
_REMOVE_CHUNKS: Final = "DELETE FROM _quicsql_blob_chunks WHERE id >= ? AND id < ?"


class StoreNotFound(EngineError):
    """The database has no store of that name."""

    def __init__(self) -> None:
        super().__init__("store not found")


class StoreUnusable(EngineError):
    """The store could not be opened: message is SQLite's."""


class ObjectNotFound(EngineError):
    """The store has no object of that number."""

    def __init__(self) -> None:
        super().__init__("not found")


class ObjectDamaged(EngineError):
    """Chunks are missing or are none: the object was replaced meanwhile, or its rows were edited
    by hand.
    """

    def __init__(self) -> None:
        super().__init__("the object was changed while it was read, or is damaged")


class Content(NamedTuple):
    """What an object holds: its bytes, in the chunks from first_chunk up to before end_chunk."""

    size_bytes: int = 0
    first_chunk: int = 0
    end_chunk: int = 0


class Piece(NamedTuple):
    """The next bytes of a content. next_chunk: where to go on; end_chunk when that was all."""

    data: bytes
    next_chunk: int


@dataclass(frozen=True, slots=True)
class _Store:
    id: int
    options: BlobOptions


def provision_store(
    connection: apsw.Connection, *, store: str, chunk_bytes: int | None, level: int | None
) -> None:
    """Makes a store if there is none, and sets those of its options that are not None.

    Raises: EngineError, as every function here.
    """
    with _writing(connection, store) as opened:
        before = opened.options
        wanted = BlobOptions.of(
            before.chunk_bytes if chunk_bytes is None else chunk_bytes,
            before.level if level is None else level,
        )
        connection.execute(_SET_OPTIONS, (wanted.chunk_bytes, wanted.level, opened.id))


def ensure_store(connection: apsw.Connection, *, store: str) -> None:
    """Makes a store if there is none."""
    with _writing(connection, store):
        pass


def find_store(connection: apsw.Connection, *, store: str) -> None:
    """Raises StoreNotFound if there is none."""
    with _reading(connection, store):
        pass


def create_object(connection: apsw.Connection, *, store: str) -> int:
    """The number of a new, empty object: one more than any that the store has had."""
    with _writing(connection, store) as opened:
        ((object_id,),) = _integers(connection, _NEXT_OBJECT, (opened.id,))
        connection.execute(_ADD_OBJECT, (opened.id, object_id))
    return object_id


def open_writer(connection: apsw.Connection, *, store: str, object_id: int) -> BlobOptions:
    """How the content of that object is to be spooled. An unknown store is made, and stays."""
    with _writing(connection, store) as opened:
        content = _find(connection, opened, object_id)
    if content is None:
        raise ObjectNotFound
    return opened.options


def replace_content(
    connection: apsw.Connection,
    *,
    store: str,
    object_id: int,
    chunks: Iterable[Chunk],
    stopped: threading.Event,
) -> None:
    """Gives an object these chunks instead of those it has.

    stopped: set when nobody waits any more; the object stays as it was then.
    """
    with _writing(connection, store) as opened:
        before = _find(connection, opened, object_id)
        if before is None:
            raise ObjectNotFound
        connection.execute(_REMOVE_CHUNKS, (before.first_chunk, before.end_chunk))
        content = _add_chunks(connection, chunks, stopped)
        connection.execute(_SET_OBJECT, (*content, opened.id, object_id))


def _add_chunks(
    connection: apsw.Connection, chunks: Iterable[Chunk], stopped: threading.Event
) -> Content:
    content = Content()
    for chunk in chunks:
        if stopped.is_set():
            raise StatementTimeout
        connection.execute(_ADD_CHUNK, (content.end_chunk or None, *chunk))
        first = content.first_chunk or connection.last_insert_rowid()
        end = (content.end_chunk or first) + 1
        content = Content(content.size_bytes + chunk.size_bytes, first, end)
    return content


def delete_object(connection: apsw.Connection, *, store: str, object_id: int) -> None:
    """Removes an object; its number is not given out again. An unknown store is made, and stays."""
    with _writing(connection, store) as opened:
        content = _find(connection, opened, object_id)
        if content is not None:
            connection.execute(_REMOVE_CHUNKS, (content.first_chunk, content.end_chunk))
            connection.execute(_REMOVE_OBJECT, (opened.id, object_id))
    if content is None:
        raise ObjectNotFound


def measure_object(connection: apsw.Connection, *, store: str, object_id: int) -> int:
    """The size of an object in bytes."""
    with _reading(connection, store) as opened:
        return _found(connection, opened, object_id).size_bytes


def begin_reading(
    connection: apsw.Connection, *, store: str, object_id: int
) -> tuple[Content, Piece]:
    """What an object holds, and the first piece of it."""
    with _reading(connection, store) as opened:
        content = _found(connection, opened, object_id)
        return content, _read(connection, content, content.first_chunk)


def go_on_reading(connection: apsw.Connection, *, content: Content, next_chunk: int) -> Piece:
    """The piece of a content that begins with that chunk. Raises ObjectDamaged when the object has
    another content now.
    """
    try:
        return _read(connection, content, next_chunk)
    except apsw.Error as error:
        raise _failure(error) from error


def _read(connection: apsw.Connection, content: Content, next_chunk: int) -> Piece:
    data = bytearray()
    with contextlib.closing(connection.cursor()) as rows:
        rows.execute(_FIND_CHUNKS, (next_chunk, content.end_chunk))
        while next_chunk < content.end_chunk and len(data) < PIECE_BYTES:
            chunk_id, *chunk = rows.fetchone() or (None, 0, b"")
            raw = unpacked(Chunk(*chunk)) if chunk_id == next_chunk else None
            if raw is None:
                raise ObjectDamaged
            data += raw
            next_chunk += 1
    return Piece(bytes(data), next_chunk)


@contextlib.contextmanager
def _writing(connection: apsw.Connection, store: str) -> Iterator[_Store]:
    """Around a transaction with the write lock, on a store that is there."""
    try:
        try:
            # The write lock first: a read transaction that becomes a write one may find itself
            # outdated by another connection, and cannot wait then.
            connection.execute("BEGIN IMMEDIATE")
            opened = _opened(connection, store)
        except apsw.Error as error:
            failure = _failure(error)
            if isinstance(failure, StatementTimeout):
                raise failure from error
            raise StoreUnusable(failure.message) from error
        yield opened
        connection.execute("COMMIT")
    except apsw.Error as error:
        raise _failure(error) from error
    finally:
        _end(connection)


def _opened(connection: apsw.Connection, name: str) -> _Store:
    for table in _TABLES:
        connection.execute(table)
    store = _look(connection, name)
    if store is not None:
        return store
    options = BlobOptions()
    connection.execute(_ADD_STORE, (name, options.chunk_bytes, options.level))
    return _Store(connection.last_insert_rowid(), options)


@contextlib.contextmanager
def _reading(connection: apsw.Connection, store: str) -> Iterator[_Store]:
    """Around a read transaction: one snapshot of a store. Raises StoreNotFound."""
    try:
        connection.execute("BEGIN")
        # This also makes SQLite notice tables that another connection has made.
        ((count,),) = _integers(connection, _COUNT_TABLES)
        opened = _look(connection, store) if count == len(_TABLES) else None
        if opened is None:
            raise StoreNotFound
        yield opened
    except apsw.Error as error:
        raise _failure(error) from error
    finally:
        _end(connection)


def _end(connection: apsw.Connection) -> None:
    """Ends the transaction, whatever it has not committed; the link ends one that stays open."""
    if connection.in_transaction:
        with contextlib.suppress(apsw.Error):
            connection.execute("ROLLBACK")


def _look(connection: apsw.Connection, name: str) -> _Store | None:
    for store_id, chunk_bytes, level in _integers(connection, _FIND_STORE, (name,)):
        return _Store(store_id, BlobOptions.of(chunk_bytes, level))
    return None


def _find(connection: apsw.Connection, store: _Store, object_id: int) -> Content | None:
    for row in _integers(connection, _FIND_OBJECT, (store.id, object_id)):
        return Content(*row)
    return None


def _integers(
    connection: apsw.Connection, sql: str, values: tuple[str | int, ...] = ()
) -> list[tuple[int, ...]]:
    """The rows of a query for INTEGER columns, of which STRICT tables have nothing else."""
    return cast("list[tuple[int, ...]]", connection.execute(sql, values).fetchall())


def _found(connection: apsw.Connection, store: _Store, object_id: int) -> Content:
    content = _find(connection, store, object_id)
    if content is None:
        raise ObjectNotFound
    return content


def _failure(error: apsw.Error) -> EngineError:
    if isinstance(error, apsw.InterruptError):
        return StatementTimeout()
    extended_code = getattr(error, "extendedresult", apsw.SQLITE_ERROR)
    return SQLFailure(str(error), extended_code & 0xFF, extended_code)
