"""Session tokens: minted, used, renewed by hand and by themselves, revoked, and out of date.

Odd-cases 107-112, 170-172.
"""

from __future__ import annotations

import base64
import contextlib
import struct
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest

from quicsql_client.server.auth import Authenticator, Signers
from quicsql_client.server.auth.revocations import MAX_CHAINS_PER_PRINCIPAL, Revocations
from quicsql_client.server.config import AuthConfig, Config, SessionConfig
from tests.fix_application import Answer, Client, Running, Start
from tests.fix_principals import by_certificate, by_password, by_token, grants, issue_leaf, memory

_NS = 10**9
BEGUN_NS = 1_782_000_000 * _NS  # 2026-06-21T00:00:00Z
PATH = "/_auth/session"
ALL = ("mtls", "session", "bearer", "password", "none")
AUTH = AuthConfig(
    principals=(
        by_token("tok", "tok-token"),
        by_token("ro", "ro-token"),
        by_password("user", "bob", "pass"),
        by_certificate("analyst", cn="analyst"),
    ),
    session=SessionConfig(enabled=True, idle_ttl_s=600.0, max_ttl_s=7200.0),
)
DATABASES = (memory("app", *grants(tok="read-write", ro="read-only", user="read-only")),)


class Desk:
    """A running application, its clock and clients."""

    def __init__(self, running: Running, signers: Signers, clock: Clock) -> None:
        self.running, self.tokens, self.clock = running, signers.tokens, clock

    def client(self, token: str | None = None, *methods: str) -> Client:
        return self.running.client(token, methods=methods or ALL)

    async def mint(self, token: str = "tok-token") -> str:
        answer = await self.client(token).send("POST", PATH)
        assert answer.status == 200, answer.body
        return str(answer.json()["token"])

    async def put(self, token: str) -> Answer:
        return await self.client(token).send("PUT", PATH)

    async def delete(self, token: str) -> Answer:
        return await self.client(token).send("DELETE", PATH)

    async def use(self, token: str, *methods: str) -> int:
        return (await self.client(token, *methods).query("SELECT 1")).status


class Clock:
    """Stands still until told."""

    def __init__(self) -> None:
        self.now_ns = BEGUN_NS

    def __call__(self) -> int:
        return self.now_ns

    def pass_s(self, seconds: float) -> None:
        self.now_ns += round(seconds * _NS)


OpenDesk = Callable[..., contextlib.AbstractAsyncContextManager[Desk]]


@pytest.fixture
def open_desk(start: Start) -> OpenDesk:
    """Start with session tokens of these lifetimes."""

    @contextlib.asynccontextmanager
    async def opening(idle_s: float = 600.0, max_s: float = 7200.0) -> AsyncIterator[Desk]:
        session = SessionConfig(enabled=True, idle_ttl_s=idle_s, max_ttl_s=max_s)
        auth = msgspec.structs.replace(AUTH, session=session)
        clock = Clock()
        config = Config(auth=auth, databases=DATABASES)
        signers = Signers.of(auth, clock)
        async with start(config, signers=signers) as running:
            yield Desk(running, signers, clock)

    return opening


@pytest.fixture
async def desk(open_desk: OpenDesk) -> AsyncIterator[Desk]:
    async with open_desk() as opened:
        yield opened


def refused(answer: Answer) -> bool:
    """Whether the answer is the one 401."""
    if answer.status != 401:
        return False
    assert answer.message == "authentication required"
    assert answer.headers["www-authenticate"] == 'Bearer, Basic realm="restricted"'
    return True


def raw(token: str) -> bytes:
    text = token.removeprefix("st_")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


async def test_a_minted_token_is_its_principal(desk: Desk) -> None:  # 107
    answer = await desk.client("tok-token").send("POST", PATH, b"{ignored")
    token = answer.json()["token"]
    assert answer.body == (
        b'{"expires_at":"2026-06-21T00:10:00Z","max_expires_at":"2026-06-21T02:00:00Z",'
        b'"principal":"tok","token":"%s"}\n' % token.encode()
    )
    assert answer.headers["content-type"] == "application/json"
    tok, ro = desk.client(token), desk.client(await desk.mint("ro-token"))
    assert (await tok.query("CREATE TABLE t(a)")).status == 200
    assert (await ro.query("SELECT * FROM t")).status == 200
    assert (await ro.query("CREATE TABLE u(a)")).status == 403


