"""Answers of `/_auth/*`: challenges, session tokens, enrolment. The client's half.

Source: protocol/auth.md, "Keyring", "Session tokens" and "Device enrolment".
"""

from __future__ import annotations

import datetime
import re

import msgspec

from ..types import Enrollment, SessionToken
from .shapes import decode_shape, unknown_shape

__all__ = [
    "decode_challenge",
    "decode_enrollment",
    "decode_session",
    "encode_enrollment",
    "is_session_token",
]

# Both go into header fields: nothing that ends a line, and nothing that is endless.
_CHALLENGE = re.compile(r"[\x21-\x7e]{1,1024}")
_TOKEN = re.compile(r"st_[\x21-\x7e]{1,8192}")


class _Challenge(msgspec.Struct):
    challenge: str


class _Session(msgspec.Struct):
    token: str
    expires_at: datetime.datetime
    max_expires_at: datetime.datetime | None = None
    principal: str = ""


def decode_challenge(body: bytes) -> str:
    """The challenge to sign. Raises RemoteProtocolError."""
    challenge = decode_shape(body, _Challenge, "challenge").challenge
    if not _CHALLENGE.fullmatch(challenge):
        raise unknown_shape("challenge")
    return challenge


def is_session_token(text: str) -> bool:
    """Whether a text is a session token that can be sent."""
    return _TOKEN.fullmatch(text) is not None


def decode_session(body: bytes, principal: str = "") -> SessionToken:
    """A session token; principal: whose it is, where the answer does not say it.

    Raises RemoteProtocolError, quoting nothing.
    """
    told = decode_shape(body, _Session, "session token")
    times = (told.expires_at, told.max_expires_at or told.expires_at)
    if not is_session_token(told.token) or any(time.tzinfo is None for time in times):
        raise unknown_shape("session token")
    return SessionToken(
        told.token, told.principal or principal, told.expires_at, told.max_expires_at
    )


def encode_enrollment(token: str | None) -> bytes:
    """The body of an enrolment; without a token none."""
    return b"" if token is None else msgspec.json.encode({"enroll_token": token})


def decode_enrollment(body: bytes) -> Enrollment:
    """Who the key is now. Raises RemoteProtocolError."""
    return decode_shape(body, Enrollment, "enrolment")
