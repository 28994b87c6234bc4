"""The table of the control plane's endpoints, and the checks that come before each: the path, the
method, the capability.

What an endpoint does is its own module's matter.
Source: protocol/operations.md, Admin.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from ....wire.messages import Response
from ..exchange import Exchange, Refusal
from .databases import create, detach, list_databases
from .errand import NOT_SERVER_ADMIN, Errand
from .maintenance import maintain
from .principals import NOT_ADMIN, delete_principal, list_principals, mint_code
from .restore import restore
from .sessions import info, kill, list_sessions

__all__ = ["ENDPOINTS", "Endpoint", "answer"]

Handler: TypeAlias = Callable[[Errand], Awaitable[Response]]

_PREFIX: Final = "/_admin"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path of `/_admin`.

    denial: the text for everyone but server-admins; None: the handler decides who may. action: what
    the audit calls it, "" for what is not recorded.
    """

    method: str
    handler: Handler
    denial: str | None = NOT_SERVER_ADMIN
    action: str = ""


ENDPOINTS: Final[dict[str, Endpoint]] = {
    "/databases": Endpoint("GET", list_databases, denial=None),
    "/stats": Endpoint("GET", list_databases, denial=None),
    "/info": Endpoint("GET", info),
    "/sessions": Endpoint("GET", list_sessions, denial=None),
    "/kill": Endpoint("POST", kill, action="kill"),
    "/create": Endpoint("POST", create, action="create"),
    "/detach": Endpoint("POST", detach, action="detach"),
    "/maintenance": Endpoint("POST", maintain, denial=None, action="maintenance"),
    "/restore": Endpoint("POST", restore, denial=None, action="restore"),
    "/principals": Endpoint("GET", list_principals, NOT_ADMIN),
    "/principals/delete": Endpoint("POST", delete_principal, NOT_ADMIN, action="principals.delete"),
    "/enroll/codes": Endpoint("POST", mint_code, NOT_ADMIN, action="enroll.codes"),
}
"""The paths behind `/_admin`."""


async def answer(exchange: Exchange) -> Response:
    """Serve one request. Raises: Refusal."""
    control = exchange.services.control
    if control is None:
        raise Refusal(404, "control plane not enabled")
    endpoint = ENDPOINTS.get(exchange.path.removeprefix(_PREFIX))
    if endpoint is None:
        raise Refusal(404, "unknown admin endpoint")
    if exchange.method != endpoint.method:
        raise Refusal(405, f"use {endpoint.method}")
    errand = Errand(exchange, control, endpoint.action)
    try:
        response = await _serve(endpoint, errand)
    except Refusal as refusal:
        await errand.record(refusal)
        raise
    except Exception:
        await errand.record(Refusal(500, "internal error"))
        raise
    await errand.record()
    return response


async def _serve(endpoint: Endpoint, errand: Errand) -> Response:
    if endpoint.denial is not None and not errand.is_server_admin:
        raise Refusal(403, endpoint.denial)
    return await endpoint.handler(errand)