async def test_the_layout_of_a_token(desk: Desk) -> None:
    token = raw(await desk.mint())
    head = struct.unpack(">B16sQQQQBBHH16s", token[:71])
    assert len(token) == 103 + len("tok")
    assert token[71:-32] == b"tok"
    assert head[0] == 1
    assert head[2:5] == (BEGUN_NS + 600 * _NS, BEGUN_NS + 7200 * _NS, BEGUN_NS)
    assert head[5:] == (0, 0, 0, 1, 0, bytes(16))


async def test_each_method_mints_but_no_token_and_nobody(desk: Desk) -> None:  # 107
    basic = {"authorization": "Basic " + base64.b64encode(b"bob:pass").decode()}
    answer = await desk.client().send("POST", PATH, headers=basic)
    assert answer.json()["principal"] == "user"
    leaf = issue_leaf("analyst")
    answer = await desk.client().send("POST", PATH, leaf=leaf)
    assert answer.json()["principal"] == "analyst"
    token = await desk.mint()
    for client in (
        desk.client(token),
        desk.client(token, "session", "none"),
        desk.client(token, "session"),
        desk.client(),
        desk.client("wrong"),
        desk.client("st_zzz"),
    ):
        assert refused(await client.send("POST", PATH))


async def test_the_time_is_cut_to_whole_seconds(desk: Desk) -> None:
    desk.clock.pass_s(0.999999999)
    answer = await desk.client("tok-token").send("POST", PATH)
    assert answer.json()["expires_at"] == "2026-06-21T00:10:00Z"


async def test_tokens_end_with_their_time(desk: Desk) -> None:  # 107
    token = await desk.mint()
    desk.clock.now_ns += 600 * _NS - 1
    assert await desk.use(token) == 200
    desk.clock.now_ns += 1
    assert refused(await desk.client(token).query("SELECT 1"))
    assert refused(await desk.put(token))  # 172
    assert refused(await desk.delete(token))


async def test_tokens_are_for_listeners_that_accept_them(desk: Desk) -> None:  # 108
    token = await desk.mint()
    assert await desk.use(token, "session") == 200
    assert await desk.use(token, "bearer") == 401
    assert await desk.use(token, "bearer", "none") == 401
    assert await desk.use(token, "none") == 403  # no bearer is looked at: anonymous
    assert (await desk.client("tok-token", "bearer").send("POST", PATH)).status == 404
    assert (await desk.client(None, "bearer").send("POST", PATH)).status == 401
    assert (await desk.client("tok-token").send("POST", PATH + "/")).status == 404


async def test_where_sessions_are_off_the_path_is_reserved(start: Start) -> None:
    auth = msgspec.structs.replace(AUTH, session=SessionConfig())
    async with start(Config(auth=auth, databases=DATABASES)) as running:
        client = running.client("tok-token", methods=["session", "bearer"])
        answer = await client.send("POST", PATH)
        assert (answer.status, answer.message) == (404, "reserved path not available")


@pytest.mark.parametrize("method", ["GET", "PATCH", "OPTIONS", "HEAD"])
async def test_other_methods_are_told_which_there_are(desk: Desk, method: str) -> None:  # 112
    for client in (desk.client(), desk.client("wrong")):
        answer = await client.send(method, PATH)
        assert answer.status == 405
        wanted = "use POST (mint), PUT (renew), or DELETE (revoke)"
        assert method == "HEAD" or answer.message == wanted


async def test_every_byte_of_a_token_is_sealed(desk: Desk) -> None:  # 107
    token = await desk.mint()
    assert desk.tokens.read(token.encode()) is not None
    content = raw(token)
    for position in range(len(content)):
        spoiled = bytearray(content)
        spoiled[position] ^= 1
        text = b"st_" + base64.urlsafe_b64encode(spoiled).rstrip(b"=")
        assert desk.tokens.read(text) is None
    for wrong in (
        token + "A",
        "st_",
        "st_AAAA",
        "ST_" + token,
        "x" + token,
        token + "=",
        "st_\xe9",
    ):
        assert refused(await desk.client(wrong, "session", "bearer").query("SELECT 1"))
    assert Signers.of(AUTH).tokens.read(token.encode()) is None  # of another process


async def test_unused_bits_of_the_last_character_do_not_count(desk: Desk) -> None:  # 170
    token = await desk.mint("ro-token")  # 105 bytes end on a whole character
    token = await desk.mint()  # 106 bytes leave four bits over
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(token[-1])
    assert last % 16 == 0
    assert await desk.use(token[:-1] + alphabet[last + 5]) == 200
    assert await desk.use(token[:-1] + alphabet[(last + 16) % 64]) == 401


