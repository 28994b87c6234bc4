"""What browsers of other origins may read: preflights, and the header fields of every answer.

Made of one configuration. It must not know paths, principals or ASGI.
Source: protocol/transports.md, CORS.
"""

from __future__ import annotations

from typing import Final

from ..wire.messages import Headers
from .config import CORSConfig

__all__ = ["CORS"]

_METHODS: Final = "GET, POST, PUT, DELETE, OPTIONS"
_REQUEST_HEADERS: Final = (
    *("Authorization", "Content-Type"),
    *("X-Keyring-Key", "X-Keyring-Challenge", "X-Keyring-Signature"),
    "X-Libsql-Client-Version",
)
_ANSWER_HEADERS: Final = ("X-Session-Token", "X-Session-Expires")
_BY_ORIGIN: Final[Headers] = (("vary", "Origin"),)


class CORS:
    """The rules of one configuration; without `cors.enabled` there are none.

    Origins are compared as they are spelled. Credentials in cookies are never allowed: there are
    none.
    """

    def __init__(self, config: CORSConfig) -> None:
        self._is_enabled = config.enabled
        self._is_for_all = "*" in config.origins
        self._origins = frozenset(config.origins)
        self._preflight: Headers = (
            ("access-control-allow-methods", _METHODS),
            ("access-control-allow-headers", ", ".join((*_REQUEST_HEADERS, *config.allow_headers))),
            ("access-control-max-age", str(int(config.max_age_s))),
        )
        exposed = ", ".join((*_ANSWER_HEADERS, *config.expose_headers))
        self._answer: Headers = (("access-control-expose-headers", exposed),)

    def preflight(self, origin: str, requested_method: str) -> Headers | None:
        """The fields of the answer to an OPTIONS request; None: it is no preflight, or its origin
        has no permission, and it is a request like any other.

        origin, requested_method: of its header, "" where that is missing. What is asked for is not
        looked at: the answer says all that is allowed.
        """
        if not requested_method or not self._allows(origin):
            return None
        return (*self._permission(origin), *self._preflight)

    def headers(self, origin: str) -> Headers:
        """What to add to the answer of any other request, a refusal too."""
        if not self._is_enabled:
            return ()
        if not self._allows(origin):
            return () if self._is_for_all else _BY_ORIGIN
        return (*self._permission(origin), *self._answer)

    def _allows(self, origin: str) -> bool:
        if not self._is_enabled or not origin:
            return False
        return self._is_for_all or origin in self._origins

    def _permission(self, origin: str) -> Headers:
        if self._is_for_all:
            return (("access-control-allow-origin", "*"),)
        return (("access-control-allow-origin", origin), *_BY_ORIGIN)
