"""The ASGI scope of a request: targets, Host, decoded paths, facts of the connection.

Must not know framing: HTTP/1.1 and HTTP/2 bring a method, a target and header fields.
Source: protocol/transports.md, "Limits"; RFC 9112 3.2; ASGI HTTP and TLS extension specifications.
"""

from __future__ import annotations

import re
import socket
import ssl
import struct
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from cryptography import x509

from .asgi import Headers, Scope

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_HOST = re.compile(rb"[A-Za-z0-9\-._~!$&'()*+,;=:%\[\]]*")
_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.\-]*://([^/?]*)(.*)", re.DOTALL)
TLS_1_3 = 0x0304
_TLS_VERSIONS = {"TLSv1.2": 0x0303, "TLSv1.3": TLS_1_3}
_PEERCRED = struct.Struct("iII")  # Linux: struct ucred, pid, uid, gid
_MAPPED = "::ffff:"


class BadRequest(Exception):
    """A request that no application gets to see. Its text is the reason in the 400 answer."""


@dataclass(frozen=True, slots=True)
class Target:
    """A request target taken apart. authority: only of the absolute form, then it replaces Host."""

    path: bytes
    query: bytes
    authority: bytes | None = None


def parse_target(method: str, target: bytes) -> Target:
    """Read a request target: origin, absolute, authority (CONNECT) or asterisk form.

    Raises: BadRequest for any other form and for escapes that are not % and two hex digits.
    """
    authority: bytes | None = None
    if target[:1] != b"/" and target != b"*":
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is not None:
            authority, target = absolute.groups()
            if target[:1] != b"/":
                target = b"/" + target
        elif method == "CONNECT":
            authority, target = target, b""
        else:
            raise BadRequest("malformed request target")
        check_host(authority)
    path, _, query = target.partition(b"?")
    if _BAD_ESCAPE.search(path):
        raise BadRequest("malformed escape in the request target")
    return Target(path, query, authority)


def check_host(value: bytes) -> None:
    """Raises: BadRequest when a Host (or :authority) value has a character that no host has."""
    if not _HOST.fullmatch(value):
        raise BadRequest("malformed Host header")


@dataclass(frozen=True, slots=True)
class ConnectionFacts:
    """What is the same for all requests of a connection."""

    scheme: str
    client: tuple[str, int] | None
    server: tuple[str, int | None]
    extensions: dict[str, Any]

    def scope(self, version: str, method: str, target: Target, headers: Headers) -> Scope:
        """The scope of one request."""
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": version,
            "method": method,
            "scheme": self.scheme,
            "path": _decode_path(target.path),
            "raw_path": target.path,
            "query_string": target.query,
            "root_path": "",
            "headers": headers,
            "client": self.client,
            "server": self.server,
            "extensions": dict(self.extensions),
        }


def _decode_path(path: bytes) -> str:
    return (unquote_to_bytes(path) if b"%" in path else path).decode("utf-8", "replace")


def replace_host(headers: Headers, authority: bytes) -> Headers:
    """The headers with one Host, the target's own (RFC 9112 3.2.2), in first place."""
    rest = [(name, value) for name, value in headers if name != b"host"]
    return [(b"host", authority), *rest]


def tls_extension(tls: ssl.SSLObject) -> dict[str, Any]:
    """The ASGI tls extension of a connection whose handshake is done.

    A certificate is there only when OpenSSL verified it against the listener's client CA. The
    list is made once, so every request of a connection shows the same object.
    """
    version = _TLS_VERSIONS.get(tls.version() or "")
    return verified_peer(tls.getpeercert(binary_form=True), version)


def verified_peer(der: bytes | None, tls_version: int | None) -> dict[str, Any]:
    """The ASGI tls extension for a client's verified certificate; None: it presented none."""
    return {
        "server_cert": None,
        "client_cert_chain": [] if der is None else [ssl.DER_cert_to_PEM_cert(der)],
        "client_cert_name": None if der is None else _subject(der),
        "client_cert_error": None,
        "tls_version": tls_version,
        "cipher_suite": None,
    }


def _subject(der: bytes) -> str | None:
    try:
        return x509.load_der_x509_certificate(der).subject.rfc4514_string()
    except ValueError:  # OpenSSL reads more certificates than cryptography does
        return None


def unix_extension(connection: socket.socket | None) -> dict[str, Any] | None:
    """Who is at the other end of a Unix socket; None where the system does not tell (not Linux)."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None or connection is None:
        return None
    _, uid, _ = _PEERCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, option, _PEERCRED.size))
    return {"peer_uid": uid}


def internet_peer(name: Any) -> tuple[str, int] | None:
    """(host, port) from a socket name; an IPv4 peer of a dual-stack socket is shown as IPv4."""
    if not isinstance(name, tuple):
        return None
    host, port = name[0], name[1]
    return host.removeprefix(_MAPPED) if "." in host else host, port
