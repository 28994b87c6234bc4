"""The reference server with a listener of every transport, and the way to each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from quicsql_client import (
    Option,
    with_bearer,
    with_client_cert,
    with_insecure_auth_allowed,
    with_root_ca,
)
from quicsql_client.endpoint import Endpoint
from quicsql_client.server.config import (
    AuthConfig,
    BearerMethod,
    Config,
    DatabaseConfig,
    GrantConfig,
    ListenerConfig,
    MethodConfig,
    MTLSMethod,
    PrincipalConfig,
    TLSProfile,
)
from quicsql_client.testing.pki import EphemeralPKI
from quicsql_client.testing.reference import ServerThread

TRANSPORTS = ("h1", "h2c", "h2", "h3", "unix")
_TLS = ("h2", "h3")
TOKEN = "a-token-of-the-tests"


class EveryTransport:
    """A running server. Each transport has a database of its own, named like it."""

    def __init__(self, server: ServerThread, pki: EphemeralPKI) -> None:
        self._server = server
        self._pki = pki

    def way(self, transport: str) -> tuple[Endpoint, list[Option]]:
        """Where a transport listens, and the options that identify there."""
        address = self._server.addresses[transport]
        if transport in _TLS:
            address = f"localhost:{address.rpartition(':')[2]}"
            identity = with_client_cert(*self._pki.client("analyst"))
            return Endpoint.parse(address, transport=transport), [
                with_root_ca(self._pki.root_ca),
                identity,
            ]
        options = [with_bearer(TOKEN), with_insecure_auth_allowed()]
        return Endpoint.parse(address, transport=transport), options


@pytest.fixture(scope="session")
def every_transport(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EveryTransport]:
    """One server for the session, on ports of the system."""
    folder = tmp_path_factory.mktemp("every")
    pki = EphemeralPKI(tmp_path_factory.mktemp("pki"))
    with ServerThread(_configuration(folder, pki)) as server:
        yield EveryTransport(server, pki)


def _configuration(folder: Path, pki: EphemeralPKI) -> Config:
    profile = TLSProfile(
        mode="files",
        cert=str(pki.server_certificate),
        key=str(pki.server_key),
        client_ca=str(pki.client_ca),
        min_version="1.3",
    )
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    methods = (
        MethodConfig(mtls=MTLSMethod(subject_cn="analyst")),
        MethodConfig(bearer=BearerMethod(token_hash=digest)),
    )
    return Config(
        tls={"prod": profile},
        listeners=tuple(_listener(transport, folder) for transport in TRANSPORTS),
        auth=AuthConfig(principals=(PrincipalConfig(name="analyst", methods=methods),)),
        databases=tuple(
            DatabaseConfig(
                name=f"{transport}-{colour}",
                backend="file",
                path=str(folder / f"{transport}-{colour}.db"),
                pragmas_preset="recommended",
                grants=(GrantConfig(principal="analyst", level="read-write"),),
            )
            for transport in TRANSPORTS
            for colour in ("AsyncClient", "Client")
        ),
    )


def _listener(transport: str, folder: Path) -> ListenerConfig:
    return ListenerConfig(
        name=transport,
        transport=transport,
        address=str(folder / "s") if transport == "unix" else "127.0.0.1:0",
        tls="prod" if transport in _TLS else None,
        auth=("mtls",) if transport in _TLS else ("bearer",),
    )
