"""Our client as the hostile server's judge drives it: one operation of one scenario, in a process.

The judge imports this file by its path and calls `run` with the scenario as a dictionary; it looks
at what comes back or is raised, at time, memory, and what was written to the logs. Operations that
the client does not have yet fail there with an AttributeError, which the judge counts as wrong.
"""

from __future__ import annotations

import time
from typing import Any

from quicsql_client import (
    Client,
    Error,
    OutcomeUnknownError,
    with_bearer,
    with_client_cert,
    with_max_response,
    with_min_tls,
    with_root_ca,
    with_timeout,
)
from quicsql_client.errors import TransportError

PACKAGE_ERRORS = (Error,)

SELECT = "SELECT 42"
INSERT = "INSERT INTO t VALUES(1)"


def AMBIGUOUS(error: BaseException) -> bool:  # the judge's name
    """True when the error says that nobody knows whether the write took effect."""
    if isinstance(error, OutcomeUnknownError):
        return True
    return isinstance(error, TransportError) and error.may_have_run


def run(scenario: dict[str, Any]) -> Any:
    """Build a client as the scenario says, and do its operation once."""
    with _client(scenario) as client:
        return _OPERATIONS[scenario["op"]](client, scenario["db"], scenario)


def _client(scenario: dict[str, Any]) -> Client:
    given = scenario["client"]
    options = [
        with_root_ca(given["ca"]),
        with_timeout(scenario["timeout"]),
        with_max_response(scenario["max_response"]),
    ]
    if given["cert"]:
        options.append(with_client_cert(given["cert"], given["key"], password=given["passphrase"]))
    if given["token"]:
        options.append(with_bearer(given["token"]))
    if given["min_tls"]:
        options.append(with_min_tls(given["min_tls"]))
    return Client.h2tls(scenario["url"].removeprefix("https://"), *options)


def _query(client: Any, database: str, _: dict[str, Any]) -> Any:
    return client.query(database, SELECT).scalar()


def _write(client: Any, database: str, _: dict[str, Any]) -> None:
    client.execute(database, INSERT)


def _twice(client: Any, database: str, scenario: dict[str, Any]) -> list[Any]:
    first = client.query(database, SELECT).scalar()
    time.sleep(scenario["pause"])
    return [first, client.query(database, SELECT).scalar()]


def _transaction(client: Any, database: str, _: dict[str, Any]) -> None:
    with client.transaction(database) as transaction:
        transaction.execute(INSERT)


def _pipeline(client: Any, database: str, _: dict[str, Any]) -> Any:
    with client.stream(database) as stream:
        return stream.execute(SELECT).scalar()


def _cursor(client: Any, database: str, _: dict[str, Any]) -> list[Any]:
    return [list(row) for row in client.iter_rows(database, SELECT)]


def _changes(client: Any, database: str, _: dict[str, Any]) -> None:
    with client.changes(database) as feed:
        for count, _change in enumerate(feed, 1):
            if count == 3:
                return


_OPERATIONS = {
    "query": _query,
    "construct": _query,
    "write": _write,
    "twice": _twice,
    "tx": _transaction,
    "cursor-pipeline": _pipeline,
    "cursor": _cursor,
    "changes": _changes,
}
