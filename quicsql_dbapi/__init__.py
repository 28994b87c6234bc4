"""PEP 249 for quicSQL, with the surface of Python's `sqlite3`.

    connection = quicsql_dbapi.connect(client=client, db="app")
    connection = quicsql_dbapi.connect("quicsql://db.example.com:7777/app?sslrootcert=ca.crt&...")

`quicsql_dbapi.aio` has the same for asyncio. The exceptions are those of `quicsql_client`.
"""

from __future__ import annotations

from typing import Any, overload

from quicsql_client import (
    Client,
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
    __version__,
)

from ._sync.cursor import Cursor
from .connection import Connection
from .converters import PARSE_COLNAMES, PARSE_DECLTYPES, register_converter
from .factories import (
    Row,
    RowFactory,
    T,
    TupleRow,
    class_row,
    dict_row,
    namedtuple_row,
    scalar_row,
)
from .targets import require_client_target, url_with
from .types import (
    BINARY,
    DATETIME,
    NUMBER,
    ROWID,
    STRING,
    Binary,
    Date,
    DateFromTicks,
    Time,
    TimeFromTicks,
    Timestamp,
    TimestampFromTicks,
    register_adapter,
)

__all__ = [
    "BINARY",
    "DATETIME",
    "NUMBER",
    "PARSE_COLNAMES",
    "PARSE_DECLTYPES",
    "ROWID",
    "STRING",
    "Binary",
    "Connection",
    "Cursor",
    "DataError",
    "DatabaseError",
    "Date",
    "DateFromTicks",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "Row",
    "Time",
    "TimeFromTicks",
    "Timestamp",
    "TimestampFromTicks",
    "Warning",
    "__version__",
    "apilevel",
    "class_row",
    "connect",
    "dict_row",
    "namedtuple_row",
    "paramstyle",
    "register_adapter",
    "register_converter",
    "scalar_row",
    "sqlite_version_info",
    "threadsafety",
]

apilevel = "2.0"
threadsafety = 2  # threads may share the module and connections
paramstyle = "qmark"
sqlite_version_info = (3, 45, 0)
"""The least SQLite behind a quicSQL server; `SELECT sqlite_version()` tells a server's own."""


@overload
def connect(
    url: str | None = None,
    *,
    client: Client | None = None,
    db: str | None = None,
    autocommit: bool = False,
    row_factory: None = None,
    detect_types: int = 0,
    on_truncated: str = "raise",
    **options: Any,
) -> Connection[TupleRow]: ...


@overload
def connect(
    url: str | None = None,
    *,
    client: Client | None = None,
    db: str | None = None,
    autocommit: bool = False,
    row_factory: RowFactory[T],
    detect_types: int = 0,
    on_truncated: str = "raise",
    **options: Any,
) -> Connection[T]: ...


def connect(
    url: str | None = None,
    *,
    client: Client | None = None,
    db: str | None = None,
    autocommit: bool = False,
    row_factory: RowFactory[Any] | None = None,
    detect_types: int = 0,
    on_truncated: str = "raise",
    **options: Any,
) -> Connection[Any]:
    """A connection by URL, or over a client that is already there. Asks nothing of the server.

    url: `quicsql://host:port/database?sslrootcert=...&sslcert=...&sslkey=...`; options are
    further parameters of it, such as `timeout=5` or `sslkey=Path("app.key")`. The connection has
    a client of its own then, and closes it. client: used and not closed. db: the database, where
    it is not the URL's. autocommit: see `Connection`. row_factory: what rows are made of, such as
    `Row`, `dict_row` or `class_row(User)`; tuples without one. detect_types: `PARSE_DECLTYPES`,
    `PARSE_COLNAMES` or their sum, to convert cells by `register_converter`'s rules. on_truncated:
    "warn" to be warned, and not raised at, where the server's cap cuts a result.
    Raises: InterfaceError, of which ConfigurationError and UnsafeCredentialError are kinds.
    Source: protocol/client.md, section 2.
    """
    rules: dict[str, Any] = {
        "autocommit": autocommit,
        "row_factory": row_factory,
        "detect_types": detect_types,
        "on_truncated": on_truncated,
    }
    if client is not None:
        return Connection(client, require_client_target(url, client, db, options), **rules)
    if url is None:
        raise InterfaceError("connect needs a quicsql:// URL, or client= and db=")
    own = Client.from_url(url_with(url, options))
    return Connection(own, db or own.database or "", release=own.close, **rules)
