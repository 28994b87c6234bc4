"""The kinds of work of a soak: each keeps one connection busy and checks all that it is told.

A lane does one thing at a time, over HTTP/2 or HTTP/1.1, as one principal with its certificate.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from quicsql_client import AsyncClient, Error, OperationalError, with_transport
from quicsql_client.wire.cursor import CursorDecoder, Prelude, StepError
from quicsql_client.wire.sse import Change, Event, FeedDecoder, Ready, Reset

from .deployment import DATABASE, Deployment
from .ledger import Book, Tally

_BUSY = 5
_SERIES = 500
_COUNTING = (
    f"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT {_SERIES}) "
    "SELECT x FROM c"
)
_TIMEOUT_S = 30.0


class Rollback(Exception):
    """A transaction is given up on purpose."""


class Lane(ABC):
    """One connection's work. is_http1: whether it speaks HTTP/1.1.

    pace: how many of the plan's pauses lie between two pieces of work.
    """

    pace = 1.0

    def __init__(
        self, deployment: Deployment, address: str, book: Book, tally: Tally, *, is_http1: bool
    ) -> None:
        self.book = book
        self.tally = tally
        self._chance = random.Random(f"{book.owner} {type(self).__name__} {is_http1}")
        certificate, key = deployment.pki.client(book.owner)
        context = ssl.create_default_context(cafile=str(deployment.pki.root_ca))
        context.load_cert_chain(certificate, key)
        self._base_url = f"https://{address}/{DATABASE}"
        self._versions: dict[str, Any] = {"http1": is_http1, "http2": not is_http1}
        self._context = context
        self.http = self.open_http()
        self._transport = httpx.AsyncHTTPTransport(verify=context, **self._versions)
        if is_http1:
            self.client = AsyncClient.h2tls(address, with_transport(self._transport))
        else:
            self.client = AsyncClient.h2tls(address, *deployment.options(book.owner))

    def open_http(self) -> httpx.AsyncClient:
        """A client with connections of its own, for what is streamed."""
        return httpx.AsyncClient(
            base_url=self._base_url, verify=self._context, timeout=_TIMEOUT_S, **self._versions
        )

    @abstractmethod
    async def work(self) -> None:
        """One piece of work. Raises: our errors and httpx's, where the server failed it."""

    async def step(self) -> None:
        """One piece of work, counted; a failure is a fault, a lock that somebody holds is none."""
        name = type(self).__name__.lower()
        try:
            await self.work()
        except (Error, httpx.HTTPError, TimeoutError) as error:
            if isinstance(error, OperationalError) and error.code == _BUSY:
                self.tally.done[f"{name} busy"] += 1
            else:
                self.tally.fault("failed calls", f"{name} of {self.book.owner}: {error!r}")
        else:
            self.tally.done[name] += 1

    async def hold_stream(self, everyone: asyncio.Barrier) -> None:
        """A stream that reads, and stays until everyone has one. Raises: our errors."""
        async with self.client.stream(DATABASE) as stream:
            read = f"SELECT count(*), total(length(word)) FROM {self.book.table}"
            await stream.execute(read)
            await everyone.wait()

    async def finish(self) -> None:
        """After the last piece of work of all lanes: what can only be checked then."""
        return  # most lanes have checked everything already

    async def aclose(self) -> None:
        await self.client.aclose()
        await self._transport.aclose()
        await self.http.aclose()

    def insert(self) -> tuple[str, tuple[int, str, str]]:
        """A statement that writes a new row of the principal, and the row."""
        return f"INSERT INTO {self.book.table} VALUES (?, ?, ?)", self.book.new_row()


class Native(Lane):
    """Single statements and batches on /query, and what must not be left behind for others."""

    async def work(self) -> None:
        sql, row = self.insert()
        result = await self.client.execute(DATABASE, sql, row)
        self.book.acknowledge(row[0], result.last_insert_id)
        read = f"SELECT * FROM {self.book.table} WHERE n = ?"
        found = await self.client.query(DATABASE, read, [row[0]])
        if self.book.check_rows(found.rows) != {row[0]}:
            self.tally.fault("wrong rows", (row[0], found.rows))
        await self._chance.choice((self._batch, self._leave_something, self._delete_old))()

    async def _batch(self) -> None:
        (sql, first), (_, second) = self.insert(), self.insert()
        count = f"SELECT count(*) FROM {self.book.table} WHERE n IN (?, ?)"
        *written, counted = await self.client.batch(
            DATABASE, [(sql, first), (sql, second), (count, (first[0], second[0]))]
        )
        for row, result in zip((first, second), written, strict=True):
            self.book.acknowledge(row[0], result.last_insert_id)
        if counted.scalar() != 2:
            self.tally.fault("wrong rows", ("a batch counts", counted.rows))

    async def _leave_something(self) -> None:
        """What one principal leaves on a connection must not reach the next one."""
        owner = self.book.owner
        await self.client.query(DATABASE, "CREATE TEMP TABLE left_over AS SELECT ? AS who", [owner])
        found = await self.client.query(DATABASE, "SELECT name FROM temp.sqlite_schema")
        if found.rows:
            self.tally.fault("rows of another principal", (owner, "TEMP", found.rows))

    async def _delete_old(self) -> None:
        delete = f"DELETE FROM {self.book.table} WHERE n < ?"
        await self.client.execute(DATABASE, delete, [self.book.trim()])


