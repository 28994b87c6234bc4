"""PEP 249 for quicSQL in asyncio: as `quicsql_dbapi`, with `await`.

connection = await quicsql_dbapi.aio.connect(client=async_client, db="app")

async with quicsql_dbapi.aio.connect("quicsql://db.example.com:7777/app?...") as connection:
    ...                                   # commits or rolls back, and closes
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any, Generic, overload

from quicsql_client import (
    AsyncClient,
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    Warning,
)

from ._async.connection import AsyncConnection
from ._async.cursor import AsyncCursor
from .factories import RowFactory, RowT, T, TupleRow
from .targets import require_client_target, url_with

__all__ = [
    "AsyncConnection",
    "AsyncCursor",
    "DataError",
    "DatabaseError",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "Warning",
    "apilevel",
    "connect",
    "paramstyle",
    "threadsafety",
]

apilevel = "2.0"
threadsafety = 2  # tasks may share the module and connections
paramstyle = "qmark"


class Connecting(Generic[RowT]):
    """What `connect` gives: await it for a connection, or use it in `async with`, which closes."""

    def __init__(self, make: Callable[[], AsyncConnection[RowT]]) -> None:
        self._make = make
        self._connection: AsyncConnection[RowT] | None = None

    def __await__(self) -> Generator[Any, None, AsyncConnection[RowT]]:
        yield from ()  # nothing to wait for: a connection is virtual
        return self._make()

    async def __aenter__(self) -> AsyncConnection[RowT]:
        self._connection = self._make()
        return self._connection

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(connection.aclose)
            await connection.__aexit__(kind, error, traceback)


@overload
def connect(
    url: str | None = None,
    *,
    client: AsyncClient | None = None,
    db: str | None = None,
    autocommit: bool = False,
    row_factory: None = None,
    detect_types: int = 0,
    on_truncated: str = "raise",
    **options: Any,
) -> Connecting[TupleRow]: ...


@overload
def connect(
    url: str | None = None,
    *,
    client: AsyncClient | None = None,
    db: str | None = None,
    autocommit: bool = False,
    row_factory: RowFactory[T],
    detect_types: int = 0,
    on_truncated: str = "raise",
    **options: Any,
) -> Connecting[T]: ...


def connect(
    url: str | None = None,
    *,
    client: AsyncClient | None = None,
    db: str | None = None,
    autocommit: bool = False,
    row_factory: RowFactory[Any] | None = None,
    detect_types: int = 0,
    on_truncated: str = "raise",
    **options: Any,
) -> Connecting[Any]:
    """A connection by URL, or over a client that is already there: `await` it, or `async with` it.

    The arguments and errors are those of `quicsql_dbapi.connect`.
    """
    rules: dict[str, Any] = {
        "autocommit": autocommit,
        "row_factory": row_factory,
        "detect_types": detect_types,
        "on_truncated": on_truncated,
    }

    def make() -> AsyncConnection[Any]:
        if client is not None:
            return AsyncConnection(client, require_client_target(url, client, db, options), **rules)
        if url is None:
            raise InterfaceError("connect needs a quicsql:// URL, or client= and db=")
        own = AsyncClient.from_url(url_with(url, options))
        return AsyncConnection(own, db or own.database or "", release=own.aclose, **rules)

    return Connecting(make)
