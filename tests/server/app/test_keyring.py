"""Ed25519 signatures over challenges, the roster of authorized keys, and `/_auth/challenge`.

Odd-cases 105, 106, 165, 167, 194.
"""

from __future__ import annotations

import base64
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from quicsql_client.errors import ConfigurationError
from quicsql_client.server.auth import Authenticator, Signers
from quicsql_client.server.auth.authorized_keys import parse_authorized_key, read_roster
from quicsql_client.server.config import (
    AuthConfig,
    Config,
    KeyringMethod,
    MethodConfig,
    PrincipalConfig,
)
from tests.fix_application import Start
from tests.fix_principals import by_token, grants, memory

_NS = 10**9
KEY, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()


def line_of(key: Ed25519PrivateKey, comment: str = "") -> str:
    """As `ssh-keygen` writes it."""
    raw = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return f"{raw.decode()} {comment}".rstrip()


def by_key(name: str, line: str) -> PrincipalConfig:
    return PrincipalConfig(name=name, methods=(MethodConfig(keyring=KeyringMethod(ed25519=line)),))


AUTH = AuthConfig(principals=(by_key("kr", line_of(KEY, "kr@host")), by_token("tok", "t")))


class Clock:
    """Stands still until told."""

    def __init__(self) -> None:
        self.now_ns = 1_800_000_000 * _NS

    def __call__(self) -> int:
        return self.now_ns


@dataclass
class Desk:
    """An authenticator with the challenges that it accepts."""

    config: AuthConfig = AUTH
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.signers = Signers.of(self.config, self.clock)
        self.authenticator = Authenticator(self.config, self.signers)

    async def who(self, asked: Asked, **keys: Any) -> str | None:
        """The principal of a request on `[keyring, bearer, none]`, "" for anonymous."""
        methods = keys.get("methods", ["none", "bearer", "keyring"])
        found = await self.authenticator.authenticate(asked.scope, asked.headers, methods)
        return None if found is None else found.name

    def asked(self, **keys: Any) -> Asked:
        return Asked(challenge=self.signers.challenges.issue(), **keys)


@dataclass(frozen=True)
class Asked:
    """A request, and what its signature says that it is."""

    challenge: str
    method: str = "POST"
    raw_path: bytes = b"/app/query"
    query: bytes = b""
    signed: str = "POST\n/app/query\n"
    key: Ed25519PrivateKey = KEY
    shown_key: str | None = line_of(KEY)
    shown_challenge: str | None = None
    signature: str | None = None
    bearer: str | None = None

    @property
    def scope(self) -> dict[str, Any]:
        return {"method": self.method, "raw_path": self.raw_path, "query_string": self.query}

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        signed = f"{self.challenge}\n{self.signed}".encode()
        signature = base64.b64encode(self.key.sign(signed)).decode()
        shown = self.challenge if self.shown_challenge is None else self.shown_challenge
        fields = {
            "x-keyring-key": self.shown_key,
            "x-keyring-challenge": shown,
            "x-keyring-signature": signature if self.signature is None else self.signature,
            "authorization": self.bearer and f"Bearer {self.bearer}",
        }
        return [(name.encode(), text.encode()) for name, text in fields.items() if text is not None]


async def test_a_signed_request_is_its_principals() -> None:
    desk = Desk()
    asked = desk.asked()
    assert await desk.who(asked) == "kr"
    assert await desk.who(asked) == "kr"  # a challenge is not spent
    assert await desk.who(asked, methods=["bearer", "none"]) == ""


@pytest.mark.parametrize(
    "asked",
    [
        {"signed": "GET\n/app/query\n"},
        {"raw_path": b"/app/v3/pipeline"},  # 105: reused on another path
        {"query": b"a=1"},
        {"signed": "POST\n/app/query"},  # 105: other bytes, the last newline is always there
        {"key": OTHER},  # signed by another key than the one shown
        {"shown_key": line_of(OTHER)},
        {"key": OTHER, "shown_key": line_of(OTHER)},  # 105: an unknown key
        {"shown_key": None},
        {"shown_key": ""},
        {"shown_key": "garbage"},
        {"shown_key": "ssh-rsa AAAA"},
        {"shown_key": "ssh-ed25519"},
        {"shown_key": "ssh-ed25519 AAAA"},
        {"shown_key": line_of(KEY).split()[1]},  # without its type
        {"shown_key": "\u00e9 " + line_of(KEY)[:-1]},
        {"shown_challenge": ""},
        {"shown_challenge": "A" * 75},
        {"shown_challenge": "not base64!"},
        {"signature": "zz"},
        {"signature": "AAAA"},
        {"signature": "-" * 86 + "=="},
        {"signature": base64.b64encode(bytes(64)).decode()},
        {"signature": base64.b64encode(bytes(63)).decode()},
    ],
)
async def test_what_is_not_rightly_signed_is_refused(asked: dict[str, Any]) -> None:  # 105
    desk = Desk()
    assert await desk.who(desk.asked(**asked)) is None
    assert await desk.who(desk.asked(**asked, bearer="t")) is None  # 165


