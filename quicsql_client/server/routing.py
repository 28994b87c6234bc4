"""From a request's path and host to a database and an endpoint.

Pure: it must not know whether the database is served, nor who asks. Server paths (`/_...`) are not
its business.
Source: protocol/README.md, Vocabulary and Routing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .config import RoutingConfig, is_valid_database_name

__all__ = ["NoRoute", "Target", "resolve"]

_ENDPOINT_WORDS: Final = frozenset(
    ("query", "v2", "v3", "export", "backup", "changeset", "blob", "changes")
)


class NoRoute(Exception):
    """The request names no database, or one that cannot exist: 404 with this text."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a request asks for. endpoint: starts with a slash, such as "/v3/pipeline"."""

    database: str
    endpoint: str


def resolve(routing: RoutingConfig, path: str, host: str) -> Target:
    """The target of a percent-decoded path and a Host header.

    The path wins over the host, the host over the default database.

    Raises: NoRoute.
    """
    target = (
        (_by_path(path) if routing.by_path else None)
        or (_by_host(routing.host_suffix, path, host) if routing.by_host else None)
        or (Target(routing.default_db, path) if routing.default_db else None)
    )
    if target is None:
        raise NoRoute("no database in request (name it in the path, host, or set a default)")
    if not is_valid_database_name(target.database):
        raise NoRoute("invalid or reserved database name")
    return target


def _by_path(path: str) -> Target | None:
    segments = [segment for segment in path.split("/") if segment]
    if not segments or segments[0] in _ENDPOINT_WORDS:
        return None
    return Target(segments[0], "/" + "/".join(segments[1:]))


def _by_host(suffix: str, path: str, host: str) -> Target | None:
    name = host.partition(":")[0]
    if not suffix or not name.endswith(suffix):
        return None
    name = name.removesuffix(suffix).removesuffix(".")
    return Target(name, path) if name else None
