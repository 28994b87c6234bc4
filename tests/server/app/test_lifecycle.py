"""The server as a process: start, reload, drain, and how it says that it cannot.

Odd-cases 103, 139.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import signal
import socket
import ssl
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from quicsql_client.errors import ConfigurationError
from quicsql_client.server.config import (
    AuthConfig,
    Config,
    DatabaseConfig,
    ListenerConfig,
    TLSProfile,
    load_config,
)
from quicsql_client.server.lifecycle import Server
from tests.fix_principals import grants, memory
from tests.fix_server_process import (
    WAIT_S,
    Authorities,
    Serve,
    ServerProcess,
    query,
    write_config,
)

TOKEN = {"authorization": "Bearer secret-token"}


@pytest.fixture
def config(tmp_path: Path, authorities: Authorities) -> dict[str, Any]:
    folder = authorities.folder
    authorities.context("reporting")
    pin = {"bearer": {"token_hash": hashlib.sha256(b"secret-token").hexdigest()}}
    return {
        "server": {"data_dir": str(tmp_path)},
        "tls": {
            "prod": {
                "mode": "files",
                "cert": str(folder / "server.crt"),
                "key": str(folder / "server.key"),
                "client_ca": str(folder / "client-ca.crt"),
                "min_version": "1.3",
            }
        },
        "listeners": [
            {"name": "h1", "transport": "h1", "address": "localhost:0", "auth": ["bearer"]},
            {
                "name": "h2",
                "transport": "h2",
                "address": "127.0.0.1:0",
                "tls": "prod",
                "auth": ["mtls"],
            },
        ],
        "auth": {
            "principals": [
                {"name": "analyst", "methods": [{"mtls": {"subject_cn": "analyst"}}]},
                {"name": "reporting", "methods": [{"mtls": {"subject_cn": "reporting"}}]},
                {"name": "tok", "methods": [pin]},
            ]
        },
        "databases": [
            {
                "name": "app",
                "backend": "file",
                "path": "app.db",
                "pragmas_preset": "recommended",
                "grants": [
                    {"principal": "analyst", "level": "read-write"},
                    {"principal": "reporting", "level": "read-only"},
                    {"principal": "tok", "level": "read-write"},
                ],
            }
        ],
    }


@pytest.fixture
def server(serve: Serve, config: dict[str, Any]) -> ServerProcess:
    process = serve(config)
    process.wait_for("ready")
    return process


def over_h2(server: ServerProcess, authorities: Authorities, name: str) -> httpx.Client:
    return httpx.Client(
        base_url=f"https://localhost:{server.ports['h2']}",
        verify=authorities.context(name),
        http2=True,
        timeout=WAIT_S,
        trust_env=False,
    )


def over_h1(server: ServerProcess) -> httpx.Client:
    address = f"http://127.0.0.1:{server.ports['h1']}"
    return httpx.Client(base_url=address, headers=TOKEN, timeout=WAIT_S, trust_env=False)


@pytest.fixture
def analyst(server: ServerProcess, authorities: Authorities) -> Iterator[httpx.Client]:
    with over_h2(server, authorities, "analyst") as client:
        yield client


@pytest.fixture
def reporting(server: ServerProcess, authorities: Authorities) -> Iterator[httpx.Client]:
    with over_h2(server, authorities, "reporting") as client:
        yield client


@pytest.fixture
def token(server: ServerProcess) -> Iterator[httpx.Client]:
    with over_h1(server) as client:
        yield client


def connection_of(response: httpx.Response) -> Any:
    return response.extensions["network_stream"].get_extra_info("client_addr")


def test_certificates_are_principals(
    server: ServerProcess,
    authorities: Authorities,
    analyst: httpx.Client,
    reporting: httpx.Client,
    tmp_path: Path,
) -> None:
    created = query(analyst, "CREATE TABLE t(a)")
    assert (created.status_code, created.http_version) == (200, "HTTP/2")
    assert query(reporting, "SELECT count(*) FROM t").json()["rows"] == [[0]]
    assert query(reporting, "INSERT INTO t VALUES(1)").status_code == 403
    with over_h2(server, authorities, "stranger") as stranger:
        refused = query(stranger, "SELECT 1")
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == 'Bearer, Basic realm="restricted"'
    assert stat.S_IMODE((tmp_path / "app.db").stat().st_mode) == 0o600


def test_without_a_certificate_the_handshake_fails(
    server: ServerProcess, authorities: Authorities
) -> None:
    with (
        socket.create_connection(("127.0.0.1", server.ports["h2"]), WAIT_S) as plain,
        authorities.context().wrap_socket(plain, server_hostname="localhost") as secure,
        pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"),
    ):
        secure.recv(1000)


def test_a_removed_principal_is_refused_on_its_open_connection(
    server: ServerProcess,
    config: dict[str, Any],
    config_path: Path,
    analyst: httpx.Client,
    reporting: httpx.Client,
    token: httpx.Client,
) -> None:
    query(analyst, "CREATE TABLE t(a)")
    before = query(analyst, "SELECT 1")
    unaffected = query(reporting, "SELECT 1")
    script = [
        {"type": "execute", "stmt": {"sql": sql}}
        for sql in ("BEGIN IMMEDIATE", "INSERT INTO t VALUES(1)")
    ]
    begun = analyst.post("/app/v3/pipeline", json={"requests": script})
    assert [result["type"] for result in begun.json()["results"]] == ["ok", "ok"]
    del config["auth"]["principals"][0]
    del config["databases"][0]["grants"][0]
    config["databases"].append({"name": "new", "backend": "memory"})
    write_config(config_path, config)
    server.tell(signal.SIGHUP)
    server.wait_for("reload done, 3 changes")
    assert any("principal analyst removed" in line for line in server.lines)
    assert any("grant on app to analyst: read-write -> none" in line for line in server.lines)
    assert any("reloaded: database new added" in line for line in server.lines)
    after = query(analyst, "SELECT 1")
    assert after.status_code == 401
    assert connection_of(after) == connection_of(before)
    still = query(reporting, "SELECT count(*) FROM t")
    assert still.json()["rows"] == [[0]]  # the transaction is rolled back
    assert connection_of(still) == connection_of(unaffected)
    assert query(token, "INSERT INTO t VALUES(2)").json()["rows_affected"] == 1  # and unlocked


def test_a_lowered_grant_and_a_lower_cap_are_in_force_at_once(
    server: ServerProcess, config: dict[str, Any], config_path: Path, token: httpx.Client
) -> None:
    assert len(query(token, "VALUES(1),(2),(3)").json()["rows"]) == 3
    config["databases"][0]["grants"][2]["level"] = "read-only"
    config["limits"] = {"max_rows": 2}
    write_config(config_path, config)
    server.tell(signal.SIGHUP)
    server.wait_for("reload done")
    assert query(token, "CREATE TABLE t(a)").status_code == 403
    assert query(token, "VALUES(1),(2),(3)").json()["truncated"] is True


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("auth: [", "config: parse"),
        ("databases:\n- {name: app}\n- {name: _x, backend: memory}\n", "missing backend"),
        ("", "would let everyone in"),
    ],
)
def test_a_broken_reload_keeps_what_runs(
    server: ServerProcess, config_path: Path, token: httpx.Client, text: str, problem: str
) -> None:
    config_path.write_text(text)
    server.tell(signal.SIGHUP)
    line = server.wait_for(problem)
    assert "reload refused, the running configuration stays" in line
    assert query(token, "CREATE TABLE t(a)").json()["rows"] == []


def test_a_broken_certificate_keeps_what_runs_and_a_good_one_is_taken(
    server: ServerProcess, authorities: Authorities, analyst: httpx.Client
) -> None:
    def serial() -> Any:
        with (
            socket.create_connection(("127.0.0.1", server.ports["h2"]), WAIT_S) as plain,
            authorities.context("analyst").wrap_socket(plain, server_hostname="localhost") as tls,
        ):
            return tls.getpeercert()["serialNumber"]  # type: ignore[index]

    connection = connection_of(query(analyst, "SELECT 1"))
    first = serial()
    (authorities.folder / "server.crt").write_text("no certificate")
    server.tell(signal.SIGHUP)
    server.wait_for("reload refused")
    assert serial() == first
    authorities.issue_server()
    server.tell(signal.SIGHUP)
    server.wait_for("reload done, 0 changes")
    assert serial() != first
    assert connection_of(query(analyst, "SELECT 1")) == connection


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_request_in_flight_is_answered_before_the_end(
    server: ServerProcess, ending: signal.Signals
) -> None:
    address = ("127.0.0.1", server.ports["h1"])
    body = b'{"sql":"SELECT 42"}'
    head = (
        "POST /app/query HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer secret-token\r\n"
        f"content-length: {len(body)}\r\nexpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection(address, WAIT_S) as connection:
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")  # the request is being served
        server.tell(ending)
        server.wait_for("draining")
        connection.sendall(body)
        with connection.makefile("rb") as stream:
            answer = stream.read()  # to the end: the server closes the connection
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"[[42]]" in answer
    assert server.ended() == 0
    assert "0 requests cut off" in server.lines[-1]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, WAIT_S)


def test_an_ended_server_leaves_no_open_transaction(
    server: ServerProcess, token: httpx.Client, serve: Serve, config: dict[str, Any]
) -> None:
    query(token, "CREATE TABLE t(a)")
    script = ["BEGIN", "INSERT INTO t VALUES(1)"]
    requests = [{"type": "execute", "stmt": {"sql": sql}} for sql in script]
    assert token.post("/app/v3/pipeline", json={"requests": requests}).status_code == 200
    server.tell(signal.SIGTERM)
    assert server.ended() == 0
    again = serve(config)
    again.wait_for("ready")
    with over_h1(again) as client:
        assert query(client, "SELECT count(*) FROM t").json()["rows"] == [[0]]


def test_every_problem_of_a_configuration_is_said_and_nothing_listens(
    serve: Serve, config: dict[str, Any]
) -> None:
    config["databases"].append({"name": "b"})
    config["listeners"].append({"name": "x", "transport": "ws"})
    process = serve(config)
    assert process.ended() == 1
    text = "\n".join(process.lines)
    assert 'config: database "b" missing backend' in text
    assert 'config: listener "x" unknown transport "ws"' in text
    assert all(line.startswith("quicsql: load config: ") for line in process.lines)


def test_a_port_in_use_ends_the_start(serve: Serve, config: dict[str, Any], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config["listeners"][1]["address"] = f"127.0.0.1:{port}"
        process = serve(config)
        assert process.ended() == 1
    text = "\n".join(process.lines)
    assert "start listeners: listener h2: " in text
    assert "address already in use" in text
    assert not any(line.startswith("listening") for line in process.lines)
    assert "ready" not in process.lines
    assert not list(tmp_path.glob("app.db-*"))  # the database was closed


def test_a_database_that_does_not_open_ends_the_start(
    serve: Serve, config: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "app.db").write_text("this is no SQLite image, " * 100)
    process = serve(config)
    assert process.ended() == 1
    assert 'open seed databases: registry: warm "app": ' in process.lines[-1]
    assert not any(line.startswith("listening") for line in process.lines)


def test_warnings_are_logged_as_records(serve: Serve, config: dict[str, Any]) -> None:
    config["logging"] = {"format": "json"}
    process = serve(config)
    process.wait_for("ready")
    entries = [json.loads(line) for line in process.lines if line.startswith("{")]
    warned = [entry["msg"] for entry in entries if entry["level"] == "WARNING"]
    assert any("bearer over cleartext" in text for text in warned)


def slow(server: ServerProcess, sql: str) -> dict[str, Any]:
    """The record of a slow statement."""
    entry = json.loads(server.wait_for(json.dumps(sql)))
    assert entry["msg"] == "slow statement"
    return {key: entry[key] for key in ("level", "slow", "database", "sql")}


def test_slow_statements_are_logged_by_every_path_until_a_reload_ends_it(
    serve: Serve, config: dict[str, Any], config_path: Path
) -> None:
    config["logging"] = {"format": "json", "slow_threshold": "1ns"}
    server = serve(config)
    server.wait_for("ready")
    stmt = {"sql": "SELECT ?3", "args": [{"type": "text", "value": "secret"}] * 3}
    with over_h1(server) as client:
        client.post("/app/query", json={"sql": "SELECT ?1", "args": ["secret"]})
        client.post(
            "/app/query", json={"statements": [{"sql": "SELECT ?2", "args": ["secret", 1]}]}
        )
        requests = [{"type": "execute", "stmt": stmt}, {"type": "sequence", "sql": "SELECT 'seq'"}]
        client.post("/app/v3/pipeline", json={"requests": requests})
        batch = {"steps": [{"stmt": {"sql": "SELECT 'cursor'"}}]}
        client.post("/app/v3/cursor", json={"batch": batch})
        for sql in ("SELECT ?1", "SELECT ?2", "SELECT ?3", "SELECT 'seq'", "SELECT 'cursor'"):
            wanted = {"level": "WARNING", "slow": True, "database": "app", "sql": sql}
            assert slow(server, sql) == wanted
        del config["logging"]["slow_threshold"]
        write_config(config_path, config)
        server.tell(signal.SIGHUP)
        server.wait_for("reload done, 1 changes")
        client.post("/app/query", json={"sql": "SELECT 'quick'"})
    server.tell(signal.SIGTERM)
    assert server.ended() == 0
    text = "\n".join(server.lines)
    assert "quick" not in text
    assert "secret" not in text


# In the event loop of the caller, without a process.


def listener(name: str, **keys: Any) -> ListenerConfig:
    return ListenerConfig(name=name, address="127.0.0.1:0", **{"transport": "h1"} | keys)


@contextlib.asynccontextmanager
async def running(config: Config) -> AsyncIterator[Server]:
    server = Server(config)
    await server.start()
    try:
        yield server
    finally:
        await server.stop(grace_s=1.0)


def port_of(server: Server) -> int:
    return int(server.listeners[0].address.rpartition(":")[2])


async def test_a_server_in_this_process() -> None:
    listeners = (listener("a"), listener("b"))
    async with running(Config(databases=(memory("app"),), listeners=listeners)) as server:
        assert [(one.name, one.transport) for one in server.listeners] == [("a", "h1"), ("b", "h1")]
        url = f"http://127.0.0.1:{port_of(server)}"
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            answer = await client.post("/app/query", json={"sql": "SELECT 1"})
            assert answer.json()["rows"] == [[1]]
        assert await server.stop() == 0
        assert server.listeners == ()
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            with pytest.raises(httpx.ConnectError):
                await client.get("/_health")


@pytest.mark.parametrize(
    ("broken", "profile", "text"),
    [
        ({"transport": "h2", "tls": "p"}, TLSProfile(mode="qip"), "tls mode 'qip' is not served"),
        (
            {"transport": "h2", "tls": "p"},
            TLSProfile(mode="files", cert="none.crt", key="none.key"),
            "tls files: open none.crt: ",
        ),
    ],
)
async def test_a_listener_that_fails_closes_the_ones_before(
    broken: dict[str, Any], profile: TLSProfile, text: str
) -> None:
    listeners = (listener("first"), listener("second", **broken))
    server = Server(Config(databases=(memory("app"),), listeners=listeners, tls={"p": profile}))
    with pytest.raises(ConfigurationError) as caught:
        await server.start()
    assert str(caught.value).startswith(f"start listeners: listener second: {text}")
    assert server.listeners == ()


@pytest.mark.parametrize(
    ("client_ca", "auth", "certificate", "status"),
    [
        (True, ["mtls"], None, None),  # required: the handshake fails
        (True, ["mtls"], "analyst", 200),
        (True, ["mtls", "none"], None, 200),  # optional
        (True, ["none"], "analyst", 200),  # verified, not looked at
        (True, ["mtls", "bearer"], None, 401),
        (True, ["mtls", "bearer"], "stranger", 401),
        (False, ["mtls"], "analyst", 401),  # 103: never requested
        (False, ["mtls"], None, 401),
    ],
)
async def test_when_a_client_certificate_is_asked_for(
    config: dict[str, Any],
    config_path: Path,
    authorities: Authorities,
    client_ca: bool,
    auth: list[str],
    certificate: str | None,
    status: int | None,
) -> None:
    if not client_ca:
        del config["tls"]["prod"]["client_ca"]
    config["listeners"] = config["listeners"][1:]
    config["listeners"][0]["auth"] = auth
    everyone = {"principal": "*", "level": "read-only"}
    config["databases"] = [{"name": "app", "backend": "memory", "grants": [everyone]}]
    write_config(config_path, config)
    body = {"sql": "SELECT 1"}
    async with (
        running(load_config(config_path).config) as server,
        httpx.AsyncClient(
            verify=authorities.context(certificate), http2=True, trust_env=False
        ) as client,
    ):
        asked = client.post(f"https://localhost:{port_of(server)}/app/query", json=body)
        if status is None:
            with pytest.raises((httpx.TransportError, ssl.SSLError)):
                await asked
        else:
            assert (await asked).status_code == status


async def test_the_port_of_an_h3_listener_is_told() -> None:  # 136
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = Config(
        databases=(memory("app"),),
        listeners=(
            listener("a"),
            ListenerConfig(
                name="quic",
                transport="h3",
                address=f"127.0.0.1:{port}",
                tls="own",
                advertise=True,
            ),
        ),
        tls={"own": TLSProfile(mode="self_signed")},
    )
    async with (
        running(config) as server,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        answer = await client.get(f"http://127.0.0.1:{port_of(server)}/nope")
        assert answer.status_code == 404
        assert answer.headers["alt-svc"] == f'h3=":{port}"; ma=2592000'


async def test_a_self_signed_certificate_outlives_a_reload() -> None:
    config = Config(
        databases=(memory("app"),),
        listeners=(listener("h2", transport="h2", tls="own"),),
        tls={"own": TLSProfile(mode="self_signed")},
    )
    async with running(config) as server:
        address = ("127.0.0.1", port_of(server))
        first = await asyncio.to_thread(ssl.get_server_certificate, address, timeout=WAIT_S)
        assert (await server.reload(config)).applied == ()
        again = await asyncio.to_thread(ssl.get_server_certificate, address, timeout=WAIT_S)
        assert again == first


async def test_a_reload_opens_added_databases_all_or_none(tmp_path: Path) -> None:
    config = Config(databases=(memory("app"),), listeners=(listener("a"),))
    bad = DatabaseConfig(name="bad", backend="file", path=str(tmp_path / "no" / "x.db"), mode="rw")
    async with running(config) as server:
        with pytest.raises(ConfigurationError, match='open database "bad"'):
            await server.reload(
                msgspec.structs.replace(config, databases=(*config.databases, memory("new"), bad))
            )
        url = f"http://127.0.0.1:{port_of(server)}"
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            assert (await client.post("/new/query", json={"sql": "SELECT 1"})).status_code == 404
            added = msgspec.structs.replace(config, databases=(*config.databases, memory("new")))
            changes = await server.reload(added)
            assert changes.applied == ("database new added",)
            assert (await client.post("/new/query", json={"sql": "SELECT 1"})).status_code == 200
            assert (await server.reload(added)).applied == ()


async def test_a_reload_with_an_unreadable_roster_changes_nothing(tmp_path: Path) -> None:
    config = Config(databases=(memory("app"),), listeners=(listener("a"),))
    broken = msgspec.structs.replace(
        config,
        auth=AuthConfig(authorized_keys=str(tmp_path / "missing")),
        databases=(*config.databases, memory("new", *grants(everyone="read-only"))),
    )
    async with running(config) as server:
        with pytest.raises(ConfigurationError, match="missing"):
            await server.reload(broken)
        url = f"http://127.0.0.1:{port_of(server)}"
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            assert (await client.post("/new/query", json={"sql": "SELECT 1"})).status_code == 404
