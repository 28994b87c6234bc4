"""The reference server in a thread of this process, and clients for it.

The program under test talks to it over real sockets, as it would to a real server. Databases are
files in the server's folder: never open one with another SQLite library while it is served.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Coroutine, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlencode

import msgspec

from quicsql_client import AsyncClient, Client, with_client_cert, with_root_ca
from quicsql_client.options import Option
from quicsql_client.server.config import (
    AuthConfig,
    Config,
    DatabaseConfig,
    GrantConfig,
    ListenerConfig,
    MethodConfig,
    MTLSMethod,
    PrincipalConfig,
    ServerConfig,
    TLSProfile,
)
from quicsql_client.server.lifecycle import Server

from .pki import EphemeralPKI

__all__ = ["ReferenceServer", "ServerThread"]

_T = TypeVar("_T")
_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 30.0


class ServerThread:
    """A server of any configuration, running in a thread of its own.

    Use it in a `with` block. addresses: what each listener is bound to, by its name.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.addresses: dict[str, str] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="quicsql-server", daemon=True
        )
        self._server: Server | None = None

    def start(self) -> Self:
        """Start serving. Raises: ConfigurationError, and nothing is left running."""
        self._thread.start()
        try:
            self._server = self._run(self._start())
        except BaseException:
            self._end_thread()
            raise
        self.addresses = {entry.name: entry.address for entry in self._server.listeners}
        return self

    async def _start(self) -> Server:
        server = Server(self.config)
        await server.start()
        return server

    def reload(self, config: Config) -> None:
        """Take over what a running server can: principals, grants, limits, added databases."""
        self._run(self._running.reload(config))
        self.config = config

    def stop(self, grace_s: float = 1.0) -> None:
        """Drain for at most grace_s seconds, then end the thread. May be called again."""
        if self._server is not None:
            server, self._server = self._server, None
            self._run(server.stop(grace_s))
            self._end_thread()

    @property
    def _running(self) -> Server:
        if self._server is None:
            raise RuntimeError("the server is not running; call start() or use a with block")
        return self._server

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_START_TIMEOUT_S)

    def _end_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_TIMEOUT_S)
        self._loop.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


class ReferenceServer(ServerThread):
    """A server with one mTLS listener on a port of the system, as the guide sets one up.

    principals: identities by certificate CN, with their level on every database that
    `create_database` makes. Every other certificate of the PKI verifies and is a 401.
    """

    def __init__(
        self,
        folder: Path,
        pki: EphemeralPKI | None = None,
        principals: Mapping[str, str] = {"analyst": "read-write", "reporting": "read-only"},
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if pki is None:
            (folder / "tls").mkdir(mode=0o700)
            pki = EphemeralPKI(folder / "tls")
        self.pki = pki
        self._levels = dict(principals)
        self._numbers = itertools.count(1)
        super().__init__(self._configuration(folder))

    def _configuration(self, folder: Path) -> Config:
        profile = TLSProfile(
            mode="files",
            cert=str(self.pki.server_certificate),
            key=str(self.pki.server_key),
            client_ca=str(self.pki.client_ca),
            min_version="1.3",
        )
        listener = ListenerConfig(
            name="h2", transport="h2", address="127.0.0.1:0", tls="prod", auth=("mtls",)
        )
        principals = tuple(
            PrincipalConfig(name=name, methods=(MethodConfig(mtls=MTLSMethod(subject_cn=name)),))
            for name in self._levels
        )
        return Config(
            server=ServerConfig(data_dir=str(folder)),
            tls={"prod": profile},
            listeners=(listener,),
            auth=AuthConfig(principals=principals),
        )

    @property
    def address(self) -> str:
        """ "localhost:port", a name that the server's certificate has."""
        return f"localhost:{self.addresses['h2'].rpartition(':')[2]}"

    def create_database(self, name: str | None = None) -> str:
        """A new, empty database with the principals' grants; its name."""
        name = name or f"test-{next(self._numbers)}"
        database = DatabaseConfig(
            name=name,
            backend="file",
            path=f"{name}.db",
            pragmas_preset="recommended",
            grants=tuple(
                GrantConfig(principal=principal, level=level)
                for principal, level in self._levels.items()
            ),
        )
        databases = (*self.config.databases, database)
        self.reload(msgspec.structs.replace(self.config, databases=databases))
        return name

    def options(self, identity: str = "analyst") -> tuple[Option, ...]:
        """The options of a client with this identity's certificate."""
        return (with_root_ca(self.pki.root_ca), with_client_cert(*self.pki.client(identity)))

    def client(self, identity: str = "analyst", *options: Option) -> Client:
        """A client with this identity's certificate; close it."""
        return Client.h2tls(self.address, *self.options(identity), *options)

    def async_client(self, identity: str = "analyst", *options: Option) -> AsyncClient:
        """An asynchronous client with this identity's certificate; close it."""
        return AsyncClient.h2tls(self.address, *self.options(identity), *options)

    def url(self, database: str, identity: str = "analyst", scheme: str = "quicsql") -> str:
        """A URL with the paths of this identity's certificate, for drivers and engines."""
        certificate, key = self.pki.client(identity)
        query = urlencode(
            {
                "transport": "h2",
                "sslrootcert": str(self.pki.root_ca),
                "sslcert": str(certificate),
                "sslkey": str(key),
            }
        )
        return f"{scheme}://{self.address}/{database}?{query}"
