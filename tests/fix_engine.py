"""Databases of the server's engine, opened in a temporary folder and closed after the test."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest_asyncio

from quicsql_client.server.engine import Access, Caps
from quicsql_client.server.registry import Database, Registry
from quicsql_client.types import Result, Statement, Value

LONG_S = 20.0


@dataclass(frozen=True)
class Pool:
    """What the engine reads of `databases[].pool`."""

    max_open: int = 0
    tx_lock: str = ""
    busy_timeout_s: float = 0.0


@dataclass(frozen=True)
class Settings:
    """What the engine reads of `databases[]`."""

    name: str = "app"
    backend: str = "file"
    path: str = "app.db"
    mode: str = "rwc"
    pool: Pool = Pool()
    effective_pragmas: Mapping[str, bool | int | float | str] = field(default_factory=dict)


WAL = Settings(effective_pragmas={"journal_mode": "WAL", "foreign_keys": 1})
ROLLBACK = Settings()
MEMORY = Settings(backend="memory", path="")
ONE = Settings(pool=Pool(max_open=1))
EVERY_KIND = {"wal": WAL, "rollback": ROLLBACK, "memory": MEMORY, "one": ONE}


class Desk:
    """A database with short spellings of its calls; every call has a long deadline."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def run(
        self,
        sql: str,
        args: Sequence[Value] | Mapping[str, Value] = (),
        *,
        access: Access = Access.READ_WRITE,
        timeout_s: float = LONG_S,
    ) -> Result:
        """One stateless statement."""
        deadline = time.monotonic() + timeout_s
        return await self.database.execute(Statement(sql, args), access, deadline)

    async def rows(self, sql: str, args: Sequence[Value] = ()) -> list[tuple[Value, ...]]:
        """The rows of a stateless query."""
        return list((await self.run(sql, args)).rows)

    async def batch(self, *texts: str, access: Access = Access.READ_WRITE) -> list[Result]:
        """A batch of statements without arguments."""
        statements = [Statement(text) for text in texts]
        return await self.database.batch(statements, access, time.monotonic() + LONG_S)


OpenDesk = Callable[..., Awaitable[Desk]]


@pytest_asyncio.fixture
async def open_desk(tmp_path: Path) -> AsyncIterator[OpenDesk]:
    """Opens a database of some settings and caps; all are closed after the test."""
    registries: list[Registry] = []

    async def open_one(settings: Settings = WAL, caps: Caps | None = None) -> Desk:
        registry = Registry([settings], data_dir=str(tmp_path), caps=caps or Caps())
        registries.append(registry)
        await registry.open()
        return Desk(registry.get(settings.name))

    yield open_one
    for registry in registries:
        await registry.close()
