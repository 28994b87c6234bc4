"""Who asks: every request of a client gets what identifies it, and its answer is looked at for what
changes that.

An Ed25519 key signs over a challenge of the server, fetched when there is none that is young
enough; a session token, once minted, stands for the client's own credential and is replaced by
the renewals that answers carry. Shared by all calls of a client, from any thread.
Source: protocol/client.md, section 1 and "Keyring caching"; protocol/auth.md.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ..auth import IDENTIFYING, Bearer, Credential, Ed25519Key
from ..errors import AuthenticationError, Error, LocalProtocolError, TransportError
from ..types import Enrollment, SessionToken
from ..wire.identity import (
    decode_challenge,
    decode_enrollment,
    decode_session,
    encode_enrollment,
    is_session_token,
)
from ..wire.messages import JSON_HEADERS, Request, Response
from . import Operation
from .answers import require_ok

__all__ = ["CHALLENGE_REUSE_S", "Identity"]

_T = TypeVar("_T")

CHALLENGE_REUSE_S = 45.0
"""How long a challenge is signed over; the server takes it for 60 s."""

_SESSION = "/_auth/session"
_UNAUTHENTICATED = 401


@dataclass(frozen=True, slots=True)
class _Challenge:
    text: str
    fetched_at_s: float


@dataclass(frozen=True, slots=True)
class _Session:
    token: str
    principal: str = ""


class Identity:
    """A client's credential and what it has become. The key comes before the credential.

    clock: seconds, never going back.
    """

    def __init__(
        self, credential: Credential | None, key: Ed25519Key | None, clock: Callable[[], float]
    ) -> None:
        self._credential = credential
        self._key = key
        self._clock = clock
        self._lock = threading.Lock()
        self._challenge: _Challenge | None = None
        self._session: _Session | None = None
        if key is None and isinstance(credential, Bearer) and is_session_token(credential.token):
            self._session = _Session(credential.token)

    # What every operation gets

    def identified(self, operation: Operation[_T]) -> Operation[_T]:
        """The same operation, each of its requests with what identifies."""
        has_none = self._credential is None and self._key is None and self._session is None
        return operation if has_none else self._identified(operation)

    def _identified(self, operation: Operation[_T]) -> Operation[_T]:
        try:
            request = next(operation)
            while True:
                try:
                    response = yield from self.exchange(request)
                except BaseException as exc:  # the operation must learn of cancelling, too
                    request = operation.throw(exc)
                else:
                    request = operation.send(response)
        except StopIteration as finished:
            value: _T = finished.value
            return value

    def exchange(self, request: Request) -> Operation[Response]:
        """The answer to one request, whatever its status."""
        if any(name in IDENTIFYING for name, _ in request.headers):
            return (yield request)
        session = self._session
        if session is None:
            return (yield from self._by_credential(request))
        response = yield _with_token(request, session)
        self._adopt(session, response)
        return response

    def _by_credential(self, request: Request) -> Operation[Response]:
        if self._key is not None:
            return (yield from self._by_key(self._key, request))
        if self._credential is not None:
            request = request.with_headers(self._credential.headers_for(request))
        return (yield request)

    # Keys

    def _by_key(self, key: Ed25519Key, request: Request) -> Operation[Response]:
        if kept := self._young_challenge():
            response = yield from self._signed(key, request, kept)
            if response.status != _UNAUTHENTICATED:
                return response
            # A server that was started anew refuses the challenges of the old one.
        fresh = yield from self._fetch_challenge()
        return (yield from self._signed(key, request, fresh))

    def _signed(self, key: Ed25519Key, request: Request, over: _Challenge) -> Operation[Response]:
        response = yield request.with_headers(key.headers_for(request, over.text))
        if response.status == _UNAUTHENTICATED:
            with self._lock:
                self._challenge = None if self._challenge is over else self._challenge
        return response

    def _young_challenge(self) -> _Challenge | None:
        kept = self._challenge
        is_young = kept is not None and self._clock() - kept.fetched_at_s < CHALLENGE_REUSE_S
        return kept if is_young else None

    def _fetch_challenge(self) -> Operation[_Challenge]:
        request, asked_at_s = Request("GET", "/_auth/challenge"), self._clock()
        try:
            response = yield request
            require_ok(request, response)
            challenge = _Challenge(decode_challenge(response.body), asked_at_s)
        except TransportError as exc:
            exc.may_have_run = False  # what was to be signed has not been sent
            raise
        except Error as exc:
            if exc.http_status not in (_UNAUTHENTICATED, 404):
                raise
            raise AuthenticationError(
                f"{exc}: the listener takes no Ed25519 keys (its auth list lacks keyring)"
            ) from None
        self._challenge = challenge
        return challenge

    # Session tokens

    def _adopt(self, used: _Session, response: Response) -> None:
        """Go on with the renewed token of an answer, unless the session has changed meanwhile."""
        renewed = response.header("x-session-token")
        if renewed is not None and is_session_token(renewed):
            self._replace(used, _Session(renewed, used.principal))

    def _replace(self, old: _Session | None, new: _Session | None) -> None:
        with self._lock:
            if self._session is old:
                self._session = new

    def mint_session(self) -> Operation[SessionToken]:
        """A session token for the client's own credential; it stands for the client from now on."""
        request = Request("POST", _SESSION)
        response = yield from self._by_credential(request)
        require_ok(request, response)
        minted = decode_session(response.body)
        with self._lock:
            self._session = _Session(minted.token, minted.principal)
        return minted

    def renew_session(self) -> Operation[SessionToken]:
        """The session's next token, which takes its place."""
        session, request = self._require_session(), Request("PUT", _SESSION)
        response = yield _with_token(request, session)
        require_ok(request, response)
        renewed = decode_session(response.body, session.principal)
        self._replace(session, _Session(renewed.token, session.principal))
        return renewed

    def revoke_session(self) -> Operation[None]:
        """End the session, with every token of it; one that has ended already is no error."""
        session, request = self._require_session(), Request("DELETE", _SESSION)
        response = yield _with_token(request, session)
        if response.status not in (204, _UNAUTHENTICATED):
            require_ok(request, response)
        with self._lock:
            self._session = None

    def _require_session(self) -> _Session:
        session = self._session
        if session is None:
            raise LocalProtocolError("the client has no session; mint_session() begins one")
        return session

    # Enrolment

    def enroll(self, token: str | None = None) -> Operation[Enrollment]:
        """Make the client's key that of a principal."""
        if self._key is None:
            raise LocalProtocolError(
                "enroll: the client has no key; make it with with_ed25519(...)"
            )
        request = Request("POST", "/_auth/enroll", JSON_HEADERS, encode_enrollment(token))
        response = yield from self._by_key(self._key, request)
        require_ok(request, response)
        return decode_enrollment(response.body)

    def presented(self) -> str | None:
        """What a server that answered 401 was shown, in words; it does not say what is wrong."""
        if self._session is not None:
            return (
                "the session token has expired, was revoked, or is of a server before its restart"
            )
        if self._key is not None:
            return f"signed with {self._key}, which no principal of the server has"
        return None


def _with_token(request: Request, session: _Session) -> Request:
    return request.with_headers(Bearer(session.token).headers_for(request))
