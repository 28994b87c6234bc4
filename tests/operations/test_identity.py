"""Who asks: challenges are fetched and used again, session tokens minted, adopted, given up."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from quicsql_client import errors
from quicsql_client.auth import Basic, Bearer, Credential
from quicsql_client.ed25519_keys import load_ed25519
from quicsql_client.operations import Operation
from quicsql_client.operations.identity import Identity
from quicsql_client.operations.query import query
from quicsql_client.operations.stream import StreamOperations, StreamState
from quicsql_client.types import Enrollment, Statement
from quicsql_client.wire.messages import Request, Response

from .script import Script, pipeline, refuse, reply

KEY = Ed25519PrivateKey.generate()
RESULT = reply({"columns": ["n"], "rows": [[1]], "rows_affected": 0, "last_insert_id": 0})
DENIED = refuse(401, "authentication required")
MINTED = {
    "token": "st_1",
    "principal": "app",
    "expires_at": "2026-07-04T18:00:00Z",
    "max_expires_at": "2026-07-05T18:00:00Z",
}


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def with_key(clock: Clock | None = None) -> Identity:
    return Identity(Bearer("unused"), load_ed25519(KEY), clock or Clock())


def with_credential(credential: Credential | None) -> Identity:
    return Identity(credential, None, Clock())


def challenge(text: str) -> Response:
    return reply({"challenge": text})


def one(identity: Identity) -> Operation[Any]:
    return identity.identified(query("app", Statement("SELECT 1")))


def asked(script: Script) -> list[tuple[str, str | None]]:
    """(target, who asks) of each request: a challenge's text, or the authorization."""
    shown = ("x-keyring-challenge", "authorization")
    return [
        (request.target, next((v for n, v in request.headers if n in shown), None))
        for request in script.requests
    ]


def test_a_challenge_is_used_again_for_45_s() -> None:
    clock = Clock()
    identity = with_key(clock)
    first = Script(challenge("c1"), RESULT)
    first.play(one(identity))
    assert asked(first) == [("/_auth/challenge", None), ("/app/query", "c1")]
    clock.now_s = 44.9
    again = Script(RESULT)
    again.play(one(identity))
    assert asked(again) == [("/app/query", "c1")]
    clock.now_s = 45.0
    later = Script(challenge("c2"), RESULT)
    later.play(one(identity))
    assert asked(later) == [("/_auth/challenge", None), ("/app/query", "c2")]


def test_what_is_signed() -> None:
    """Challenge, method, decoded path and raw query; the body is not."""
    identity = with_key()
    script = Script(challenge("c1"), Response(200))
    script.play(identity.exchange(Request("POST", "/my%20db%C3%A9/x?a=%20b&c", body=b"body")))
    fields = dict(script.requests[1].headers)
    signature = base64.b64decode(fields["x-keyring-signature"], validate=True)
    public: Ed25519PublicKey = KEY.public_key()
    public.verify(signature, "c1\nPOST\n/my db\u00e9/x\na=%20b&c".encode())
    assert fields["x-keyring-key"].startswith("ssh-ed25519 AAAA")
    assert "authorization" not in fields


def test_a_kept_challenge_that_is_refused_is_fetched_anew_once() -> None:
    identity = with_key()
    Script(challenge("old"), RESULT).play(one(identity))
    script = Script(DENIED, challenge("new"), RESULT)
    script.play(one(identity))
    assert [who for _, who in asked(script)] == ["old", None, "new"]
    with pytest.raises(errors.AuthenticationError):
        Script(DENIED, challenge("newer"), DENIED).play(one(identity))
    with pytest.raises(errors.AuthenticationError):  # a fresh one: the key itself is refused
        Script(challenge("newest"), DENIED).play(one(identity))


@pytest.mark.parametrize(
    "answer", [reply({}), reply({"challenge": "a\nb"}), reply({"challenge": ""}), Response(200)]
)
def test_what_is_no_challenge(answer: Response) -> None:
    with pytest.raises(errors.RemoteProtocolError, match="challenge") as caught:
        Script(answer).play(one(with_key()))
    assert not caught.value.may_have_run


@pytest.mark.parametrize("status", [401, 404])
def test_a_listener_without_keyring(status: int) -> None:
    with pytest.raises(errors.AuthenticationError, match="auth list lacks keyring"):
        Script(refuse(status)).play(one(with_key()))


@pytest.mark.parametrize(
    "failure", [errors.ReadTimeout("no answer", may_have_run=True), refuse(401), refuse(503)]
)
def test_a_stream_outlives_a_challenge_that_does_not_come(failure: Any) -> None:
    clock = Clock()
    identity, stream = with_key(clock), StreamOperations("app")

    def autocommit() -> Operation[bool]:
        return identity.identified(stream.is_autocommit())

    told = {"type": "ok", "response": {"type": "get_autocommit", "is_autocommit": True}}
    Script(challenge("c1"), pipeline(told)).play(autocommit())
    clock.now_s = 60.0
    with pytest.raises(errors.Error):
        Script(failure).play(autocommit())
    assert stream.state is StreamState.OPEN
    assert Script(challenge("c2"), pipeline(told)).play(autocommit())


