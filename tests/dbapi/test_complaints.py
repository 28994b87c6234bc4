"""What users of other drivers complain of: each complaint with its input and the right outcome.

Numbered as the list of requirements has them. Told elsewhere at length: C2 in test_executemany,
C8 in client/test_tls_failures, C10 in transports, C12 in test_transactions, C16 in test_converters.
"""

from __future__ import annotations

import asyncio
import datetime
import decimal
import enum
import logging
import os
import pickle
import shutil
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import time
import traceback
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import sqlalchemy

import quicsql_dbapi
from quicsql_client import (
    Client,
    DataError,
    IntegrityError,
    OperationalError,
    OutcomeUnknownError,
    ProgrammingError,
    StreamExpiredError,
    TLSError,
    TruncatedError,
    with_basic_auth,
    with_bearer,
    with_insecure_auth_allowed,
    with_timeout,
    with_transport,
)
from quicsql_client.server import sessions
from quicsql_client.server.config import Config, LimitsConfig
from quicsql_client.testing.reference import ReferenceServer, ServerThread
from quicsql_dbapi import Connection, aio

WAYS = ["autocommit", "transaction", "pinned"]
INSERT = "INSERT INTO t(v) VALUES (?)"
NUMBERS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n"
WAIT_S = 20.0


@pytest.fixture
def connection(quicsql_client: Client, quicsql_db: str) -> Iterator[Connection]:
    """A connection to a database with a table t(id, v UNIQUE)."""
    quicsql_client.query(quicsql_db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v UNIQUE)")
    connection = quicsql_dbapi.connect(client=quicsql_client, db=quicsql_db)
    yield connection
    connection.close()


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, connection: Connection) -> Connection:
    """The same in each of the ways that statements go: natively, by Hrana, on a pinned stream."""
    connection.autocommit = request.param != "transaction"
    if request.param == "pinned":
        connection.execute("CREATE TEMP TABLE pin(x)")
    return connection


def count(connection: Connection) -> Any:
    row = connection.execute("SELECT count(*) FROM t").fetchone()
    return row[0] if row else None


# C1. Silent wrong data.


def test_c1_integers_of_64_bits_and_text_with_nul(way: Connection) -> None:
    assert way.execute("select ?, typeof(?)", (2**62 + 1,) * 2).fetchone() == (
        4611686018427387905,
        "integer",
    )
    assert way.execute("select :a, typeof(:a)", {"a": -(2**63)}).fetchone() == (-(2**63), "integer")
    assert way.execute("select ?, length(cast(? as blob))", ("a\0b",) * 2).fetchone() == ("a\0b", 3)
    way.executemany(INSERT, [(2**62 + 1,), ("a\0b",)])
    rows = way.execute("SELECT v, typeof(v) FROM t ORDER BY id").fetchall()
    assert rows == [(2**62 + 1, "integer"), ("a\0b", "text")]


def test_c1_what_does_not_fit_is_refused_before_anything_runs(way: Connection) -> None:
    before = count(way)
    with pytest.raises(DataError, match="64 bits"):
        way.execute(INSERT, (2**63,))
    for args, told in (((), "0 were given"), ((1, 2), "2 were given")):
        with pytest.raises(ProgrammingError, match=f"1 parameter, and {told}"):
            way.execute(INSERT, args)
    assert count(way) == before


# C3. "The stream has expired", stale connections.


class Impatient(ReferenceServer):
    """Gives a stream up that is idle for a twentieth of a second."""

    def _configuration(self, folder: Path) -> Config:
        config = super()._configuration(folder)
        return msgspec.structs.replace(config, limits=LimitsConfig(tx_idle_timeout_s=0.05))


@pytest.fixture
def impatient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReferenceServer]:
    monkeypatch.setattr(sessions, "REAP_INTERVAL_S", 0.05)
    with Impatient(tmp_path / "impatient") as server:
        yield server


