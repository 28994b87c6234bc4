"""The module's globals, `connect` in both colours, threads, and type objects."""

from __future__ import annotations

import datetime
import sqlite3
import threading
import time

import pytest

import quicsql_client
import quicsql_dbapi
from quicsql_client import AsyncClient, Client, ConfigurationError, InterfaceError
from quicsql_client.testing.reference import ReferenceServer
from quicsql_dbapi import aio
from quicsql_dbapi.parameters import fit_one_request
from quicsql_dbapi.targets import url_with


def test_globals() -> None:
    for module in (quicsql_dbapi, aio):
        assert (module.apilevel, module.threadsafety, module.paramstyle) == ("2.0", 2, "qmark")


@pytest.mark.parametrize("name", [n for n in dir(quicsql_dbapi) if n.endswith("Error")])
def test_errors_are_the_clients(name: str) -> None:
    ours = getattr(quicsql_dbapi, name)
    assert ours is getattr(quicsql_client, name)
    assert getattr(quicsql_dbapi.Connection, name) is ours
    bases = {base.__name__ for base in ours.__mro__}
    assert {base.__name__ for base in getattr(sqlite3, name).__mro__} <= bases


def test_connect_by_url(quicsql_server: ReferenceServer, quicsql_db: str) -> None:
    connection = quicsql_dbapi.connect(quicsql_server.url(quicsql_db), timeout=20)
    assert connection.execute("SELECT 1").fetchone() == (1,)
    connection.close()
    with pytest.raises(quicsql_client.Error):
        connection.client.query(quicsql_db, "SELECT 1")


def test_connect_by_options(quicsql_server: ReferenceServer, quicsql_db: str) -> None:
    certificate, key = quicsql_server.pki.client("analyst")
    connection = quicsql_dbapi.connect(
        f"quicsql://{quicsql_server.address}/other",
        db=quicsql_db,
        autocommit=True,
        sslrootcert=quicsql_server.pki.root_ca,
        sslcert=certificate,
        sslkey=key,
        insecure=False,
        token=None,
    )
    assert connection.autocommit
    assert connection.execute("SELECT 1").fetchone() == (1,)
    connection.close()


def test_connect_over_a_client_leaves_it_open(quicsql_client: Client, quicsql_db: str) -> None:
    connection = quicsql_dbapi.connect(client=quicsql_client, db=quicsql_db)
    assert isinstance(connection, quicsql_dbapi.Connection)
    connection.execute("CREATE TABLE t(x)")
    connection.autocommit = True
    assert connection.autocommit
    connection.close()
    assert quicsql_client.query(quicsql_db, "SELECT count(*) FROM t").scalar() == 0


def test_connect_needs_a_clear_target(quicsql_client: Client) -> None:
    with pytest.raises(InterfaceError, match="needs a quicsql:// URL"):
        quicsql_dbapi.connect()
    with pytest.raises(InterfaceError, match="not both"):
        quicsql_dbapi.connect("quicsql://h:1/app", client=quicsql_client, db="app")
    with pytest.raises(InterfaceError, match="db="):
        quicsql_dbapi.connect(client=quicsql_client)
    with pytest.raises(InterfaceError, match="token: options belong to the client"):
        quicsql_dbapi.connect(client=quicsql_client, db="app", token="x")
    with pytest.raises(InterfaceError, match="as a str"):
        quicsql_dbapi.connect(5)  # type: ignore[call-overload]
    with pytest.raises(ConfigurationError, match="unknown parameter"):
        quicsql_dbapi.connect("quicsql://h:1/app", colour="red")


async def test_asynchronous_connect(quicsql_server: ReferenceServer, quicsql_db: str) -> None:
    url = quicsql_server.url(quicsql_db)
    async with aio.connect(url) as connection:
        await connection.execute("CREATE TABLE t(x)")
    with pytest.raises(quicsql_dbapi.ProgrammingError, match="closed"):
        await connection.ping()
    async with quicsql_server.async_client() as client:
        over = await aio.connect(client=client, db=quicsql_db, autocommit=True)
        assert over.autocommit
        assert await (await over.execute("SELECT count(*) FROM t")).fetchone() == (0,)
        await over.close()
        await client.query(quicsql_db, "SELECT 1")
    with pytest.raises(InterfaceError, match="needs a quicsql:// URL"):
        await aio.connect()


