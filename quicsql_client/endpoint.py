"""Endpoint: where a server is and how it is spoken to.

Parses addresses; knows no credential and opens nothing.

Source: protocol/client.md, section 1; protocol/transports.md.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from typing import Literal, Self, cast, get_args

from .errors import ConfigurationError

__all__ = ["Endpoint", "TransportName"]

TransportName = Literal["h1", "h2c", "h2", "h3", "unix"]

_NAMES: tuple[str, ...] = get_args(TransportName)
_TLS = frozenset({"h2", "h3"})
_HOST = re.compile(r"[^\s/?#@\\:\[\]\x00-\x20\x7f%]+")
# The kernel's sun_path holds 108 bytes with its NUL on Linux.
_MAX_SOCKET_PATH_BYTES = 107
_EXAMPLE = "db.example.com:7777"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server address. host:

    As dialled, without brackets; "unix" for a socket. path: of the unix socket.

    insecure: True where TLS is not to be verified; always False without TLS.
    """

    transport: TransportName
    host: str
    port: int
    path: str = ""
    insecure: bool = False

    @classmethod
    def parse(cls, address: str, *, transport: str, insecure: bool = False) -> Self:
        """Read "host:port" or "[ipv6]:port"; for transport "unix" the path of the socket.

        The port must be there: quicSQL has no default one. Raises ConfigurationError.
        """
        name = _transport_name(transport)
        if name == "unix":
            return cls.unix(address)
        if not isinstance(address, str):
            raise ConfigurationError(
                f"address: expected a str such as {_EXAMPLE!r}, got {type(address).__name__}"
            )
        host, port = _split_address(address)
        return cls(name, host, port, insecure=bool(insecure) and name in _TLS)

    @classmethod
    def unix(cls, path: str | os.PathLike[str]) -> Self:
        """HTTP/1.1 over the unix socket at `path`. Raises ConfigurationError."""
        text = os.fspath(path)
        if not isinstance(text, str) or not text or "\0" in text:
            raise ConfigurationError("unix socket: the path is empty, not a str, or holds a NUL")
        if len(os.fsencode(text)) > _MAX_SOCKET_PATH_BYTES:
            raise ConfigurationError(
                f"unix socket {text!r}: the path is longer than {_MAX_SOCKET_PATH_BYTES} bytes, "
                "the system's limit; "
                "use a shorter one"
            )
        return cls("unix", "unix", 0, path=text)

    @property
    def tls(self) -> bool:
        """True when the connection is encrypted."""
        return self.transport in _TLS

    @property
    def is_cleartext(self) -> bool:
        """True when others on the network can read along: no TLS, and not a unix socket."""
        return not self.tls and self.transport != "unix"

    @property
    def authority(self) -> str:
        """What the Host header says:

        "host:port", an IPv6 address in brackets; "unix" for a socket.
        """
        if self.transport == "unix":
            return "unix"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def scheme(self) -> str:
        """ "https" with TLS, else "http"."""
        return "https" if self.tls else "http"

    @property
    def base_url(self) -> str:
        """Scheme and authority, without a trailing slash."""
        return f"{self.scheme}://{self.authority}"

    def __str__(self) -> str:
        return self.path if self.transport == "unix" else self.authority


def _transport_name(name: str) -> TransportName:
    if name not in _NAMES:
        raise ConfigurationError(f'quicsql: unknown transport "{name}" (want {"|".join(_NAMES)})')
    return cast(TransportName, name)


def _split_address(address: str) -> tuple[str, int]:
    if "://" in address:
        raise ConfigurationError(
            "address: expected host:port without a scheme, such as "
            f"{_EXAMPLE!r}; a URL goes to from_url"
        )
    if "@" in address:  # what stands before it may be a password: not repeated
        raise ConfigurationError(
            "address: it holds an @; give host:port, and credentials as options"
        )
    host, port = _split_port(address)
    return host, _port_number(address, port)


def _split_port(address: str) -> tuple[str, str]:
    if address.startswith("["):
        inside, bracket, rest = address[1:].partition("]")
        if not bracket or not rest.startswith(":"):
            raise ConfigurationError(
                f"address {address!r}: expected [ipv6]:port, such as [::1]:7777"
            )
        return _ipv6(address, inside), rest[1:]
    host, colon, port = address.rpartition(":")
    if not colon:
        raise ConfigurationError(
            f"address {address!r} has no port; give host:port, such as {_EXAMPLE!r} "
            "(by convention h1 7775, h2c 7776, h2 and h3 7777)"
        )
    if ":" in host:
        raise ConfigurationError(
            f"address {address!r}: an IPv6 address stands in brackets, such as [::1]:7777"
        )
    if not _HOST.fullmatch(host):
        raise ConfigurationError(
            f"address {address!r}: the host is empty or holds a character that no host name has"
        )
    return host, port


def _ipv6(address: str, inside: str) -> str:
    try:
        ipaddress.IPv6Address(inside)
    except ValueError as error:
        raise ConfigurationError(
            f"address {address!r}: not an IPv6 address in the brackets"
        ) from error
    return inside


def _port_number(address: str, port: str) -> int:
    is_number = port.isascii() and port.isdigit() and len(port) <= 5
    number = int(port) if is_number else 0
    if not 1 <= number <= 65535:
        raise ConfigurationError(f"address {address!r}: the port must be a number from 1 to 65535")
    return number
