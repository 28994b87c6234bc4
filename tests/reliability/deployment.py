"""A server as the guide deploys it, in a process of its own: mTLS and many principals.

Everything is made in the run: certificates, ports, data. `start` may be called again after the
process has ended, on the same data.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quicsql_client import Option, with_client_cert, with_root_ca
from quicsql_client.testing.pki import EphemeralPKI
from tests.fix_server_process import ServerProcess, write_config

DATABASE = "app"


class Deployment:
    """Principals with a certificate each, all of whom may write to one database."""

    def __init__(self, folder: Path, principals: int) -> None:
        self.names = [f"principal-{number:02}" for number in range(principals)]
        self.pki = EphemeralPKI(folder / "pki")
        self._path = folder / "quicsql.yaml"
        (folder / "data").mkdir()
        write_config(self._path, self._configuration(folder / "data"))

    def options(self, name: str) -> tuple[Option, ...]:
        """The options of a client with this principal's certificate."""
        return (with_root_ca(self.pki.root_ca), with_client_cert(*self.pki.client(name)))

    @contextlib.contextmanager
    def start(self) -> Iterator[ServerProcess]:
        """A server that is ready; it is killed at the end, if it still runs."""
        with contextlib.closing(ServerProcess(self._path)) as server:
            server.wait_for("ready")
            yield server

    def _configuration(self, data: Path) -> dict[str, Any]:
        profile = {
            "mode": "files",
            "cert": str(self.pki.server_certificate),
            "key": str(self.pki.server_key),
            "client_ca": str(self.pki.client_ca),
            "min_version": "1.3",
        }
        listener = {"name": "h2", "transport": "h2", "address": "127.0.0.1:0"}
        return {
            "server": {"data_dir": str(data)},
            "tls": {"prod": profile},
            "listeners": [{**listener, "tls": "prod", "auth": ["mtls"]}],
            "auth": {"principals": [_by_certificate(name) for name in self.names]},
            "databases": [
                {
                    "name": DATABASE,
                    "backend": "file",
                    "path": "app.db",
                    "pragmas_preset": "recommended",
                    "grants": [{"principal": n, "level": "read-write"} for n in self.names],
                }
            ],
            "changefeed": {"enabled": True, "max_subscribers": 1000},
            "limits": {"max_sessions_per_db": 1000, "tx_idle_timeout": "120s"},
        }


def address_of(server: ServerProcess) -> str:
    """Where a client finds the server, under a name that its certificate has."""
    return f"localhost:{server.ports['h2']}"


def _by_certificate(name: str) -> dict[str, Any]:
    return {"name": name, "methods": [{"mtls": {"subject_cn": name}}]}
