"""The reference server as a process of its own, with its PKI."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from quicsql_client.pki import CertificateAuthority

WAIT_S = 30.0


@dataclass(frozen=True)
class Authorities:
    """Two CAs and the folder that their leaves are written to."""

    folder: Path
    server: CertificateAuthority
    client: CertificateAuthority

    def issue_server(self) -> None:
        """A new certificate of the server, over the one before."""
        issued = self.server.issue_server(["localhost", "127.0.0.1"])
        issued.write(self.folder, "server", force=True)

    def context(self, name: str | None = None) -> ssl.SSLContext:
        """A client's context; name: of the leaf it presents, issued when asked for first."""
        context = ssl.create_default_context(cafile=str(self.folder / "server-ca.crt"))
        if name is not None:
            if not (self.folder / f"{name}.crt").exists():
                self.client.issue_client(name).write(self.folder, name)
            context.load_cert_chain(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        return context


class ServerProcess:
    """A running `serve`. ports: by the listener's name, once it is ready."""

    def __init__(self, config: Path) -> None:
        command = [sys.executable, "-m", "quicsql_client", "serve", "--config", str(config)]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self._queue: queue.Queue[str | None] = queue.Queue()
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._queue.put(line.rstrip("\n"))
        self._queue.put(None)

    def wait_for(self, text: str) -> str:
        """The next line that holds the text; those before it are passed over."""
        deadline = time.monotonic() + WAIT_S
        while True:
            line = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            assert line is not None, f"the server ended before {text!r}: {self.lines}"
            self.lines.append(line)
            if text in line:
                return line

    @property
    def addresses(self) -> dict[str, str]:
        """What each listener is bound to, by its name: host and port, or the socket's path."""
        found = [line.split() for line in self.lines if line.startswith("listening ")]
        return {words[1][5:]: words[3].partition("=")[2] for words in found}

    @property
    def ports(self) -> dict[str, int]:
        """The port of each listener that has one."""
        parted = {name: address.rpartition(":") for name, address in self.addresses.items()}
        return {name: int(port) for name, (_, colon, port) in parted.items() if colon}

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def ended(self) -> int:
        """The exit code; all remaining lines are read."""
        code = self._process.wait(WAIT_S)
        while (line := self._queue.get(timeout=WAIT_S)) is not None:
            self.lines.append(line)
        return code

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(WAIT_S)
        self._reader.join(WAIT_S)
        assert self._process.stderr is not None
        self._process.stderr.close()


Serve = Callable[[dict[str, Any]], ServerProcess]


@pytest.fixture
def authorities(tmp_path: Path) -> Authorities:
    """A server CA, a client CA and the server's certificate, in files."""
    folder = tmp_path / "pki"
    made = Authorities(
        folder,
        CertificateAuthority.create("test server CA"),
        CertificateAuthority.create("test client CA"),
    )
    made.server.write(folder, "server-ca")
    made.client.write(folder, "client-ca")
    made.issue_server()
    return made


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    """Where `serve` puts its configuration."""
    return tmp_path / "quicsql.yaml"


def write_config(path: Path, config: dict[str, Any]) -> None:
    """JSON is YAML; replaced at once, so that nobody reads half of it."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(config))
    os.replace(fresh, path)


@pytest.fixture
def serve(config_path: Path) -> Iterator[Serve]:
    """Start a server on a configuration; whatever still runs at the end is killed."""
    with contextlib.ExitStack() as stack:

        def start(config: dict[str, Any]) -> ServerProcess:
            write_config(config_path, config)
            process = ServerProcess(config_path)
            stack.callback(process.close)
            return process

        yield start


def query(client: httpx.Client, sql: str, db: str = "app") -> httpx.Response:
    return client.post(f"/{db}/query", json={"sql": sql})
