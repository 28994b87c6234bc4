# Made from tests/client/_async/test_identity.py
# by tools/async_to_sync.py: do not edit, change the source.
"""Ed25519 keys, session tokens and enrolment over every transport, against the reference server."""

from __future__ import annotations

import collections

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from quicsql_client import (
    AuthenticationError,
    AuthorizationError,
    Client,
    LocalProtocolError,
    with_bearer,
    with_ed25519,
    with_insecure_auth_allowed,
    with_transport,
)
from quicsql_client.endpoint import Endpoint
from tests.fix_server import ENROLL_TOKEN, KEY, TRANSPORTS, EveryTransport


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_key_signs(every_transport: EveryTransport, transport: str) -> None:
    endpoint, options = every_transport.key_way(transport)
    db = f"{transport}-{Client.__name__}"
    with Client(endpoint, *options) as client:
        assert client.query(db, "SELECT :a", {"a": 1}).scalar() == 1
        with pytest.raises(AuthorizationError, match="read-only"):
            client.execute(db, "CREATE TABLE never(x)")
        assert client.http.get(f"/{db}/v3?a=%20b").status_code == 200
    endpoint, options = every_transport.key_way(transport, Ed25519PrivateKey.generate())
    with Client(endpoint, *options) as stranger:
        with pytest.raises(AuthenticationError, match="signed with the key SHA256:"):
            stranger.query(db, "SELECT 1")


def test_five_requests_fetch_one_challenge() -> None:
    """Odd-case 147. The server that is asked after them has other keys: it was started anew."""
    asked: collections.Counter[str] = collections.Counter()
    valid = "c1"

    def answer(request: httpx.Request) -> httpx.Response:
        asked[request.url.path] += 1
        if request.url.path == "/_auth/challenge":
            return httpx.Response(200, json={"challenge": valid})
        if request.headers["x-keyring-challenge"] != valid:
            return httpx.Response(401, json={"error": {"message": "authentication required"}})
        return httpx.Response(200, json={"status": "ok"})

    options = (with_ed25519(KEY), with_insecure_auth_allowed())
    transport = with_transport(httpx.MockTransport(answer))
    endpoint = Endpoint.parse("localhost:1", transport="h1")
    with Client(endpoint, *options, transport) as client:
        for _ in range(5):
            client.health()
        assert asked == {"/_auth/challenge": 1, "/_health": 5}
        valid = "c2"
        client.health()
        assert asked == {"/_auth/challenge": 2, "/_health": 7}


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_session(every_transport: EveryTransport, transport: str) -> None:
    """Minted, renewed by hand and by answers, revoked; the client's own credential comes back."""
    endpoint, options = every_transport.key_way(transport)
    db = f"{transport}-{Client.__name__}"
    with Client(endpoint, *options) as client:
        with pytest.raises(LocalProtocolError, match="mint_session"):
            client.renew_session()
        minted = client.mint_session()
        assert (minted.principal, minted.token[:3]) == ("device", "st_")
        assert minted.max_expires_at is not None
        renewed = client.renew_session()
        assert renewed.principal == "device"
        client.query(db, "SELECT 1")
        client.revoke_session()
        assert client.query(db, "SELECT 2").scalar() == 2

    endpoint, options = every_transport.way_of(transport, with_bearer(renewed.token))
    with Client(endpoint, *options) as late:
        with pytest.raises(AuthenticationError, match="session token has expired, was revoked"):
            late.query(db, "SELECT 1")
        late.revoke_session()


def test_a_session_outlives_its_tokens(every_transport: EveryTransport) -> None:
    """Answers in the second half of a token's life bring the next one, which is taken up."""
    endpoint, options = every_transport.key_way("h2c")
    db = f"h2c-{Client.__name__}"
    with Client(endpoint, *options) as client:
        shown = {client.mint_session().token}
        original = client._channel._transport.send

        def watched(request, *, deadline):  # type: ignore[no-untyped-def]
            shown.add(dict(request.headers)["authorization"].removeprefix("Bearer "))
            return original(request, deadline=deadline)

        client._channel._transport.send = watched  # type: ignore[method-assign]
        while len(shown) < 3:
            client.query(db, "SELECT 1")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_key_enrols(every_transport: EveryTransport, transport: str) -> None:
    endpoint, options = every_transport.key_way(transport, Ed25519PrivateKey.generate())
    db = f"{transport}-{Client.__name__}"
    with Client(endpoint, *options) as client:
        with pytest.raises(AuthenticationError):
            client.query(db, "SELECT 1")
        with pytest.raises(AuthorizationError, match="enrollment token"):
            client.enroll("a wrong one")
        enrolled = client.enroll(ENROLL_TOKEN)
        assert enrolled.created
        assert enrolled.principal.startswith("u_")
        assert client.enroll() == type(enrolled)(enrolled.principal, created=False)
        assert client.query(db, "SELECT 1").scalar() == 1