def until_free(connection: Connection) -> None:
    """Return once nobody holds the write lock of the database."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except OperationalError as exc:
            if exc.code != 5 or time.monotonic() > deadline:  # 5: busy
                raise
        else:
            connection.rollback()
            return


def test_c3_idle_in_a_transaction_is_told_and_never_run_again(impatient: ReferenceServer) -> None:
    database = impatient.create_database()
    with impatient.client() as client:
        client.query(database, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
        idle = quicsql_dbapi.connect(client=client, db=database)
        other = quicsql_dbapi.connect(client=client, db=database, autocommit=True)
        idle.execute(INSERT, ("a",))
        until_free(other)  # the server has rolled the idle transaction back
        with pytest.raises(OperationalError) as caught:
            idle.execute(INSERT, ("b",))
        assert isinstance(caught.value, StreamExpiredError)
        assert (caught.value.is_disconnect, caught.value.transaction_lost) == (True, True)
        idle.rollback()
        idle.execute(INSERT, ("c",))
        idle.commit()
        assert other.execute("SELECT v FROM t").fetchall() == [("c",)]


def test_c3_idle_outside_a_transaction_is_not_noticed(impatient: ReferenceServer) -> None:
    database = impatient.create_database()
    with impatient.client() as client:
        client.query(database, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
        pinned = quicsql_dbapi.connect(client=client, db=database)
        other = quicsql_dbapi.connect(client=client, db=database)
        pinned.execute("PRAGMA foreign_keys = OFF")
        # Both streams are idle now; where the younger one is gone, so is the older one.
        other.execute(INSERT, ("a",))
        until_free(quicsql_dbapi.connect(client=client, db=database, autocommit=True))
        assert pinned.execute("PRAGMA foreign_keys").fetchone() == (0,)
        pinned.execute(INSERT, ("b",))
        pinned.commit()
        pinned.close()
        other.close()


def test_c3_a_restarted_server_is_not_noticed(tmp_path: Path) -> None:
    with ReferenceServer(tmp_path / "server") as server:
        database = server.create_database()
        client = server.client()
        engine = sqlalchemy.create_engine(
            "quicsql://", connect_args={"client": client, "db": database}, pool_pre_ping=True
        )
        connection = quicsql_dbapi.connect(client=client, db=database, autocommit=True)
        connection.execute("CREATE TABLE t(v)")
        with engine.connect() as used:
            used.exec_driver_sql("SELECT 1")
        config = server.config
        listener = msgspec.structs.replace(config.listeners[0], address=server.addresses["h2"])
    with ServerThread(msgspec.structs.replace(config, listeners=(listener,))), client:
        connection.execute(INSERT, ("a",))
        assert count(connection) == 1
        with engine.connect() as used:
            assert used.exec_driver_sql("SELECT count(*) FROM t").scalar_one() == 1
        engine.dispose()


# C4. Hangs without end.


def test_c4_a_server_that_never_answers() -> None:
    """Other threads go on meanwhile. Cancelling is in test_cancel."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with Client.h1(address, with_timeout(0.2)) as client:
            connection = quicsql_dbapi.connect(client=client, db="app")
            steps, is_over = [0], threading.Event()

            def work() -> None:
                while not is_over.is_set():
                    steps[0] += 1

            worker = threading.Thread(target=work)
            worker.start()
            before = steps[0]
            with pytest.raises(OperationalError):
                connection.execute("SELECT 1")
            is_over.set()
            worker.join()
            assert steps[0] > before
            connection.close()


# C5. Exceptions outside DB-API.


def test_c5_constraint_by_code_and_name(way: Connection) -> None:
    way.execute(INSERT, ("planted",))
    with pytest.raises(IntegrityError) as caught:
        way.execute(INSERT, ("planted",))
    error = pickle.loads(pickle.dumps(caught.value))
    assert error.sqlite_errorcode == 2067
    assert error.sqlite_errorname == "SQLITE_CONSTRAINT_UNIQUE"
    assert error.sql == INSERT
    assert error.http_status in (200, 422)
    assert "planted" not in str(error)


def test_c5_busy_may_be_tried_again(quicsql_client: Client, connection: Connection) -> None:
    other = quicsql_dbapi.connect(client=quicsql_client, db=connection.database)
    other.execute("PRAGMA busy_timeout = 1")
    connection.execute(INSERT, ("a",))
    with pytest.raises(OperationalError) as caught:
        other.execute(INSERT, ("b",))
    assert (caught.value.code, caught.value.is_retryable) == (5, True)
    other.close()


