"""Ed25519 keys, session tokens and enrolment over every transport, against the reference server."""

from __future__ import annotations

# async-only
import asyncio
import collections

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from quicsql_client import (
    AsyncClient,
    AuthenticationError,
    AuthorizationError,
    LocalProtocolError,
    with_bearer,
    with_ed25519,
    with_insecure_auth_allowed,
    with_transport,
)
from quicsql_client.endpoint import Endpoint
from tests.fix_server import ENROLL_TOKEN, KEY, TRANSPORTS, EveryTransport


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_key_signs(every_transport: EveryTransport, transport: str) -> None:
    endpoint, options = every_transport.key_way(transport)
    db = f"{transport}-{AsyncClient.__name__}"
    async with AsyncClient(endpoint, *options) as client:
        assert (await client.query(db, "SELECT :a", {"a": 1})).scalar() == 1
        with pytest.raises(AuthorizationError, match="read-only"):
            await client.execute(db, "CREATE TABLE never(x)")
        assert (await client.http.get(f"/{db}/v3?a=%20b")).status_code == 200
    endpoint, options = every_transport.key_way(transport, Ed25519PrivateKey.generate())
    async with AsyncClient(endpoint, *options) as stranger:
        with pytest.raises(AuthenticationError, match="signed with the key SHA256:"):
            await stranger.query(db, "SELECT 1")


async def test_five_requests_fetch_one_challenge() -> None:
    """Odd-case 147. The server that is asked after them has other keys: it was started anew."""
    asked: collections.Counter[str] = collections.Counter()
    valid = "c1"

    async def answer(request: httpx.Request) -> httpx.Response:
        asked[request.url.path] += 1
        if request.url.path == "/_auth/challenge":
            return httpx.Response(200, json={"challenge": valid})
        if request.headers["x-keyring-challenge"] != valid:
            return httpx.Response(401, json={"error": {"message": "authentication required"}})
        return httpx.Response(200, json={"status": "ok"})

    options = (with_ed25519(KEY), with_insecure_auth_allowed())
    transport = with_transport(httpx.MockTransport(answer))
    endpoint = Endpoint.parse("localhost:1", transport="h1")
    async with AsyncClient(endpoint, *options, transport) as client:
        for _ in range(5):
            await client.health()
        assert asked == {"/_auth/challenge": 1, "/_health": 5}
        valid = "c2"
        await client.health()
        assert asked == {"/_auth/challenge": 2, "/_health": 7}


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_session(every_transport: EveryTransport, transport: str) -> None:
    """Minted, renewed by hand and by answers, revoked; the client's own credential comes back."""
    endpoint, options = every_transport.key_way(transport)
    db = f"{transport}-{AsyncClient.__name__}"
    async with AsyncClient(endpoint, *options) as client:
        with pytest.raises(LocalProtocolError, match="mint_session"):
            await client.renew_session()
        minted = await client.mint_session()
        assert (minted.principal, minted.token[:3]) == ("device", "st_")
        assert minted.max_expires_at is not None
        renewed = await client.renew_session()
        assert renewed.principal == "device"
        await client.query(db, "SELECT 1")
        await client.revoke_session()
        assert (await client.query(db, "SELECT 2")).scalar() == 2

    endpoint, options = every_transport.way_of(transport, with_bearer(renewed.token))
    async with AsyncClient(endpoint, *options) as late:
        with pytest.raises(AuthenticationError, match="session token has expired, was revoked"):
            await late.query(db, "SELECT 1")
        await late.revoke_session()


async def test_a_session_outlives_its_tokens(every_transport: EveryTransport) -> None:
    """Answers in the second half of a token's life bring the next one, which is taken up."""
    endpoint, options = every_transport.key_way("h2c")
    db = f"h2c-{AsyncClient.__name__}"
    async with AsyncClient(endpoint, *options) as client:
        shown = {(await client.mint_session()).token}
        original = client._channel._transport.send

        async def watched(request, *, deadline):  # type: ignore[no-untyped-def]
            shown.add(dict(request.headers)["authorization"].removeprefix("Bearer "))
            return await original(request, deadline=deadline)

        client._channel._transport.send = watched  # type: ignore[method-assign]
        while len(shown) < 3:
            await client.query(db, "SELECT 1")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_key_enrols(every_transport: EveryTransport, transport: str) -> None:
    endpoint, options = every_transport.key_way(transport, Ed25519PrivateKey.generate())
    db = f"{transport}-{AsyncClient.__name__}"
    async with AsyncClient(endpoint, *options) as client:
        with pytest.raises(AuthenticationError):
            await client.query(db, "SELECT 1")
        with pytest.raises(AuthorizationError, match="enrollment token"):
            await client.enroll("a wrong one")
        enrolled = await client.enroll(ENROLL_TOKEN)
        assert enrolled.created
        assert enrolled.principal.startswith("u_")
        assert await client.enroll() == type(enrolled)(enrolled.principal, created=False)
        assert (await client.query(db, "SELECT 1")).scalar() == 1


# async-only
async def test_concurrent_calls_share_an_identity(every_transport: EveryTransport) -> None:
    endpoint, options = every_transport.key_way("h1")
    db = f"h1-{AsyncClient.__name__}"
    async with AsyncClient(endpoint, *options) as client:
        calls = [client.query(db, "SELECT ?", [n]) for n in range(20)]
        results = await asyncio.gather(*calls)
        assert [result.scalar() for result in results] == list(range(20))