async def test_without_a_signature_the_next_method_is_asked() -> None:  # 165
    desk = Desk()
    assert await desk.who(desk.asked(signature="")) == ""
    assert await desk.who(desk.asked(signature="", bearer="t")) == "tok"
    assert await desk.who(desk.asked(bearer="wrong")) == "kr"


@pytest.mark.parametrize(
    ("raw_path", "query", "signed"),
    [
        (b"/app/qu%65ry", b"", "POST\n/app/query\n"),
        (b"//app//query", b"", "POST\n//app//query\n"),
        (b"/app/%C3%A9", b"", "POST\n/app/\u00e9\n"),
        (b"/app/query", b"a=%20&b", "POST\n/app/query\na=%20&b"),
    ],
)
async def test_the_path_is_signed_decoded_and_the_query_as_sent(  # 167
    raw_path: bytes, query: bytes, signed: str
) -> None:
    desk = Desk()
    assert await desk.who(desk.asked(raw_path=raw_path, query=query, signed=signed)) == "kr"


async def test_an_unpadded_signature_is_refused() -> None:  # 167
    desk = Desk()
    asked = desk.asked()
    padded = dict(asked.headers)[b"x-keyring-signature"].decode()
    assert await desk.who(replace(asked, signature=padded)) == "kr"
    for wrong in (padded.rstrip("="), padded[:-1], padded + "=", padded + "===="):
        assert await desk.who(replace(asked, signature=wrong)) is None


async def test_an_unknown_key_costs_as_much_as_a_known_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    verified: list[bytes] = []

    class Counting:
        @staticmethod
        def from_public_bytes(key: bytes) -> Ed25519PublicKey:
            verified.append(key)
            return Ed25519PublicKey.from_public_bytes(key)

    monkeypatch.setattr("quicsql_client.server.auth.keyring.Ed25519PublicKey", Counting)
    desk = Desk()
    known = desk.asked()
    unknown = desk.asked(key=OTHER, shown_key=line_of(OTHER))
    forged = desk.asked(key=OTHER)
    assert [await desk.who(asked) for asked in (known, unknown, forged)] == ["kr", None, None]
    assert len(verified) == 3


async def test_a_challenge_is_valid_for_a_minute_on_this_server() -> None:  # 105
    desk, other = Desk(), Desk()
    asked = desk.asked()
    assert await other.who(asked) is None  # foreign
    desk.clock.now_ns += 60 * _NS - 1
    assert await desk.who(asked) == "kr"
    desk.clock.now_ns += 1
    assert await desk.who(asked) is None


async def test_every_byte_of_a_challenge_is_sealed() -> None:
    desk = Desk()
    issued = desk.signers.challenges.issue()
    assert len(issued) == 75
    raw = base64.urlsafe_b64decode(issued + "=")
    assert int.from_bytes(raw[16:24], "big") == desk.clock.now_ns + 60 * _NS
    for position in range(len(raw)):
        spoiled = bytearray(raw)
        spoiled[position] ^= 1
        text = base64.urlsafe_b64encode(spoiled).rstrip(b"=")
        assert not desk.signers.challenges.is_valid(text)
    for changed in (issued + "=", issued + "A", issued[:-1]):
        assert not desk.signers.challenges.is_valid(changed.encode())


@pytest.mark.parametrize(
    "line",
    [
        line_of(KEY),
        line_of(KEY, "a comment of words"),
        "  " + line_of(KEY, "c") + "\t",
        'no-pty,command="echo \\"hi\\" there" ' + line_of(KEY, "c"),
        line_of(KEY).replace(" ", "\t  "),
    ],
)
async def test_options_and_comment_do_not_matter(line: str) -> None:
    desk = Desk(AuthConfig(principals=(by_key("kr", line),)))
    assert await desk.who(desk.asked()) == "kr"
    assert await desk.who(desk.asked(shown_key=line)) == "kr"