def test_c5_refused_identities(quicsql_server: ReferenceServer, quicsql_db: str) -> None:
    for identity, kind, text in (
        ("stranger", OperationalError, "CN=stranger, SPKI sha256"),
        ("reporting", quicsql_dbapi.DatabaseError, "readonly|read-only|not"),
    ):
        with quicsql_server.client(identity) as client:
            connection = quicsql_dbapi.connect(client=client, db=quicsql_db, autocommit=True)
            with pytest.raises(kind, match=text):
                connection.execute("CREATE TABLE t(x)")


def test_c5_everything_after_close_is_a_programming_error(connection: Connection) -> None:
    cursor = connection.execute("SELECT 1")
    connection.close()
    connection.close()
    calls: list[Any] = [
        lambda: connection.execute("SELECT 1"),
        lambda: cursor.execute("SELECT 1"),
        lambda: cursor.executemany(INSERT, [(1,)]),
        connection.commit,
        connection.rollback,
        connection.cursor,
        connection.server_version,
    ]
    for call in calls:
        with pytest.raises(ProgrammingError, match="closed"):
            call()


# C6. No async, or async in name only.


async def test_c6_asyncio_has_no_threads_and_does_not_block(
    quicsql_server: ReferenceServer, quicsql_db: str
) -> None:
    threads = {thread.name for thread in threading.enumerate()}
    async with aio.connect(quicsql_server.url(quicsql_db)) as connection:
        waiting = asyncio.ensure_future(connection.execute(f"{NUMBERS}) SELECT max(x) FROM n"))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        # The server of the test runs in this process, and asyncio itself looks names up in one.
        new = {thread.name for thread in threading.enumerate()} - threads
        assert [name for name in new if not name.startswith(("quicsql test", "asyncio_"))] == []
        assert connection.cancel()
        with pytest.raises(OperationalError):
            await waiting
        await connection.rollback()


def test_c6_leaving_without_close_warns_and_exits(
    quicsql_server: ReferenceServer, quicsql_db: str, tmp_path: Path
) -> None:
    script = tmp_path / "leave.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import asyncio, quicsql_dbapi
            from quicsql_dbapi import aio
            async def main():
                connection = await aio.connect({quicsql_server.url(quicsql_db)!r})
                await connection.execute("SELECT 1")
            asyncio.run(main())
            quicsql_dbapi.connect({quicsql_server.url(quicsql_db)!r}).execute("SELECT 1")
            """
        ),
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-W", "always::ResourceWarning", str(script)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "ResourceWarning: unclosed <AsyncConnection" in done.stderr
    assert "ResourceWarning: unclosed <Connection" in done.stderr


# C7. mTLS set-up, and C8. TLS errors unreadable.


def test_c7_the_certificate_leaves_the_machine(
    quicsql_server: ReferenceServer, quicsql_db: str
) -> None:
    """The server knows principals by the CN only, so an answer is the proof that it saw it."""
    certificate, key = quicsql_server.pki.client("analyst")
    address = f"quicsql://{quicsql_server.address}/{quicsql_db}"
    shown: dict[str, Any] = {"sslrootcert": quicsql_server.pki.root_ca}
    connection = quicsql_dbapi.connect(address, **shown, sslcert=certificate, sslkey=key)
    connection.execute("CREATE TABLE t(x)")
    assert connection.info.user == "analyst"
    connection.close()
    without = quicsql_dbapi.connect(address, **shown)
    with pytest.raises(TLSError) as caught:
        without.execute("SELECT 1")
    assert caught.value.reason == "client_certificate_required"
    without.close()


def test_c7_certificate_and_token_together(
    quicsql_server: ReferenceServer, quicsql_db: str
) -> None:
    with quicsql_server.client("analyst", with_bearer("a-token")) as client:
        connection = quicsql_dbapi.connect(client=client, db=quicsql_db, autocommit=True)
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_c8_a_wrong_ca_says_so(quicsql_server: ReferenceServer, quicsql_db: str) -> None:
    connection = quicsql_dbapi.connect(
        f"quicsql://{quicsql_server.address}/{quicsql_db}",
        sslrootcert=quicsql_server.pki.client_ca,
    )
    with pytest.raises(OperationalError) as caught:
        connection.execute("SELECT 1")
    assert isinstance(caught.value, TLSError)
    assert caught.value.reason == "untrusted_server"
    assert str(quicsql_server.pki.client_ca) in str(caught.value)
    assert isinstance(caught.value.__cause__, ssl.SSLError)
    connection.close()


# C9. Rotation needs a restart.


def test_c9_certificates_change_under_a_connection(
    quicsql_server: ReferenceServer, quicsql_db: str, tmp_path: Path
) -> None:
    paths = tmp_path / "app.crt", tmp_path / "app.key"

    def install(identity: str) -> None:
        for source, target in zip(quicsql_server.pki.client(identity), paths, strict=True):
            shutil.copy(source, target)

    install("reporting")
    connection = quicsql_dbapi.connect(
        f"quicsql://{quicsql_server.address}/{quicsql_db}",
        autocommit=True,
        sslrootcert=quicsql_server.pki.root_ca,
        sslcert=paths[0],
        sslkey=paths[1],
    )
    with pytest.raises(quicsql_dbapi.DatabaseError):
        connection.execute("CREATE TABLE t(x)")
    install("analyst")
    connection.client.reload_certificates()
    connection.execute("CREATE TABLE t(x)")
    status = connection.info.tls
    assert status is not None
    assert status.client is not None
    assert status.server is not None
    assert (status.client.common_name, status.generation) == ("analyst", 1)
    assert status.server.not_after > datetime.datetime.now(datetime.UTC)
    connection.close()


# C11. Retries that duplicate writes.


class LosesAnswers(httpx.BaseTransport):
    """Lets the server act, and loses what it answers."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.asked = 0
        self.is_losing = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        answer = self._client.http.request(
            request.method, request.url.raw_path.decode(), content=request.content
        )
        if self.is_losing:
            raise httpx.ReadError("connection reset by peer")
        return answer