def test_who_asks_is_the_same_without_a_key() -> None:
    for credential, shown in (
        (Bearer("t"), "Bearer t"),
        (Basic("u", "p"), "Basic dTpw"),
        (None, None),
    ):
        script = Script(RESULT)
        script.play(one(with_credential(credential)))
        assert asked(script) == [("/app/query", shown)]


def test_a_request_that_says_who_asks_stays() -> None:
    script = Script(Response(200))
    script.play(with_key().exchange(Request("GET", "/", (("authorization", "Bearer own"),))))
    assert asked(script) == [("/", "Bearer own")]


def minted(identity: Identity) -> Identity:
    script = Script(*([challenge("c")] if identity._key else []), reply(MINTED))
    told = script.play(identity.mint_session())
    assert (told.token, told.principal) == ("st_1", "app")
    assert told.expires_at == datetime.datetime(2026, 7, 4, 18, tzinfo=datetime.UTC)
    assert told.max_expires_at == told.expires_at + datetime.timedelta(days=1)
    assert "st_1" not in repr(told)
    return identity


@pytest.mark.parametrize("make", [with_key, lambda: with_credential(Bearer("t"))])
def test_a_minted_token_stands_for_the_credential(make: Callable[[], Identity]) -> None:
    identity = minted(make())
    script = Script(RESULT)
    script.play(one(identity))
    assert asked(script) == [("/app/query", "Bearer st_1")]


def test_a_renewal_is_adopted_whatever_the_answer() -> None:
    identity = minted(with_credential(None))
    with pytest.raises(errors.AuthorizationError):
        Script(refuse(403, x_session_token="st_2")).play(one(identity))
    script = Script(RESULT)
    script.play(one(identity))
    assert asked(script) == [("/app/query", "Bearer st_2")]


@pytest.mark.parametrize("told", ["", "st_", "t", "st_a b", "st_" + "x" * 9000, "st_\u00e9"])
def test_what_is_no_renewal(told: str) -> None:
    identity = minted(with_credential(None))
    Script(reply({"columns": [], "rows": []}, x_session_token=told)).play(
        identity.exchange(Request("GET", "/"))
    )
    script = Script(RESULT)
    script.play(one(identity))
    assert asked(script) == [("/app/query", "Bearer st_1")]


def test_a_late_renewal_brings_no_session_back() -> None:
    identity = minted(with_credential(Bearer("t")))
    late = identity.exchange(Request("GET", "/"))
    next(late)
    Script(Response(204)).play(identity.revoke_session())
    with pytest.raises(StopIteration):
        late.send(Response(200, (("x-session-token", "st_2"),)))
    script = Script(RESULT)
    script.play(one(identity))
    assert asked(script) == [("/app/query", "Bearer t")]


def test_without_a_session_nobody_is_told_a_token() -> None:
    identity = with_credential(Bearer("t"))
    Script(Response(200, (("x-session-token", "st_2"),))).play(
        identity.exchange(Request("GET", "/"))
    )
    script = Script(RESULT)
    script.play(one(identity))
    assert asked(script) == [("/app/query", "Bearer t")]
    with pytest.raises(errors.LocalProtocolError, match="mint_session"):
        Script().play(identity.renew_session())


def test_renew_and_revoke() -> None:
    identity = minted(with_credential(None))
    renewed = {key: value for key, value in MINTED.items() if key != "principal"}
    script = Script(reply(renewed | {"token": "st_2"}))
    assert script.play(identity.renew_session()).principal == "app"
    assert asked(script) == [("/_auth/session", "Bearer st_1")]
    with pytest.raises(errors.OperationalError, match="not renewable"):
        Script(refuse(409, "session tokens are not renewable")).play(identity.renew_session())
    script = Script(DENIED)  # it has expired meanwhile
    script.play(identity.revoke_session())
    assert asked(script) == [("/_auth/session", "Bearer st_2")]
    with pytest.raises(errors.LocalProtocolError):
        Script().play(identity.revoke_session())


def test_a_session_token_given_as_a_bearer_is_a_session() -> None:
    identity = with_credential(Bearer("st_0"))
    script = Script(reply(MINTED))
    assert script.play(identity.renew_session()).token == "st_1"
    assert asked(script) == [("/_auth/session", "Bearer st_0")]


@pytest.mark.parametrize(
    "told",
    [
        {},
        MINTED | {"token": "secret"},
        MINTED | {"token": "st_\n"},
        MINTED | {"expires_at": "soon"},
        MINTED | {"expires_at": "2026-07-04T18:00:00"},
    ],
)
def test_what_is_no_session(told: Any) -> None:
    with pytest.raises(errors.RemoteProtocolError, match="known shape") as caught:
        Script(reply(told)).play(with_credential(None).mint_session())
    assert "secret" not in str(caught.value)


def test_enrolment_is_signed_and_says_its_token() -> None:
    identity = with_key()
    script = Script(challenge("c"), reply({"created": True, "principal": "u_x"}))
    assert script.play(identity.enroll("let me in")) == Enrollment("u_x", created=True)
    assert asked(script)[1] == ("/_auth/enroll", "c")
    assert script.requests[1].body == b'{"enroll_token":"let me in"}'
    again = Script(reply({"created": False, "principal": "u_x"}))
    assert not again.play(identity.enroll()).created
    assert again.requests[0].body == b""
    with pytest.raises(errors.LocalProtocolError, match="with_ed25519"):
        Script().play(with_credential(Bearer("t")).enroll())