async def test_asynchronous_block_rolls_back(
    quicsql_server: ReferenceServer, quicsql_db: str
) -> None:
    async def fail() -> None:
        async with aio.connect(quicsql_server.url(quicsql_db)) as connection:
            await connection.execute("CREATE TABLE t(x)")
            await connection.execute("SELECT * FROM nowhere")

    with pytest.raises(quicsql_dbapi.OperationalError, match="nowhere"):
        await fail()
    async with quicsql_server.async_client() as client:
        with pytest.raises(quicsql_dbapi.OperationalError, match="no such table: t"):
            await client.query(quicsql_db, "SELECT * FROM t")


async def test_asynchronous_abandon(quicsql_server: ReferenceServer, quicsql_db: str) -> None:
    client: AsyncClient
    async with quicsql_server.async_client() as client:
        connection = await aio.connect(client=client, db=quicsql_db)
        await connection.execute("SELECT 1")
        connection.abandon()
        with pytest.raises(quicsql_dbapi.ProgrammingError, match="closed"):
            await connection.commit()


def test_threads_share_a_connection(quicsql_client: Client, quicsql_db: str) -> None:
    connection = quicsql_dbapi.connect(client=quicsql_client, db=quicsql_db)
    connection.execute("CREATE TABLE t(x)")
    wrong: list[object] = []

    def work(number: int) -> None:
        cursor = connection.cursor()
        for step in range(20):
            cursor.execute("INSERT INTO t VALUES (?)", (number * 100 + step,))
            row = cursor.execute("SELECT ?", (number,)).fetchone()
            if row != (number,):
                wrong.append(row)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert connection.execute("SELECT count(DISTINCT x) FROM t").fetchone() == (120,)
    connection.close()


def test_options_join_a_url() -> None:
    assert url_with("quicsql://h:1/a", {}) == "quicsql://h:1/a"
    assert url_with("quicsql://h:1/a?x=1", {"y": True, "z": None}) == "quicsql://h:1/a?x=1&y=1"


def test_what_fits_one_request() -> None:
    statements = [quicsql_client.Statement("INSERT", ("é" * 100,))] * 10
    assert fit_one_request(statements)
    assert not fit_one_request(statements, max_bytes=3600)
    assert fit_one_request([])
    assert not fit_one_request([quicsql_client.Statement("X", {"a": b"x" * 5000})], 6000)


@pytest.mark.parametrize(
    ("declared", "kinds"),
    [
        ("VARCHAR(20)", {"STRING"}),
        ("text", {"STRING"}),
        ("INTEGER", {"NUMBER", "ROWID"}),
        ("BIGINT", {"NUMBER"}),
        ("DOUBLE PRECISION", {"NUMBER"}),
        ("NUMERIC(10, 2)", {"NUMBER"}),
        ("BOOLEAN", {"NUMBER"}),
        ("BLOB", {"BINARY"}),
        ("", {"BINARY"}),
        ("DATETIME", {"DATETIME"}),
        ("TIMESTAMP", {"DATETIME"}),
        ("DATE", {"DATETIME"}),
        (None, set()),
    ],
)
def test_type_objects(declared: str | None, kinds: set[str]) -> None:
    names = ("STRING", "BINARY", "NUMBER", "DATETIME", "ROWID")
    assert {name for name in names if getattr(quicsql_dbapi, name) == declared} == kinds


def test_type_objects_differ_and_hash() -> None:
    kinds = {quicsql_dbapi.STRING, quicsql_dbapi.NUMBER, quicsql_dbapi.STRING}
    assert len(kinds) == 2
    assert repr(quicsql_dbapi.STRING) == "<quicsql_dbapi.STRING>"


def test_constructors_from_ticks() -> None:
    ticks = time.mktime((2002, 12, 25, 13, 45, 30, 0, 0, -1))
    assert quicsql_dbapi.DateFromTicks(ticks) == datetime.date(2002, 12, 25)
    assert quicsql_dbapi.TimeFromTicks(ticks) == datetime.time(13, 45, 30)
    assert quicsql_dbapi.TimestampFromTicks(ticks) == quicsql_dbapi.Timestamp(
        2002, 12, 25, 13, 45, 30
    )
    assert quicsql_dbapi.Binary(b"x") == b"x"


def test_repr_names_the_database_and_no_secret(quicsql_client: Client) -> None:
    connection = quicsql_dbapi.connect(client=quicsql_client, db="app")
    assert repr(connection) == "<Connection 'app' in_transaction=False>"
    connection.close()
    assert repr(connection) == "<Connection 'app' closed>"
