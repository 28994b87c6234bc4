"""Who is let in: every method, on every kind of listener, with every kind of credential.

Odd-cases 97, 98, 166.
"""

from __future__ import annotations

import base64
from functools import lru_cache
from typing import Any

import bcrypt
import pytest

from quicsql_client.server.auth import Authenticator
from quicsql_client.server.config import (
    AuthConfig,
    BearerMethod,
    Config,
    MethodConfig,
    PrincipalConfig,
    SessionConfig,
)
from tests.fix_application import Start
from tests.fix_principals import (
    Leaf,
    by_certificate,
    by_password,
    by_token,
    grants,
    issue_leaf,
    memory,
)

TOKEN = "secret-token"


@lru_cache(maxsize=1)
def leaves() -> dict[str, Leaf]:
    return {
        "CN": issue_leaf("analyst"),
        "pin": issue_leaf("whoever"),
        "both": issue_leaf("analyst"),
        "unmapped": issue_leaf("stranger"),
        "last-CN": issue_leaf("stranger", "analyst"),
        "case": issue_leaf("Analyst"),
    }


@lru_cache(maxsize=1)
def config() -> AuthConfig:
    return AuthConfig(
        principals=(
            by_certificate("analyst", cn="analyst"),
            by_certificate("reporting", pin=leaves()["pin"].pin),
            by_token("tok", TOKEN),
            by_password("user", "bob", "hunter:2"),
        ),
        session=SessionConfig(enabled=True),
    )


def basic(text: str, scheme: str = "Basic") -> str:
    return f"{scheme} {base64.b64encode(text.encode()).decode()}"


# name -> (Authorization, other header, leaf)
CREDENTIALS: dict[str, tuple[str | None, str | None, str | None]] = {
    "nothing": (None, None, None),
    "token": (f"Bearer {TOKEN}", None, None),
    "padded-token": (f"Bearer   {TOKEN}  ", None, None),
    "wrong-token": ("Bearer wrong", None, None),
    "token-hash": (f"Bearer {'0' * 64}", None, None),
    "lower-scheme": (f"bearer {TOKEN}", None, None),
    "upper-scheme": (f"BEARER {TOKEN}", None, None),
    "blank-token": ("Bearer   ", None, None),
    "no-token": ("Bearer", None, None),
    "tab-token": (f"Bearer\t{TOKEN}", None, None),
    "bare-token": (TOKEN, None, None),
    "digest": ("Digest x", None, None),
    "password": (basic("bob:hunter:2"), None, None),
    "any-case": (basic("bob:hunter:2", "bAsIc"), None, None),
    "wrong-pass": (basic("bob:hunter"), None, None),
    "no-pass": (basic("bob:"), None, None),
    "NUL-pass": (basic("bob:\0"), None, None),
    "long-pass": (basic("bob:" + "x" * 500), None, None),
    "unknown-user": (basic("eve:hunter:2"), None, None),
    "no-colon": (basic("bob"), None, None),
    "not-base64": ("Basic !!!", None, None),
    "CN": (None, None, "CN"),
    "last-CN": (None, None, "last-CN"),
    "CN-case": (None, None, "case"),
    "pin": (None, None, "pin"),
    "unmapped": (None, None, "unmapped"),
    "CN+wrong": ("Bearer wrong", None, "CN"),
    "unmap+token": (f"Bearer {TOKEN}", None, "unmapped"),
    "unmap+wrong": ("Bearer wrong", None, "unmapped"),
    "signature": (None, "x", None),
    "signed+token": (f"Bearer {TOKEN}", "x", None),
    "CN+signature": (None, "x", "CN"),
    "st-token": ("Bearer st_abc", None, None),
}
LISTENERS = {
    "none": "none",
    "bearer": "bearer",
    "b+none": "bearer none",
    "passw": "password",
    "p+none": "none password",
    "mtls": "mtls",
    "m+b": "bearer mtls",
    "m+none": "mtls none",
    "k+b+n": "none bearer keyring",
    "s+none": "session none",
    "all": "none password bearer session keyring mtls",
}
# "-" is a 401, "anon" the anonymous principal.
TABLE = """
credential   none   bearer b+none passw  p+none mtls    m+b     m+none  k+b+n  s+none all
nothing      anon   -      anon   -      anon   -       -       anon    anon   anon   anon
token        anon   tok    tok    -      anon   -       tok     anon    tok    anon   tok
padded-token anon   tok    tok    -      anon   -       tok     anon    tok    anon   tok
wrong-token  anon   -      -      -      anon   -       -       anon    -      anon   -
token-hash   anon   -      -      -      anon   -       -       anon    -      anon   -
lower-scheme anon   -      anon   -      anon   -       -       anon    anon   anon   anon
upper-scheme anon   -      anon   -      anon   -       -       anon    anon   anon   anon
blank-token  anon   -      anon   -      anon   -       -       anon    anon   anon   anon
no-token     anon   -      anon   -      anon   -       -       anon    anon   anon   anon
tab-token    anon   -      anon   -      anon   -       -       anon    anon   anon   anon
bare-token   anon   -      anon   -      anon   -       -       anon    anon   anon   anon
digest       anon   -      anon   -      anon   -       -       anon    anon   anon   anon
password     anon   -      anon   user   user   -       -       anon    anon   anon   user
any-case     anon   -      anon   user   user   -       -       anon    anon   anon   user
wrong-pass   anon   -      anon   -      -      -       -       anon    anon   anon   -
no-pass      anon   -      anon   -      -      -       -       anon    anon   anon   -
NUL-pass     anon   -      anon   -      -      -       -       anon    anon   anon   -
long-pass    anon   -      anon   -      -      -       -       anon    anon   anon   -
unknown-user anon   -      anon   -      -      -       -       anon    anon   anon   -
no-colon     anon   -      anon   -      anon   -       -       anon    anon   anon   anon
not-base64   anon   -      anon   -      anon   -       -       anon    anon   anon   anon
CN           anon   -      anon   -      anon   analyst analyst analyst anon   anon   analyst
last-CN      anon   -      anon   -      anon   analyst analyst analyst anon   anon   analyst
CN-case      anon   -      anon   -      anon   -       -       anon    anon   anon   anon
pin          anon   -      anon   -      anon   reporting reporting reporting anon anon reporting
unmapped     anon   -      anon   -      anon   -       -       anon    anon   anon   anon
CN+wrong     anon   -      -      -      anon   analyst analyst analyst -      anon   analyst
unmap+token  anon   tok    tok    -      anon   -       tok     anon    tok    anon   tok
unmap+wrong  anon   -      -      -      anon   -       -       anon    -      anon   -
signature    anon   -      anon   -      anon   -       -       anon    -      anon   -
signed+token anon   tok    tok    -      anon   -       tok     anon    -      anon   -
CN+signature anon   -      anon   -      anon   analyst analyst analyst -      anon   analyst
st-token     anon   -      -      -      anon   -       -       anon    -      -      -
"""


