"""`POST /_auth/enroll`: a device that holds a key becomes a principal.

The path checks its caller itself; the order of the checks is the protocol's.
Source: protocol/auth.md, Device enrolment.
"""

from __future__ import annotations

import asyncio
import math
from typing import Final

from ...errors import RemoteProtocolError
from ...wire.document import fields, read_document, write_document
from ...wire.messages import Response
from ..auth import Presented, device_name
from ..auth.keyring import proven_key
from ..enrolment import (
    CapacityReached,
    CodeSpent,
    Enrolment,
    EnrolmentError,
    ProvisionFailed,
    TokenRefused,
)
from .exchange import Exchange, Refusal, json_response

__all__ = ["enroll"]

# What is read of a body; a token is far shorter.
_MAX_BODY_BYTES: Final = 4096

_ANSWERS: Final[dict[type[EnrolmentError], tuple[int, str]]] = {
    TokenRefused: (403, "enrollment requires a valid enrollment token"),
    CapacityReached: (429, "enrollment capacity reached"),
    CodeSpent: (403, "enrollment code is no longer valid"),
    ProvisionFailed: (500, "enrollment could not provision a database"),
}


async def enroll(exchange: Exchange, enrolment: Enrolment) -> Response:
    """The principal that the caller's key is now. Raises: Refusal, 401, 403, 405, 429 and 500 as
    documented.
    """
    if exchange.method != "POST":
        raise Refusal(405, "use POST")
    _spend_attempt(exchange, enrolment)
    key = _proven_key(exchange)
    token = await _read_token(exchange) if enrolment.wants_token(key) else ""
    try:
        is_new = await enrolment.enrol(key, token)
    except EnrolmentError as error:
        raise Refusal(*_ANSWERS[type(error)]) from error
    return json_response(write_document({"created": is_new, "principal": device_name(key)}))


def _spend_attempt(exchange: Exchange, enrolment: Enrolment) -> None:
    """Whatever comes of it, before any cryptography. Raises: Refusal, 429."""
    client = exchange.scope.get("client")
    wait_s = enrolment.addresses.take(client[0] if client else "")
    if wait_s:
        retry_after = (("retry-after", str(math.ceil(wait_s))),)
        raise Refusal(429, "enrollment rate limited", retry_after)


def _proven_key(exchange: Exchange) -> bytes:
    """The key that the request shows and is signed with. Raises: Refusal, 401, which asks for no
    other kind of credential.
    """
    presented = Presented.by(exchange.scope, exchange.scope["headers"])
    key = proven_key(presented, exchange.settings.authenticator.signers.challenges)
    if key is None:
        text = "enrollment requires a valid signed challenge (see /_auth/challenge)"
        raise Refusal(401, text)
    return key


async def _read_token(exchange: Exchange) -> str:
    """The token of the body, "" when there is none that can be read."""
    try:
        async with asyncio.timeout(exchange.services.body_timeout_s):
            body = await _read_start(exchange)
        found = fields(read_document(body), "enrollment", {"enroll_token": str})
    except (TimeoutError, RemoteProtocolError):
        return ""
    return str(found.get("enroll_token", ""))


async def _read_start(exchange: Exchange) -> bytes:
    """The first bytes of the body; what follows them is left unread."""
    start = b""
    while len(start) < _MAX_BODY_BYTES:
        message = await exchange.receive()
        if message["type"] != "http.request":
            break
        start += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return start[:_MAX_BODY_BYTES]
