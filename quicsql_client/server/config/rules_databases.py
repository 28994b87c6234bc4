"""Rules of the databases and of their grants, in upstream's order and words.

It must not know listeners or credentials.
Source: protocol/config.md, databases[] and the exact texts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from . import vocabulary
from .model import Config, DatabaseConfig, PragmaValue, VaultConfig
from .problems import Path, Problems, quote

__all__ = ["check_databases", "check_grants", "check_pragmas", "check_vault", "database_faults"]

_PRAGMA_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_databases(config: Config, problems: Problems) -> None:
    """Each database by itself, then its name against those before it."""
    seen: set[str] = set()
    for index, database in enumerate(config.databases):
        path = ("databases", index)
        _check_name(database, path, problems)
        _check_backend(database, path, problems)
        _check_words(database, path, problems)
        _check_vault_block(database, path, problems)
        if database.name and database.name in seen:
            text = f"config: duplicate database name {quote(database.name)}"
            problems.add(text, (*path, "name"))
        seen.add(database.name)


def database_faults(database: DatabaseConfig) -> tuple[str, ...]:
    """Everything that the rules say against a database which stands in no file."""
    problems = Problems("", lambda _path: 0)
    check_databases(Config(databases=(database,)), problems)
    return problems.lines


def _check_name(database: DatabaseConfig, path: Path, problems: Problems) -> None:
    if not database.name:
        problems.add("config: database with empty name", (*path, "name"))
    elif not vocabulary.is_valid_database_name(database.name):
        text = (
            f"config: database {quote(database.name)} has an invalid or reserved name "
            "(use letters, digits, and -._; not leading _, not a reserved or endpoint name)"
        )
        problems.add(text, (*path, "name"))


def _check_backend(database: DatabaseConfig, path: Path, problems: Problems) -> None:
    where = f"config: database {quote(database.name)}"
    backend = (*path, "backend")
    if not database.backend:
        problems.add(f"{where} missing backend", backend)
    elif database.backend not in vocabulary.BACKENDS:
        problems.add(f"{where} unknown backend {quote(database.backend)}", backend)
    elif database.backend in vocabulary.ABSENT_BACKENDS:
        text = (
            f"{where}: this server has no backend {quote(database.backend)} "
            "(use file, memory, memory-shared or memdb)"
        )
        problems.add(text, backend)
    elif database.backend == "file" and not database.path:
        problems.add(f"{where}: backend file needs a path", (*path, "path"))


def _check_words(database: DatabaseConfig, path: Path, problems: Problems) -> None:
    where = f"config: database {quote(database.name)} invalid"
    if database.mode not in vocabulary.MODES:
        text = f"{where} mode {quote(database.mode)} (want rw|ro|rwc)"
        problems.add(text, (*path, "mode"))
    lock = database.pool.tx_lock
    if lock and lock not in vocabulary.TX_LOCKS:
        text = f"{where} tx_lock {quote(lock)} (want deferred|immediate|exclusive)"
        problems.add(text, (*path, "pool", "tx_lock"))
    if database.pool.max_open < 0:
        problems.add(f"{where} pool.max_open: it must not be negative", (*path, "pool", "max_open"))
    preset = database.pragmas_preset
    if preset and preset not in vocabulary.PRESETS:
        text = f"{where} pragmas_preset {quote(preset)} (want recommended)"
        problems.add(text, (*path, "pragmas_preset"))
    check_pragmas(database.pragmas, where, (*path, "pragmas"), problems)


def check_pragmas(
    pragmas: Mapping[str, PragmaValue], where: str, path: Path, problems: Problems
) -> None:
    """Names are SQL names, and the values of the common pragmas are words that SQLite knows: it
    ignores others silently.
    """
    for name, value in pragmas.items():
        if not _PRAGMA_NAME.fullmatch(name):
            problems.add(f"{where} pragma name {quote(name)}", (*path, name))
        words = vocabulary.PRAGMA_WORDS.get(name.lower())
        if words and str(value).lower() not in words:
            wanted = "|".join(words)
            text = f"{where} pragmas.{name} {quote(str(value))} (want {wanted})"
            problems.add(text, (*path, name))
        if name.lower() == "busy_timeout" and isinstance(value, int) and value < 0:
            problems.add(f"{where} pragmas.{name}: it must not be negative", (*path, name))


def _check_vault_block(database: DatabaseConfig, path: Path, problems: Problems) -> None:
    if database.vault is None:
        return
    where = f"config: database {quote(database.name)}"
    if database.backend and database.backend != "vault":
        text = f"{where} has a vault block but backend is {quote(database.backend)}"
        problems.add(text, (*path, "vault"))
    check_vault(database.vault, where, (*path, "vault"), problems)


def check_vault(vault: VaultConfig, where: str, path: Path, problems: Problems) -> None:
    """The words of a vault block.

    Anchors are refused whatever their type: this server has no vaults.
    """
    if vault.compression and vault.compression not in vocabulary.COMPRESSIONS:
        text = f"{where} invalid vault.compression {quote(vault.compression)}"
        problems.add(text, (*path, "compression"))
    if vault.cipher and vault.cipher not in vocabulary.CIPHERS:
        text = f"{where} invalid vault.cipher {quote(vault.cipher)} (want adiantum|aes-xts)"
        problems.add(text, (*path, "cipher"))
    if vault.anchor_type:
        text = f"{where} invalid vault.anchor.type {quote(vault.anchor_type)}"
        problems.add(text, (*path, "anchor", "type"))
    if vault.has_key and vault.has_identities:
        text = f"{where} vault sets both key (raw-key mode) and identities (recipient mode)"
        problems.add(text, path)


def check_grants(config: Config, problems: Problems) -> None:
    """Each grant: a declared principal or `*`, and a level."""
    principals = {principal.name for principal in config.auth.principals}
    are_known = not problems.is_unreadable(("auth", "principals"))
    for index, database in enumerate(config.databases):
        where = f"config: database {quote(database.name)}"
        for number, grant in enumerate(database.grants):
            path = ("databases", index, "grants", number)
            if are_known and grant.principal != "*" and grant.principal not in principals:
                text = f"{where} grants to unknown principal {quote(grant.principal)}"
                problems.add(text, (*path, "principal"))
            if grant.level not in vocabulary.LEVELS:
                text = (
                    f"{where} grant has invalid level {quote(grant.level)} "
                    "(want none|read-only|read-write|admin)"
                )
                problems.add(text, (*path, "level"))
