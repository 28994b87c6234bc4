"""`/_metrics`: the exact text, and what counts.

Odd-cases 132, 163.
"""

from __future__ import annotations

import msgspec
import pytest

from quicsql_client.server.config import AuthConfig, Config, LimitsConfig, RateConfig
from quicsql_client.server.metrics import Metrics
from tests.fix_application import Client, Running, Start
from tests.fix_principals import by_token, grants, memory

OPEN = Config(databases=(memory("app"), memory("other")))
GRANTED = Config(
    auth=AuthConfig(principals=(by_token("tok", "tok-token"), by_token("ro", "ro-token"))),
    databases=(memory("app", *grants(tok="read-write", ro="read-only")),),
)


class Clock:
    """Goes on by a second and a quarter with each look at it."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        self.now_s += 1.25
        return self.now_s


def test_the_text_of_a_server_that_did_nothing() -> None:
    assert Metrics().text({}) == (
        b"# TYPE requests_total counter\n# TYPE request_duration_seconds summary\n"
    )


def test_the_text_byte_by_byte() -> None:
    metrics = Metrics(Clock())
    metrics.begin("b")()
    metrics.begin("b")()
    metrics.begin("app")
    metrics.begin("gone")()
    metrics.forget("gone")
    metrics.forget("never seen")
    assert metrics.text({"databases": 4, "active_sessions": 0}).decode() == (
        "# TYPE requests_total counter\n"
        'requests_total{db="app"} 1\n'
        'requests_total{db="b"} 2\n'
        "# TYPE request_duration_seconds summary\n"
        'request_duration_seconds_sum{db="app"} 0\n'
        'request_duration_seconds_count{db="app"} 0\n'
        'request_duration_seconds_sum{db="b"} 2.5\n'
        'request_duration_seconds_count{db="b"} 2\n'
        "# TYPE active_sessions gauge\n"
        "active_sessions 0\n"
        "# TYPE databases gauge\n"
        "databases 4\n"
    )


async def lines(client: Client, word: str) -> list[str]:
    """The lines with that word, TYPE lines and sums of seconds aside."""
    answer = await client.send("GET", "/_metrics")
    assert answer.status == 200
    found = answer.body.decode().splitlines()
    return [line for line in found if word in line and "# " not in line and "_sum" not in line]


async def test_two_queries(start: Start) -> None:  # 132
    async with start(OPEN) as running:
        client = running.client()
        await client.query("SELECT 1")
        await client.query("SELECT 1")
        assert await lines(client, "app") == [
            'requests_total{db="app"} 2',
            'request_duration_seconds_count{db="app"} 2',
        ]
        assert await lines(client, "other") == []


async def test_every_admitted_request_counts_also_one_that_fails(start: Start) -> None:
    async with start(OPEN) as running:
        client = running.client()
        requests = [
            ("POST", "query"),
            ("POST", "v2/pipeline"),
            ("POST", "v3/cursor"),
            ("GET", "export"),
            ("GET", "backup"),
            ("POST", "changeset/apply"),
            ("POST", "changeset/invert"),
            ("POST", "changeset/concat"),
        ]
        for method, endpoint in requests:
            await client.send(method, f"/app/{endpoint}", b"")
        assert await lines(client, "requests_total") == ['requests_total{db="app"} 8']


async def test_what_does_not_count(start: Start) -> None:
    limits = LimitsConfig(rate=RateConfig(per_principal_rps=0.001))
    async with start(msgspec.structs.replace(GRANTED, limits=limits)) as running:
        reader, nobody = running.client("ro-token"), running.client()
        sent = [
            (await client.send(method, path, b"x")).status
            for client, method, path in [
                (reader, "POST", "/app/changeset/apply"),
                (nobody, "POST", "/app/query"),
                (nobody, "POST", "/nope/query"),
                (reader, "GET", "/app/query"),
                (reader, "GET", "/app/v3"),
                (reader, "POST", "/app/query"),
                (reader, "POST", "/app/query"),
            ]
        ]
        assert sent == [403, 403, 403, 405, 200, 400, 429]
        assert await lines(reader, "requests_total") == ['requests_total{db="app"} 1']


async def test_an_unknown_database_leaves_no_trace(start: Start) -> None:
    async with start(OPEN) as running:
        client = running.client()
        assert (await client.query("SELECT 1", db="nope")).status == 404
        assert await lines(client, "nope") == []


async def test_the_gauges(start: Start) -> None:
    async with start(OPEN) as running:
        client = running.client()
        answer = await client.pipeline({"type": "get_autocommit"})
        assert await lines(client, "active_sessions") == ["active_sessions 1"]
        await client.pipeline({"type": "close"}, baton=answer.json()["baton"])
        assert await lines(client, "active_sessions") == ["active_sessions 0"]
        assert await lines(client, "databases") == ["databases 2"]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS"])
async def test_any_method(start: Start, method: str) -> None:
    async with start(OPEN) as running:
        answer = await running.client().send(method, "/_metrics")
        assert (answer.status, answer.headers["content-type"]) == (
            200,
            "text/plain; version=0.0.4",
        )
        assert answer.body.startswith(b"# TYPE requests_total counter\n")


async def test_a_head_request_gets_the_headers_alone(start: Start) -> None:  # 163
    async with start(OPEN) as running:
        whole = await running.client().send("GET", "/_metrics")
        head = await running.client().send("HEAD", "/_metrics")
        assert (head.status, head.body, head.headers) == (200, b"", whole.headers)


async def test_it_is_behind_the_listeners_authentication_and_no_level(start: Start) -> None:
    async with start(GRANTED) as running:
        stranger = await bearer_only(running, None).send("GET", "/_metrics")
        assert (stranger.status, stranger.message) == (401, "authentication required")
        assert (await bearer_only(running, "ro-token").send("GET", "/_metrics")).status == 200
        assert (await running.client().send("GET", "/_metrics")).status == 200


def bearer_only(running: Running, token: str | None) -> Client:
    return running.client(token, methods=["bearer"])
