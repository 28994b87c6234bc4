"""Tests of your own program against a real server with mutual TLS: the fixtures come installed.

pip install "quicsql-client[server]" pytest
pytest examples/pytest_fixture.py
"""

from __future__ import annotations

import pytest

from quicsql_client import AuthorizationError, Client
from quicsql_client.testing.reference import ReferenceServer


def register(client: Client, database: str, name: str) -> int:
    """What an application might do; the thing under test."""
    client.execute(database, "CREATE TABLE IF NOT EXISTS users(id INTEGER PRIMARY KEY, name TEXT)")
    return client.execute(database, "INSERT INTO users(name) VALUES (?)", [name]).last_insert_id


def test_registering_gives_ids_in_order(quicsql_client: Client, quicsql_db: str) -> None:
    assert register(quicsql_client, quicsql_db, "ada") == 1
    assert register(quicsql_client, quicsql_db, "grace") == 2


def test_every_test_has_a_database_of_its_own(quicsql_client: Client, quicsql_db: str) -> None:
    assert register(quicsql_client, quicsql_db, "edith") == 1


def test_reporting_cannot_register(quicsql_server: ReferenceServer, quicsql_db: str) -> None:
    with quicsql_server.client("reporting") as reporting, pytest.raises(AuthorizationError):
        register(reporting, quicsql_db, "mallory")
