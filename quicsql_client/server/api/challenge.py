"""`/_auth/challenge`: what a keyring client signs. Asks for no credentials.

Source: protocol/auth.md, Keyring.
"""

from __future__ import annotations

from ...wire.document import write_document
from ...wire.messages import Response
from .exchange import Exchange, Refusal, json_response

__all__ = ["challenge"]


async def challenge(exchange: Exchange) -> Response:
    """A fresh challenge. Raises: Refusal, 405 for other methods than GET."""
    if exchange.method != "GET":
        raise Refusal(405, "use GET")
    issued = exchange.settings.authenticator.signers.challenges.issue()
    return json_response(write_document({"challenge": issued}))
