"""What is allowed and deserves a word at start. Never fatal, and never a secret.

It must not know rules, YAML or the disk (`file_cautions` does).
Source: protocol/config.md, Validation order (warnings at start).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from . import vocabulary
from .model import Config, MetaStoreConfig, MethodConfig
from .problems import Path, quote

__all__ = ["find_warnings"]

_Found: TypeAlias = Iterator[tuple[str, Path]]

_LONG_IDLE_TTL_S: Final = 24 * 3600.0
_CLEARTEXT_SECRETS: Final = ("bearer", "password", "session")


def find_warnings(config: Config) -> _Found:
    """Text and path of each warning about a configuration that is valid."""
    for check in _CHECKS:
        yield from check(config)


def _open_mode(config: Config) -> _Found:
    if config.is_open_mode:
        yield (
            "config: no auth configured (no principals and no grants): open mode, "
            "whoever reaches a listener may read and write every database",
            ("auth",),
        )


def _cleartext_secrets(config: Config) -> _Found:
    for index, listener in enumerate(config.listeners):
        if listener.transport not in vocabulary.CLEARTEXT_TCP:
            continue
        for method in _CLEARTEXT_SECRETS:
            if method in listener.auth:
                yield (
                    f"config: listener {quote(listener.name)} accepts {method} over cleartext "
                    f"{listener.transport}: whoever sees the traffic has the credential",
                    ("listeners", index, "auth", listener.auth.index(method)),
                )


def _attach(config: Config) -> _Found:
    if config.auth.sql_policy.allow_attach:
        text = "config: auth.sql_policy.allow_attach is for development only"
        yield text, ("auth", "sql_policy", "allow_attach")


def _meta_store_key(config: Config) -> _Found:
    store = config.server.meta_store or MetaStoreConfig()
    if config.control_plane.enabled and store.backend == "vault":
        text = (
            "config: server.meta_store is a plain SQLite file: this server has no vaults, and a "
            "vault without a key is plaintext (backend: file says the same without this warning)"
        )
        yield text, ("server", "meta_store")


def _enrollment_grants(config: Config) -> _Found:
    enroll = config.auth.enroll
    if enroll.enabled and not enroll.grants and not enroll.provision.enabled:
        text = "config: auth.enroll.grants is empty: enrolled devices may do nothing"
        yield text, ("auth", "enroll", "enabled")


def _long_sessions(config: Config) -> _Found:
    if config.auth.session.idle_ttl_s > _LONG_IDLE_TTL_S:
        text = "config: auth.session.idle_ttl is longer than 24h: a lost token stays usable as long"
        yield text, ("auth", "session", "idle_ttl")


def _mtls_without_ca(config: Config) -> _Found:
    for index, listener in enumerate(config.listeners):
        profile = config.tls.get(listener.tls or "")
        if "mtls" in listener.auth and profile is not None and not profile.client_ca:
            yield (
                f"config: listener {quote(listener.name)} accepts mtls but its tls profile has no "
                "client_ca: no client certificate is ever asked for",
                ("listeners", index, "auth", listener.auth.index("mtls")),
            )


def _mtls_in_cleartext(config: Config) -> _Found:
    for index, listener in enumerate(config.listeners):
        if "mtls" in listener.auth and listener.transport in (*vocabulary.CLEARTEXT_TCP, "unix"):
            yield (
                f"config: listener {quote(listener.name)} accepts mtls but {listener.transport} "
                "has no TLS: nobody can authenticate with a certificate there",
                ("listeners", index, "auth", listener.auth.index("mtls")),
            )


def _principals_without_use(config: Config) -> _Found:
    """A server-admin and whoever a `*` grant serves have a use."""
    granted = {
        grant.principal
        for database in config.databases
        for grant in database.grants
        if grant.level != "none"
    }
    if config.is_open_mode or "*" in granted:
        return
    for index, principal in enumerate(config.auth.principals):
        if principal.name not in granted and principal.name not in config.control_plane.admins:
            text = f"config: principal {quote(principal.name)} has no grant on any database"
            yield text, ("auth", "principals", index)


def _principals_without_methods(config: Config) -> _Found:
    if config.auth.authorized_keys:
        return
    for index, principal in enumerate(config.auth.principals):
        if not principal.methods:
            text = f"config: principal {quote(principal.name)} has no methods: nobody can be it"
            yield text, ("auth", "principals", index)


def _databases_without_grants(config: Config) -> _Found:
    if config.is_open_mode:
        return
    for index, database in enumerate(config.databases):
        if not database.grants:
            text = f"config: database {quote(database.name)} has no grants: nobody may use it"
            yield text, ("databases", index)


def _shared_credentials(config: Config) -> _Found:
    owners: dict[tuple[str, str], str] = {}
    for index, principal in enumerate(config.auth.principals):
        for number, method in enumerate(principal.methods):
            for kind, value in _identities(method):
                owner = owners.setdefault((kind, value), principal.name)
                if owner != principal.name:
                    yield (
                        f"config: principals {quote(owner)} and {quote(principal.name)} declare "
                        f"the same {kind}: the later one gets it",
                        ("auth", "principals", index, "methods", number),
                    )
                    owners[kind, value] = principal.name


def _identities(method: MethodConfig) -> Iterator[tuple[str, str]]:
    if method.bearer is not None:
        yield "bearer token_hash", method.bearer.token_hash
    if method.password is not None:
        yield "password user", method.password.user
    if method.mtls is not None and method.mtls.subject_cn:
        yield "mtls subject_cn", method.mtls.subject_cn
    if method.mtls is not None and method.mtls.spki_sha256:
        yield "mtls spki_sha256", method.mtls.spki_sha256
    if method.peercred is not None:
        yield "peercred uid", str(method.peercred.uid)


def _logged_values(config: Config) -> _Found:
    if config.logging.slow_threshold_s > 0 and config.logging.expand_params:
        text = "config: logging.expand_params writes the values of parameters into the log"
        yield text, ("logging", "expand_params")


def _grants_without_principals(config: Config) -> _Found:
    can_be_somebody = config.auth.authorized_keys or config.auth.enroll.enabled
    if config.is_open_mode or config.auth.principals or can_be_somebody:
        return
    text = "config: there are grants but no principals: everybody is anonymous"
    yield text, ("auth", "principals")


def _profiles_without_use(config: Config) -> _Found:
    for name, profile in config.tls.items():
        if profile.mode == "qip":
            text = (
                "config: tls mode qip is not served: a listener that uses this profile is refused"
            )
            yield text, ("tls", name, "mode")


_CHECKS: Final[tuple[Callable[[Config], _Found], ...]] = (
    _open_mode,
    _cleartext_secrets,
    _attach,
    _meta_store_key,
    _enrollment_grants,
    _long_sessions,
    _mtls_without_ca,
    _mtls_in_cleartext,
    _principals_without_use,
    _principals_without_methods,
    _databases_without_grants,
    _shared_credentials,
    _logged_values,
    _grants_without_principals,
    _profiles_without_use,
)