async def test_a_renewable_token_is_renewed_to_the_end_of_its_chain(desk: Desk) -> None:  # 109
    first = await desk.mint()
    desk.clock.pass_s(60)
    answer = await desk.put(first)
    assert set(answer.json()) == {"expires_at", "max_expires_at", "token"}
    assert answer.json()["expires_at"] == "2026-06-21T00:11:00Z"
    assert answer.json()["max_expires_at"] == "2026-06-21T02:00:00Z"
    second = answer.json()["token"]
    assert (await desk.use(first), await desk.use(second)) == (200, 200)
    desk.clock.pass_s(540)
    assert (await desk.use(first), await desk.use(second)) == (401, 200)
    for _ in range(12):
        answer = await desk.put(second)
        second = answer.json()["token"]
        desk.clock.pass_s(550)
    assert answer.json()["expires_at"] == "2026-06-21T02:00:00Z"
    assert refused(await desk.put(second))
    assert await desk.use(second) == 401


async def test_only_the_token_itself_renews_and_revokes(desk: Desk) -> None:
    token = await desk.mint()
    spoiled = token[:40] + ("A" if token[40] != "A" else "B") + token[41:]
    for method in ("PUT", "DELETE"):
        for wrong in (None, "wrong", "tok-token", "st_zzz", spoiled):
            assert refused(await desk.client(wrong).send(method, PATH))
    assert await desk.use(token) == 200


async def test_a_token_that_is_not_renewable_says_so(open_desk: OpenDesk) -> None:  # 109, 172
    async with open_desk(max_s=0.0) as desk:
        answer = await desk.client("tok-token").send("POST", PATH)
        assert set(answer.json()) == {"expires_at", "principal", "token"}
        token = answer.json()["token"]
        spoiled = token[:40] + ("A" if token[40] != "A" else "B") + token[41:]
        for _ in ("live", "revoked", "expired"):
            answer = await desk.put(token)
            text = "session tokens are not renewable (set auth.session.max_ttl)"
            assert (answer.status, answer.message) == (409, text)
            assert refused(await desk.put(spoiled))
            await desk.delete(token)
            desk.clock.pass_s(300.5)
        assert await desk.use(token) == 401


async def test_an_idle_ttl_of_nothing_is_the_default(open_desk: OpenDesk) -> None:
    async with open_desk(idle_s=0.0) as desk:
        answer = await desk.client("tok-token").send("POST", PATH)
        assert answer.json()["expires_at"] == "2026-06-21T00:15:00Z"


async def test_a_token_in_its_second_half_is_renewed_by_any_answer(desk: Desk) -> None:  # 110
    token = await desk.mint()
    client = desk.client(token)
    desk.clock.now_ns += 300 * _NS - 1
    assert "x-session-token" not in (await client.query("SELECT 1")).headers
    desk.clock.now_ns += 1
    answers = [
        await client.query("SELECT 1"),
        await client.send("GET", "/nope/export"),
        await client.send("GET", "/app/query"),
        await client.send("GET", "/_foo"),
        await client.query("not SQL"),
    ]
    assert [answer.status for answer in answers] == [200, 403, 405, 404, 200]
    for answer in answers:
        assert answer.headers["x-session-expires"] == "2026-06-21T00:15:00Z"
        assert await desk.use(answer.headers["x-session-token"]) == 200
    renewed = answers[0].headers["x-session-token"]
    assert "x-session-token" not in (await desk.client(renewed).query("SELECT 1")).headers
    desk.clock.pass_s(400)
    assert (await desk.use(token), await desk.use(renewed)) == (401, 200)


async def test_some_answers_never_renew(desk: Desk) -> None:  # 110
    token = await desk.mint()
    desk.clock.pass_s(400)
    for method, path in [
        ("GET", "/_health"),
        ("PUT", PATH),
        ("GET", PATH),
        ("GET", "/_auth/challenge"),  # no keyring here: authenticated, 404
        ("POST", "/_auth/enroll"),
    ]:
        answer = await desk.client(token).send(method, path)
        assert "x-session-token" not in answer.headers
    assert "x-session-token" in (await desk.client(token).send("GET", "/_auth")).headers
    assert "x-session-token" not in (await desk.client("tok-token").query("SELECT 1")).headers


async def test_a_token_that_cannot_be_renewed_is_not(open_desk: OpenDesk) -> None:  # 110
    async with open_desk(max_s=0.0) as desk:
        token = await desk.mint()
        desk.clock.pass_s(599)
        answer = await desk.client(token).query("SELECT 1")
        assert answer.status == 200
        assert "x-session-token" not in answer.headers


