"""CORS through the application: odd-case 137 (142 stands in test_config_texts)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from quicsql_client.server.auth import Signers
from quicsql_client.server.config import AuthConfig, Config, CORSConfig, SessionConfig
from tests.fix_application import Answer, Client, Start
from tests.fix_principals import by_token, grants, memory

HERE = "https://app.example.com"
EVIL = "https://evil.example"
METHODS = "GET, POST, PUT, DELETE, OPTIONS"
ALLOWED = (
    "Authorization, Content-Type, X-Keyring-Key, X-Keyring-Challenge, X-Keyring-Signature, "
    "X-Libsql-Client-Version"
)
EXPOSED = "X-Session-Token, X-Session-Expires"
CONFIG = Config(
    auth=AuthConfig(principals=(by_token("ann", "ann-token"),)),
    databases=(memory("app", *grants(ann="read-write")),),
    cors=CORSConfig(enabled=True, origins=(HERE, "http://localhost:3000")),
)


def configured(**cors: Any) -> Config:
    return msgspec.structs.replace(CONFIG, cors=CORSConfig(enabled=True, **cors))


def permissions(answer: Answer) -> dict[str, str]:
    """The fields of an answer that a browser looks at."""
    found = {k: v for k, v in answer.headers.items() if k.startswith("access-control-")}
    return found | ({"vary": answer.headers["vary"]} if "vary" in answer.headers else {})


async def ask(client: Client, method: str, origin: str | None, **fields: str) -> Answer:
    """A request on `/app/query`. fields: further header fields, `_` for `-`."""
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    if origin is not None:
        headers["origin"] = origin
    return await client.send(method, "/app/query", b'{"sql":"SELECT 1"}', headers=headers)


async def preflight(client: Client, origin: str | None) -> Answer:
    return await ask(client, "OPTIONS", origin, access_control_request_method="POST")


async def test_a_preflight_is_answered_before_authentication(start: Start) -> None:
    async with start(CONFIG) as running:
        answer = await preflight(running.client(methods=["bearer"]), HERE)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers == {
        "access-control-allow-origin": HERE,
        "access-control-allow-methods": METHODS,
        "access-control-allow-headers": ALLOWED,
        "access-control-max-age": "7200",
        "vary": "Origin",
    }


@pytest.mark.parametrize(
    "origin",
    [
        *(EVIL, f"{HERE}/", f"{HERE}:443", "https://APP.example.com", "http://app.example.com"),
        *("null", "", None, "*"),
    ],
)
async def test_a_preflight_without_permission_is_a_request_like_any_other(
    start: Start, origin: str | None
) -> None:
    async with start(CONFIG) as running:
        answer = await preflight(running.client(methods=["bearer"]), origin)
    assert answer.status == 401
    assert permissions(answer) == {"vary": "Origin"}


async def test_options_without_a_requested_method_is_no_preflight(start: Start) -> None:
    async with start(CONFIG) as running:
        client = running.client(methods=["bearer"])
        refused = await ask(client, "OPTIONS", HERE)
        known = await ask(client, "OPTIONS", HERE, authorization="Bearer ann-token")
        empty = await ask(client, "OPTIONS", HERE, access_control_request_method="")
    assert [answer.status for answer in (refused, known, empty)] == [401, 405, 401]
    for answer in (refused, known, empty):
        assert permissions(answer) == {
            "access-control-allow-origin": HERE,
            "access-control-expose-headers": EXPOSED,
            "vary": "Origin",
        }


@pytest.mark.parametrize("path", ["/_health", "/_admin/x", "/nope/zzz", "/app/v3", "/"])
async def test_a_preflight_does_not_look_at_the_path(start: Start, path: str) -> None:
    headers = {"origin": HERE, "access-control-request-method": "TRACE"}
    async with start(CONFIG) as running:
        client = running.client(methods=["bearer"])
        assert (await client.send("OPTIONS", path, headers=headers)).status == 204


@pytest.mark.parametrize("path", ["/_health", "/app/query", "/nope/query", "/_foo", "/app/zzz"])
async def test_every_answer_carries_the_permission(start: Start, path: str) -> None:
    headers = {"origin": HERE, "authorization": "Bearer ann-token"}
    async with start(CONFIG) as running:
        answer = await running.client().send("POST", path, b"{}", headers=headers)
    assert permissions(answer)["access-control-allow-origin"] == HERE


async def test_streamed_answers_carry_it_as_well(start: Start) -> None:
    headers = {"origin": HERE, "authorization": "Bearer ann-token"}
    async with start(CONFIG) as running:
        answer = await running.client().send("GET", "/app/export", headers=headers)
    assert answer.body.startswith(b"SQLite format 3\0")
    assert permissions(answer)["access-control-allow-origin"] == HERE


async def test_every_origin_with_a_wildcard(start: Start) -> None:
    async with start(configured(origins=("*", HERE))) as running:
        client = running.client(methods=["bearer"])
        for origin in (HERE, EVIL, "null"):
            answer = await preflight(client, origin)
            assert answer.status == 204
            assert permissions(answer)["access-control-allow-origin"] == "*"
            assert "vary" not in answer.headers
        assert (await preflight(client, None)).status == 401
        assert permissions(await ask(client, "POST", None)) == {}
        assert permissions(await ask(client, "POST", EVIL)) == {
            "access-control-allow-origin": "*",
            "access-control-expose-headers": EXPOSED,
        }


async def test_further_headers_and_another_age(start: Start) -> None:
    config = configured(
        origins=(HERE,), allow_headers=("X-A", "X-B"), expose_headers=("X-C",), max_age_s=90.5
    )
    async with start(config) as running:
        fields = permissions(await preflight(running.client(), HERE))
        other = permissions(await ask(running.client(), "POST", HERE))
    assert fields["access-control-allow-headers"] == f"{ALLOWED}, X-A, X-B"
    assert fields["access-control-max-age"] == "90"
    assert other["access-control-expose-headers"] == f"{EXPOSED}, X-C"


async def test_a_renewed_token_and_the_permission_to_read_it(start: Start) -> None:
    session = SessionConfig(enabled=True, idle_ttl_s=60.0, max_ttl_s=600.0)
    auth = msgspec.structs.replace(CONFIG.auth, session=session)
    now_ns = 1_782_000_000 * 10**9
    signers = Signers.of(auth, lambda: now_ns)
    async with start(msgspec.structs.replace(CONFIG, auth=auth), signers=signers) as running:
        minted = await running.client("ann-token", methods=["bearer", "session"]).send(
            "POST", "/_auth/session"
        )
        now_ns += 40 * 10**9
        headers = {"origin": HERE, "authorization": f"Bearer {minted.json()['token']}"}
        client = running.client(methods=["session"])
        answer = await client.send("POST", "/app/query", b'{"sql":"SELECT 1"}', headers=headers)
    assert "x-session-token" in answer.headers
    assert permissions(answer)["access-control-expose-headers"] == EXPOSED


async def test_nothing_at_all_when_it_is_off(start: Start) -> None:
    async with start(msgspec.structs.replace(CONFIG, cors=CORSConfig())) as running:
        client = running.client(methods=["bearer"])
        for answer in (await preflight(client, HERE), await ask(client, "POST", HERE)):
            assert answer.status == 401
            assert permissions(answer) == {}


async def test_a_reload_takes_other_origins_over(start: Start) -> None:
    async with start(CONFIG) as running:
        client = running.client(methods=["bearer"])
        assert (await preflight(client, EVIL)).status == 401
        running.application.reload(configured(origins=(EVIL,)))
        assert (await preflight(client, EVIL)).status == 204
        assert (await preflight(client, HERE)).status == 401
