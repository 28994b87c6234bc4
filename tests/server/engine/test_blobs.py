"""Blob stores on every kind of database: objects, contents, what readers and writers see of each
other. Odd-case 179.
"""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import apsw
import pytest

from quicsql_client.server.engine import Access, EngineError, SQLFailure, StatementTimeout, blobs
from quicsql_client.server.engine.blob_spool import BlobOptions, Chunk, Spool
from quicsql_client.server.engine.blobs import (
    Content,
    ObjectDamaged,
    ObjectNotFound,
    Piece,
    StoreNotFound,
    StoreUnusable,
)
from tests.fix_engine import EVERY_KIND, LONG_S, MEMORY, ROLLBACK, WAL, Desk, OpenDesk, Settings

kinds = pytest.mark.parametrize("settings", EVERY_KIND.values(), ids=EVERY_KIND)


class Stores:
    """Short spellings of the work on one database; each call is one of `Database.call`."""

    def __init__(self, desk: Desk, store: str = "s") -> None:
        self.desk = desk
        self.store = store

    async def call(self, work: Any, access: Access = Access.READ_WRITE, **keys: Any) -> Any:
        bound = partial(work, **keys)
        deadline = time.monotonic() + LONG_S
        return await self.desk.database.call(bound, access, deadline, leaves_traces=False)

    async def create(self) -> Any:
        return await self.call(blobs.create_object, store=self.store)

    async def open_writer(self, object_id: int) -> Any:
        return await self.call(blobs.open_writer, store=self.store, object_id=object_id)

    async def replace(self, object_id: int, chunks: Iterator[Chunk], **keys: Any) -> None:
        keys = {"stopped": threading.Event(), **keys}
        keys |= {"store": self.store, "object_id": object_id, "chunks": chunks}
        await self.call(blobs.replace_content, **keys)

    async def write(self, object_id: int, content: bytes) -> None:
        spool = Spool(await self.open_writer(object_id))
        spool.add(content)
        spool.finish()
        await self.replace(object_id, spool.chunks())
        spool.close()

    async def new(self, content: bytes) -> Any:
        object_id = await self.create()
        await self.write(object_id, content)
        return object_id

    async def size(self, object_id: int) -> Any:
        keys: Any = {"store": self.store, "object_id": object_id}
        return await self.call(blobs.measure_object, Access.READ_ONLY, **keys)

    async def begin(self, object_id: int) -> tuple[Content, Piece]:
        keys: Any = {"store": self.store, "object_id": object_id}
        content, piece = await self.call(blobs.begin_reading, Access.READ_ONLY, **keys)
        return content, piece

    async def go_on(self, content: Content, piece: Piece) -> Piece:
        keys: Any = {"content": content, "next_chunk": piece.next_chunk}
        found = await self.call(blobs.go_on_reading, Access.READ_ONLY, **keys)
        assert isinstance(found, Piece)
        return found

    async def read(self, object_id: int) -> bytes:
        content, piece = await self.begin(object_id)
        data = piece.data
        while piece.next_chunk < content.end_chunk:
            piece = await self.go_on(content, piece)
            data += piece.data
        assert len(data) == content.size_bytes
        return data

    async def delete(self, object_id: int) -> None:
        await self.call(blobs.delete_object, store=self.store, object_id=object_id)

    async def chunk_count(self) -> Any:
        return (await self.desk.rows("SELECT count(*) FROM _quicsql_blob_chunks"))[0][0]


@kinds
async def test_the_life_of_an_object(open_desk: OpenDesk, settings: Settings) -> None:
    stores = Stores(await open_desk(settings))
    object_id = await stores.create()
    assert object_id == 1
    assert (await stores.size(1), await stores.read(1)) == (0, b"")
    large = os.urandom(1_000_000)
    for content in (b"hello", large, b"hi", b"", large + b"x"):
        await stores.write(1, content)
        assert await stores.size(1) == len(content)
        assert await stores.read(1) == content
    await stores.delete(1)
    assert await stores.chunk_count() == 0
    for work in (stores.size, stores.read, stores.delete, stores.open_writer):
        with pytest.raises(ObjectNotFound):
            await work(1)
    with pytest.raises(ObjectNotFound):
        await stores.replace(1, iter([Chunk(1, b"x")]))
    assert await stores.chunk_count() == 0


async def test_numbers_are_never_given_out_again(open_desk: OpenDesk) -> None:
    stores = Stores(await open_desk())
    for expected in (1, 2, 3):
        assert await stores.create() == expected
    await stores.delete(3)
    await stores.delete(1)
    assert await stores.create() == 4


