"""What `connect` was pointed at, checked: a URL with its parameters, or a client and a database."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from quicsql_client import URL_PARAMETERS, InterfaceError

__all__ = ["URL_PARAMETERS", "require_client_target", "url_with"]


def url_with(url: str, options: Mapping[str, Any]) -> str:
    """The URL with options as further parameters; None leaves one out. Reads no file."""
    if not isinstance(url, str):
        raise InterfaceError(
            f"connect takes a quicsql:// URL as a str, or client= and db=; got {type(url).__name__}"
        )
    query = urlencode({name: _text(value) for name, value in options.items() if value is not None})
    if not query:
        return url
    return f"{url}{'&' if '?' in url else '?'}{query}"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)


def require_client_target(
    url: str | None, client: Any, db: str | None, options: Mapping[str, Any]
) -> str:
    """The database of a connection over a given client. Raises InterfaceError for none."""
    if url is not None:
        raise InterfaceError("connect takes a URL or a client, not both")
    if options:
        raise InterfaceError(
            f"{', '.join(sorted(options))}: options belong to the client when one is given"
        )
    database = db if db is not None else getattr(client, "database", None)
    if not isinstance(database, str) or not database:
        raise InterfaceError("connect with a client needs the name of the database: db=")
    return database
