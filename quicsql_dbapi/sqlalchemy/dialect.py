"""QuicsqlDialect: the dialect over `quicsql_dbapi`, for `create_engine`."""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import URL
from sqlalchemy.pool import Pool, QueuePool

import quicsql_dbapi
from quicsql_dbapi._sync.sharing import SharedClient

from .aio import AsyncQuicsqlDialect
from .base import QuicsqlDialectBase

__all__ = ["QuicsqlDialect"]


class QuicsqlDialect(QuicsqlDialectBase):
    """SQLAlchemy's SQLite dialect for `quicsql://` and `sqlite+quicsql://` URLs.

    Connections of an engine share one client, closed with the last of them; with
    `connect_args={"client": client, "db": "app"}` they use the given one, which stays open.
    """

    driver = "quicsql"
    supports_statement_cache = True

    _shared_client = SharedClient

    @classmethod
    def get_async_dialect_cls(cls, url: URL) -> type[AsyncQuicsqlDialect]:
        """The dialect that `create_async_engine` takes for the same URL."""
        return AsyncQuicsqlDialect

    @classmethod
    def get_pool_class(cls, url: URL) -> type[Pool]:
        """A queue: connections are virtual, but a transaction has one to itself."""
        return QueuePool

    def _connect_driver(self, *cargs: Any, **cparams: Any) -> Any:
        return quicsql_dbapi.connect(*cargs, **cparams)

    def _make_connection(self, client: Any, database: str, **kwargs: Any) -> Any:
        return quicsql_dbapi.Connection(client, database, **kwargs)
