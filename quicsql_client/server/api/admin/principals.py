"""`/_admin/principals`, `principals/delete`, `enroll/codes`: the devices that enrolled, and what
lets further ones in.

Source: protocol/operations.md, Admin.
"""

from __future__ import annotations

from typing import Final

from ....errors import RemoteProtocolError
from ....wire.document import fields, read_leading
from ....wire.messages import Response
from ...enrolment import CodesDisabled, DeviceBusy, Enrolment, UnknownDevice
from ..exchange import Refusal
from .errand import Errand, answer_with

__all__ = ["NOT_ADMIN", "delete_principal", "list_principals", "mint_code"]

NOT_ADMIN: Final = "server admin required"
_MAX_BODY_BYTES: Final = 4096


async def list_principals(errand: Errand) -> Response:
    """Every enrolled device, oldest first; times in Unix seconds. Raises: Refusal, 404."""
    return answer_with(
        principals=[
            {
                "name": row.name,
                "key": row.key,
                "created_at": row.created_at,
                "last_seen": row.last_seen,
            }
            for row in _enrolment(errand).enrolled()
        ]
    )


async def delete_principal(errand: Errand) -> Response:
    """Send a device away: its key, grants, tokens and streams end now. Raises: Refusal, 400, 404,
    409.
    """
    enrolment = _enrolment(errand)
    name = errand.detail = await _read_name(errand)
    try:
        await enrolment.revoke(name)
    except UnknownDevice:
        raise Refusal(404, "no such enrolled principal") from None
    except DeviceBusy:
        text = "the principal's database is busy (has active users); retry when idle"
        raise Refusal(409, text) from None
    return answer_with(deleted=name)


async def mint_code(errand: Errand) -> Response:
    """A single-use code, shown this once, and when it expires. Raises: Refusal, 400, 404."""
    try:
        code, expires_at = await _enrolment(errand).mint_code()
    except CodesDisabled:
        text = "enroll: single-use codes are not enabled (auth.enroll.codes.enabled)"
        raise Refusal(400, text) from None
    return answer_with(code=code, expires_at=expires_at)


def _enrolment(errand: Errand) -> Enrolment:
    """Raises: Refusal, 404, where devices cannot enrol."""
    enrolment = errand.exchange.services.enrolment
    if enrolment is None or not enrolment.is_enabled:
        raise Refusal(404, "enrollment is not enabled")
    return enrolment


async def _read_name(errand: Errand) -> str:
    """The device that the body names. Raises: Refusal, 400."""
    try:
        body = await errand.exchange.read_body(_MAX_BODY_BYTES)
        name = fields(read_leading(body), "body", {"name": str}).get("name")
    except (Refusal, RemoteProtocolError):
        name = None
    if not name:
        raise Refusal(400, 'body must be {"name": "u_\u2026"}')
    return str(name)