async def test_the_last_renewal_lives_to_the_end_of_the_chain(open_desk: OpenDesk) -> None:  # 171
    async with open_desk(max_s=800.0) as desk:
        token = await desk.mint()
        desk.clock.pass_s(350)
        answer = await desk.client(token).query("SELECT 1")
        assert answer.headers["x-session-expires"] == "2026-06-21T00:13:20Z"  # max_expires_at
        last = answer.headers["x-session-token"]
        desk.clock.pass_s(449)
        answer = await desk.client(last).query("SELECT 1")
        assert answer.status == 200
        assert "x-session-token" not in answer.headers
        desk.clock.pass_s(1)
        assert await desk.use(last) == 401


async def test_revoking_ends_the_whole_chain_and_no_other(desk: Desk) -> None:  # 111
    first, other = await desk.mint(), await desk.mint()
    second = (await desk.put(first)).json()["token"]
    answer = await desk.delete(second)
    assert (answer.status, answer.body) == (204, b"")
    assert "content-length" not in answer.headers
    for token in (first, second):
        assert await desk.use(token) == 401
        assert refused(await desk.put(token))
        assert (await desk.delete(token)).status == 204
    assert await desk.use(other) == 200


async def test_a_reload_keeps_tokens_and_ends_those_of_principals_that_are_gone(
    desk: Desk,
) -> None:
    tok, ro = await desk.mint(), await desk.mint("ro-token")
    config = Config(auth=AUTH, databases=DATABASES)
    without = msgspec.structs.replace(
        config,
        auth=msgspec.structs.replace(AUTH, principals=AUTH.principals[:1]),
        databases=(memory("app", *grants(tok="read-only")),),
    )
    assert "ro" in desk.running.application.reload(without)
    assert await desk.use(tok) == 200
    assert (await desk.client(tok).query("CREATE TABLE t(a)")).status == 403  # grants are live
    for answer in (
        await desk.client(ro).query("SELECT 1"),
        await desk.put(ro),
        await desk.delete(ro),
    ):
        assert refused(answer)
    desk.clock.pass_s(1)
    desk.running.application.reload(config)  # ro is back; what it held before is not
    assert refused(await desk.client(ro).query("SELECT 1"))
    assert await desk.use(await desk.mint("ro-token")) == 200
    assert await desk.use(tok) == 200


def test_revocations_are_forgotten_when_their_chain_is_over() -> None:
    revocations = Revocations(longest_ns=100)
    revocations.add(b"a", "p", 50, now_ns=10)
    revocations.add(b"b", "p", 90, now_ns=49)
    assert revocations.holds(b"a", "p", 1)
    assert not revocations.holds(b"a", "q", 1)
    revocations.add_all_of("q", now_ns=50)
    assert not revocations.holds(b"a", "p", 1)
    assert revocations.holds(b"b", "p", 1)
    assert revocations.holds(b"x", "q", 50)
    assert not revocations.holds(b"x", "q", 51)
    revocations.add(b"c", "r", 200, now_ns=150)
    assert not revocations.holds(b"b", "p", 1)
    assert not revocations.holds(b"x", "q", 50)


def test_too_many_revocations_revoke_all_of_their_principal() -> None:
    revocations = Revocations(longest_ns=10**6)
    for number in range(MAX_CHAINS_PER_PRINCIPAL):
        revocations.add(number.to_bytes(16, "big"), "p", 10**6, now_ns=number)
    assert not revocations.holds(b"live", "p", 5)
    revocations.add(b"one more", "p", 10**6, now_ns=5000)
    assert revocations.holds(b"live", "p", 5)
    assert revocations.holds(bytes(16), "p", 0)
    assert not revocations.holds(b"live", "q", 5)
    assert not revocations.holds(b"later", "p", 5001)


async def test_a_token_of_a_principal_that_is_not_declared_is_refused() -> None:
    signers = Signers.of(AUTH, Clock())
    claims = signers.tokens.mint("tok", "bearer")
    headers = [(b"authorization", f"Bearer {signers.tokens.encode(claims)}".encode())]
    for principals, expected in ((AUTH.principals, "tok"), (AUTH.principals[1:], None)):
        auth = msgspec.structs.replace(AUTH, principals=principals)
        authenticator = Authenticator(auth, signers)
        found = await authenticator.authenticate({}, headers, ["session", "none"])
        assert (None if found is None else found.name) == expected
