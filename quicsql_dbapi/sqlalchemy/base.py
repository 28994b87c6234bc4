"""What both colours of the dialect share: SQLAlchemy's SQLite dialect over `quicsql_dbapi`.

Everything that is SQLite is SQLAlchemy's; here is what differs for a database behind a network:
URLs, pooling, disconnects, isolation by `autocommit`. `dialect.name` stays "sqlite", which
`sqlite.insert`, `sqlite_*` arguments, Alembic and applications go by.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any
from urllib.parse import quote, urlencode

from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import ArgumentError
from sqlalchemy.util import immutabledict

import quicsql_dbapi
from quicsql_dbapi.targets import URL_PARAMETERS, url_with

from .masking import MaskedURL
from .times import COLUMN_TYPES

__all__ = ["QuicsqlDialectBase"]

_DRIVER_ARGUMENTS = frozenset(("client", "db", "autocommit"))


class QuicsqlDialectBase(SQLiteDialect):
    """Everything but connections: a colour says how one is made, and how a client is lent."""

    default_paramstyle = "qmark"
    supports_statement_cache = True
    returns_native_bytes = True
    colspecs = immutabledict({**SQLiteDialect.colspecs, **COLUMN_TYPES})

    # What a colour fills in; Any, as each has classes of its own. Lends the client of a URL:
    _shared_client: Any
    # Makes a connection over a client that the caller keeps:
    _connect_driver: Any
    # Makes a connection over a client that is given back when it is closed:
    _make_connection: Any

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._clients: dict[str, Any] = {}

    @classmethod
    def import_dbapi(cls) -> ModuleType:
        """The PEP 249 module, whose exceptions and types both colours have."""
        return quicsql_dbapi

    @classmethod
    def engine_created(cls, engine: Engine) -> None:
        """Let the engine show its URL without secrets."""
        engine.url = MaskedURL(*engine.url)

    @classmethod
    def _is_url_file_db(cls, url: URL) -> bool:
        return True  # to SQLAlchemy's tests: not a database that ends with its connection

    def create_connect_args(self, url: URL) -> tuple[list[Any], dict[str, Any]]:
        """The arguments of `connect`. Raises ArgumentError for a URL that cannot work."""
        if not (url.host or url.database or url.query):
            return [], {}  # connect_args has them
        unknown = set(url.query).difference(URL_PARAMETERS)
        if unknown:
            raise ArgumentError(
                f"unknown in the URL: {', '.join(sorted(unknown))}; "
                f"known are {', '.join(sorted(URL_PARAMETERS))}"
            )
        if not url.database:
            raise ArgumentError("the URL names no database: quicsql://host:port/database")
        return [], {"url": _driver_url(url), "db": url.database}

    def connect(self, *cargs: Any, **cparams: Any) -> Any:
        """A connection of the driver, over the given client or the engine's own."""
        url = cparams.pop("url", None)
        if cparams.get("client") is not None:
            return self._connect_driver(*cargs, **cparams)
        if url is None:
            raise ArgumentError(
                "the URL names no server: give quicsql://host:port/database, or "
                'connect_args={"client": client, "db": "app"}'
            )
        return self._connect_shared(url, **cparams)

    def _connect_shared(self, url: str, **cparams: Any) -> Any:
        options = {name: cparams[name] for name in cparams if name not in _DRIVER_ARGUMENTS}
        kept = {name: value for name, value in cparams.items() if name in _DRIVER_ARGUMENTS}
        kept.pop("client", None)
        full = url_with(url, options)
        shared = self._clients.setdefault(full, self._shared_client(full))
        client = shared.lend()
        database = kept.pop("db", None) or client.database
        return self._make_connection(client, database, release=shared.give_back, **kept)

    def is_disconnect(self, e: Any, connection: Any, cursor: Any) -> bool:
        """What the error says itself; never its text."""
        return bool(getattr(e, "is_disconnect", False))

    def do_ping(self, dbapi_connection: Any) -> bool:
        """One request, which opens no transaction."""
        dbapi_connection.ping()
        return True

    def _get_server_version_info(self, connection: Connection) -> tuple[int, ...]:
        version = connection.exec_driver_sql("SELECT sqlite_version()").scalar_one()
        return tuple(int(part) for part in version.split(".")[:3])

    def get_default_isolation_level(self, dbapi_conn: Any) -> Any:
        """The level of a new connection; SQLite's own without asking."""
        if dbapi_conn.autocommit or dbapi_conn.settings:
            return self.get_isolation_level(dbapi_conn)
        return "SERIALIZABLE"

    def get_isolation_level_values(self, dbapi_connection: Any) -> Any:
        """SERIALIZABLE, READ UNCOMMITTED (which pins a stream) and AUTOCOMMIT."""
        return ["SERIALIZABLE", "READ UNCOMMITTED", "AUTOCOMMIT"]

    def get_isolation_level(self, dbapi_connection: Any) -> Any:
        """The level of a connection."""
        if dbapi_connection.autocommit:
            return "AUTOCOMMIT"
        return super().get_isolation_level(dbapi_connection)  # type: ignore[no-untyped-call]

    def set_isolation_level(self, dbapi_connection: Any, level: Any) -> None:
        """Set the level of a connection; asks the server only where the level is a PRAGMA."""
        dbapi_connection.autocommit = level == "AUTOCOMMIT"
        reads_uncommitted = level == "READ UNCOMMITTED"
        if reads_uncommitted or "PRAGMA READ_UNCOMMITTED" in dbapi_connection.settings:
            super().set_isolation_level(
                dbapi_connection, level if reads_uncommitted else "SERIALIZABLE"
            )

    def detect_autocommit_setting(self, dbapi_conn: Any) -> bool:
        """Whether the connection commits each statement by itself."""
        return bool(dbapi_conn.autocommit)


def _driver_url(url: URL) -> str:
    """The URL as the driver reads it: always `quicsql://`, with a user as a parameter."""
    host = url.host or ""
    address = f"[{host}]" if ":" in host else host
    if url.port is not None:
        address += f":{url.port}"
    pairs = [*_pairs({"user": url.username, "password": url.password}), *_pairs(url.query)]
    query = f"?{urlencode(pairs)}" if pairs else ""
    return f"quicsql://{address}/{quote(url.database or '')}{query}"


def _pairs(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and value of each parameter; one that is repeated stays so, for the parser to refuse."""
    return [
        (name, str(value))
        for name, given in values.items()
        if given is not None
        for value in (given if isinstance(given, tuple | list) else (given,))
    ]
