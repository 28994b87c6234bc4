"""What a connection tells about itself."""

from __future__ import annotations

import pytest

from quicsql_client import AsyncClient, with_basic_auth
from quicsql_client.testing.reference import ReferenceServer
from quicsql_dbapi._async.connection import AsyncConnection

from .conftest import AsyncCounter


async def test_info_asks_nothing(quicsql_server: ReferenceServer, quicsql_db: str) -> None:
    options = quicsql_server.options()
    async with AsyncClient.h2tls(quicsql_server.address, *options) as client:
        connection = AsyncConnection(client, quicsql_db)
        info = connection.info
        host, _, port = quicsql_server.address.rpartition(":")
        assert (info.transport, info.host, info.port) == ("h2", host, int(port))
        assert (info.database, info.user) == (quicsql_db, "analyst")
        assert info.tls is not None
        assert info.tls.client is not None
        assert info.tls.server is None
        await connection.execute("SELECT 1")
        after = connection.info.tls
        assert after is not None
        assert after.server is not None
        assert "PRIVATE KEY" not in repr(info)
        await connection.aclose()


async def test_info_over_a_socket_and_with_a_password() -> None:
    async with AsyncClient.unix("/run/db 1.sock", with_basic_auth("ada", "planted")) as client:
        info = AsyncConnection(client, "app").info
        assert (info.transport, info.host, info.port) == ("unix", "/run/db 1.sock", 0)
        assert (info.user, info.tls) == ("ada", None)
        assert "planted" not in repr(info)


async def test_the_servers_version_is_asked_once(
    connection: AsyncConnection, counter: AsyncCounter
) -> None:
    counter.taken()
    version = await connection.server_version()
    assert tuple(map(int, version.split("."))) >= (3, 45, 0)
    assert await connection.server_version() == version
    assert counter.taken() == ["query"]
    assert not connection.in_transaction


async def test_total_changes(connection: AsyncConnection) -> None:
    assert connection.total_changes == 0
    await connection.execute("INSERT INTO t(v) VALUES ('a'), ('b')")
    await connection.executemany("INSERT INTO t(v) VALUES (?)", [("c",), ("d",)])
    await connection.execute("UPDATE t SET n = 1 WHERE v > 'b' RETURNING v")
    await connection.execute("SELECT * FROM t")
    with pytest.raises(connection.IntegrityError):
        await connection.execute("INSERT INTO t(v) VALUES ('a')")
    await connection.rollback()
    await connection.execute("DELETE FROM t")
    assert connection.total_changes == 6
