"""Rules of session tokens, enrolment and principals, in upstream's order and words.

Credentials themselves are checked in `credentials`. It must not know listeners.
Source: protocol/config.md, auth and the exact texts.
"""

from __future__ import annotations

from typing import Final

from . import vocabulary
from .durations import format_duration, to_nanoseconds
from .model import Config, EnrollConfig, ProvisionConfig
from .problems import Problems, quote
from .rules_databases import check_pragmas, check_vault

__all__ = ["check_enrollment", "check_principals", "check_session"]

_ENROLL: Final = ("auth", "enroll")
_PROVISION: Final = (*_ENROLL, "provision")
_SQLITE_MIN_PAGE_BYTES: Final = 4096
_RESERVED_PREFIX: Final = "u_"
_ANY_DEVICE: Final = "u_aaaaaaaaaaaaaaaa"
_NEVER_ADMIN: Final = "(want read-only|read-write \u2014 never admin"


def check_session(config: Config, problems: Problems) -> None:
    """Lifetimes: not negative, and the whole chain at least as long as one token."""
    session = config.auth.session
    path = ("auth", "session")
    if session.idle_ttl_s < 0 or session.max_ttl_s < 0:
        key = "idle_ttl" if session.idle_ttl_s < 0 else "max_ttl"
        text = "config: auth.session idle_ttl and max_ttl must not be negative"
        problems.add(text, (*path, key))
    elif 0 < session.max_ttl_s < session.idle_ttl_s:
        longest = format_duration(to_nanoseconds(session.max_ttl_s))
        idle = format_duration(to_nanoseconds(session.idle_ttl_s))
        text = f"config: auth.session.max_ttl ({longest}) must be \u2265 idle_ttl ({idle})"
        problems.add(text, (*path, "max_ttl"))


def check_enrollment(config: Config, problems: Problems) -> None:
    """What enrolment needs, its values, and the database of each device.

    Values are checked when it is off, too.
    """
    enroll = config.auth.enroll
    if enroll.enabled:
        _check_needs(config, problems)
    _check_values(enroll, problems)
    _check_grants(enroll, problems)
    _check_provision(enroll.provision, problems)
    if enroll.enabled:
        _check_provision_backend(config, problems)


def _check_needs(config: Config, problems: Problems) -> None:
    if config.is_open_mode and not _is_auth_unreadable(problems):
        text = (
            "config: auth.enroll.enabled requires explicit auth (at least one principal or grant): "
            "without it everyone may do everything already"
        )
        problems.add(text, (*_ENROLL, "enabled"))
    if not config.control_plane.enabled and not problems.is_unreadable(
        ("control_plane", "enabled")
    ):
        text = (
            "config: auth.enroll.enabled requires control_plane.enabled "
            "(its meta store keeps what was enrolled)"
        )
        problems.add(text, (*_ENROLL, "enabled"))
    if config.auth.enroll.policy == "token" and not (
        config.auth.enroll.tokens or config.auth.enroll.codes.enabled
    ):
        text = (
            "config: auth.enroll.policy token requires auth.enroll.tokens "
            "or auth.enroll.codes.enabled"
        )
        problems.add(text, (*_ENROLL, "policy"))


def _is_auth_unreadable(problems: Problems) -> bool:
    return problems.is_unreadable(("auth", "principals")) or problems.is_unreadable(("databases",))


def _check_values(enroll: EnrollConfig, problems: Problems) -> None:
    if enroll.policy not in vocabulary.ENROLL_POLICIES:
        text = f"config: auth.enroll.policy {quote(enroll.policy)} invalid (want open|token)"
        problems.add(text, (*_ENROLL, "policy"))
    quotas = {
        ("max_principals",): enroll.max_principals,
        ("rate_per_ip",): enroll.rate_per_ip,
        ("idle_ttl",): enroll.idle_ttl_s,
        ("codes", "ttl"): enroll.codes.ttl_s,
    }
    for key, value in quotas.items():
        if value < 0:
            problems.add("config: auth.enroll quotas must not be negative", (*_ENROLL, *key))