def test_the_comment_is_whole() -> None:
    assert parse_authorized_key(line_of(KEY, "a b  c ")).comment == "a b  c"
    assert parse_authorized_key(line_of(KEY)).comment == ""


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("junk", "want an ssh-ed25519 key"),
        ('"open ' + line_of(KEY), "want an ssh-ed25519 key"),
        ("ssh-ed25519 !!!!", "is not base64"),
        ("ssh-ed25519 " + base64.b64encode(b"\0\0\0\x07ssh-rsa").decode(), "is not an ssh-ed25519"),
        (line_of(KEY) + "AAAA", "is not an ssh-ed25519"),
    ],
)
def test_a_line_without_a_key_says_what_is_wrong_and_not_what_it_held(
    line: str, fault: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=fault) as found:
        parse_authorized_key(line)
    assert line not in str(found.value)
    with pytest.raises(ConfigurationError, match=f'init auth: auth: principal "p" .*{fault}'):
        Authenticator(AuthConfig(principals=(by_key("p", line),)))
    roster = tmp_path / "keys"
    roster.write_text(f"# devices\n\n{line}\n")
    with pytest.raises(
        ConfigurationError, match=f"^init auth: keyring: authorized_keys line 3: .*{fault}"
    ):
        read_roster(str(roster))


def test_a_roster_that_cannot_be_read_ends_the_start(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    with pytest.raises(ConfigurationError, match=f"^init auth: open {missing}: No such file"):
        Authenticator(AuthConfig(authorized_keys=str(missing)))
    missing.write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match=f"^init auth: open {missing}: it is not UTF-8"):
        Authenticator(AuthConfig(authorized_keys=str(missing)))


async def test_the_comment_of_a_roster_key_is_the_principal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:  # 194
    roster = tmp_path / "keys"
    nameless = Ed25519PrivateKey.generate()
    lines = ["# devices", "", line_of(OTHER, "bob's phone"), line_of(KEY, "eve"), line_of(nameless)]
    roster.write_bytes("\r\n".join(lines).encode())
    with caplog.at_level(logging.WARNING, "quicsql.server"):
        desk = Desk(msgspec.structs.replace(AUTH, authorized_keys=str(roster)))
    (warning,) = {record.getMessage() for record in caplog.records}
    assert warning.startswith("authorized_keys line 5: skipped")
    assert await desk.who(desk.asked(key=OTHER, shown_key=line_of(OTHER))) == "bob's phone"
    assert await desk.who(desk.asked()) == "kr"  # a declared key is not the roster's to give
    assert await desk.who(desk.asked(key=nameless, shown_key=line_of(nameless))) is None
    assert desk.authenticator.names == {"kr", "tok", "eve", "bob's phone"}


SERVED = Config(auth=AUTH, databases=(memory("app", *grants(kr="read-only", everyone="none")),))


async def test_challenges_are_for_everybody_where_keys_are_accepted(start: Start) -> None:
    async with start(SERVED) as running:
        answer = await running.client("wrong", methods=["keyring"]).send("GET", "/_auth/challenge")
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        assert set(answer.json()) == {"challenge"}
        for method in ("POST", "HEAD", "OPTIONS"):
            client = running.client(methods=["keyring"])
            refused = await client.send(method, "/_auth/challenge")
            assert refused.status == 405
            assert method == "HEAD" or refused.message == "use GET"


@pytest.mark.parametrize(
    ("methods", "path", "status"),
    [
        (["bearer"], "/_auth/challenge", 401),  # 106
        (["bearer", "none"], "/_auth/challenge", 404),  # 106
        (["keyring", "none"], "/_auth/challenge/", 404),
        (["keyring", "none"], "/_auth", 404),
    ],
)
async def test_elsewhere_there_is_no_challenge(
    start: Start, methods: list[str], path: str, status: int
) -> None:
    async with start(SERVED) as running:
        answer = await running.client(methods=methods).send("GET", path)
        assert answer.status == status
        expected = {401: "authentication required", 404: "reserved path not available"}
        assert answer.message == expected[status]


async def test_challenges_outlive_a_reload_and_keys_of_the_roster_do_not(
    start: Start, tmp_path: Path
) -> None:
    roster = tmp_path / "keys"
    roster.write_text(line_of(OTHER, "roster") + "\n")
    auth = msgspec.structs.replace(AUTH, authorized_keys=str(roster))
    config = msgspec.structs.replace(SERVED, auth=auth)
    async with start(config) as running:
        client = running.client(methods=["keyring"])
        challenge = (await client.send("GET", "/_auth/challenge")).json()["challenge"]

        async def status(key: Ed25519PrivateKey) -> int:
            asked = Asked(challenge, key=key, shown_key=line_of(key))
            headers = {name.decode(): value.decode() for name, value in asked.headers}
            answer = await client.send("POST", "/app/query", b'{"sql":"SELECT 1"}', headers=headers)
            return answer.status

        assert (await status(KEY), await status(OTHER)) == (200, 403)
        roster.write_text("# nobody\n")
        assert "roster" in running.application.reload(config)
        assert (await status(KEY), await status(OTHER)) == (200, 401)
        roster.write_text("junk\n")
        with pytest.raises(ConfigurationError, match="authorized_keys line 1"):
            running.application.reload(config)
        assert await status(KEY) == 200
