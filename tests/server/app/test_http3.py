"""The whole server over HTTP/3: the same answers as over HTTP/2, to the same clients.

odd-case 133 (one API on every transport).
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from quicsql_client.pki import CertificateAuthority
from quicsql_client.server.config import (
    AuthConfig,
    Config,
    LimitsConfig,
    ListenerConfig,
    ServerConfig,
    TLSProfile,
)
from quicsql_client.server.lifecycle import Server
from quicsql_client.testing.pki import EphemeralPKI
from tests.fix_principals import by_certificate, by_token, grants, memory, stored
from tests.fix_server_process import Authorities, Serve
from tests.server.listeners.http3_client import (
    HTTP3Client,
    Refused,
    client_configuration,
    connected,
)

TOKEN = {"authorization": "Bearer secret"}
CAP = 300_000


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> EphemeralPKI:
    return EphemeralPKI(tmp_path_factory.mktemp("pki"))


def configuration(pki: EphemeralPKI, folder: Path) -> Config:
    """h2 and h3 for certificates alone, and `mixed`, an h3 that takes a token as well."""
    profile = TLSProfile(
        mode="files",
        cert=str(pki.server_certificate),
        key=str(pki.server_key),
        client_ca=str(pki.client_ca),
    )

    def listener(name: str, transport: str, *auth: str) -> ListenerConfig:
        return ListenerConfig(
            name=name, transport=transport, address="127.0.0.1:0", tls="prod", auth=auth
        )

    return Config(
        server=ServerConfig(data_dir=str(folder)),
        tls={"prod": profile},
        listeners=(
            listener("h2", "h2", "mtls"),
            listener("h3", "h3", "mtls"),
            listener("mixed", "h3", "mtls", "bearer"),
        ),
        auth=AuthConfig(
            principals=(
                by_certificate("analyst", cn="analyst"),
                by_certificate("pinned", pin=pki.pin("reporting")),
                by_token("tok", "secret"),
            )
        ),
        limits=LimitsConfig(max_request_bytes=CAP),
        databases=(
            stored("app", *grants(analyst="read-write", pinned="read-only", tok="read-write")),
            memory("one-connection", *grants(analyst="read-write")),
        ),
    )


class Running:
    """A server and its clients."""

    def __init__(self, server: Server, pki: EphemeralPKI) -> None:
        self.server = server
        self._pki = pki

    def address(self, name: str) -> str:
        return next(one.address for one in self.server.listeners if one.name == name)

    def h3(self, identity: str | None = "analyst", listener: str = "h3") -> Any:
        """A connection, to be entered."""
        files = None if identity is None else self._pki.client(identity)
        trust = client_configuration(self._pki.root_ca.read_bytes(), files)
        return connected(self.address(listener), trust)

    def h2(self, identity: str = "analyst") -> httpx.AsyncClient:
        context = ssl.create_default_context(cafile=str(self._pki.root_ca))
        context.load_cert_chain(*self._pki.client(identity))
        port = self.address("h2").rpartition(":")[2]
        return httpx.AsyncClient(
            base_url=f"https://localhost:{port}", verify=context, http2=True, trust_env=False
        )


@pytest.fixture
async def running(pki: EphemeralPKI, tmp_path: Path) -> AsyncIterator[Running]:
    server = Server(configuration(pki, tmp_path))
    await server.start()
    try:
        yield Running(server, pki)
    finally:
        await server.stop(grace_s=1.0)


async def post(client: HTTP3Client, path: str, document: Any, **headers: str) -> tuple[int, Any]:
    extra = tuple((name, value) for name, value in headers.items())
    status, _, body = await client.ask("POST", path, json.dumps(document).encode(), extra=extra)
    return status, json.loads(body)


async def query(client: HTTP3Client, sql: str, **headers: str) -> tuple[int, Any]:
    return await post(client, "/app/query", {"sql": sql}, **headers)


# --- who is who


async def test_a_certificate_is_a_principal(running: Running) -> None:
    async with running.h3() as client:
        assert (await query(client, "CREATE TABLE t(a)"))[0] == 200
        assert (await query(client, "SELECT 40 + 2"))[1]["rows"] == [[42]]
    async with running.h3("reporting") as client:  # by its pin
        assert (await query(client, "SELECT count(*) FROM t"))[1]["rows"] == [[0]]
        assert (await query(client, "INSERT INTO t VALUES(1)"))[0] == 403


async def test_a_verified_certificate_without_a_principal_is_401(running: Running) -> None:
    async with running.h3("stranger") as client:
        stream = client.request("POST", "/app/query", b'{"sql":"SELECT 1"}')
        status, headers, _ = await client.answer(stream)
    assert status == 401
    assert headers["www-authenticate"] == 'Bearer, Basic realm="restricted"'


async def test_without_a_certificate_nobody_gets_in(running: Running) -> None:
    async with running.h3(None) as client:
        with pytest.raises(Refused) as refused:
            await client.ask("POST", "/app/query", b'{"sql":"SELECT 1"}')
    assert refused.value.code == 0x174


async def test_other_methods_beside_mtls(running: Running) -> None:
    async with running.h3(None, "mixed") as client:
        assert (await query(client, "SELECT 1", **TOKEN))[0] == 200
        assert (await query(client, "SELECT 1"))[0] == 401
    async with running.h3("stranger", "mixed") as client:
        assert (await query(client, "SELECT 1", **TOKEN))[0] == 200
    async with running.h3("analyst", "mixed") as client:
        wrong = {"authorization": "Bearer wrong"}  # never looked at
        assert (await query(client, "SELECT 1", **wrong))[0] == 200


# --- the same answers

EXECUTE = {"type": "execute", "stmt": {"sql": "SELECT a, b FROM t ORDER BY a"}}
REQUESTS: list[tuple[str, str, Any]] = [
    ("POST", "/app/query", {"sql": "SELECT a, b FROM t WHERE a > ?", "args": [1]}),
    ("POST", "/app/query", {"sql": "SELECT nothing"}),
    ("POST", "/app/query", [{"sql": "SELECT 1"}, {"sql": "SELECT 2"}]),
    ("POST", "/app/query", "{"),
    ("POST", "/app/v2/pipeline", {"requests": [EXECUTE, {"type": "close"}]}),
    ("POST", "/app/v3/pipeline", {"requests": [EXECUTE, {"type": "close"}]}),
    ("POST", "/app/v3/cursor", {"batch": {"steps": [{"stmt": EXECUTE["stmt"]}]}}),
    ("POST", "/app/query", {"sql": "SELECT 1", "padding": "x" * CAP}),
    ("GET", "/app/v3", None),
    ("GET", "/app/query", None),
    ("HEAD", "/_health", None),
    ("GET", "/_health", None),
    ("GET", "/nothing/query", None),
    ("GET", "/app/%zz", None),
    ("OPTIONS", "/app/query", None),
]


_BATON = re.compile(rb'"baton":"[^"]+"')


def _comparable(headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
    """Without what differs from one answer to the next."""
    kept = {name: value for name, value in headers.items() if name != "date"}
    return kept, _BATON.sub(b'"baton":"..."', body)


async def test_answers_are_those_of_http2(running: Running) -> None:
    async with running.h3() as h3, running.h2() as h2:
        await query(h3, "CREATE TABLE t(a, b)")
        await query(h3, "INSERT INTO t VALUES(1, 'one'), (2, x'00ff'), (3, NULL), (4, 0.5)")
        for method, path, document in REQUESTS:
            text = document if isinstance(document, str) else json.dumps(document)
            content = b"" if document is None else text.encode()
            over_h2 = await h2.request(method, path, content=content)
            status, headers, body = await h3.ask(method, path, content)
            ours = (status, *_comparable(headers, body))
            theirs = (over_h2.status_code, *_comparable(dict(over_h2.headers), over_h2.content))
            assert ours == theirs, (method, path)
        over_h2 = await h2.get("/app/export")
        status, headers, body = await h3.ask("GET", "/app/export")
        assert (status, body) == (200, over_h2.content)
        assert body.startswith(b"SQLite format 3\0")


async def test_a_body_over_the_cap_is_413_while_it_is_sent(running: Running) -> None:
    async with running.h3() as client:
        stream = client.request("POST", "/app/query", end=False)
        client.send(stream, b" " * (CAP + 1))  # and never an end
        status, _, body = await client.answer(stream)
        assert (status, b"exceeds the maximum" in body) == (413, True)
        assert (await query(client, "SELECT 1"))[0] == 200


async def test_an_interactive_stream_over_one_connection(running: Running) -> None:
    async with running.h3() as client:
        begin = {"requests": [{"type": "execute", "stmt": {"sql": "BEGIN"}}]}
        _, answer = await post(client, "/app/v3/pipeline", begin)
        script = [
            {"type": "execute", "stmt": {"sql": "CREATE TABLE made(a)"}},
            {"type": "execute", "stmt": {"sql": "COMMIT"}},
            {"type": "close"},
        ]
        more = {"baton": answer["baton"], "requests": script}
        _, answer = await post(client, "/app/v3/pipeline", more)
        assert [one["type"] for one in answer["results"]] == ["ok"] * 3
        assert (await query(client, "SELECT * FROM made"))[0] == 200


async def test_a_long_cursor_is_streamed(running: Running) -> None:
    sql = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) "
        "SELECT i, 'some text that takes room' FROM n"
    )
    batch = {"batch": {"steps": [{"stmt": {"sql": sql}}]}}
    async with running.h3() as client:
        status, _, body = await client.ask("POST", "/app/v3/cursor", json.dumps(batch).encode())
    entries = [json.loads(line) for line in body.splitlines()]
    assert status == 200
    assert sum(entry.get("type") == "row" for entry in entries) == 20_000


async def test_a_client_that_cancels_ends_its_statement(running: Running) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    async with running.h3() as client:
        stream = client.request("POST", "/one-connection/query", _document(endless))
        await client.ping()
        client.quic.stop_stream(stream, 0x10C)
        client.transmit()
        answer = await client.ask("POST", "/one-connection/query", _document("SELECT 1"))
        assert answer[0] == 200  # the only connection is free again


def _document(sql: str) -> bytes:
    return json.dumps({"sql": sql}).encode()


# --- the life of the server


async def test_a_reload_reads_certificates_and_principals(
    running: Running, pki: EphemeralPKI, tmp_path: Path
) -> None:
    config = configuration(pki, tmp_path)
    kept = pki.server_certificate.read_bytes(), pki.server_key.read_bytes()
    fresh = CertificateAuthority.create("another CA").issue_server(["localhost", "127.0.0.1"])
    try:
        async with running.h3() as open_one:
            assert (await query(open_one, "SELECT 1"))[0] == 200
            pki.server_certificate.write_bytes(fresh.certificate_pem)
            with pytest.raises(Exception, match="is not the private key of"):
                await running.server.reload(config)
            pki.server_key.write_bytes(fresh.private_key_pem)
            auth = msgspec.structs.replace(config.auth, principals=config.auth.principals[1:])
            await running.server.reload(msgspec.structs.replace(config, auth=auth))
            assert (await query(open_one, "SELECT 1"))[0] == 401  # the kill switch, at once
            with pytest.raises(Refused, match="unable to get local issuer"):
                async with running.h3():
                    pass  # the server shows a certificate that this client does not know
    finally:
        pki.server_certificate.write_bytes(kept[0])
        pki.server_key.write_bytes(kept[1])


async def test_a_self_signed_certificate_outlives_a_reload() -> None:
    listener = ListenerConfig(name="q", transport="h3", address="127.0.0.1:0", tls="own")
    config = Config(
        databases=(memory("app"),),
        listeners=(listener,),
        tls={"own": TLSProfile(mode="self_signed")},
    )
    server = Server(config)
    await server.start()
    try:
        shown = set()
        for _ in range(2):
            trust = client_configuration(b"", verify_mode=0)
            async with connected(server.listeners[0].address, trust) as client:
                assert (await query(client, "SELECT 1"))[1]["rows"] == [[1]]
                shown.add(client.quic.tls._peer_certificate)
            await server.reload(config)
        assert len(shown) == 1
    finally:
        await server.stop(grace_s=1.0)


def _free_udp_and_tcp_port() -> int:
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(type=socket.SOCK_DGRAM) as udp,
    ):
        port: int = tcp.getsockname()[1]
        udp.bind(("127.0.0.1", port))
        return port


async def _until_goaway(client: HTTP3Client) -> None:
    await client.until(lambda: client.goaways)


async def test_a_process_drains_and_its_successor_takes_the_port(
    serve: Serve, authorities: Authorities
) -> None:
    folder = authorities.folder
    authorities.context("analyst")
    address = f"127.0.0.1:{_free_udp_and_tcp_port()}"
    common = {"address": address, "tls": "prod", "auth": ["mtls"]}
    config = {
        "tls": {
            "prod": {
                "mode": "files",
                "cert": str(folder / "server.crt"),
                "key": str(folder / "server.key"),
                "client_ca": str(folder / "client-ca.crt"),
            }
        },
        "listeners": [
            {"name": "h2", "transport": "h2", **common},
            {"name": "h3", "transport": "h3", **common},
        ],
        "auth": {
            "principals": [{"name": "analyst", "methods": [{"mtls": {"subject_cn": "analyst"}}]}]
        },
        "databases": [
            {
                "name": "app",
                "backend": "memory",
                "grants": [{"principal": "analyst", "level": "read-write"}],
            }
        ],
    }
    trust = client_configuration(
        (folder / "server-ca.crt").read_bytes(), (folder / "analyst.crt", folder / "analyst.key")
    )
    for _ in range(2):
        process = serve(config)
        await asyncio.to_thread(process.wait_for, "ready")
        assert f"listening name=h3 transport=h3 address={address}" in process.lines
        async with connected(address, trust) as client:
            assert (await query(client, "SELECT 42"))[1]["rows"] == [[42]]
            stream = client.request("POST", "/app/query", b'{"sql":', end=False)
            await client.ping()  # by its answer the server has read the request, too
            process.tell(signal.SIGTERM)
            await _until_goaway(client)
            client.send(stream, b'"SELECT 43"}', end=True)
            assert json.loads((await client.answer(stream))[2])["rows"] == [[43]]
            assert (await client.until_closed()).code == 0x100
        assert await asyncio.to_thread(process.ended) == 0
        assert "0 requests cut off" in process.lines[-1]
