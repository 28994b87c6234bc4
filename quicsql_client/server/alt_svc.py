"""`Alt-Svc`: on every answer of a TCP listener, where HTTP/3 is spoken too.

Wraps the application of a listener, outside all else of it. It must not know sockets: ports come
from the configuration, and from the listeners once they are bound.
Source: protocol/transports.md, Alt-Svc; RFC 7838, 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from .config import ListenerConfig
from .listeners import ASGIApplication, Receive, Scope, Send

__all__ = ["AltSvc"]

_TRANSPORTS: Final = frozenset(("h1", "h2c", "h2"))
_MAX_AGE_S: Final = 2_592_000  # upstream's: 30 days


class Bound(Protocol):
    """What has to be known of a listener."""

    @property
    def transport(self) -> str: ...
    @property
    def address(self) -> str: ...


class AltSvc:
    """What the h3 listeners of a configuration with `advertise` have clients told.

    A port is the configured one until `bound` has told the real one; 0 is not told.
    """

    def __init__(self, listeners: Sequence[ListenerConfig]) -> None:
        self._http3 = tuple(listener for listener in listeners if listener.transport == "h3")
        self._is_advertised = any(listener.advertise for listener in self._http3)
        self._fields = self._fields_for([listener.address for listener in self._http3])

    def bound(self, listeners: Iterable[Bound]) -> None:
        """Tells the ports of the open listeners, which are in the configuration's order."""
        addresses = [listener.address for listener in listeners if listener.transport == "h3"]
        if len(addresses) == len(self._http3):
            self._fields = self._fields_for(addresses)

    def on(self, transport: str, application: ASGIApplication) -> ASGIApplication:
        """The application of a listener, whose answers say it; on unix and h3 they do not."""
        if transport not in _TRANSPORTS or not self._is_advertised:
            return application

        async def advertising(scope: Scope, receive: Receive, send: Send) -> None:
            async def send_with_field(message: Mapping[str, Any]) -> None:
                if message["type"] == "http.response.start":
                    headers = (*self._fields, *message.get("headers", ()))
                    message = {**message, "headers": headers}
                await send(message)

            await application(scope, receive, send_with_field)

        return advertising

    def _fields_for(self, addresses: Sequence[str]) -> tuple[tuple[bytes, bytes], ...]:
        """The header field, one for all; none while no port is known."""
        told = zip(self._http3, addresses, strict=True)
        ports = [address.rpartition(":")[2] for listener, address in told if listener.advertise]
        known = [port for port in ports if port.strip("0")]
        value = ", ".join(f'h3=":{port}"; ma={_MAX_AGE_S}' for port in known)
        return ((b"alt-svc", value.encode()),) if value else ()
