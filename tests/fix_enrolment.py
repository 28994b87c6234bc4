"""Devices and server-admins of a running application, and what they are told; a meta store."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from quicsql_client.server.auth import device_name
from quicsql_client.server.config import (
    AuthConfig,
    Config,
    ControlPlaneConfig,
    EnrollCodesConfig,
    EnrollConfig,
    EnrollGrantConfig,
    SessionConfig,
)
from quicsql_client.server.enrolment.tokens import digest_of
from quicsql_client.server.metastore import MetaStore
from tests.fix_application import Answer, Client, Running
from tests.fix_principals import by_token, grants, stored

ENROLL = "/_auth/enroll"
NO_TOKEN = "enrollment requires a valid enrollment token"


class DeviceKey:
    """A device's key; of the same seed the same one, without a seed a new one."""

    def __init__(self, seed: str = "") -> None:
        if seed:
            raw = hashlib.sha256(seed.encode()).digest()
            self._key = Ed25519PrivateKey.from_private_bytes(raw)
        else:
            self._key = Ed25519PrivateKey.generate()

    @property
    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    @property
    def line(self) -> str:
        """As `ssh-keygen` writes it, without a comment."""
        return self._key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()

    def sign(self, challenge: str, method: str, target: str) -> dict[str, str]:
        """The headers of a request that is signed with it."""
        path, _, query = target.partition("?")
        text = "\n".join((challenge, method, unquote(path), query))
        return {
            "x-keyring-key": self.line,
            "x-keyring-challenge": challenge,
            "x-keyring-signature": base64.b64encode(self._key.sign(text.encode())).decode(),
        }


ALL = ("keyring", "session", "bearer", "none")
BY_TOKEN = EnrollConfig(
    enabled=True,
    tokens=(digest_of("right"),),
    rate_per_ip=1e9,
    codes=EnrollCodesConfig(enabled=True),
    grants=(
        EnrollGrantConfig(db="app", level="read-only"),
        EnrollGrantConfig(db="gone", level="read-write"),
    ),
)
OPEN = msgspec.structs.replace(BY_TOKEN, policy="open", tokens=())


def config(enroll: EnrollConfig = BY_TOKEN, **sections: Any) -> Config:
    return msgspec.structs.replace(
        Config(
            auth=AuthConfig(
                principals=(by_token("root", "root-token"), by_token("tok", "tok-token")),
                session=SessionConfig(enabled=True, idle_ttl_s=600.0, max_ttl_s=7200.0),
                enroll=enroll,
            ),
            databases=(
                stored("app", *grants(tok="read-write", root="admin")),
                stored("other", *grants(tok="read-write")),
                stored("pub", *grants(everyone="read-only")),
            ),
            control_plane=ControlPlaneConfig(enabled=True, admins=("root",)),
        ),
        **sections,
    )


def again(enroll: EnrollConfig, **changes: Any) -> EnrollConfig:
    return msgspec.structs.replace(enroll, **changes)


class Device:
    """A device that speaks to a listener."""

    def __init__(self, running: Running, seed: str = "", *, methods: tuple[str, ...] = ALL) -> None:
        self.key = DeviceKey(seed)
        self.name = device_name(self.key.public_key)
        self.client: Client = running.client(methods=methods)

    async def signed(self, method: str, target: str) -> dict[str, str]:
        answer = await self.client.send("GET", "/_auth/challenge")
        return self.key.sign(str(answer.json()["challenge"]), method, target)

    async def send(self, method: str, target: str, body: bytes = b"", **keys: Any) -> Answer:
        headers = await self.signed(method, target)
        return await self.client.send(method, target, body, headers=headers, **keys)

    async def enrol(self, token: str | None = None, **keys: Any) -> Answer:
        body = b"" if token is None else json.dumps({"enroll_token": token}).encode()
        return await self.send("POST", ENROLL, body, **keys)

    async def query(self, sql: str = "SELECT 1", db: str = "app") -> Answer:
        return await self.send("POST", f"/{db}/query", json.dumps({"sql": sql}).encode())


class Admin:
    """What server-admins do."""

    def __init__(self, running: Running, token: str | None = "root-token") -> None:
        self._client = running.client(token, methods=ALL)

    async def principals(self) -> list[dict[str, Any]]:
        answer = await self._client.send("GET", "/_admin/principals")
        assert answer.status == 200, answer.body
        listed: list[dict[str, Any]] = answer.json()["principals"]
        return listed

    async def delete(self, name: str) -> Answer:
        return await self._client.post("/_admin/principals/delete", {"name": name})

    async def mint(self) -> str:
        answer = await self._client.send("POST", "/_admin/enroll/codes")
        assert answer.status == 200, answer.body
        return str(answer.json()["code"])

    async def send(self, method: str, path: str, body: bytes = b"") -> Answer:
        return await self._client.send(method, path, body)


def said(answer: Answer) -> tuple[int, Any]:
    """Status, and the message or the whole body."""
    body = answer.json()
    return answer.status, body["error"]["message"] if "error" in body else body


async def open_stream(device: Device, db: str = "app") -> str:
    body = json.dumps({"requests": [{"type": "execute", "stmt": {"sql": "SELECT 1"}}]}).encode()
    answer = await device.send("POST", f"/{db}/v3/pipeline", body)
    assert answer.status == 200, answer.body
    return str(answer.json()["baton"])


async def audited(running: Running) -> list[tuple[Any, ...]]:
    """(principal, action, database, detail) of each row of the audit."""
    assert running.control is not None
    return await running.control.store.run(
        lambda connection: connection.execute(
            "SELECT principal, action, database, detail FROM audit ORDER BY id"
        ).fetchall()
    )


@pytest.fixture
async def meta_store(tmp_path: Path) -> AsyncIterator[MetaStore]:
    """A new store in the temporary folder."""
    opened = MetaStore(str(tmp_path / "meta.db"))
    await opened.open()
    yield opened
    await opened.close()
