"""One request to `/_admin`: its JSON body, and the row that the audit gets of it.

It knows no endpoint.
Source: protocol/operations.md, Admin and Audit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ....errors import RemoteProtocolError
from ....wire.document import fields, read_leading, write_document
from ....wire.messages import Response
from ...control import ControlPlane
from ...grants import Level
from ...metastore import audit
from ..exchange import Exchange, Refusal, json_response

__all__ = ["NOT_SERVER_ADMIN", "Errand", "answer_with", "invalid_body", "members"]

MAX_BODY_BYTES: Final = 1024 * 1024

NOT_SERVER_ADMIN: Final = "server-admin capability required"
_FORBIDDEN: Final = 403


@dataclass(slots=True)
class Errand:
    """What a handler gets. action: of the audit, "" for what leaves no trace; database, detail: the
    handler says them as soon as it knows them.
    """

    exchange: Exchange
    control: ControlPlane
    action: str
    database: str = ""
    detail: str = ""

    @property
    def is_server_admin(self) -> bool:
        """Whether the caller may administer the whole server."""
        return self.exchange.is_server_admin

    def administers(self, database: str) -> bool:
        """Whether the caller may administer a database, served or not."""
        level = self.exchange.settings.policy.level(database, self.exchange.principal.name)
        return self.is_server_admin or level >= Level.ADMIN

    async def read_body(self, kinds: Mapping[str, type]) -> dict[str, Any]:
        """The members of the JSON object in the body, as `wire.document.fields` gives them; members
        of other names are refused. Raises: Refusal, 400.
        """
        try:
            body = await self.exchange.read_body(MAX_BODY_BYTES)
        except Refusal as refusal:
            raise Refusal(400, invalid_body().message, refusal.headers) from None
        try:
            return members(read_leading(body), kinds)
        except RemoteProtocolError:
            raise invalid_body() from None

    async def record(self, refusal: Refusal | None = None) -> None:
        """Writes the audit's row: done, or why it was not."""
        if not self.action:
            return
        action, detail = self.action, self.detail
        if refusal is not None:
            action += audit.DENIED if refusal.status == _FORBIDDEN else audit.FAILED
            detail = refusal.message
        name = self.exchange.principal.name
        await audit.record(self.control.store, name, action, self.database, detail)


def members(value: Any, kinds: Mapping[str, type]) -> dict[str, Any]:
    """The members of an object by the names in kinds, none of another name; null counts as absent.

    Raises: RemoteProtocolError.
    """
    return fields(value, "body", kinds, closed=True)


def invalid_body() -> Refusal:
    """400, whatever is wrong with the JSON."""
    return Refusal(400, "invalid JSON body")


def answer_with(**members: Any) -> Response:
    """200 with a JSON object of these members, by name."""
    return json_response(write_document(dict(sorted(members.items()))))