def cases() -> list[tuple[str, str, str]]:
    head, *rows = [line.split() for line in TABLE.strip().splitlines()]
    return [
        (row[0], listener, expected)
        for row in rows
        for listener, expected in zip(head[1:], row[1:], strict=True)
    ]


async def outcome(authenticator: Authenticator, credential: str, methods: str) -> str:
    authorization, signature, leaf = CREDENTIALS[credential]
    headers = [(b"host", b"localhost")]
    if authorization is not None:
        headers.append((b"authorization", authorization.encode()))
    if signature is not None:
        headers.append((b"x-keyring-signature", signature.encode()))
    chain = [leaves()[leaf].pem] if leaf else []
    scope = {"extensions": {"tls": {"client_cert_chain": chain}}}
    principal = await authenticator.authenticate(scope, headers, methods.split())
    if principal is None:
        return "-"
    assert (principal.method == "none") == (principal.name == "")
    return principal.name or "anon"


@pytest.mark.parametrize(("credential", "listener", "expected"), cases())
async def test_precedence(credential: str, listener: str, expected: str) -> None:
    assert await outcome(Authenticator(config()), credential, LISTENERS[listener]) == expected


def test_the_table_covers_every_credential_and_listener() -> None:
    assert {credential for credential, _, _ in cases()} == set(CREDENTIALS)
    assert {listener for _, listener, _ in cases()} == set(LISTENERS)


async def test_only_the_first_authorization_header_counts() -> None:
    headers = [
        (b"authorization", b"Bearer wrong"),
        (b"authorization", f"Bearer {TOKEN}".encode()),
    ]
    authenticator = Authenticator(config())
    assert await authenticator.authenticate({}, headers, ["bearer"]) is None
    right = await authenticator.authenticate({}, headers[::-1], ["bearer"])
    assert right is not None
    assert right.name == "tok"


async def test_a_listener_without_tls_has_no_certificate() -> None:
    authenticator = Authenticator(config())
    scopes: tuple[dict[str, Any], ...]
    scopes = ({}, {"extensions": None}, {"extensions": {}}, {"extensions": {"tls": {}}})
    for scope in scopes:
        assert await authenticator.authenticate(scope, [], ["mtls"]) is None


async def test_the_common_name_wins_over_the_pin() -> None:
    leaf = leaves()["both"]
    principals = (by_certificate("by-pin", pin=leaf.pin), by_certificate("by-cn", cn="analyst"))
    authenticator = Authenticator(AuthConfig(principals=principals))
    scope = {"extensions": {"tls": {"client_cert_chain": [leaf.pem]}}}
    principal = await authenticator.authenticate(scope, [], ["mtls"])
    assert principal is not None
    assert (principal.name, principal.method) == ("by-cn", "mtls")