def _check_grants(enroll: EnrollConfig, problems: Problems) -> None:
    for index, grant in enumerate(enroll.grants):
        path = (*_ENROLL, "grants", index)
        if not vocabulary.is_valid_database_name(grant.db):
            text = f"config: auth.enroll.grants names invalid database {quote(grant.db)}"
            problems.add(text, (*path, "db"))
        if grant.level not in vocabulary.SELF_SERVICE_LEVELS:
            text = (
                f"config: auth.enroll.grants level {quote(grant.level)} invalid "
                f"{_NEVER_ADMIN} for self-enrolled principals)"
            )
            problems.add(text, (*path, "level"))


def _check_provision(provision: ProvisionConfig, problems: Problems) -> None:
    where = "config: auth.enroll.provision"
    if "{principal}" not in provision.name_template:
        text = (
            f"{where}.name_template {quote(provision.name_template)} must contain {{principal}} "
            "so per-account databases don't collide"
        )
        problems.add(text, (*_PROVISION, "name_template"))
    elif not vocabulary.is_valid_database_name(
        provision.name_template.replace("{principal}", _ANY_DEVICE)
    ):
        text = (
            f"{where}.name_template {quote(provision.name_template)} makes no database name "
            "(use letters, digits, and -._; not leading _)"
        )
        problems.add(text, (*_PROVISION, "name_template"))
    if provision.backend not in vocabulary.BACKENDS:
        text = f"{where}.backend {quote(provision.backend)} unknown"
        problems.add(text, (*_PROVISION, "backend"))
    if provision.vault is not None and provision.backend != "vault":
        text = f"{where} has a vault block but backend is {quote(provision.backend)}"
        problems.add(text, (*_PROVISION, "vault"))
    if provision.vault is not None:
        check_vault(provision.vault, where, (*_PROVISION, "vault"), problems)
    preset = provision.pragmas_preset
    if preset and preset not in vocabulary.PRESETS:
        text = f"{where}.pragmas_preset {quote(preset)} invalid (want recommended)"
        problems.add(text, (*_PROVISION, "pragmas_preset"))
    check_pragmas(provision.pragmas, f"{where} invalid", (*_PROVISION, "pragmas"), problems)
    _check_provision_terms(provision, where, problems)


def _check_provision_terms(provision: ProvisionConfig, where: str, problems: Problems) -> None:
    if provision.level not in vocabulary.SELF_SERVICE_LEVELS:
        text = f"{where}.level {quote(provision.level)} invalid {_NEVER_ADMIN})"
        problems.add(text, (*_PROVISION, "level"))
    if provision.on_revoke not in vocabulary.ON_REVOKE:
        text = f"{where}.on_revoke {quote(provision.on_revoke)} invalid (want keep|drop)"
        problems.add(text, (*_PROVISION, "on_revoke"))
    path = (*_PROVISION, "max_bytes")
    if provision.max_bytes < 0:
        problems.add(f"{where}.max_bytes must not be negative", path)
    elif 0 < provision.max_bytes < _SQLITE_MIN_PAGE_BYTES:
        text = f"{where}.max_bytes must be 0 (no cap) or at least 4096 (one page)"
        problems.add(text, path)


def _check_provision_backend(config: Config, problems: Problems) -> None:
    provision = config.auth.enroll.provision
    if provision.enabled and provision.backend == "file" and not config.server.data_dir:
        text = (
            "config: auth.enroll.provision.backend: files of devices need server.data_dir, "
            "which holds whatever is made at run time"
        )
        problems.add(text, (*_PROVISION, "backend"))
    if provision.enabled and provision.backend in vocabulary.ABSENT_BACKENDS:
        text = (
            "config: auth.enroll.provision.backend: this server has no backend "
            f"{quote(provision.backend)} (set file, memory, memory-shared or memdb)"
        )
        problems.add(text, (*_PROVISION, "backend"))


def check_principals(config: Config, problems: Problems) -> None:
    """Names: not empty, unique, and not of the server's own namespace."""
    seen: set[str] = set()
    for index, principal in enumerate(config.auth.principals):
        path = ("auth", "principals", index, "name")
        name = principal.name
        if not name:
            problems.add("config: auth principal with empty name", path)
        elif name in seen:
            problems.add(f"config: duplicate auth principal {quote(name)}", path)
        elif name.startswith(_RESERVED_PREFIX):
            text = (
                f"config: auth principal {quote(name)} uses the reserved u_ prefix "
                "(that namespace is reserved for server-assigned dynamic principals)"
            )
            problems.add(text, path)
        seen.add(name)
