"""Credentials that travel as header fields:

Bearer token and HTTP Basic. They sign requests; they do no I/O.

A client certificate is not here: it belongs to the connection (`certificates`). Every repr is
masked. Source: protocol/auth.md, "Methods" and "Precedence".
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import Protocol

from .errors import ConfigurationError
from .wire.messages import Headers, Request

__all__ = ["Basic", "Bearer", "Credential"]

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
