"""An application with a control plane, callers of every capability, and what the audit says."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import apsw
import msgspec
import pytest

from quicsql_client.server.config import AuthConfig, Config, ControlPlaneConfig, DatabaseConfig
from tests.fix_application import Answer, Client, Running, Start
from tests.fix_principals import by_token, grants, memory, stored

NAMES = ("root", "adm", "tok", "ro")
CONTROLLED = Config(
    auth=AuthConfig(principals=tuple(by_token(name, f"{name}-token") for name in NAMES)),
    databases=(
        stored("app", *grants(adm="admin", root="read-write", tok="read-write", ro="read-only")),
        memory("mem", *grants(tok="read-write")),
    ),
    control_plane=ControlPlaneConfig(enabled=True, admins=("root",)),
)


def controlled(*databases: DatabaseConfig, **sections: Any) -> Config:
    """The same configuration with more databases, and other sections."""
    all_of_them = (*CONTROLLED.databases, *databases)
    return msgspec.structs.replace(CONTROLLED, **{"databases": all_of_them} | sections)


def described(name: str, **keys: Any) -> dict[str, Any]:
    """A file database in the JSON of `/_admin/create`."""
    return {"name": name, "backend": "file", "path": f"{name}.db", "mode": "rwc"} | keys


def granted(**levels: str) -> list[dict[str, str]]:
    return [{"principal": name, "level": level} for name, level in levels.items()]


@dataclass(frozen=True)
class Admin:
    """A running application by its callers. root is the server-admin, adm administers `app`."""

    running: Running

    def __getattr__(self, name: str) -> Client:
        if name == "nobody":
            return self.running.client()
        if name not in NAMES:
            raise AttributeError(name)
        return self.running.client(f"{name}-token")

    async def create(self, name: str, **levels: str) -> Answer:
        document = {"database": described(name), "grants": granted(**levels)}
        return await self.root.post("/_admin/create", document)

    async def entry(self, name: str) -> dict[str, Any]:
        """What `/_admin/databases` says of one database."""
        answer = await self.root.send("GET", "/_admin/databases")
        (found,) = [one for one in answer.json()["databases"] if one["name"] == name]
        return dict(found)

    async def audited(self) -> list[tuple[Any, ...]]:
        """(principal, action, database, detail) of every row, oldest first; they are taken out."""
        assert self.running.control is not None

        def take(connection: apsw.Connection) -> list[tuple[Any, ...]]:
            sql = "SELECT principal, action, database, detail FROM audit ORDER BY id"
            rows = connection.execute(sql).fetchall()
            connection.execute("DELETE FROM audit")
            return rows

        return await self.running.control.store.run(take)


@pytest.fixture
async def admin(start: Start) -> AsyncIterator[Admin]:
    async with start(CONTROLLED) as running:
        yield Admin(running)


async def until(condition: Callable[[], object], wait_s: float = 30.0) -> None:
    """Returns as soon as the condition holds, for what tells nobody that it happened."""
    async with asyncio.timeout(wait_s):
        for _ in itertools.takewhile(lambda _: not condition(), itertools.count()):
            await asyncio.sleep(0)


def outcome(answer: Answer) -> tuple[int, str]:
    """The status, and the text of an error."""
    return answer.status, answer.message if answer.status >= 400 else ""
