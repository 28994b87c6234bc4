"""Who is let in on real listeners: certificates over both protocols, tokens beside them.

Odd-cases 97-102, 104.
"""

from __future__ import annotations

import base64
import contextlib
import ssl
from collections.abc import AsyncIterator

import httpx
import pytest

from quicsql_client.pki import CertificateAuthority
from quicsql_client.server.config import (
    AuthConfig,
    Config,
    ListenerConfig,
    PrincipalConfig,
    TLSProfile,
)
from quicsql_client.server.lifecycle import Server
from tests.fix_principals import by_certificate, by_token, grants, memory
from tests.fix_server_process import Authorities

QUERY = {"sql": "SELECT 1"}
BASIC = "Basic " + base64.b64encode(b"user:hunter2").decode()


@contextlib.asynccontextmanager
async def serving(
    authorities: Authorities, methods: tuple[str, ...], *more: PrincipalConfig, tls: bool = True
) -> AsyncIterator[str]:
    """The base URL of a server: `analyst` and `tok` may read `app`, everyone may read `pub`."""
    folder = authorities.folder
    profile = TLSProfile(
        mode="files",
        cert=str(folder / "server.crt"),
        key=str(folder / "server.key"),
        client_ca=str(folder / "client-ca.crt"),
    )
    transport = "h2" if tls else "h1"
    named = dict.fromkeys(("analyst", "tok", *(p.name for p in more)), "read-only")
    config = Config(
        tls={"p": profile},
        auth=AuthConfig(
            principals=(by_certificate("analyst", cn="analyst"), by_token("tok", "t"), *more)
        ),
        databases=(
            memory("app", *grants(**named)),
            memory("pub", *grants(everyone="read-only")),
        ),
        listeners=(
            ListenerConfig(
                name="l",
                transport=transport,
                address="127.0.0.1:0",
                tls="p" if tls else None,
                auth=methods,
            ),
        ),
    )
    server = Server(config)
    await server.start()
    try:
        port = server.listeners[0].address.rpartition(":")[2]
        yield f"{'https' if tls else 'http'}://localhost:{port}"
    finally:
        await server.stop(grace_s=1.0)


async def ask(
    url: str,
    context: ssl.SSLContext | bool = True,
    authorization: str | None = None,
    *,
    db: str = "app",
    http2: bool = True,
) -> httpx.Response:
    """One query on a connection of its own."""
    headers = {} if authorization is None else {"authorization": authorization}
    async with httpx.AsyncClient(
        verify=context, http2=http2, trust_env=False, headers=headers
    ) as client:
        return await client.post(f"{url}/{db}/query", json=QUERY)


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (None, 200),
        ("Bearer wrong", 401),  # 97
        ("bearer wrong", 200),  # 97
        ("Bearer", 200),  # 97
        ("Bearer t", 200),
        (BASIC, 200),  # 98
        ("Basic !!!", 200),
    ],
)
async def test_anonymous_unless_a_credential_is_wrong(
    authorities: Authorities, authorization: str | None, status: int
) -> None:
    async with serving(authorities, ("bearer", "none"), tls=False) as url:
        answer = await ask(url, authorization=authorization, db="pub")
        assert answer.status_code == status
        named = await ask(url, authorization=authorization)
        allowed = 200 if authorization == "Bearer t" else 403
        assert named.status_code == (401 if status == 401 else allowed)


@pytest.mark.parametrize("http2", [True, False])
async def test_a_certificate_is_a_principal_over_both_protocols(
    authorities: Authorities, http2: bool
) -> None:  # 99, 100
    async with serving(authorities, ("mtls",)) as url:
        answer = await ask(url, authorities.context("analyst"), http2=http2)
        assert (answer.status_code, answer.http_version) == (200, f"HTTP/{2 if http2 else 1.1}")
        answer = await ask(url, authorities.context("stranger"), http2=http2)
        assert answer.status_code == 401
        with pytest.raises((httpx.TransportError, ssl.SSLError)):
            await ask(url, authorities.context(), http2=http2)


@pytest.mark.parametrize(
    ("certificate", "authorization", "status"),
    [
        (None, "Bearer t", 200),  # 101
        ("stranger", "Bearer t", 200),  # 101
        ("analyst", "Bearer wrong", 200),  # 101: never looked at
        ("stranger", "Bearer wrong", 401),
        ("stranger", None, 401),
        (None, None, 401),
    ],
)
async def test_certificates_beside_tokens(
    authorities: Authorities, certificate: str | None, authorization: str | None, status: int
) -> None:
    async with serving(authorities, ("mtls", "bearer")) as url:
        answer = await ask(url, authorities.context(certificate), authorization)
        assert answer.status_code == status


@pytest.mark.parametrize("methods", [("mtls", "bearer"), ("bearer",)])
async def test_a_foreign_certificate_ends_the_handshake_whatever_the_token(
    authorities: Authorities, methods: tuple[str, ...]
) -> None:  # 102
    foreign = CertificateAuthority.create("another CA")
    foreign.issue_client("analyst").write(authorities.folder, "foreign")
    async with serving(authorities, methods) as url:
        assert (await ask(url, authorities.context(), "Bearer t")).status_code == 200
        with pytest.raises((httpx.TransportError, ssl.SSLError)):
            await ask(url, authorities.context("foreign"), "Bearer t")


async def test_a_pinned_key_needs_no_matching_name(authorities: Authorities) -> None:  # 104
    issued = authorities.client.issue_client("some name")
    issued.write(authorities.folder, "pinned")
    async with serving(authorities, ("mtls",), by_certificate("reporting", pin=issued.pin)) as url:
        assert (await ask(url, authorities.context("pinned"))).status_code == 200
