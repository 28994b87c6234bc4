"""AsyncAdmin: the control plane of a server, as typed calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..admin import (
    Checkpoint,
    DatabaseInfo,
    EnrollCode,
    EnrolledPrincipal,
    ServerInfo,
    SessionInfo,
    Snapshot,
)
from ..images import Image, read_image
from ..operations import admin
from ..operations.admin import CheckpointMode, GrantLevel
from .channel import AsyncChannel

__all__ = ["AsyncAdmin"]


class AsyncAdmin:
    """What `client.admin` offers to a server-admin, and to administrators of single databases.

    Each call raises AuthorizationError where the caller may not, and OperationalError where the
    server could not: 404 for what it has not, 409 for what is in use or there already.
    Source: protocol/operations.md, Admin.
    """

    def __init__(self, channel: AsyncChannel) -> None:
        self._channel = channel

    async def databases(self) -> list[DatabaseInfo]:
        """The databases that the caller administers; none for everybody else."""
        return await self._channel.run(admin.databases())

    async def stats(self) -> list[DatabaseInfo]:
        """What `databases` says, from the endpoint that monitoring asks."""
        return await self._channel.run(admin.stats())

    async def info(self) -> ServerInfo:
        """The server in numbers. For server-admins, as is all below but checkpoint and snapshot."""
        return await self._channel.run(admin.info())

    async def sessions(self) -> list[SessionInfo]:
        """The open streams on the databases that the caller administers."""
        return await self._channel.run(admin.sessions())

    async def kill(self, session: SessionInfo | str) -> None:
        """End an idle stream: its transaction is rolled back.

        Raises: OperationalError, 404 when it has ended, 409 while a request of it runs.
        """
        await self._channel.run(admin.kill(session))

    async def create(self, spec: Mapping[str, Any], grants: Mapping[str, GrantLevel] = {}) -> None:
        """Serve one more database, from now on and after restarts.

        spec: as an entry of `databases` in the server's configuration, such as `{"name": "crm",
        "backend": "file", "path": "crm.db"}`. grants: levels by principal, "*" for everybody.
        """
        await self._channel.run(admin.create(spec, grants))

    async def detach(self, database: str) -> None:
        """Serve a database no longer, and revoke every grant on it; its file stays."""
        await self._channel.run(admin.detach(database))

    async def checkpoint(self, database: str, mode: CheckpointMode = "passive") -> Checkpoint:
        """Move the WAL into the database file."""
        return await self._channel.run(admin.checkpoint(database, mode))

    async def snapshot(self, database: str, dest: str) -> Snapshot:
        """Copy a database to a new file on the server, within its data directory."""
        return await self._channel.run(admin.snapshot(database, dest))

    async def restore(self, database: str, image: Image) -> int:
        """Put a SQLite image in the place of a file database that nobody is using.

        image: bytes, as `export` gives them, or the path of a file here; held in memory either way.
        Returns its size in bytes. Raises: ProgrammingError (400) for what is no sound database.
        """
        return await self._channel.run(admin.restore(database, read_image(image)))

    async def principals(self) -> list[EnrolledPrincipal]:
        """The devices that enrolled, oldest first."""
        return await self._channel.run(admin.principals())

    async def delete_principal(self, name: str) -> None:
        """Send a device away: its key, grants, tokens and streams end now."""
        await self._channel.run(admin.delete_principal(name))

    async def mint_enroll_code(self) -> EnrollCode:
        """A code that lets one key enrol, once (`enroll`); the server shows it this one time."""
        return await self._channel.run(admin.mint_enroll_code())
