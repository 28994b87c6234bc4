"""AsyncQuicsqlDialect: the same dialect over `quicsql_dbapi.aio`, for `create_async_engine`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from sqlalchemy.connectors.asyncio import (
    AsyncAdapt_dbapi_connection,
    AsyncAdapt_dbapi_cursor,
    AsyncAdapt_terminate,
)
from sqlalchemy.engine import URL
from sqlalchemy.pool import AsyncAdaptedQueuePool, Pool
from sqlalchemy.util import await_only

import quicsql_dbapi
from quicsql_dbapi import Error, aio
from quicsql_dbapi._async.sharing import AsyncSharedClient

from .base import QuicsqlDialectBase

__all__ = ["AdaptedConnection", "AdaptedCursor", "AsyncQuicsqlDialect"]


class AdaptedCursor(AsyncAdapt_dbapi_cursor):
    """An asynchronous cursor behind a synchronous face, within SQLAlchemy's greenlet."""

    __slots__ = ()


class AdaptedConnection(AsyncAdapt_terminate, AsyncAdapt_dbapi_connection):
    """An asynchronous connection behind a synchronous face, within SQLAlchemy's greenlet."""

    __slots__ = ()

    _cursor_cls = AdaptedCursor

    @property
    def autocommit(self) -> bool:
        """Whether each statement commits by itself."""
        return bool(self._connection.autocommit)

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        await_only(self._connection.set_autocommit(value))

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return bool(self._connection.in_transaction)

    @property
    def settings(self) -> Iterable[str]:
        """What is set on the pinned stream."""
        settings: Iterable[str] = self._connection.settings
        return settings

    def ping(self) -> None:
        """Ask the server for an answer."""
        await_only(self._connection.ping())

    async def _terminate_graceful_close(self) -> None:
        await self._connection.close()

    def _terminate_force_close(self) -> None:
        self._connection.abandon()

    def _terminate_handled_exceptions(self) -> tuple[type[BaseException], ...]:
        return (asyncio.TimeoutError, asyncio.CancelledError, OSError, Error)


class AsyncQuicsqlDialect(QuicsqlDialectBase):
    """SQLAlchemy's SQLite dialect for `quicsql+aio://` and `sqlite+aioquicsql://` URLs."""

    driver = "aioquicsql"
    is_async = True
    has_terminate = True
    supports_statement_cache = True

    _shared_client = AsyncSharedClient

    @classmethod
    def get_pool_class(cls, url: URL) -> type[Pool]:
        """A queue that waits without blocking the loop."""
        return AsyncAdaptedQueuePool

    def _connect_driver(self, *cargs: Any, **cparams: Any) -> Any:
        return _adapted(await_only(aio.connect(*cargs, **cparams)))

    def _make_connection(self, client: Any, database: str, **kwargs: Any) -> Any:
        return _adapted(aio.AsyncConnection(client, database, **kwargs))

    def do_terminate(self, dbapi_connection: Any) -> None:
        """Close a connection whose server may not answer."""
        dbapi_connection.terminate()

    def get_driver_connection(self, connection: Any) -> Any:
        """The connection of `quicsql_dbapi.aio`."""
        return connection._connection


def _adapted(connection: Any) -> AdaptedConnection:
    # Any, as SQLAlchemy's protocol asks for attributes that it never uses with this dialect.
    return AdaptedConnection(quicsql_dbapi, connection)
