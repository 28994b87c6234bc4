"""All rules between the keys of a configuration, run in upstream's order; each keeps every problem
that it finds.

It must not know files or YAML.
Source: protocol/config.md, Validation order and the exact texts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Final

from . import vocabulary
from .model import Config, MetaStoreConfig
from .problems import Problems, quote
from .rules_auth import check_enrollment, check_principals, check_session
from .rules_databases import check_databases, check_grants
from .rules_listeners import check_listener_auth, check_listeners, check_tls_profiles

__all__ = ["validate"]

_STORE: Final = MetaStoreConfig()
_ORIGIN: Final = re.compile(r"https?://[^/\s*]+")
# Upstream takes several in one entry, separated as in the header itself.
_HEADER_NAMES: Final = re.compile(r"[!-~]+(?:[ \t]+[!-~]+)*")


def validate(config: Config, problems: Problems) -> None:
    """Run every rule; what is wrong goes to the problems."""
    for rule in _RULES:
        rule(config, problems)


def _check_meta_store(config: Config, problems: Problems) -> None:
    store = config.server.meta_store
    if store is None:
        return
    path = ("server", "meta_store")
    if store.backend not in vocabulary.META_STORE_BACKENDS:
        text = f"config: meta_store backend {quote(store.backend)} invalid (want vault|file)"
        problems.add(text, (*path, "backend"))
    declared = {source.name for source in config.secrets}
    name, colon, _ = store.key.partition(":")
    if store.key and not (colon and name in declared) and not problems.is_unreadable(("secrets",)):
        text = (
            "config: meta_store key must be a reference to a declared secret source (source:name)"
        )
        problems.add(text, (*path, "key"))
    elif store.key and config.control_plane.enabled:
        text = (
            "config: meta_store key asks for an encrypted store, which this server does not have "
            "(without a key it is a plain SQLite file, for its owner alone)"
        )
        problems.add(text, (*path, "key"))


def _check_control_plane(config: Config, problems: Problems) -> None:
    control_plane = config.control_plane
    path = ("control_plane", "admins")
    if control_plane.enabled and not control_plane.admins:
        text = "config: control_plane.enabled requires at least one control_plane.admins entry"
        problems.add(text, path)
    principals = {principal.name for principal in config.auth.principals}
    if problems.is_unreadable(("auth", "principals")):
        return
    for index, admin in enumerate(control_plane.admins):
        if admin not in principals:
            text = f"config: control_plane admin {quote(admin)} is not a configured principal"
            problems.add(text, (*path, index))


def _check_store_is_not_served(config: Config, problems: Problems) -> None:
    """Whoever may read the meta store has its enrolled keys and codes."""
    if not config.control_plane.enabled:
        return
    folder = config.server.data_dir
    own = os.path.realpath(os.path.join(folder, (config.server.meta_store or _STORE).path))
    for index, database in enumerate(config.databases):
        path = os.path.join(folder, database.path)
        if database.backend == "file" and os.path.realpath(path) == own:
            text = f"config: database {quote(database.name)} has the path of the meta store"
            problems.add(text, ("databases", index, "path"))


def _check_cors(config: Config, problems: Problems) -> None:
    cors = config.cors
    if not cors.enabled:
        return
    for index, origin in enumerate(cors.origins):
        fault = _origin_fault(origin, config)
        if fault:
            problems.add(f"config: {fault}", ("cors", "origins", index))
    for key, names in (("allow", cors.allow_headers), ("expose", cors.expose_headers)):
        for index, name in enumerate(names):
            if not _HEADER_NAMES.fullmatch(name):
                text = f"config: cors.{key}_headers entry {quote(name)} is no name of a header"
                problems.add(text, ("cors", f"{key}_headers", index))
    if cors.max_age_s < 0:
        problems.add("config: cors.max_age must not be negative", ("cors", "max_age"))


def _origin_fault(origin: str, config: Config) -> str | None:
    if origin == "*":
        return _WIDE_OPEN if config.is_open_mode else None
    if origin == "null":
        return 'cors.origins may not contain "null" (it would match any sandboxed or file:// page)'
    if not _ORIGIN.fullmatch(origin):
        wanted = '(want "*" or scheme://host[:port], no path)'
        return f"cors.origins entry {quote(origin)} invalid {wanted}"
    return None


_WIDE_OPEN: Final = (
    'cors.origins "*" (the default when origins is empty) with no authentication configured '
    "would let any web page read and write every database: list the origins, or configure auth"
)


def _check_changefeed(config: Config, problems: Problems) -> None:
    feed = config.changefeed
    if feed.buffer < 0 or feed.max_subscribers < 0:
        key = "buffer" if feed.buffer < 0 else "max_subscribers"
        text = "config: changefeed buffer and max_subscribers must not be negative"
        problems.add(text, ("changefeed", key))


def _check_logging(config: Config, problems: Problems) -> None:
    if config.logging.format not in vocabulary.LOG_FORMATS:
        text = f"config: logging.format {quote(config.logging.format)} invalid (want text|json)"
        problems.add(text, ("logging", "format"))


def _check_secrets(config: Config, problems: Problems) -> None:
    seen: set[str] = set()
    for index, source in enumerate(config.secrets):
        path = ("secrets", index, "name")
        if not source.name:
            problems.add("init secrets: secret: source with empty name", path)
        elif source.name in seen:
            problems.add(f"config: duplicate secret source {quote(source.name)}", path)
        seen.add(source.name)


_RULES: Final[tuple[Callable[[Config, Problems], None], ...]] = (
    _check_meta_store,
    check_databases,
    check_listeners,
    check_tls_profiles,
    check_listener_auth,
    check_session,
    check_enrollment,
    check_principals,
    check_grants,
    _check_control_plane,
    _check_cors,
    _check_changefeed,
    _check_logging,
    _check_store_is_not_served,
    # Upstream finds what follows when it starts.
    _check_secrets,
)