class Transaction(Lane):
    """Transactions on a Hrana stream, one of four of which is rolled back."""

    pace = 4.0  # each holds the one write lock for several round trips

    async def work(self) -> None:
        (sql, first), (_, second) = self.insert(), self.insert()
        numbers = (first[0], second[0])
        read = f"SELECT * FROM {self.book.table} WHERE n IN (?, ?)"
        try:
            async with self.client.transaction(DATABASE, "immediate") as transaction:
                written = [await transaction.execute(sql, row) for row in (first, second)]
                found = await transaction.execute(read, numbers)
                if self.book.check_rows(found.rows) != set(numbers):
                    self.tally.fault("wrong rows", ("a transaction sees", found.rows))
                if self._chance.random() < 0.25:
                    raise Rollback
        except Rollback:
            if (await self.client.query(DATABASE, read, numbers)).rows:
                self.tally.fault("wrong rows", ("rolled back, and there", numbers))
            return
        for number, result in zip(numbers, written, strict=True):
            self.book.acknowledge(number, result.last_insert_id)


class Cursor(Lane):
    """All rows of the principal, streamed, and a long result that is known in advance."""

    async def work(self) -> None:
        expected = self.book.expected()
        entries = await self._read(f"SELECT * FROM {self.book.table}", _COUNTING)
        rows = [entry for entry in entries if isinstance(entry, tuple)]
        own = [row for row in rows if len(row) == 3]
        self.book.check_complete(expected, self.book.check_rows(own))
        series = [row[0] for row in rows if len(row) == 1]
        if series != list(range(1, _SERIES + 1)):
            self.tally.fault("wrong rows", ("a series of", len(series)))

    async def _read(self, *texts: str) -> list[Any]:
        decoder = CursorDecoder(max_line_bytes=1_000_000)
        entries: list[Any] = []
        body = {"batch": {"steps": [{"stmt": {"sql": sql}} for sql in texts]}}
        async with self.http.stream("POST", "/v3/cursor", json=body) as response:
            response.raise_for_status()
            async for piece in response.aiter_bytes():
                entries += decoder.feed(piece)
        entries += decoder.finish()
        for entry in entries:
            if isinstance(entry, StepError):
                self.tally.fault("failed calls", f"a step of a cursor: {entry}")
        await self._close(entries[0])
        return entries

    async def _close(self, prelude: Prelude) -> None:
        body: Mapping[str, Any] = {"baton": prelude.baton, "requests": [{"type": "close"}]}
        (await self.http.post("/v3/pipeline", json=body)).raise_for_status()


class Feed(Lane):
    """The changes of the principal's own table, by one subscription after the other, each of which
    goes on where the last one ended.
    """

    def __init__(self, *facts: Any, is_http1: bool) -> None:
        super().__init__(*facts, is_http1=is_http1)
        self._last: int | None = None  # None: not subscribed yet
        self._owed_after = 0  # rows up to this number may have been written before we looked
        self._seen: set[int] = set()
        self._is_over = False

    async def work(self) -> None:
        self._is_over = False
        ending = asyncio.create_task(self._end_later())
        async with asyncio.timeout(_TIMEOUT_S):
            await self._follow(lambda: self._is_over)
            await ending

    async def _end_later(self) -> None:
        """Ends the subscription by a change that it is told of: a cancelled request breaks httpx's
        HTTP/2 connection.
        """
        await asyncio.sleep(self._chance.uniform(1.0, 5.0))
        self._is_over = True
        sql, row = self.insert()
        result = await self.client.execute(DATABASE, sql, row)
        self.book.acknowledge(row[0], result.last_insert_id)

    async def finish(self) -> None:
        if self._last is None:
            return
        owed = self.book.row_ids_after(self._owed_after)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TIMEOUT_S):
                await self._follow(lambda: owed <= self._seen)
        if missing := self.book.row_ids_after(self._owed_after) - self._seen:
            self.tally.fault("lost changes", (self.book.owner, sorted(missing)[:5]))

    async def _follow(self, is_enough: Callable[[], bool]) -> None:
        decoder = FeedDecoder(max_event_bytes=100_000)
        query = {"tables": self.book.table, "since": str(self._last or "")}
        async with (
            self.open_http() as http,  # closed with it: httpx does not tell the server otherwise
            http.stream("GET", "/changes", params=query) as response,
        ):
            response.raise_for_status()
            async for piece in response.aiter_bytes():
                for event in decoder.feed(piece):
                    self._take(event)
                if is_enough():
                    return

    def _take(self, event: Event) -> None:
        if isinstance(event, Change):
            if event.table != self.book.table:
                self.tally.fault("rows of another principal", (self.book.owner, event))
            if event.seq <= (self._last or 0):
                self.tally.fault("wrong rows", ("a change that was told before", event))
            if event.op == "insert":
                self._seen.add(event.rowid)
        elif isinstance(event, Ready) and self._last:
            return  # its number is that of the newest event, and older ones may follow it
        else:  # nothing to resume from, for 0 means "from now", or a reset
            self._owed_after = self.book.last_number
            self.tally.done["feed reset"] += isinstance(event, Reset)
        self._last = event.seq


LANES: tuple[type[Lane], ...] = (Native, Transaction, Cursor, Feed)
"""Every kind of work; connections take them in turn."""