async def test_a_certificate_without_a_common_name_is_known_by_its_pin() -> None:
    leaf = issue_leaf()
    authenticator = Authenticator(
        AuthConfig(principals=(by_certificate("p", pin=leaf.pin.upper()),))
    )
    scope = {"extensions": {"tls": {"client_cert_chain": [leaf.pem]}}}
    principal = await authenticator.authenticate(scope, [], ["mtls"])
    assert principal is not None
    assert principal.name == "p"


async def test_of_two_principals_with_one_credential_the_later_wins(start: Start) -> None:
    """Odd-case 189: and its grants hold."""
    principals = (by_token("first", TOKEN), by_token("second", TOKEN))
    auth = AuthConfig(principals=principals)
    headers = [(b"authorization", f"Bearer {TOKEN}".encode())]
    principal = await Authenticator(auth).authenticate({}, headers, ["bearer"])
    assert principal is not None
    assert principal.name == "second"
    database = memory("app", *grants(first="read-write", second="read-only"))
    async with start(Config(auth=auth, databases=(database,))) as running:
        answer = await running.client(TOKEN).query("CREATE TABLE t(a)")
    assert (answer.status, answer.message) == (403, "forbidden: read-only (write not permitted)")


async def test_a_token_hash_in_capitals_matches() -> None:
    token_hash = by_token("p", TOKEN).methods[0].bearer
    assert token_hash is not None
    method = MethodConfig(bearer=BearerMethod(token_hash=token_hash.token_hash.upper()))
    authenticator = Authenticator(
        AuthConfig(principals=(PrincipalConfig(name="p", methods=(method,)),))
    )
    headers = [(b"authorization", f"Bearer {TOKEN}".encode())]
    assert await authenticator.authenticate({}, headers, ["bearer"]) is not None


async def test_session_tokens_are_bearer_tokens_where_sessions_are_off() -> None:
    authenticator = Authenticator(AuthConfig(principals=(by_token("p", "st_static"),)))
    headers = [(b"authorization", b"Bearer st_static")]
    principal = await authenticator.authenticate({}, headers, ["session", "bearer"])
    assert principal is not None
    assert principal.name == "p"


async def test_unknown_users_cost_a_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def compare(password: bytes, stored: bytes) -> bool:
        compared.append(stored)
        return False

    monkeypatch.setattr(bcrypt, "checkpw", compare)
    authenticator = Authenticator(config())
    for user in ("bob", "eve"):
        headers = [(b"authorization", basic(f"{user}:wrong").encode())]
        assert await authenticator.authenticate({}, headers, ["password"]) is None
    known, dummy = compared
    assert known != dummy
    assert known[:7] == dummy[:7] == b"$2b$04$"
    assert len(known) == len(dummy)


async def test_a_right_password_is_compared_once_and_a_wrong_one_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[bytes] = []
    compare = bcrypt.checkpw

    def counting(password: bytes, stored: bytes) -> bool:
        compared.append(password)
        return compare(password, stored)

    monkeypatch.setattr(bcrypt, "checkpw", counting)
    authenticator = Authenticator(config())
    for text, accepted in [
        ("bob:hunter:2", True),
        ("bob:nope", False),
        ("eve:hunter:2", False),
    ] * 2:
        headers = [(b"authorization", basic(text).encode())]
        found = await authenticator.authenticate({}, headers, ["password"])
        assert (found is not None) == accepted
    assert sorted(compared) == sorted([b"hunter:2", *[b"nope"] * 2, *[b"hunter:2"] * 2])


async def test_a_password_hash_that_is_not_bcrypt_matches_nothing() -> None:
    principal = by_password("p", "bob", "x")
    method = principal.methods[0].password
    assert method is not None
    broken = PrincipalConfig(
        name="p", methods=(MethodConfig(password=type(method)(user="bob", password_hash="plain")),)
    )
    authenticator = Authenticator(AuthConfig(principals=(broken,)))
    headers = [(b"authorization", basic("bob:plain").encode())]
    assert await authenticator.authenticate({}, headers, ["password"]) is None


async def test_basic_credentials_with_superfluous_padding_are_absent() -> None:
    padded = basic("bob:hunter:2")
    assert not padded.endswith("=")
    auth = AuthConfig(principals=(by_password("user", "bob", "hunter:2"),))
    authenticator = Authenticator(auth)
    for text, expected in ((padded, "user"), (padded + "=", "")):
        headers = [(b"authorization", text.encode())]
        found = await authenticator.authenticate({}, headers, ["password", "none"])
        assert found is not None
        assert found.name == expected
