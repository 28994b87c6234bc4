# Made from tests/client/_async/test_admin.py
# by tools/async_to_sync.py: do not edit, change the source.
"""The control plane over every transport, against the reference server."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from quicsql_client import (
    AuthenticationError,
    AuthorizationError,
    Client,
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
def test_a_database_comes_and_goes(
    every_transport: EveryTransport, transport: str, tmp_path: Path
) -> None:
    endpoint, options = every_transport.admin_way(transport)
    db = f"made-{transport}-{Client.__name__}"
    with Client(endpoint, *options) as client:
        spec = {"name": db, "backend": "file", "path": f"{db}.db", "pragmas_preset": "recommended"}
        client.admin.create(spec, {"root": "admin", "analyst": "read-only"})
        with pytest.raises(OperationalError, match="already exists") as caught:
            client.admin.create(spec)
        assert caught.value.http_status == 409
        with pytest.raises(ProgrammingError, match="400"):
            client.admin.create({"name": f"{db}-2"})

        client.batch(db, ["CREATE TABLE t(x)", "INSERT INTO t VALUES (1)"])
        moved = client.admin.checkpoint(db, "truncate")
        assert (moved.mode, moved.wal_frames) == ("truncate", 0)
        copied = client.admin.snapshot(db, f"{db}-copy.db")
        assert size_bytes(copied.path) == copied.size_bytes
        with pytest.raises(OperationalError, match="already exists"):
            client.admin.snapshot(db, f"{db}-copy.db")

        client.execute(db, "DELETE FROM t")
        assert client.admin.restore(db, copied.path) == copied.size_bytes
        assert client.query(db, "SELECT count(*) FROM t").scalar() == 1
        image = client.export(db)
        assert client.admin.restore(db, image) == len(image)
        with pytest.raises(ProgrammingError, match="not a valid SQLite database"):
            client.admin.restore(db, b"no image")
        with pytest.raises(ConfigurationError, match="cannot be read"):
            client.admin.restore(db, tmp_path / "nowhere.db")

        closed = DatabaseInfo(db, "file", is_open=False, users=0)
        assert closed in client.admin.databases()
        assert db in {one.name for one in client.admin.stats()}
        client.admin.detach(db)
        with pytest.raises(OperationalError, match="unknown database"):
            client.admin.detach(db)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_stream_is_seen_and_ended(every_transport: EveryTransport, transport: str) -> None:
    endpoint, options = every_transport.admin_way(transport)
    db = f"{transport}-{Client.__name__}"
    with Client(endpoint, *options) as client:
        stream = client.stream(db)
        stream.execute("SELECT 1")
        info = client.admin.info()
        assert info.active_sessions >= 1
        assert info.databases >= info.open_databases >= 1
        (seen,) = [one for one in client.admin.sessions() if one.database == db]
        assert (seen.principal, seen.is_in_flight, seen.is_read_only) == ("root", False, False)
        with pytest.raises(OperationalError, match="busy"):
            client.admin.detach(db)
        client.admin.kill(seen)
        with pytest.raises(OperationalError, match="no such session"):
            client.admin.kill(seen.id)
        with pytest.raises(StreamExpiredError):
            stream.execute("SELECT 1")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_devices_come_and_go(every_transport: EveryTransport, transport: str) -> None:
    endpoint, options = every_transport.admin_way(transport)
    db = f"{transport}-{Client.__name__}"
    way, key_options = every_transport.key_way(transport, Ed25519PrivateKey.generate())
    with Client(endpoint, *options) as client, Client(way, *key_options) as device:
        code = client.admin.mint_enroll_code()
        assert code.expires_at > datetime.datetime.now(datetime.UTC)
        enrolled = device.enroll(code.code)
        listed = {one.name: one for one in client.admin.principals()}
        assert listed[enrolled.principal].key.startswith("ssh-ed25519 ")
        device.query(db, "SELECT 1")
        client.admin.delete_principal(enrolled.principal)
        with pytest.raises(AuthenticationError):
            device.query(db, "SELECT 1")
        with pytest.raises(AuthorizationError, match="enrollment token"):
            device.enroll(code.code)
        with pytest.raises(OperationalError, match="no such enrolled principal"):
            client.admin.delete_principal(enrolled.principal)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_others_may_not(every_transport: EveryTransport, transport: str) -> None:
    endpoint, options = every_transport.way(transport)
    with Client(endpoint, *options) as client:
        assert client.admin.databases() == []
        assert client.admin.sessions() == []
        for call in (client.admin.info, client.admin.principals, client.admin.mint_enroll_code):
            with pytest.raises(AuthorizationError):
                call()
