"""The control plane: what a server-admin, or the administrator of a database, asks for.

Source: protocol/operations.md, Admin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, get_args
from urllib.parse import quote

from ..admin import (
    Checkpoint,
    DatabaseInfo,
    EnrollCode,
    EnrolledPrincipal,
    ServerInfo,
    SessionInfo,
    Snapshot,
)
from ..errors import ProgrammingError
from ..wire import admin as wire
from ..wire.messages import JSON_HEADERS, OCTET_HEADERS, Headers, Request
from ..wire.values import is_unicode
from . import Operation
from .answers import require_ok

__all__ = [
    "CheckpointMode",
    "GrantLevel",
    "checkpoint",
    "create",
    "databases",
    "delete_principal",
    "detach",
    "info",
    "kill",
    "mint_enroll_code",
    "principals",
    "restore",
    "sessions",
    "snapshot",
    "stats",
]

CheckpointMode: TypeAlias = Literal["passive", "full", "restart", "truncate"]
GrantLevel: TypeAlias = Literal["none", "read-only", "read-write", "admin"]

_MODES = get_args(CheckpointMode)
# The server passes an unknown level over without a word, so it must not get that far.
_LEVELS = get_args(GrantLevel)


def _ask(method: str, endpoint: str, body: bytes = b"", headers: Headers = ()) -> Operation[bytes]:
    """The body of the answer, or its error, raised."""
    request = Request(method, f"/_admin/{endpoint}", headers, body)
    response = yield request
    require_ok(request, response)
    return response.body


def _post(endpoint: str, **members: Any) -> Operation[bytes]:
    body = wire.encode_body(members)
    return (yield from _ask("POST", endpoint, body, JSON_HEADERS))


def _text(what: str, value: Any) -> str:
    if not isinstance(value, str) or not value or not is_unicode(value):
        raise ProgrammingError(f"{what}: expected a non-empty str, got {value!r:.40}")
    return value


def databases() -> Operation[list[DatabaseInfo]]:
    """The databases that the caller administers."""
    return wire.decode_databases((yield from _ask("GET", "databases")))


def stats() -> Operation[list[DatabaseInfo]]:
    """The same from `/_admin/stats`."""
    return wire.decode_databases((yield from _ask("GET", "stats")))


def info() -> Operation[ServerInfo]:
    """The server in numbers."""
    return wire.decode_info((yield from _ask("GET", "info")))


def sessions() -> Operation[list[SessionInfo]]:
    """The open streams on the databases that the caller administers."""
    return wire.decode_sessions((yield from _ask("GET", "sessions")))


def kill(session: SessionInfo | str) -> Operation[None]:
    """End an idle stream."""
    named = session.id if isinstance(session, SessionInfo) else session
    yield from _post("kill", session=_text("kill", named))


def create(spec: Mapping[str, Any], grants: Mapping[str, GrantLevel]) -> Operation[None]:
    """Serve one more database."""
    if not isinstance(spec, Mapping) or not isinstance(grants, Mapping):
        raise ProgrammingError("create: expected a mapping for the database, and one for grants")
    for level in grants.values():
        if level not in _LEVELS:
            raise ProgrammingError(f"create: a level is one of {', '.join(_LEVELS)}")
    listed = [{"principal": name, "level": level} for name, level in grants.items()]
    yield from _post("create", database=dict(spec), grants=listed)


def detach(database: str) -> Operation[None]:
    """Serve a database no longer."""
    yield from _post("detach", database=_text("database", database))


def checkpoint(database: str, mode: CheckpointMode) -> Operation[Checkpoint]:
    """Move the WAL into the database file."""
    if mode not in _MODES:
        raise ProgrammingError(f"checkpoint: the mode is one of {', '.join(_MODES)}")
    name = _text("database", database)
    return wire.decode_checkpoint(
        (yield from _post("maintenance", database=name, op="checkpoint", mode=mode))
    )


def snapshot(database: str, dest: str) -> Operation[Snapshot]:
    """Copy a database to a new file on the server."""
    name, place = _text("database", database), _text("dest", dest)
    return wire.decode_snapshot(
        (yield from _post("maintenance", database=name, op="snapshot", dest=place))
    )


def restore(database: str, image: bytes) -> Operation[int]:
    """Put an image in the place of a database. Returns its size in bytes."""
    target = f"restore?database={quote(_text('database', database), safe='')}"
    return wire.decode_restored((yield from _ask("POST", target, image, OCTET_HEADERS)))


def principals() -> Operation[list[EnrolledPrincipal]]:
    """The enrolled devices, oldest first."""
    return wire.decode_principals((yield from _ask("GET", "principals")))


def delete_principal(name: str) -> Operation[None]:
    """Send a device away."""
    yield from _post("principals/delete", name=_text("principal", name))


def mint_enroll_code() -> Operation[EnrollCode]:
    """A code that lets one key enrol."""
    return wire.decode_code((yield from _ask("POST", "enroll/codes")))
