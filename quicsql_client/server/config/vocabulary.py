"""The words that configuration values may be, each list once.

It must not know sections or files.
Source: protocol/config.md, Keys; protocol/README.md, Vocabulary (database names).
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["is_valid_database_name"]

BACKENDS: Final = ("file", "memory", "memory-shared", "mvcc", "memdb", "vault")
# Containers of the original build: this server has no engine for them.
ABSENT_BACKENDS: Final = ("vault", "mvcc")
MODES: Final = ("ro", "rw", "rwc")
TX_LOCKS: Final = ("deferred", "immediate", "exclusive")
PRESETS: Final = ("recommended",)
LEVELS: Final = ("none", "read-only", "read-write", "admin")
SELF_SERVICE_LEVELS: Final = ("read-only", "read-write")
COMPRESSIONS: Final = ("none", "fastest", "fast", "default", "better", "best")
CIPHERS: Final = ("adiantum", "aes-xts")
TRANSPORTS: Final = ("h1", "h2", "h2c", "h3", "unix")
CLEARTEXT_TCP: Final = ("h1", "h2c")
ADDRESS_FAMILIES: Final = {"h1": "tcp", "h2": "tcp", "h2c": "tcp", "h3": "udp", "unix": "unix"}
AUTH_METHODS: Final = ("none", "peercred", "bearer", "password", "mtls", "keyring", "session")
TLS_MODES: Final = ("files", "self_signed", "qip")
TLS_VERSIONS: Final = ("1.2", "1.3")
META_STORE_BACKENDS: Final = ("vault", "file")
SECRET_TYPES: Final = ("env", "file", "kms")
ENROLL_POLICIES: Final = ("open", "token")
ON_REVOKE: Final = ("keep", "drop")
LOG_FORMATS: Final = ("text", "json")
PRAGMA_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "journal_mode": ("delete", "truncate", "persist", "memory", "wal", "off"),
    "synchronous": ("off", "normal", "full", "extra", "0", "1", "2", "3"),
    "auto_vacuum": ("none", "full", "incremental", "0", "1", "2"),
    "temp_store": ("default", "file", "memory", "0", "1", "2"),
}

_ENDPOINT_WORDS: Final = frozenset(
    {"query", "v2", "v3", "export", "backup", "changeset", "blob", "changes"}
)
# A leading "_" is not allowed, so the reserved names (_server, _meta, ...) need no list.
_NAME: Final = re.compile(r"[A-Za-z0-9.-][A-Za-z0-9._-]*")


def is_valid_database_name(name: str) -> bool:
    """Whether a database may have this name: ASCII letters, digits, `-._`, no leading `_`, no
    endpoint word.

    Source: protocol/README.md, Vocabulary.
    """
    return bool(_NAME.fullmatch(name)) and name not in (".", "..") and name not in _ENDPOINT_WORDS