async def test_stores_do_not_know_each_other(open_desk: OpenDesk) -> None:
    desk = await open_desk()
    names = ["s", "S", "sqlite_x", "a.b-c", "select", "x'; DROP TABLE t; --"]
    await desk.run("CREATE TABLE s(v)")
    for name in names:
        assert await Stores(desk, name).new(name.encode()) == 1
    for name in names:
        assert await Stores(desk, name).read(1) == name.encode()
    await Stores(desk, "S").delete(1)
    assert await Stores(desk, "s").size(1) == 1
    with pytest.raises(ObjectNotFound):
        await Stores(desk, "S").size(1)


@kinds
async def test_who_may_write_makes_a_store_and_who_reads_does_not(
    open_desk: OpenDesk, settings: Settings
) -> None:  # 179
    desk = await open_desk(settings)
    for name, first in (("a", Stores.open_writer), ("b", Stores.delete)):
        stores = Stores(desk, name)
        for look in (stores.size, stores.read):
            with pytest.raises(StoreNotFound):
                await look(1)
        with pytest.raises(StoreNotFound):
            await stores.call(blobs.find_store, Access.READ_ONLY, store=name)
        with pytest.raises(ObjectNotFound):
            await first(stores, 1)
        for look in (stores.size, stores.read):
            with pytest.raises(ObjectNotFound):
                await look(1)
    await stores.call(blobs.ensure_store, store="c")
    await stores.call(blobs.find_store, Access.READ_ONLY, store="c")


@kinds
async def test_nothing_can_be_written_with_the_right_to_read(
    open_desk: OpenDesk, settings: Settings
) -> None:
    stores = Stores(await open_desk(settings))
    await stores.new(b"kept")
    writes: list[tuple[Any, dict[str, Any]]] = [
        (blobs.create_object, {}),
        (blobs.provision_store, {"chunk_bytes": None, "level": 9}),
        (blobs.delete_object, {"object_id": 1}),
        (
            blobs.replace_content,
            {"object_id": 1, "chunks": [Chunk(1, b"x")], "stopped": threading.Event()},
        ),
    ]
    for work, keys in writes:
        with pytest.raises(EngineError):
            await stores.call(work, Access.READ_ONLY, store="s", **keys)
    assert await stores.read(1) == b"kept"


async def test_options_stay_until_they_are_set_again(open_desk: OpenDesk) -> None:
    stores = Stores(await open_desk())

    async def provision(**keys: Any) -> Any:
        await stores.call(blobs.provision_store, store="s", **keys)
        return await stores.open_writer(1)

    await stores.create()
    assert await stores.open_writer(1) == BlobOptions()
    assert await provision(chunk_bytes=5_000, level=None) == BlobOptions(5_000, 0)
    assert await provision(chunk_bytes=None, level=9) == BlobOptions(5_000, 9)
    assert await provision(chunk_bytes=None, level=None) == BlobOptions(5_000, 9)
    await stores.write(1, bytes(20_000))
    await provision(chunk_bytes=10_000, level=0)
    assert await stores.read(1) == bytes(20_000)  # what is there stays as it was written
    stored = await stores.desk.rows("SELECT count(*), sum(length(data)) FROM _quicsql_blob_chunks")
    assert stored[0][0] == 4
    assert int(str(stored[0][1])) < 400


async def test_options_that_somebody_edited_stay_within_bounds(open_desk: OpenDesk) -> None:
    stores = Stores(await open_desk())
    await stores.create()
    await stores.desk.run("UPDATE _quicsql_blob_stores SET chunk_bytes = 0, level = 77")
    assert await stores.open_writer(1) == BlobOptions(4096, 9)


@kinds
async def test_a_reader_never_sees_two_contents(open_desk: OpenDesk, settings: Settings) -> None:
    stores = Stores(await open_desk(settings))
    await stores.new(b"a" * 2_000_000)
    for change in (stores.write(1, b"b" * 2_000_000), stores.delete(1)):
        content, piece = await stores.begin(1)
        second = await stores.go_on(content, piece)
        await change
        with pytest.raises(ObjectDamaged):
            await stores.go_on(content, second)
    assert await stores.chunk_count() == 0


@kinds
async def test_a_reader_does_not_mind_other_objects(
    open_desk: OpenDesk, settings: Settings
) -> None:
    stores = Stores(await open_desk(settings))
    await stores.new(b"a" * 1_000_000)
    content, piece = await stores.begin(1)
    await stores.new(b"b" * 1_000_000)
    await stores.write(2, b"c")
    await stores.desk.run("CREATE TABLE t(v)")
    data = piece.data
    while piece.next_chunk < content.end_chunk:
        piece = await stores.go_on(content, piece)
        data += piece.data
    assert data == b"a" * 1_000_000


@kinds
async def test_a_content_that_nobody_waits_for_is_not_kept(
    open_desk: OpenDesk, settings: Settings
) -> None:
    stores = Stores(await open_desk(settings))
    await stores.new(b"old" * 200_000)
    stopped = threading.Event()

    def chunks() -> Iterator[Chunk]:
        yield Chunk(3, b"new")
        stopped.set()
        yield Chunk(3, b"new")

    with pytest.raises(StatementTimeout):
        await stores.replace(1, chunks(), stopped=stopped)
    assert await stores.read(1) == b"old" * 200_000
    assert await stores.chunk_count() == 3


