"""Bodies of the control plane: requests encoded, answers decoded. The client's half.

An answer of another shape is a RemoteProtocolError. Source: protocol/operations.md, Admin.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec

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
from .shapes import decode_shape

__all__ = [
    "decode_checkpoint",
    "decode_code",
    "decode_databases",
    "decode_info",
    "decode_principals",
    "decode_restored",
    "decode_sessions",
    "decode_snapshot",
    "encode_body",
]

_T = TypeVar("_T")
_Instant: TypeAlias = Annotated[
    int, msgspec.Meta(ge=0, le=253_402_300_799)
]  # Unix seconds, to 9999


class _Database(msgspec.Struct):
    name: str
    kind: str
    open: bool
    refs: int


class _Databases(msgspec.Struct):
    databases: list[_Database]


class _Info(msgspec.Struct):
    active_sessions: int
    databases: int
    goroutines: int
    heap_bytes: int
    open_databases: int
    uptime_seconds: int


class _Session(msgspec.Struct):
    age_seconds: int
    database: str
    id: str
    idle_seconds: int
    in_flight: bool
    principal: str
    read_only: bool


class _Sessions(msgspec.Struct):
    sessions: list[_Session]


class _Principal(msgspec.Struct):
    name: str
    key: str
    created_at: _Instant
    last_seen: _Instant


class _Principals(msgspec.Struct):
    principals: list[_Principal]


class _Code(msgspec.Struct):
    code: str
    expires_at: _Instant


class _Checkpointed(msgspec.Struct):
    mode: str
    wal_frames: int
    checkpointed_frames: int


class _Snapshot(msgspec.Struct):
    dest: str
    bytes: int


class _Restored(msgspec.Struct):
    bytes: int


def encode_body(members: Mapping[str, Any]) -> bytes:
    """A JSON object. Raises ProgrammingError, quoting nothing, for what JSON cannot hold."""
    try:
        return msgspec.json.encode(members)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        raise ProgrammingError("the request holds a value that JSON cannot hold") from None


def _decode(body: bytes, kind: type[_T]) -> _T:
    return decode_shape(body, kind, f"administrative answer ({kind.__name__.strip('_').lower()})")


def _instant(seconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def decode_databases(body: bytes) -> list[DatabaseInfo]:
    """The databases that the caller administers."""
    told = _decode(body, _Databases).databases
    return [DatabaseInfo(one.name, one.kind, one.open, one.refs) for one in told]


def decode_info(body: bytes) -> ServerInfo:
    """The server in numbers."""
    told = _decode(body, _Info)
    return ServerInfo(
        uptime_s=told.uptime_seconds,
        databases=told.databases,
        open_databases=told.open_databases,
        active_sessions=told.active_sessions,
        goroutines=told.goroutines,
        heap_bytes=told.heap_bytes,
    )


def decode_sessions(body: bytes) -> list[SessionInfo]:
    """The open streams."""
    return [
        SessionInfo(
            one.id,
            one.database,
            one.principal,
            age_s=one.age_seconds,
            idle_s=one.idle_seconds,
            is_in_flight=one.in_flight,
            is_read_only=one.read_only,
        )
        for one in _decode(body, _Sessions).sessions
    ]


def decode_principals(body: bytes) -> list[EnrolledPrincipal]:
    """The enrolled devices."""
    return [
        EnrolledPrincipal(one.name, one.key, _instant(one.created_at), _instant(one.last_seen))
        for one in _decode(body, _Principals).principals
    ]


def decode_code(body: bytes) -> EnrollCode:
    """A single-use code."""
    told = _decode(body, _Code)
    return EnrollCode(told.code, _instant(told.expires_at))


def decode_checkpoint(body: bytes) -> Checkpoint:
    """What a checkpoint did."""
    told = _decode(body, _Checkpointed)
    return Checkpoint(told.mode, told.wal_frames, told.checkpointed_frames)


def decode_snapshot(body: bytes) -> Snapshot:
    """Where a copy is, on the server."""
    told = _decode(body, _Snapshot)
    return Snapshot(told.dest, told.bytes)


def decode_restored(body: bytes) -> int:
    """The size of the image that was put in place, in bytes."""
    return _decode(body, _Restored).bytes
