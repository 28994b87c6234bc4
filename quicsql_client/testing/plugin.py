"""The pytest plugin: a reference server with mutual TLS, and a fresh database for each test.

    def test_something(quicsql_client, quicsql_db):
        quicsql_client.query(quicsql_db, "CREATE TABLE t(x)")

Loaded in every pytest run where this package is installed, so it imports nothing of the package
before a fixture is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from quicsql_client import Client
    from quicsql_client.testing.pki import EphemeralPKI
    from quicsql_client.testing.reference import ReferenceServer


@pytest.fixture(scope="session")
def quicsql_pki(tmp_path_factory: pytest.TempPathFactory) -> EphemeralPKI:
    """Two CAs and a server leaf in a folder of their own; client certificates by common name."""
    from quicsql_client.testing.pki import EphemeralPKI

    return EphemeralPKI(tmp_path_factory.mktemp("quicsql-pki"))


@pytest.fixture(scope="session")
def quicsql_server(
    tmp_path_factory: pytest.TempPathFactory, quicsql_pki: EphemeralPKI
) -> Iterator[ReferenceServer]:
    """A running server for the whole session, on a port of the system, with mutual TLS.

    Identities: "analyst" reads and writes, "reporting" reads; any other certificate is a 401.
    """
    from quicsql_client.testing.reference import ReferenceServer

    with ReferenceServer(tmp_path_factory.mktemp("quicsql-data"), quicsql_pki) as server:
        yield server


@pytest.fixture
def quicsql_db(quicsql_server: ReferenceServer) -> str:
    """The name of a new, empty database."""
    return quicsql_server.create_database()


@pytest.fixture
def quicsql_client(quicsql_server: ReferenceServer) -> Iterator[Client]:
    """A client of the server as "analyst"; closed after the test."""
    with quicsql_server.client() as client:
        yield client