async def test_a_content_that_breaks_is_not_kept(open_desk: OpenDesk) -> None:
    stores = Stores(await open_desk())
    await stores.new(b"old")

    def chunks() -> Iterator[Chunk]:
        yield Chunk(3, b"new")
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input"):
        await stores.replace(1, chunks())
    assert await stores.read(1) == b"old"
    assert await stores.desk.rows("SELECT 1") == [(1,)]
    assert await stores.create() == 2


@kinds
async def test_writers_side_by_side_lose_nothing(open_desk: OpenDesk, settings: Settings) -> None:
    stores = Stores(await open_desk(settings))
    contents = [bytes([number]) * (number * 40_000) for number in range(1, 9)]
    numbers = await asyncio.gather(*(stores.new(content) for content in contents))
    assert sorted(numbers) == list(range(1, 9))
    for number, content in zip(numbers, contents, strict=True):
        assert await stores.read(number) == content


async def test_readers_notice_tables_that_come_and_go(open_desk: OpenDesk) -> None:
    stores = Stores(await open_desk(WAL))
    for _ in range(2):
        with pytest.raises(StoreNotFound):
            await stores.size(1)
        assert await stores.new(b"there") == 1
        assert await stores.read(1) == b"there"
        for table in ("stores", "objects", "chunks"):
            await stores.desk.run(f"DROP TABLE _quicsql_blob_{table}")


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE _quicsql_blob_chunks SET size = 3",
        "UPDATE _quicsql_blob_chunks SET size = 9000000",
        "UPDATE _quicsql_blob_chunks SET size = 7, data = zeroblob(5)",
        "UPDATE _quicsql_blob_objects SET end_chunk = end_chunk + 1",
        "UPDATE _quicsql_blob_objects SET first_chunk = first_chunk - 1",
        "DELETE FROM _quicsql_blob_chunks",
    ],
)
async def test_rows_that_somebody_edited_are_told(open_desk: OpenDesk, harm: str) -> None:
    stores = Stores(await open_desk())
    await stores.new(b"seven77")
    await stores.desk.run(harm)
    with pytest.raises(ObjectDamaged):
        await stores.begin(1)


async def test_a_table_in_the_way(open_desk: OpenDesk) -> None:
    stores = Stores(await open_desk())
    await stores.desk.run("CREATE TABLE _quicsql_blob_stores(mine)")
    with pytest.raises(StoreUnusable, match="no such column"):
        await stores.create()
    with pytest.raises(StoreNotFound):
        await stores.size(1)
    assert await stores.desk.rows("SELECT name FROM sqlite_schema") == [("_quicsql_blob_stores",)]


async def test_a_database_that_cannot_be_written(open_desk: OpenDesk) -> None:
    await Stores(await open_desk(ROLLBACK)).new(b"kept")
    stores = Stores(await open_desk(Settings(mode="ro")))
    assert await stores.read(1) == b"kept"
    with pytest.raises(SQLFailure, match="readonly"):
        await stores.create()
    with pytest.raises(StoreUnusable, match="readonly"):
        await Stores(stores.desk, "new").create()


async def test_a_lock_that_somebody_holds(open_desk: OpenDesk) -> None:
    stores = Stores(await open_desk(WAL))
    await stores.new(b"kept")
    pinned = await stores.desk.database.pin(Access.READ_WRITE)
    try:
        await pinned.sequence("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnusable, match="locked"):
            await stores.write(1, b"new")
        assert await stores.read(1) == b"kept"
    finally:
        await pinned.release()
    await stores.write(1, b"new")
    assert await stores.read(1) == b"new"


async def test_a_stream_has_a_memory_database_alone(open_desk: OpenDesk) -> None:
    stores = Stores(await open_desk(MEMORY))
    await stores.new(b"there")
    pinned = await stores.desk.database.pin(Access.READ_WRITE)
    reading = asyncio.ensure_future(stores.read(1))
    await pinned.sequence("SELECT 1")
    assert not reading.done()
    await pinned.release()
    assert await reading == b"there"


async def test_the_connection_is_kept_and_as_it_was(open_desk: OpenDesk) -> None:
    stores = Stores(await open_desk(MEMORY))
    seen: list[apsw.Connection] = []

    async def note() -> None:
        await stores.desk.database.call(
            seen.append, Access.READ_WRITE, math.inf, leaves_traces=False
        )

    await note()
    await stores.new(b"x")
    await stores.read(1)
    await note()
    assert seen[0] is seen[1]
    assert await stores.desk.rows("SELECT last_insert_rowid(), changes(), total_changes()") == [
        (0, 0, 0)
    ]
