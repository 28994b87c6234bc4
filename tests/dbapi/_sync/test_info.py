# Made from tests/dbapi/_async/test_info.py
# by tools/async_to_sync.py: do not edit, change the source.
"""What a connection tells about itself."""

from __future__ import annotations

import pytest

from quicsql_client import Client, with_basic_auth
from quicsql_client.testing.reference import ReferenceServer
from quicsql_dbapi._sync.connection import Connection

from .conftest import Counter


def test_info_asks_nothing(quicsql_server: ReferenceServer, quicsql_db: str) -> None:
    options = quicsql_server.options()
    with Client.h2tls(quicsql_server.address, *options) as client:
        connection = Connection(client, quicsql_db)
        info = connection.info
        host, _, port = quicsql_server.address.rpartition(":")
        assert (info.transport, info.host, info.port) == ("h2", host, int(port))
        assert (info.database, info.user) == (quicsql_db, "analyst")
        assert info.tls is not None
        assert info.tls.client is not None
        assert info.tls.server is None
        connection.execute("SELECT 1")
        after = connection.info.tls
        assert after is not None
        assert after.server is not None
        assert "PRIVATE KEY" not in repr(info)
        connection.close()


def test_info_over_a_socket_and_with_a_password() -> None:
    with Client.unix("/run/db 1.sock", with_basic_auth("ada", "planted")) as client:
        info = Connection(client, "app").info
        assert (info.transport, info.host, info.port) == ("unix", "/run/db 1.sock", 0)
        assert (info.user, info.tls) == ("ada", None)
        assert "planted" not in repr(info)


def test_the_servers_version_is_asked_once(connection: Connection, counter: Counter) -> None:
    counter.taken()
    version = connection.server_version()
    assert tuple(map(int, version.split("."))) >= (3, 45, 0)
    assert connection.server_version() == version
    assert counter.taken() == ["query"]
    assert not connection.in_transaction


def test_total_changes(connection: Connection) -> None:
    assert connection.total_changes == 0
    connection.execute("INSERT INTO t(v) VALUES ('a'), ('b')")
    connection.executemany("INSERT INTO t(v) VALUES (?)", [("c",), ("d",)])
    connection.execute("UPDATE t SET n = 1 WHERE v > 'b' RETURNING v")
    connection.execute("SELECT * FROM t")
    with pytest.raises(connection.IntegrityError):
        connection.execute("INSERT INTO t(v) VALUES ('a')")
    connection.rollback()
    connection.execute("DELETE FROM t")
    assert connection.total_changes == 6
