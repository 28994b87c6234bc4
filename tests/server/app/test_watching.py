"""Certificates, keys, client CAs and the key roster that change on disk while the server runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from quicsql_client.errors import ConfigurationError
from quicsql_client.pki import CertificateAuthority
from quicsql_client.server.config import AuthConfig, Config, ListenerConfig, TLSProfile
from quicsql_client.server.lifecycle import Server
from quicsql_client.server.logs import LOGGER_NAME
from quicsql_client.server.watching import Watch, WatchedFiles
from tests.fix_principals import by_certificate, by_token, grants, memory
from tests.fix_server_process import Authorities, Serve

NEVER_S = 3600.0  # the tests look themselves
IN_USE = "changed files are in use now"
KEPT = "changed files cannot be used, what was in them before stays"


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The messages so far; forgets them."""
    caplog.set_level(logging.INFO, LOGGER_NAME)

    def take() -> list[str]:
        found = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return found

    return take


Log = Callable[[], list[str]]


class Running:
    """A server with one TLS listener."""

    def __init__(self, server: Server, authorities: Authorities) -> None:
        self.server = server
        self._authorities = authorities

    async def look(self, times: int = 2) -> None:
        for _ in range(times):
            await self.server.look_at_files()

    async def serial(self, client: str | None = "analyst") -> str:
        """Of the certificate that a new client is shown. client: whose certificate it has."""
        context = self._authorities.context(client)
        _, port = self.server.listeners[0].address.rsplit(":", 1)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", int(port), ssl=context, server_hostname="localhost"
        )
        try:
            writer.write(b"GET /_health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            answer = await reader.read()  # a client that is refused is told here
            if not answer:
                raise ConnectionResetError("no answer")
            assert answer.startswith(b"HTTP/1.1 200 ")
            certificate: Any = writer.get_extra_info("peercert")
            return str(certificate["serialNumber"])
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()


def configuration(folder: Path, **sections: Any) -> Config:
    profile = TLSProfile(
        mode="files",
        cert=str(folder / "server.crt"),
        key=str(folder / "server.key"),
        client_ca=str(folder / "client-ca.crt"),
    )
    return Config(
        tls={"p": profile},
        listeners=(
            ListenerConfig(
                name="h2", transport="h2", address="127.0.0.1:0", tls="p", auth=("mtls",)
            ),
            ListenerConfig(name="h1", transport="h1", address="127.0.0.1:0", auth=("bearer",)),
        ),
        databases=(memory("app", *grants(analyst="read-write")),),
        **{"auth": AuthConfig(principals=(by_certificate("analyst", cn="analyst"),))} | sections,
    )


@contextlib.asynccontextmanager
async def started(config: Config, authorities: Authorities) -> AsyncIterator[Running]:
    server = Server(config, watch_interval_s=NEVER_S)
    await server.start()
    try:
        yield Running(server, authorities)
    finally:
        await server.stop(grace_s=1.0)


@pytest.fixture
async def running(authorities: Authorities) -> AsyncIterator[Running]:
    authorities.context("analyst")
    async with started(configuration(authorities.folder), authorities) as running:
        yield running


def fresh_pair(authorities: Authorities, folder: Path) -> tuple[Path, Path]:
    """A new certificate and key of the server, in a folder of their own."""
    folder.mkdir()
    written = authorities.server.issue_server(["localhost"]).write(folder, "server")
    return written.certificate, written.key


def write_in_place(path: Path, content: bytes) -> None:
    with open(path, "r+b") as file:
        file.write(content)
        file.truncate()


async def test_renamed_over(
    running: Running, authorities: Authorities, tmp_path: Path, log: Log
) -> None:
    first = await running.serial()
    certificate, key = fresh_pair(authorities, tmp_path / "new")
    os.replace(certificate, authorities.folder / "server.crt")
    os.replace(key, authorities.folder / "server.key")
    await running.look(1)
    assert await running.serial() == first  # it has to settle
    await running.look(1)
    assert await running.serial() != first
    assert log() == [f"listener h2: {IN_USE}"]
    await running.look(3)
    assert log() == []


async def test_written_in_place_and_in_parts(
    running: Running, authorities: Authorities, tmp_path: Path, log: Log
) -> None:
    first = await running.serial()
    certificate, key = fresh_pair(authorities, tmp_path / "new")
    whole = certificate.read_bytes()
    for content in (b"", whole[: len(whole) // 2], whole):
        write_in_place(authorities.folder / "server.crt", content)
        await running.look(3)
        assert await running.serial() == first
    complaints = log()  # each once, however often it is looked at
    assert [line.partition(KEPT)[0] for line in complaints] == ["listener h2: "] * 3
    assert "is not the private key of" in complaints[2]
    write_in_place(authorities.folder / "server.key", key.read_bytes())
    await running.look()
    assert await running.serial() != first
    assert log() == [f"listener h2: {IN_USE}"]


async def test_a_link_that_is_swapped(authorities: Authorities, tmp_path: Path, log: Log) -> None:
    """As Kubernetes mounts a secret: file -> ..data/file, and ..data -> a folder."""
    mount = tmp_path / "mount"
    mount.mkdir()
    authorities.context("analyst")
    fresh_pair(authorities, mount / "..1")
    (mount / "..data").symlink_to("..1")
    for name in ("server.crt", "server.key"):
        (mount / name).symlink_to(f"..data/{name}")
    (mount / "client-ca.crt").symlink_to(authorities.folder / "client-ca.crt")
    async with started(configuration(mount), authorities) as running:
        first = await running.serial()
        fresh_pair(authorities, mount / "..2")
        (mount / "..data_tmp").symlink_to("..2")
        os.replace(mount / "..data_tmp", mount / "..data")
        await running.look()
        assert await running.serial() != first
        assert log() == [f"listener h2: {IN_USE}"]


async def test_a_file_that_keeps_changing_is_left_alone(
    running: Running, authorities: Authorities, tmp_path: Path, log: Log
) -> None:
    first = await running.serial()
    for number in range(4):
        certificate, key = fresh_pair(authorities, tmp_path / str(number))
        os.replace(certificate, authorities.folder / "server.crt")
        os.replace(key, authorities.folder / "server.key")
        await running.look(1)
    assert await running.serial() == first
    await running.look(1)
    assert await running.serial() != first
    assert log() == [f"listener h2: {IN_USE}"]


async def test_a_file_that_is_gone_and_comes_back(
    running: Running, authorities: Authorities, log: Log
) -> None:
    first = await running.serial()
    key = authorities.folder / "server.key"
    key.rename(key.with_suffix(".away"))
    await running.look(4)
    assert await running.serial() == first
    (complaint,) = log()
    assert complaint.endswith(f"open {key}: no such file or directory")
    key.with_suffix(".away").rename(key)
    await running.look(3)
    assert await running.serial() == first
    assert log() == []  # it is the one that is in use


async def test_a_connection_outlives_the_change(running: Running, authorities: Authorities) -> None:
    _, port = running.server.listeners[0].address.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", int(port), ssl=authorities.context("analyst"), server_hostname="localhost"
    )
    authorities.issue_server()
    await running.look()
    writer.write(b"GET /_health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()
    await writer.wait_closed()


async def test_another_client_ca(running: Running, authorities: Authorities, log: Log) -> None:
    await running.serial("analyst")
    other = CertificateAuthority.create("another client CA")
    path = authorities.folder / "client-ca.crt"
    old = path.read_bytes()
    path.write_bytes(b"no certificate")
    await running.look()
    assert log()[0].endswith("no certificates found")
    await running.serial("analyst")
    path.write_bytes(other.certificate_pem)
    await running.look()
    with pytest.raises((ConnectionError, ssl.SSLError)):
        await running.serial("analyst")
    other.issue_client("analyst").write(authorities.folder, "newcomer")
    await running.serial("newcomer")
    path.write_bytes(old + other.certificate_pem)
    await running.look()
    await running.serial("analyst")
    await running.serial("newcomer")


async def test_a_reload_is_no_hindrance(
    running: Running, authorities: Authorities, tmp_path: Path
) -> None:
    first = await running.serial()
    authorities.issue_server()
    await running.server.reload(configuration(authorities.folder))
    second = await running.serial()
    assert second != first
    await running.look()
    assert await running.serial() == second
    authorities.issue_server()
    await running.look()
    assert await running.serial() not in (first, second)


def key_line(name: str) -> str:
    raw = Ed25519PrivateKey.generate().public_key()
    return f"{raw.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()} {name}\n"


async def test_the_key_roster(authorities: Authorities, tmp_path: Path, log: Log) -> None:
    roster = tmp_path / "authorized_keys"
    roster.write_text(key_line("ann") + key_line("ben"))
    auth = AuthConfig(principals=(by_token("tok", "t"),), authorized_keys=str(roster))
    async with started(configuration(authorities.folder, auth=auth), authorities) as running:
        application = running.server._application
        assert application is not None

        def names() -> frozenset[str]:
            return application._settings.authenticator.names

        assert {"ann", "ben", "tok"} <= names()
        roster.write_text("this is no key")
        await running.look(4)
        (complaint,) = log()
        assert complaint.startswith(f"auth.authorized_keys: {KEPT}: ")
        assert {"ann", "ben", "tok"} <= names()
        roster.write_text(key_line("ann") + key_line("cid"))
        await running.look()
        assert {"ann", "cid", "tok"} <= names()
        assert "ben" not in names()
        assert log() == [f"auth.authorized_keys: {IN_USE}"]


async def test_what_could_not_be_used_is_tried_again(tmp_path: Path, log: Log) -> None:
    """What `stat` does not show may have changed: permissions, another file that is read along."""
    path = tmp_path / "file"
    path.write_text("1")
    files = WatchedFiles("x", [str(path)])
    path.write_text("22")
    reasons = ["first", "first", "second"]

    def make() -> str:
        if reasons:
            raise ConfigurationError(reasons.pop(0))
        return path.read_text()

    assert [await files.look(make) for _ in range(6)] == [None, None, None, None, "22", None]
    assert log() == [f"x: {KEPT}: first", f"x: {KEPT}: second", f"x: {IN_USE}"]


async def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("1")
    files = WatchedFiles("x", [str(path)])
    path.write_text("22")
    contents = iter(["333", "333"])

    def make() -> str:
        content = path.read_text()
        path.write_text(next(contents, content))
        return content

    found = [await files.look(make) for _ in range(3)]
    assert found == [None, None, None]
    os.utime(path, ns=(1, 1))
    assert [await files.look(path.read_text) for _ in range(3)] == [None, "333", None]


async def test_nothing_to_watch() -> None:
    files = WatchedFiles("x", [])
    assert [await files.look(list) for _ in range(3)] == [None] * 3


async def test_a_watch_goes_on_after_a_look_that_fails(log: Log) -> None:
    looked = asyncio.Semaphore(0)

    async def look() -> None:
        looked.release()
        raise OSError("no")

    watch = Watch(look, 0.0)
    async with asyncio.timeout(30):
        for _ in range(3):
            await looked.acquire()
    await watch.stop()
    assert set(log()) == {"files could not be watched"}


def test_a_process_takes_a_new_certificate_by_itself(
    serve: Serve, authorities: Authorities
) -> None:
    folder = authorities.folder
    profile = {
        "mode": "files",
        "cert": str(folder / "server.crt"),
        "key": str(folder / "server.key"),
    }
    listener = {"name": "h2", "transport": "h2", "address": "127.0.0.1:0", "tls": "p"}
    process = serve(
        {
            "tls": {"p": profile},
            "listeners": [listener],
            "databases": [{"name": "app", "backend": "memory"}],
            "logging": {"format": "json"},
        }
    )
    process.wait_for("ready")
    address = ("127.0.0.1", process.ports["h2"])
    first = ssl.get_server_certificate(address, timeout=30)
    authorities.issue_server()
    entry = json.loads(process.wait_for(IN_USE))
    assert entry["level"] == "INFO"
    assert ssl.get_server_certificate(address, timeout=30) != first
