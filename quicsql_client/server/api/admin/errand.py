"""One request to `/_admin`: its JSON body, and the row that the audit gets of it.

It knows no endpoint.
Source: protocol/operations.md, Admin and Audit.
"""

from __future__ import annotations

import logging
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

__all__ = ["BUSY", "NOT_SERVER_ADMIN", "Errand", "answer_with", "invalid_body"]

_log = logging.getLogger("quicsql.server")

MAX_BODY_BYTES: Final = 1024 * 1024

NOT_SERVER_ADMIN: Final = "server-admin capability required"
BUSY: Final = "database busy (has active users); retry when idle"
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
            return fields(read_leading(body), "body", kinds, closed=True)
        except RemoteProtocolError:
            raise invalid_body() from None

    def log(self, text: str, *values: object) -> None:
        """Warns in the log of what the caller must not read."""
        _log.warning(f"/_admin: {text}", *values)

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


def invalid_body() -> Refusal:
    """400, whatever is wrong with the JSON."""
    return Refusal(400, "invalid JSON body")


def answer_with(**members: Any) -> Response:
    """200 with a JSON object of these members, by name."""
    return json_response(write_document(dict(sorted(members.items()))))
