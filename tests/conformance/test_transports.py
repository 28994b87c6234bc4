"""One server, every transport: the same answers, each over its own version of HTTP.

Odd-cases 133, 169.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from .serving import VariantServer, serving
from .variants import Identities

WAYS = {"h1": "HTTP/1.1", "h2c": "HTTP/2", "mixed": "HTTP/2", "unix": "HTTP/1.1"}
WAIT_S = 10.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VariantServer]:
    """The variant `main`, running."""
    root = tmp_path_factory.mktemp("transports")
    with serving("main", root / "main", Identities.issue(root / "pki")) as running:
        yield running


def pipeline(*texts: str) -> dict[str, Any]:
    requests = [{"type": "execute", "stmt": {"sql": sql}} for sql in texts]
    return {"requests": [*requests, {"type": "close"}]}


REQUESTS: list[tuple[str, Any]] = [
    ("/app/query", {"sql": "SELECT ?, x'00ff', 1e400", "args": ["\u00e9<&>"]}),
    ("/app/query", {"statements": [{"sql": "SELECT 1"}, {"sql": "nonsense"}]}),
    ("/app/query", {"sql": "SELECT 1", "more": 1}),
    ("/app/v3/pipeline", pipeline("SELECT 1 AS a", "SELECT * FROM nowhere", "SELECT x'00'")),
    ("/app/v2/pipeline", pipeline("SELECT 2")),
    ("/locked/query", {"sql": "SELECT 1"}),
    ("/nowhere/query", {"sql": "SELECT 1"}),
    ("/app/zzz", {}),
]


@pytest.mark.parametrize("listener", WAYS)
@pytest.mark.parametrize(("target", "body"), REQUESTS)
def test_every_transport_answers_alike(
    server: VariantServer, listener: str, target: str, body: Any
) -> None:
    answer = server.ways.client(listener, "tok").post(target, json=body)
    assert answer.http_version == WAYS[listener]
    assert essence(answer) == essence(server.ways.client("h1", "tok").post(target, json=body))


def essence(answer: httpx.Response) -> tuple[int, bytes, str]:
    return answer.status_code, answer.content, answer.headers["content-type"]


@pytest.mark.parametrize("listener", WAYS)
def test_a_cursor_streams_over_every_transport(server: VariantServer, listener: str) -> None:
    body = {"batch": {"steps": [{"stmt": {"sql": "SELECT 7"}}]}}
    answer = server.ways.client(listener, "tok").post("/app/v3/cursor", json=body)
    _, *lines = answer.text.splitlines()
    assert answer.http_version == WAYS[listener]
    assert lines == [
        '{"type":"step_begin","step":0,"cols":[{"name":"7","decltype":null}]}',
        '{"type":"row","row":[{"type":"integer","value":"7"}]}',
        '{"type":"step_end","affected_row_count":0,"last_insert_rowid":null}',
    ]


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 401),  # an HTTP/2 client on a listener without it
        (b"CONNECT db:443 HTTP/1.1\r\nHost: db:443\r\nConnection: close\r\n\r\n", 401),
        (b"OPTIONS * HTTP/1.1\r\nHost: db\r\nConnection: close\r\n\r\n", 200),
    ],
)
def test_odd_requests_get_an_answer(server: VariantServer, lines: bytes, status: int) -> None:
    host, _, port = server.addresses["h1"].rpartition(":")
    with socket.create_connection((host, int(port)), WAIT_S) as connection:
        connection.sendall(lines)
        with connection.makefile("rb") as stream:
            answer = stream.read()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    if status == 401:
        assert b'WWW-Authenticate: Bearer, Basic realm="restricted"'.lower() in head.lower()
        assert body == b'{"error":{"message":"authentication required"}}\n'
    else:
        assert body == b""
