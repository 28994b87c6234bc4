"""The reference server with a listener of every transport, and the way to each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from quicsql_client import (
    Option,
    with_bearer,
    with_client_cert,
    with_ed25519,
    with_insecure_auth_allowed,
    with_root_ca,
)
from quicsql_client.ed25519_keys import Ed25519Source
from quicsql_client.endpoint import Endpoint
from quicsql_client.server.config import (
    AuthConfig,
    BearerMethod,
    Config,
    ControlPlaneConfig,
    DatabaseConfig,
    EnrollCodesConfig,
    EnrollConfig,
    EnrollGrantConfig,
    GrantConfig,
    KeyringMethod,
    ListenerConfig,
    MethodConfig,
    MTLSMethod,
    PrincipalConfig,
    ServerConfig,
    SessionConfig,
    TLSProfile,
)
from quicsql_client.testing.pki import EphemeralPKI
from quicsql_client.testing.reference import ServerThread

TRANSPORTS = ("h1", "h2c", "h2", "h3", "unix")
COLOURS = ("AsyncClient", "Client")
_TLS = ("h2", "h3")
TOKEN = "a-token-of-the-tests"
ADMIN_TOKEN = "a-token-of-the-admin"
ENROLL_TOKEN = "a-token-that-lets-in"
KEY = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"every transport").digest())
"""The key of the principal "device"."""


class EveryTransport:
    """A running server. Each transport has a database of its own, named like it, for each colour.

    Principals: "analyst" reads and writes, "device", with KEY, reads, "root" administers. A key may
    enrol by ENROLL_TOKEN, and reads then.
    """

    def __init__(self, server: ServerThread, pki: EphemeralPKI) -> None:
        self._server = server
        self._pki = pki

    def way(self, transport: str) -> tuple[Endpoint, list[Option]]:
        """Where a transport listens, and the options that identify the analyst there."""
        if transport in _TLS:
            return self.way_of(transport, with_client_cert(*self._pki.client("analyst")))
        return self.way_of(transport, with_bearer(TOKEN))

    def admin_way(self, transport: str) -> tuple[Endpoint, list[Option]]:
        """The same for the server-admin."""
        if transport in _TLS:
            return self.way_of(transport, with_client_cert(*self._pki.client("root")))
        return self.way_of(transport, with_bearer(ADMIN_TOKEN))

    def key_way(self, transport: str, key: Ed25519Source = KEY) -> tuple[Endpoint, list[Option]]:
        """The same for who has an Ed25519 key."""
        return self.way_of(transport, with_ed25519(key))

    def way_of(self, transport: str, identity: Option) -> tuple[Endpoint, list[Option]]:
        """Where a transport listens, and the options that show an identity there."""
        address = self._server.addresses[transport]
        if transport in _TLS:
            address = f"localhost:{address.rpartition(':')[2]}"
            options = [with_root_ca(self._pki.root_ca), identity]
        else:
            options = [identity, with_insecure_auth_allowed()]
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
    line = KEY.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    device = (MethodConfig(keyring=KeyringMethod(ed25519=line)),)
    databases = tuple(f"{transport}-{colour}" for transport in TRANSPORTS for colour in COLOURS)
    return Config(
        server=ServerConfig(data_dir=str(folder)),
        tls={"prod": profile},
        listeners=tuple(_listener(transport, folder) for transport in TRANSPORTS),
        auth=AuthConfig(
            principals=(
                PrincipalConfig(name="analyst", methods=_methods("analyst", TOKEN)),
                PrincipalConfig(name="root", methods=_methods("root", ADMIN_TOKEN)),
                PrincipalConfig(name="device", methods=device),
            ),
            session=SessionConfig(enabled=True, idle_ttl_s=2.0, max_ttl_s=3600.0),
            enroll=EnrollConfig(
                enabled=True,
                tokens=(_digest(ENROLL_TOKEN),),
                rate_per_ip=1e9,
                codes=EnrollCodesConfig(enabled=True),
                grants=tuple(EnrollGrantConfig(db=name, level="read-only") for name in databases),
            ),
        ),
        databases=tuple(
            DatabaseConfig(
                name=name,
                backend="file",
                path=f"{name}.db",
                pragmas_preset="recommended",
                grants=(
                    GrantConfig(principal="analyst", level="read-write"),
                    GrantConfig(principal="device", level="read-only"),
                    GrantConfig(principal="root", level="admin"),
                ),
            )
            for name in databases
        ),
        control_plane=ControlPlaneConfig(enabled=True, admins=("root",)),
    )


def _methods(name: str, token: str) -> tuple[MethodConfig, ...]:
    return (
        MethodConfig(mtls=MTLSMethod(subject_cn=name)),
        MethodConfig(bearer=BearerMethod(token_hash=_digest(token))),
    )


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _listener(transport: str, folder: Path) -> ListenerConfig:
    return ListenerConfig(
        name=transport,
        transport=transport,
        address=str(folder / "s") if transport == "unix" else "127.0.0.1:0",
        tls="prod" if transport in _TLS else None,
        auth=("mtls" if transport in _TLS else "bearer", "keyring", "session"),
    )
