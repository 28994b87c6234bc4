"""What differs between two configurations: what a reload takes over, and what waits for a restart.

Pure: it compares and words, it changes nothing. It names principals and databases, never
credentials.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from .config import Config, DatabaseConfig, EnrollConfig

__all__ = ["RELOADED_LIMITS", "Changes", "compare", "databases_added", "opens_up"]

RELOADED_LIMITS: Final = frozenset(
    (
        "max_rows",
        "max_result_bytes",
        "max_request_bytes",
        "max_export_bytes",
        "max_restore_bytes",
        "max_blob_bytes",
        "statement_timeout",
        "max_concurrent_per_db",
        "rate",
    )
)
"""The keys of limits that a reload takes over; the others belong to what is open."""

_FIXED_SECTIONS: Final = (
    "server",
    "routing",
    "tls",
    "listeners",
    "changefeed",
)


@dataclass(frozen=True, slots=True)
class Changes:
    """A reload in words.

    applied: in force now. needs_restart: keys of the file that differ from what runs.
    """

    applied: tuple[str, ...]
    needs_restart: tuple[str, ...]


def compare(old: Config, new: Config, *, started_with: Config) -> Changes:
    """What a reload from old to new takes over, and what of the new file waits for a restart.

    started_with: the configuration of the start, which what cannot be reloaded still follows.
    """
    added = (f"database {database.name} added" for database in databases_added(started_with, new))
    cors = ("cors changed",) if old.cors != new.cors else ()
    applied = (
        *(*added, *_principals(old, new), *_admins(old, new), *_grants(old, new)),
        *(*cors, *_slow_log(old, new)),
    )
    if started_with.control_plane.enabled:  # it keeps what was enrolled
        applied = (*applied, *_enrolment(old.auth.enroll, new.auth.enroll))
    return Changes((*applied, *_limits(old, new, reloaded=True)), tuple(_fixed(started_with, new)))


def databases_added(started_with: Config, new: Config) -> tuple[DatabaseConfig, ...]:
    """The databases of the new file whose names are not served: a reload opens them."""
    served = {database.name for database in started_with.databases}
    return tuple(database for database in new.databases if database.name not in served)


def opens_up(old: Config, new: Config) -> bool:
    """Whether only new asks nobody for credentials: what a half-written file looks like."""
    return new.is_open_mode and not old.is_open_mode


def _principals(old: Config, new: Config) -> Iterator[str]:
    before = {principal.name: principal for principal in old.auth.principals}
    after = {principal.name: principal for principal in new.auth.principals}
    yield from (f"principal {name} {change}" for name, change in _differences(before, after))


def _admins(old: Config, new: Config) -> Iterator[str]:
    before = dict.fromkeys(old.control_plane.admins)
    after = dict.fromkeys(new.control_plane.admins)
    yield from (f"server-admin {name} {change}" for name, change in _differences(before, after))


def _grants(old: Config, new: Config) -> Iterator[str]:
    before, after = _levels(old), _levels(new)
    for (database, principal), _ in _differences(before, after):
        was = before.get((database, principal), "none")
        now = after.get((database, principal), "none")
        yield f"grant on {database} to {principal}: {was} -> {now}"


def _levels(config: Config) -> dict[tuple[str, str], str]:
    return {(d.name, grant.principal): grant.level for d in config.databases for grant in d.grants}


def _enrolment(old: EnrollConfig, new: EnrollConfig) -> Iterator[str]:
    """The keys alone: some hold secrets."""
    for key in msgspec.structs.fields(old):
        if getattr(old, key.name) != getattr(new, key.name):
            yield f"auth.enroll.{key.encode_name} changed"


def _limits(old: Config, new: Config, *, reloaded: bool) -> Iterator[str]:
    before, after = msgspec.to_builtins(old.limits), msgspec.to_builtins(new.limits)
    for name, _ in _differences(before, after):
        if (name in RELOADED_LIMITS) == reloaded:
            yield f"limits.{name}: {before.get(name)} -> {after.get(name)}"


def _slow_log(old: Config, new: Config) -> Iterator[str]:
    before, after = msgspec.to_builtins(old.logging), msgspec.to_builtins(new.logging)
    for name in ("slow_threshold", "expand_params"):
        if before[name] != after[name]:
            yield f"logging.{name}: {before[name]} -> {after[name]}"


def _fixed(old: Config, new: Config) -> Iterator[str]:
    yield from (name for name in _FIXED_SECTIONS if getattr(old, name) != getattr(new, name))
    if old.logging.format != new.logging.format:
        yield "logging.format"
    if old.control_plane.enabled != new.control_plane.enabled:
        yield "control_plane.enabled"
    if _fixed_auth(old) != _fixed_auth(new):
        yield "auth (all but principals, authorized_keys and enroll)"
    before = {d.name: msgspec.structs.replace(d, grants=()) for d in old.databases}
    after = {d.name: msgspec.structs.replace(d, grants=()) for d in new.databases}
    for name, change in _differences(before, after):
        if change != "added":
            yield f"database {name} {change}"
    yield from _limits(old, new, reloaded=False)


def _fixed_auth(config: Config) -> object:
    return msgspec.structs.replace(
        config.auth, principals=(), authorized_keys="", enroll=EnrollConfig()
    )


def _differences(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> Iterator[tuple[Any, str]]:
    """(key, "added", "removed" or "changed") in the order of the old mapping, then of the new."""
    for key in {**before, **after}:
        if key not in after:
            yield key, "removed"
        elif key not in before:
            yield key, "added"
        elif before[key] != after[key]:
            yield key, "changed"
