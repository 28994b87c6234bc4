"""Credentials that travel as header fields:

Bearer token, HTTP Basic, and the signature of an Ed25519 key over a challenge of the server, which
`operations.identity` fetches. They sign requests; they do no I/O.

A client certificate is not here: it belongs to the connection (`certificates`). Every repr is
masked. Source: protocol/auth.md, "Methods", "Precedence" and "Keyring".
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import unquote_to_bytes

from .errors import ConfigurationError
from .wire.messages import Headers, Request

__all__ = ["IDENTIFYING", "Basic", "Bearer", "Credential", "Ed25519Key", "Ed25519Signer"]

# Printable ASCII: what any server and proxy carries in a header field unchanged.
_TOKEN = re.compile(r"[\x21-\x7e]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Credential(Protocol):
    """Says who asks, with header fields for one request."""

    def headers_for(self, request: Request) -> Headers:
        """The fields that `request` needs; they hold a secret and must not be logged."""
        ...


@dataclass(frozen=True, slots=True)
class Bearer:
    """A bearer token, static or of a login session (`st_...`).

    Raises ConfigurationError when it is empty or holds a blank, a control or a non-ASCII character.
    """

    token: str = field(repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.token, str):
            raise ConfigurationError(
                f"bearer token: expected a str, got {type(self.token).__name__}"
            )
        if not self.token:
            raise ConfigurationError("bearer token: it is empty; leave the option out instead")
        if not _TOKEN.fullmatch(self.token):
            raise ConfigurationError(
                "bearer token: it holds a blank, line break, control or non-ASCII character; "
                "strip what was read from a file or the environment"
            )

    def headers_for(self, request: Request) -> Headers:
        """`authorization: Bearer <token>`: the scheme in this case, one blank."""
        return (("authorization", f"Bearer {self.token}"),)


@dataclass(frozen=True, slots=True)
class Basic:
    """A user name and a password, sent as UTF-8.

    Raises ConfigurationError when the user is empty or holds a colon, or either holds a control
    character.
    """

    user: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        for name, value in (("user", self.user), ("password", self.password)):
            if not isinstance(value, str):
                raise ConfigurationError(
                    f"basic auth: {name} must be a str, got {type(value).__name__}"
                )
            if _CONTROL.search(value):
                raise ConfigurationError(
                    f"basic auth: the {name} holds a line break or control character"
                )
        if not self.user:
            raise ConfigurationError(
                "basic auth: the user name is empty; leave the option out instead"
            )
        if ":" in self.user:
            raise ConfigurationError("basic auth: a user name cannot hold a colon")

    def headers_for(self, request: Request) -> Headers:
        """`authorization: Basic <base64 of user:password>`."""
        pair = f"{self.user}:{self.password}".encode()
        return (("authorization", "Basic " + base64.b64encode(pair).decode("ascii")),)


class Ed25519Signer(Protocol):
    """What signs with one Ed25519 key: a key in memory, of an agent, of a device."""

    @property
    def public_key_bytes(self) -> bytes:
        """The 32 bytes of the public key."""
        ...

    def sign(self, data: bytes) -> bytes:
        """The 64 bytes of the signature. Raises AuthenticationError when there is none."""
        ...


_KEY_KIND = b"ssh-ed25519"
_SIGNATURE_FIELD = "x-keyring-signature"

IDENTIFYING: Final = frozenset({"authorization", _SIGNATURE_FIELD})
"""Fields that say who asks: a request that has one already is sent as it is."""


@dataclass(frozen=True, slots=True)
class Ed25519Key:
    """A key that signs each request over a challenge of the server."""

    signer: Ed25519Signer = field(repr=False)

    @property
    def line(self) -> str:
        """The public key as a line of authorized_keys, without a comment."""
        return f"{_KEY_KIND.decode()} {base64.b64encode(self._blob).decode()}"

    @property
    def _blob(self) -> bytes:
        parts = (_KEY_KIND, self.signer.public_key_bytes)
        return b"".join(len(part).to_bytes(4) + part for part in parts)

    def __str__(self) -> str:
        digest = base64.b64encode(hashlib.sha256(self._blob).digest()).decode().rstrip("=")
        return f"the key SHA256:{digest}"  # as ssh-keygen -l writes it

    def headers_for(self, request: Request, challenge: str) -> Headers:
        """The three fields that prove the key, for this method, path and query alone."""
        path, _, query = request.target.partition("?")
        signed = (challenge, request.method, unquote_to_bytes(path), query)
        data = b"\n".join(p if isinstance(p, bytes) else p.encode() for p in signed)
        return (
            ("x-keyring-key", self.line),
            ("x-keyring-challenge", challenge),
            (_SIGNATURE_FIELD, base64.b64encode(self.signer.sign(data)).decode()),
        )