def write_many(connection: Connection) -> Any:
    return connection.executemany(INSERT, [("a",), ("b",)])


@pytest.mark.parametrize("is_many", [False, True])
def test_c11_a_write_whose_answer_is_lost_is_sent_once(
    quicsql_client: Client, connection: Connection, is_many: bool
) -> None:
    network = LosesAnswers(quicsql_client)
    with Client.h1("db:1", with_transport(network)) as client:
        fragile = quicsql_dbapi.connect(client=client, db=connection.database, autocommit=True)
        network.is_losing = True
        with pytest.raises(OutcomeUnknownError) as caught:
            _ = write_many(fragile) if is_many else fragile.execute(INSERT, ("a",))
        assert (caught.value.is_retryable, caught.value.is_disconnect) == (False, True)
        assert network.asked == 1
        with pytest.raises(OperationalError) as read:
            fragile.execute("SELECT 1")
        assert not isinstance(read.value, OutcomeUnknownError)
    assert count(connection) == 1 + is_many


# C12. Transactions that are not. More in test_transactions and in the machine.


def test_c12_ddl_and_with_insert_are_in_the_transaction(connection: Connection) -> None:
    connection.execute("create table gone(x)")
    connection.execute("with a(x) as (values (1)) insert into t(v) select x from a")
    connection.execute("savepoint s")
    connection.execute(INSERT, ("inner",))
    connection.execute("rollback to s")
    connection.execute("release s")
    assert count(connection) == 1
    connection.rollback()
    assert count(connection) == 0
    with pytest.raises(OperationalError, match="no such table: gone"):
        connection.execute("SELECT * FROM gone")


# C13. SQL refused in the client, session state lost.


def test_c13_one_connection_is_one_connection_of_the_server(connection: Connection) -> None:
    connection.autocommit = True
    connection.execute("ANALYZE")
    connection.execute("CREATE TEMP TABLE mine AS SELECT 5 AS x")
    connection.execute("PRAGMA cache_size = -777")
    connection.execute("INSERT INTO t(id, v) VALUES (41, 'a'), (42, 'b')")
    told = "SELECT x, last_insert_rowid(), changes() FROM mine"
    assert connection.execute(told).fetchone() == (5, 42, 2)
    assert connection.execute("PRAGMA cache_size").fetchone() == (-777,)


# C14. Timeouts, pool and threads under a web server.


