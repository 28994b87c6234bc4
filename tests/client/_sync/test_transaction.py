# Made from tests/client/_async/test_transaction.py
# by tools/async_to_sync.py: do not edit, change the source.
"""The `with` block of a transaction, on scripted answers: what it sends on the way out."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from quicsql_client import Client, OverloadedError, with_transport

RESULT = {"cols": [], "rows": [], "affected_row_count": 1, "last_insert_rowid": "1"}
ENDED = {
    "type": "ok",
    "response": {"type": "batch", "result": {"step_results": [RESULT], "step_errors": [None]}},
}
CLOSED = {"type": "ok", "response": {"type": "close"}}
BEGUN = {
    "type": "ok",
    "response": {
        "type": "batch",
        "result": {"step_results": [RESULT, RESULT], "step_errors": [None, None]},
    },
}


def words(request: dict[str, Any]) -> list[str]:
    """Verbs of a batch's steps; the type of any other request."""
    steps = request.get("batch", {}).get("steps", [])
    return [step["stmt"]["sql"].split()[0] for step in steps] or [request["type"]]


class Server:
    """Answers requests from a list, and keeps what was asked as short words."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.answers = list(answers)
        self.asked: list[list[str]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        requests = json.loads(request.content)["requests"]
        self.asked.append([word for r in requests for word in words(r)])
        return self.answers.pop(0)

    def client(self) -> Client:
        return Client.h1("server:1", with_transport(httpx.MockTransport(self)))


def answer(*results: object, baton: str | None) -> httpx.Response:
    return httpx.Response(200, json={"baton": baton, "base_url": None, "results": results})


def insert(client: Client, failure: Exception | None = None) -> None:
    with client.transaction("app") as tx:
        tx.execute("INSERT INTO t VALUES (1)")
        if failure:
            raise failure


def test_the_block_commits() -> None:
    server = Server(answer(BEGUN, baton="b1"), answer(ENDED, CLOSED, baton=None))
    with server.client() as client:
        insert(client)
    assert server.asked == [["BEGIN", "INSERT"], ["COMMIT", "close"]]


def test_an_exception_rolls_back_and_goes_on() -> None:
    server = Server(answer(BEGUN, baton="b1"), answer(ENDED, CLOSED, baton=None))
    with server.client() as client:
        with pytest.raises(ZeroDivisionError):
            insert(client, failure=ZeroDivisionError())
    assert server.asked == [["BEGIN", "INSERT"], ["ROLLBACK", "close"]]


def test_a_commit_that_was_refused_leaves_no_transaction_behind() -> None:
    busy = httpx.Response(503, json={"error": {"message": "database busy"}})
    server = Server(answer(BEGUN, baton="b1"), busy, answer(ENDED, CLOSED, baton=None))
    with server.client() as client:
        with pytest.raises(OverloadedError):
            insert(client)
    assert server.asked == [["BEGIN", "INSERT"], ["COMMIT", "close"], ["ROLLBACK", "close"]]
