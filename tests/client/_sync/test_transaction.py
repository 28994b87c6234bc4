# Made from tests/client/_async/test_transaction.py
# by tools/async_to_sync.py: do not edit, change the source.
"""The `with` block of a transaction, on scripted answers: what it sends on the way out."""

from __future__ import annotations

import json

import httpx
import pytest

from quicsql_client import Client, OverloadedError, with_transport

RESULT = {"cols": [], "rows": [], "affected_row_count": 1, "last_insert_rowid": "1"}
EXECUTED = {"type": "ok", "response": {"type": "execute", "result": RESULT}}
CLOSED = {"type": "ok", "response": {"type": "close"}}
BEGUN = {
    "type": "ok",
    "response": {
        "type": "batch",
        "result": {"step_results": [RESULT, RESULT], "step_errors": [None, None]},
    },
}


class Server:
    """Answers requests from a list, and keeps what was asked as short words."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.answers = list(answers)
        self.asked: list[list[str]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        requests = json.loads(request.content)["requests"]
        self.asked.append([r.get("stmt", {}).get("sql") or r["type"] for r in requests])
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
    server = Server(answer(BEGUN, baton="b1"), answer(EXECUTED, CLOSED, baton=None))
    with server.client() as client:
        insert(client)
    assert server.asked == [["batch"], ["COMMIT", "close"]]


def test_an_exception_rolls_back_and_goes_on() -> None:
    server = Server(answer(BEGUN, baton="b1"), answer(EXECUTED, CLOSED, baton=None))
    with server.client() as client:
        with pytest.raises(ZeroDivisionError):
            insert(client, failure=ZeroDivisionError())
    assert server.asked == [["batch"], ["ROLLBACK", "close"]]


def test_a_commit_that_was_refused_leaves_no_transaction_behind() -> None:
    busy = httpx.Response(503, json={"error": {"message": "database busy"}})
    server = Server(answer(BEGUN, baton="b1"), busy, answer(EXECUTED, CLOSED, baton=None))
    with server.client() as client:
        with pytest.raises(OverloadedError):
            insert(client)
    assert server.asked == [["batch"], ["COMMIT", "close"], ["ROLLBACK", "close"]]