@pytest.mark.slow
def test_c14_one_client_for_64_threads(quicsql_client: Client, quicsql_db: str) -> None:
    wrong: list[Any] = []

    def work(number: int) -> None:
        connection = quicsql_dbapi.connect(client=quicsql_client, db=quicsql_db, autocommit=True)
        for step in range(200):
            asked = number * 1000 + step
            row = connection.execute("SELECT ?", (asked,)).fetchone()
            if row != (asked,):
                wrong.append(row)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# C15. fork.


def test_c15_after_fork_both_sides_get_right_answers(connection: Connection) -> None:
    connection.autocommit = True
    connection.execute(INSERT, ("parent",))
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # nothing but our lines here: pytest's own exit would run twice
        try:
            warnings.simplefilter("ignore")
            connection.execute(INSERT, ("child",))
            os.write(writer, str(count(connection)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        assert told.read() == b"2"
    assert os.waitpid(child, 0)[1] == 0
    connection.execute(INSERT, ("parent again",))
    assert count(connection) == 3


# C16. Types. Converters are in test_converters, numpy's scalars in wire/test_values_of_numpy.


class Colour(enum.Enum):
    RED = "red"


class Unknown:
    """Of no storage class; its repr must not be told."""

    def __repr__(self) -> str:
        return "planted"


def test_c16_pythons_types(way: Connection) -> None:
    zone = datetime.timezone(datetime.timedelta(hours=2))
    for value, stored in (
        (True, 1),
        (datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=zone), "2024-01-02 03:04:05+02:00"),
        (decimal.Decimal("1.10"), "1.10"),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (Colour.RED, "red"),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"abcd")[::2], b"ac"),
    ):
        row = way.execute("SELECT ?", (value,)).fetchone()
        assert row == (stored,)
        assert row is not None
        assert type(row[0]) is type(stored)
    with pytest.raises(ProgrammingError, match="argument 1 is of type Unknown") as caught:
        way.execute("SELECT ?, ?", (1, Unknown()))
    assert "planted" not in str(caught.value)


# C17. Secrets in logs.


def test_c17_planted_secrets_are_told_nowhere(
    connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    told: list[str] = []

    def failing(call: Any) -> None:
        try:
            call()
        except quicsql_dbapi.Error as exc:
            told.extend((str(exc), repr(exc), "".join(traceback.format_exception(exc))))
            told.append(repr(vars(exc)))

    secret = "planted-" + "value"
    connection.execute(INSERT, (secret,))
    failing(lambda: connection.execute(INSERT, (secret,)))
    failing(lambda: connection.executemany(INSERT, [(secret,), (secret,)]))
    failing(lambda: connection.execute("SELECT :a", {"b": secret}))
    failing(lambda: connection.execute("SELECT ?, ?", (secret,)))
    for option in (with_bearer(secret), with_basic_auth("ada", secret)):
        with Client.h1("127.0.0.1:1", option, with_insecure_auth_allowed()) as client:
            refused = quicsql_dbapi.connect(client=client, db="app")
            failing(lambda refused=refused: refused.execute("SELECT 1"))
            told += [repr(refused), repr(refused.info), repr(client)]
            refused.close()
    assert len(told) >= 24
    for text in [*told, caplog.text, repr(connection)]:
        assert secret not in text


# C19. Truncation.

LONG = (
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 100001) SELECT x FROM n"
)


def test_c19_a_cut_result_raises_with_its_prefix(connection: Connection) -> None:
    cursor = connection.execute(LONG)
    assert cursor.truncated
    with pytest.raises(TruncatedError) as caught:
        cursor.fetchall()
    assert len(caught.value.rows) == 100_000  # type: ignore[attr-defined]


def test_c19_or_warns_where_that_is_wanted(quicsql_client: Client, quicsql_db: str) -> None:
    connection = quicsql_dbapi.connect(client=quicsql_client, db=quicsql_db, on_truncated="warn")
    with pytest.warns(quicsql_dbapi.Warning, match="cap cut this result") as caught:
        assert len(connection.execute(LONG).fetchall()) == 100_000
    assert caught[0].filename == __file__
    connection.close()
    with pytest.raises(ProgrammingError, match="on_truncated"):
        quicsql_dbapi.connect(client=quicsql_client, db=quicsql_db, on_truncated="ignore")
