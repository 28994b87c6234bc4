"""The control plane over every transport, against the reference server."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from quicsql_client import (
    AsyncClient,
    AuthenticationError,
    AuthorizationError,
    ConfigurationError,
    DatabaseInfo,
    OperationalError,
    ProgrammingError,
    StreamExpiredError,
)
from tests.fix_server import TRANSPORTS, EveryTransport


def size_bytes(path: str) -> int:
    return Path(path).stat().st_size


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_database_comes_and_goes(
    every_transport: EveryTransport, transport: str, tmp_path: Path
) -> None:
    endpoint, options = every_transport.admin_way(transport)
    db = f"made-{transport}-{AsyncClient.__name__}"
    async with AsyncClient(endpoint, *options) as client:
        spec = {"name": db, "backend": "file", "path": f"{db}.db", "pragmas_preset": "recommended"}
        await client.admin.create(spec, {"root": "admin", "analyst": "read-only"})
        with pytest.raises(OperationalError, match="already exists") as caught:
            await client.admin.create(spec)
        assert caught.value.http_status == 409
        with pytest.raises(ProgrammingError, match="400"):
            await client.admin.create({"name": f"{db}-2"})

        await client.batch(db, ["CREATE TABLE t(x)", "INSERT INTO t VALUES (1)"])
        moved = await client.admin.checkpoint(db, "truncate")
        assert (moved.mode, moved.wal_frames) == ("truncate", 0)
        copied = await client.admin.snapshot(db, f"{db}-copy.db")
        assert size_bytes(copied.path) == copied.size_bytes
        with pytest.raises(OperationalError, match="already exists"):
            await client.admin.snapshot(db, f"{db}-copy.db")

        await client.execute(db, "DELETE FROM t")
        assert await client.admin.restore(db, copied.path) == copied.size_bytes
        assert (await client.query(db, "SELECT count(*) FROM t")).scalar() == 1
        image = await client.export(db)
        assert await client.admin.restore(db, image) == len(image)
        with pytest.raises(ProgrammingError, match="not a valid SQLite database"):
            await client.admin.restore(db, b"no image")
        with pytest.raises(ConfigurationError, match="cannot be read"):
            await client.admin.restore(db, tmp_path / "nowhere.db")

        closed = DatabaseInfo(db, "file", is_open=False, users=0)
        assert closed in await client.admin.databases()
        assert db in {one.name for one in await client.admin.stats()}
        await client.admin.detach(db)
        with pytest.raises(OperationalError, match="unknown database"):
            await client.admin.detach(db)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_stream_is_seen_and_ended(every_transport: EveryTransport, transport: str) -> None:
    endpoint, options = every_transport.admin_way(transport)
    db = f"{transport}-{AsyncClient.__name__}"
    async with AsyncClient(endpoint, *options) as client:
        stream = client.stream(db)
        await stream.execute("SELECT 1")
        info = await client.admin.info()
        assert info.active_sessions >= 1
        assert info.databases >= info.open_databases >= 1
        (seen,) = [one for one in await client.admin.sessions() if one.database == db]
        assert (seen.principal, seen.is_in_flight, seen.is_read_only) == ("root", False, False)
        with pytest.raises(OperationalError, match="busy"):
            await client.admin.detach(db)
        await client.admin.kill(seen)
        with pytest.raises(OperationalError, match="no such session"):
            await client.admin.kill(seen.id)
        with pytest.raises(StreamExpiredError):
            await stream.execute("SELECT 1")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_devices_come_and_go(every_transport: EveryTransport, transport: str) -> None:
    endpoint, options = every_transport.admin_way(transport)
    db = f"{transport}-{AsyncClient.__name__}"
    way, key_options = every_transport.key_way(transport, Ed25519PrivateKey.generate())
    async with AsyncClient(endpoint, *options) as client, AsyncClient(way, *key_options) as device:
        code = await client.admin.mint_enroll_code()
        assert code.expires_at > datetime.datetime.now(datetime.UTC)
        enrolled = await device.enroll(code.code)
        listed = {one.name: one for one in await client.admin.principals()}
        assert listed[enrolled.principal].key.startswith("ssh-ed25519 ")
        await device.query(db, "SELECT 1")
        await client.admin.delete_principal(enrolled.principal)
        with pytest.raises(AuthenticationError):
            await device.query(db, "SELECT 1")
        with pytest.raises(AuthorizationError, match="enrollment token"):
            await device.enroll(code.code)
        with pytest.raises(OperationalError, match="no such enrolled principal"):
            await client.admin.delete_principal(enrolled.principal)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_others_may_not(every_transport: EveryTransport, transport: str) -> None:
    endpoint, options = every_transport.way(transport)
    async with AsyncClient(endpoint, *options) as client:
        assert await client.admin.databases() == []
        assert await client.admin.sessions() == []
        for call in (client.admin.info, client.admin.principals, client.admin.mint_enroll_code):
            with pytest.raises(AuthorizationError):
                await call()
