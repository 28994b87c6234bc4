"""What the control plane tells of a server: plain facts, as data.

Source: protocol/operations.md, Admin.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field

__all__ = [
    "Checkpoint",
    "DatabaseInfo",
    "EnrollCode",
    "EnrolledPrincipal",
    "ServerInfo",
    "SessionInfo",
    "Snapshot",
]


@dataclass(frozen=True, slots=True)
class DatabaseInfo:
    """A database that the caller administers.

    kind: its backend, such as "file". is_open: the server has it open now. users: calls and streams
    that are on it; while there are any it is not detached.
    """

    name: str
    kind: str
    is_open: bool
    users: int


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """The server in numbers. heap_bytes, goroutines: what it uses, as it counts them."""

    uptime_s: int
    databases: int
    open_databases: int
    active_sessions: int
    goroutines: int
    heap_bytes: int


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """An open stream. id: what `kill` takes. is_in_flight: a request of it is running now."""

    id: str
    database: str
    principal: str
    age_s: int
    idle_s: int
    is_in_flight: bool
    is_read_only: bool


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint did. wal_frames: in the WAL; both are -1 where there is none."""

    mode: str
    wal_frames: int
    checkpointed_frames: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A copy of a database on the server. path: where it is there. size_bytes: of the file."""

    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class EnrolledPrincipal:
    """A device that enrolled. key: its line of authorized_keys. Times in UTC."""

    name: str
    key: str
    created_at: datetime.datetime
    last_seen: datetime.datetime


@dataclass(frozen=True, slots=True)
class EnrollCode:
    """A code that lets one key enrol, once, until it expires (UTC)."""

    code: str = field(repr=False)
    expires_at: datetime.datetime
