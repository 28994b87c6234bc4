"""Rules of listeners and TLS profiles, in upstream's order and words.

Files are not opened here. It must not know principals or databases.
Source: protocol/config.md, tls, listeners[] and the exact texts.
"""

from __future__ import annotations

import re
from typing import Final

from . import vocabulary
from .model import Config, ListenerConfig, TLSProfile
from .problems import Path, Problems, quote

__all__ = ["check_listener_auth", "check_listeners", "check_tls_profiles"]

_NEEDS_TLS: Final = ("h2", "h3")
_ZONE: Final = re.compile(r"[A-Za-z0-9.-]+")


def check_listeners(config: Config, problems: Problems) -> None:
    """Transport, TLS profile, advertise, and addresses that two listeners of one family share."""
    bound: dict[tuple[str, str], ListenerConfig] = {}
    for index, listener in enumerate(config.listeners):
        path = ("listeners", index)
        _check_transport(listener, path, problems)
        _check_profile_name(listener, config, path, problems)
        if listener.advertise and listener.transport != "h3":
            text = f"{_where(listener)}: advertise is only valid on an h3 listener"
            problems.add(text, (*path, "advertise"))
        _check_address(listener, bound, path, problems)


def _where(listener: ListenerConfig) -> str:
    return f"config: listener {quote(listener.name)}"


def _check_transport(listener: ListenerConfig, path: Path, problems: Problems) -> None:
    field = (*path, "transport")
    if not listener.transport:
        problems.add(f"{_where(listener)} missing transport", field)
    elif listener.transport not in vocabulary.TRANSPORTS:
        problems.add(f"{_where(listener)} unknown transport {quote(listener.transport)}", field)
    elif listener.transport in _NEEDS_TLS and not listener.tls:
        text = f"{_where(listener)} ({listener.transport}) requires a tls profile"
        problems.add(text, (*path, "tls"))


def _check_profile_name(
    listener: ListenerConfig, config: Config, path: Path, problems: Problems
) -> None:
    if listener.tls and listener.tls not in config.tls and not problems.is_unreadable(("tls",)):
        text = f"{_where(listener)} references unknown tls profile {quote(listener.tls)}"
        problems.add(text, (*path, "tls"))
    profile = config.tls.get(listener.tls or "")
    if profile is not None and profile.mode == "qip" and listener.transport in _NEEDS_TLS:
        text = (
            f"{_where(listener)}: this server has no tls mode qip: it fetches no certificate, and "
            "the key of a qip certificate is public (use files or self_signed)"
        )
        problems.add(text, (*path, "tls"))


def _check_address(
    listener: ListenerConfig,
    bound: dict[tuple[str, str], ListenerConfig],
    path: Path,
    problems: Problems,
) -> None:
    family = vocabulary.ADDRESS_FAMILIES.get(listener.transport)
    if family is None or not listener.address or listener.address.endswith(":0"):
        return  # port 0: the system gives each its own
    other = bound.setdefault((family, listener.address), listener)
    if other is not listener:
        text = (
            f"config: listeners {quote(other.name)} and {quote(listener.name)} both bind {family} "
            f"{quote(listener.address)} (h2/h3 may share a port, but same-family listeners may not)"
        )
        problems.add(text, (*path, "address"))


def check_tls_profiles(config: Config, problems: Problems) -> None:
    """The mode of each profile, what that mode needs, and the versions."""
    for name, profile in config.tls.items():
        path = ("tls", name)
        where = f"config: tls profile {quote(name)}"
        _check_mode(profile, where, path, problems)
        if profile.min_version not in vocabulary.TLS_VERSIONS:
            given = quote(profile.min_version)
            text = f"{where} invalid min_version {given} (want 1.2 or 1.3)"
            problems.add(text, (*path, "min_version"))
        if profile.mode == "qip" and not _ZONE.fullmatch(profile.subdomain):
            text = (
                f"{where} qip subdomain {quote(profile.subdomain)} must be a DNS zone name "
                "(letters, digits, '.', '-')"
            )
            problems.add(text, (*path, "subdomain"))


def _check_mode(profile: TLSProfile, where: str, path: Path, problems: Problems) -> None:
    if not profile.mode:
        problems.add(f"{where} missing mode (files|self_signed)", (*path, "mode"))
    elif profile.mode not in vocabulary.TLS_MODES:
        problems.add(f"{where} unknown mode {quote(profile.mode)}", (*path, "mode"))
    elif profile.mode == "files" and not (profile.cert and profile.key):
        absent = "key" if profile.cert else "cert"
        problems.add(f"{where} (files) needs cert and key", (*path, absent))


def check_listener_auth(config: Config, problems: Problems) -> None:
    """Each accepted method: known, and possible on that listener."""
    for index, listener in enumerate(config.listeners):
        for number, method in enumerate(listener.auth):
            fault = _auth_fault(method, listener, config)
            if method == "session" and problems.is_unreadable(("auth", "session", "enabled")):
                continue
            if fault:
                problems.add(f"{_where(listener)}{fault}", ("listeners", index, "auth", number))


def _auth_fault(method: str, listener: ListenerConfig, config: Config) -> str | None:
    if method not in vocabulary.AUTH_METHODS:
        return f" unknown auth method {quote(method)}"
    if method == "peercred" and listener.transport != "unix":
        return ": peercred auth is only valid on a unix socket"
    if method == "mtls" and not listener.tls:
        return ": mtls auth requires a tls profile (with client_ca)"
    if method == "session" and not config.auth.session.enabled:
        return " accepts session auth but auth.session.enabled is false"
    return None
