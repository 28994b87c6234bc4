"""A database as `/_admin/create` describes it: a configuration's `databases[]` entry in JSON.

Here are the shapes and the units; what goes together is the configuration's rules' matter.
Source: protocol/operations.md, Admin; protocol/config.md, databases[] and File rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ....errors import RemoteProtocolError
from ....wire.document import Number, Pairs, fields
from ...config import DatabaseConfig, PoolConfig, PragmaValue, VaultConfig
from ...grants import Level

__all__ = ["read_database", "read_levels"]

# Upstream's spelling of a key is not certain: with and without underscores are the same here.
_DATABASE: Final = {
    **dict.fromkeys(("name", "backend", "path", "mode", "pragmaspreset"), str),
    **dict.fromkeys(("pool", "pragmas", "vault"), Pairs),
    "grants": list,  # overwritten by the grants beside the database
}
_POOL: Final = {"maxopen": Number, "txlock": str, "busytimeout": Number}
_VAULT: Final = frozenset(
    [
        *("anchor", "authenticate", "cipher", "compression", "create"),
        *("identities", "key", "masters", "writeas"),
    ]
)
_GRANT: Final = {"principal": str, "level": str}
_INTEGER_PRAGMAS: Final = ("busy_timeout", "cache_size")

_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")
_NS_PER_S: Final = 1e9

_ALIASES: Final = {
    "ro": Level.READ_ONLY,
    "readonly": Level.READ_ONLY,
    "rw": Level.READ_WRITE,
    "readwrite": Level.READ_WRITE,
}
_LEVELS: Final = {**{level.word: level for level in Level}, **_ALIASES}


def read_database(spec: Any) -> DatabaseConfig:
    """The database of a JSON object, unchecked; durations are whole nanoseconds.

    Raises: RemoteProtocolError for unknown keys and wrong types.
    """
    found = _members(spec, _DATABASE)
    texts = {name: found[name] for name in ("name", "backend", "path", "mode") if name in found}
    return DatabaseConfig(
        **texts,
        pool=_pool(found.get("pool")),
        pragmas_preset=found.get("pragmaspreset", ""),
        pragmas=dict(_pragma(name, value) for name, value in _given(found.get("pragmas"))),
        vault=_vault(found["vault"]) if "vault" in found else None,
    )


def read_levels(entries: Iterable[Any]) -> Mapping[str, Level]:
    """What principals are granted, the last entry of each; unknown levels are passed over.

    Raises: RemoteProtocolError.
    """
    granted = [fields(entry, "grant", _GRANT, closed=True) for entry in entries]
    return {
        grant["principal"]: _LEVELS[grant["level"]]
        for grant in granted
        if grant.get("principal") and grant.get("level") in _LEVELS
    }


def _members(value: Any, kinds: Mapping[str, type]) -> dict[str, Any]:
    if isinstance(value, Pairs):
        value = Pairs((key.replace("_", ""), member) for key, member in value)
    return fields(value, "database", kinds, closed=True)


def _pool(value: Any) -> PoolConfig:
    found = _members(value, _POOL)
    return PoolConfig(
        max_open=_integer(found.get("maxopen", "0")),
        tx_lock=found.get("txlock", ""),
        busy_timeout_s=_integer(found.get("busytimeout", "0")) / _NS_PER_S,
    )


def _vault(value: Pairs) -> VaultConfig:
    """That there is one; this server has no vaults, so that is what the rules look at."""
    for key, _ in value:
        if key.replace("_", "").casefold() not in _VAULT:
            raise RemoteProtocolError("unknown field of a vault")
    return VaultConfig()


def _given(value: Any) -> Iterable[tuple[str, Any]]:
    return [] if value is None else [(name, each) for name, each in value if each is not None]


def _pragma(name: str, value: Any) -> tuple[str, PragmaValue]:
    if name.lower() in _INTEGER_PRAGMAS or (
        isinstance(value, Number) and _INTEGER.fullmatch(value)
    ):
        return name, _integer(value)
    if isinstance(value, Number):
        return name, float(value)
    if isinstance(value, bool):
        return name, int(value)
    if isinstance(value, str):
        return name, value
    raise RemoteProtocolError(f"pragmas.{name} must be a single value")


def _integer(value: Any) -> int:
    is_number = isinstance(value, (Number, str)) and not isinstance(value, bool)
    if not is_number or not _INTEGER.fullmatch(value):
        raise RemoteProtocolError("want a whole number")
    return int(value)
