"""Principals by the uid of a Unix-socket peer.

Odd-case 114.
"""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest

from quicsql_client.server.auth import Authenticator
from quicsql_client.server.config import (
    AuthConfig,
    Config,
    ListenerConfig,
    MethodConfig,
    PeercredMethod,
    PrincipalConfig,
)
from quicsql_client.server.lifecycle import Server
from tests.fix_principals import by_token, grants, memory


def by_uid(name: str, uid: int) -> PrincipalConfig:
    return PrincipalConfig(name=name, methods=(MethodConfig(peercred=PeercredMethod(uid=uid)),))


AUTH = AuthConfig(principals=(by_uid("local", 1000), by_uid("root", 0), by_token("tok", "t")))


@pytest.mark.parametrize(
    ("uid", "token", "methods", "expected"),
    [
        (1000, None, "peercred", "local"),
        (0, None, "peercred none", "root"),
        (1001, None, "peercred none", ""),  # 114: soft
        (1001, None, "peercred", None),
        (None, None, "peercred", None),
        (None, None, "peercred none", ""),
        (1000, "wrong", "peercred bearer", None),
        (1000, "t", "peercred bearer", "tok"),  # a right bearer wins over the uid
        (1000, "wrong", "peercred", "local"),  # not looked at
        (1000, None, "bearer peercred", "local"),
        (1000, None, "bearer none", ""),
    ],
)
async def test_the_uid_of_the_peer(
    uid: int | None, token: str | None, methods: str, expected: str | None
) -> None:
    scope = {"extensions": {} if uid is None else {"unix": {"peer_uid": uid}}}
    headers = [] if token is None else [(b"authorization", f"Bearer {token}".encode())]
    found = await Authenticator(AUTH).authenticate(scope, headers, methods.split())
    assert (None if found is None else found.name) == expected
    assert found is None or (found.method == "peercred") == (expected in ("local", "root"))


async def test_of_two_principals_with_one_uid_the_later_wins() -> None:
    auth = AuthConfig(principals=(by_uid("first", 7), by_uid("second", 7)))
    scope = {"extensions": {"unix": {"peer_uid": 7}}}
    found = await Authenticator(auth).authenticate(scope, [], ["peercred"])
    assert found is not None
    assert found.name == "second"


@pytest.mark.parametrize(("offset", "status"), [(0, 200), (1, 401)])
async def test_a_real_socket_tells_who_is_there(tmp_path: Path, offset: int, status: int) -> None:
    path = str(tmp_path / "s")
    config = Config(
        auth=AuthConfig(principals=(by_uid("me", os.getuid() + offset),)),
        databases=(memory("app", *grants(me="read-write")),),
        listeners=(ListenerConfig(name="u", transport="unix", address=path, auth=("peercred",)),),
    )
    server = Server(config)
    await server.start()
    try:
        transport = httpx.AsyncHTTPTransport(uds=path)
        async with httpx.AsyncClient(transport=transport, base_url="http://u") as client:
            answer = await client.post("/app/query", json={"sql": "SELECT 1"})
            assert answer.status_code == status
    finally:
        await server.stop(grace_s=1.0)
