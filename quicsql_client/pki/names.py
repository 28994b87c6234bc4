"""What a server is called: host names, wildcards and addresses told apart for its certificate."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from cryptography import x509

from ..errors import ConfigurationError

# RFC 1123 labels; an underscore is let through, as container platforms name hosts so.
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_MAX_HOST_NAME = 253  # RFC 1035, 2.3.4, without the last dot


def general_names(names: Sequence[str]) -> list[x509.GeneralName]:
    """The alternative names for a server leaf, in order, each once.

    Raises: ConfigurationError naming the first that is no host name, wildcard or address.
    """
    if not names:
        raise ConfigurationError("a server certificate needs a name or address that clients dial")
    return list(dict.fromkeys(_general_name(name.strip()) for name in names))


def _general_name(name: str) -> x509.GeneralName:
    bare = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    try:
        return x509.IPAddress(ipaddress.ip_address(bare))
    except ValueError:
        return x509.DNSName(_host_name(name))


def _host_name(name: str) -> str:
    host = name.removesuffix(".").lower()
    labels = host.removeprefix("*.").split(".")
    reason = _fault(host, labels)
    if reason:
        raise ConfigurationError(
            f"server name {name!r}: {reason}: expected a host name, *.domain or an IP address"
        )
    return host


def _fault(host: str, labels: Sequence[str]) -> str | None:
    if not host.isascii():
        return "is not ASCII (write its xn-- form)"
    if "/" in host or ":" in host:
        return "has a port, a scheme or a path"
    if len(host) > _MAX_HOST_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        return "is no host name"
    if labels[-1].isdigit():
        return "looks like an IP address and is none"
    if host.startswith("*.") and len(labels) < 2:
        return "is a wildcard over a whole top-level domain"
    return None
