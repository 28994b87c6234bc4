"""The configurations that the exchanges were recorded on, as documents, and their certificates.

Ports are the system's; everything else is as it was when upstream answered.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quicsql_client.pki import CertificateAuthority

from .keyring import public_line
from .ways import TOKENS

Document = dict[str, Any]

# bcrypt of "hunter2", cost 6.
_PASSWORD_HASH = "$2b$06$j/GTVmf2vjE4OVh4Ee3irOFAM8doySv4bJTSCmZPR4wys4usxJfrq"


@dataclass(frozen=True)
class Identities:
    """The folder of certificates and keys, and what configurations say of them."""

    folder: Path
    pin: str

    @classmethod
    def issue(cls, folder: Path) -> Identities:
        """Two CAs, the server, four clients, and one of the right name that nobody trusts."""
        server, client = (
            CertificateAuthority.create(f"quicsql {s} CA") for s in ("server", "client")
        )
        server.write(folder, "server-ca")
        client.write(folder, "client-ca")
        server.issue_server(["localhost", "db.example.com", "127.0.0.1"]).write(folder, "server")
        issued = {name: client.issue_client(name) for name in _CLIENTS}
        for name, leaf in issued.items():
            leaf.write(folder, name)
        rogue = CertificateAuthority.create("quicsql client CA").issue_client("analyst")
        rogue.write(folder, "rogue")
        (folder / "authorized_keys").write_text(f"# devices\n\n{public_line('roster')} roster\n")
        return cls(folder, issued["reporting"].pin)

    def profile(self) -> Document:
        """The TLS profile of every variant."""
        return {
            "mode": "files",
            "cert": str(self.folder / "server.crt"),
            "key": str(self.folder / "server.key"),
            "client_ca": str(self.folder / "client-ca.crt"),
            "min_version": "1.3",
        }


_CLIENTS = ("analyst", "reporting", "stranger", "admin")


def configuration(variant: str, folder: Path, identities: Identities) -> Document:
    """The configuration of a variant, whose data and socket go to the folder."""
    data = folder / "data"
    server = {
        "data_dir": str(data),
        "meta_store": {"backend": "file", "path": str(data / "meta.db")},
    }
    return {
        "server": server,
        "tls": {"prod": identities.profile()},
        **_VARIANTS[variant](identities, folder),
    }


def tls_listeners(document: Document) -> frozenset[str]:
    """The names of the listeners that speak TLS over TCP."""
    return frozenset(one["name"] for one in document["listeners"] if one["transport"] == "h2")


def _listener(name: str, transport: str, *methods: str, **keys: Any) -> Document:
    if transport in ("h2", "h3"):
        keys["tls"] = "prod"
    if methods:
        keys["auth"] = list(methods)
    return {"name": name, "transport": transport, "address": "127.0.0.1:0", **keys}


def _unix(folder: Path, *methods: str, **keys: Any) -> Document:
    return {**_listener("unix", "unix", *methods, **keys), "address": str(folder / "s.sock")}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _principal(name: str, *methods: Document) -> Document:
    return {"name": name, "methods": list(methods)}


def _by_token(name: str) -> Document:
    return {"bearer": {"token_hash": _digest(TOKENS[name] or "")}}


def _with_tokens(*names: str) -> list[Document]:
    return [_principal(name, _by_token(name)) for name in names]


def _analyst() -> Document:
    return _principal("analyst", {"mtls": {"subject_cn": "analyst"}})


def _people(identities: Identities) -> list[Document]:
    """The principals of `first` and `main`."""
    password = {"password": {"user": "user", "password_hash": _PASSWORD_HASH}}
    return [
        _analyst(),
        _principal("reporting", {"mtls": {"spki_sha256": identities.pin}}),
        *_with_tokens("tok", "tok2"),
        _principal("user", password),
        _principal("root", _by_token("root"), {"mtls": {"subject_cn": "admin"}}),
    ]


def _grants(**levels: str) -> list[Document]:
    return [{"principal": name, "level": level} for name, level in levels.items()]


def _everyone(level: str) -> list[Document]:
    return [{"principal": "*", "level": level}]


def _file(name: str, **keys: Any) -> Document:
    return {"name": name, "backend": "file", "path": f"{name}.db", "mode": "rwc", **keys}


def _tuned(name: str, **keys: Any) -> Document:
    return _file(name, pragmas_preset="recommended", **keys)


def _memory(name: str, **keys: Any) -> Document:
    return {"name": name, "backend": "memory", **keys}


_CONTROL_PLANE = {"enabled": True, "admins": ["root"]}
_RW, _RO, _ADMIN = "read-write", "read-only", "admin"


def _first(identities: Identities, _folder: Path) -> Document:
    grants = _grants(analyst=_RW, reporting=_RO, tok=_RW, root=_ADMIN)
    return {
        "listeners": [
            _listener("h1", "h1", "bearer", "password"),
            _listener("h2c", "h2c", "bearer", "password"),
            _listener("h2", "h2", "mtls"),
            _listener("h3", "h3", "mtls"),
            _listener("mixed", "h2", "mtls", "bearer", "keyring", "session"),
        ],
        "auth": {
            "session": {"enabled": True, "idle_ttl": "10m"},
            "principals": _people(identities),
        },
        "databases": [_file("app", grants=grants), _memory("mem", grants=_everyone(_RW))],
        "control_plane": _CONTROL_PLANE,
        "changefeed": {"enabled": True},
        "limits": {"statement_timeout": "2s", "max_rows": 50000},
    }


def _main(identities: Identities, folder: Path) -> Document:
    short = {"busy_timeout": "150ms"}
    grants = _grants(
        **{"analyst": _RW, "reporting": _RO, "tok": _RW, "ro": _RO, "adm": _ADMIN},
        **{"root": _ADMIN, "user": _RW, "kr": _RW, "roster": _RO, "local": _RW},
    )
    return {
        "listeners": [
            _listener("h1", "h1", "bearer", "password"),
            _listener("h2c", "h2c", "session", "keyring", "bearer", "password"),
            _listener("h2", "h2", "mtls"),
            _listener("h3", "h3", "mtls"),
            _listener("mixed", "h2", "mtls", "bearer", "keyring", "session", "password"),
            _listener("any", "h1", "bearer", "none"),
            _listener("all", "h1", "none", "password", "bearer", "session", "keyring"),
            _unix(folder, "peercred", "bearer", socket_mode="0600"),
        ],
        "auth": {
            "authorized_keys": str(identities.folder / "authorized_keys"),
            "session": {"enabled": True, "idle_ttl": "10m", "max_ttl": "2h"},
            "enroll": {
                "enabled": True,
                "policy": "token",
                "tokens": [_digest("enroll-token")],
                "rate_per_ip": 1000,
                "codes": {"enabled": True, "ttl": "1h"},
                "grants": [{"db": db, "level": _RO} for db in ("app", "gone")],
            },
            "principals": [
                *_people(identities),
                *_with_tokens("ro", "adm"),
                _principal("kr", {"keyring": {"ed25519": f"{public_line('kr')} kr@host"}}),
                _principal("roster"),
                _principal("local", {"peercred": {"uid": str(os.getuid())}}),
            ],
        },
        "databases": [
            _tuned("app", pool=short, grants=grants),
            _tuned("app2", pool={"tx_lock": "immediate", **short}, grants=grants),
            _memory("mem", grants=grants),
            _tuned("pub", grants=[*_everyone(_RO), *_grants(tok=_RW)]),
            _file("locked", grants=_grants(tok2="none")),
        ],
        "control_plane": _CONTROL_PLANE,
        "changefeed": {"enabled": True},
        "limits": {"statement_timeout": "2s"},
    }


def _tight(_identities: Identities, _folder: Path) -> Document:
    grants = _grants(tok=_RW, ro=_RO, root=_ADMIN)
    enroll = {"enabled": True, "policy": "open", "rate_per_ip": 1000, "max_principals": 2}
    return {
        "listeners": [
            _listener("h1", "h1", "bearer"),
            _listener("all", "h1", "session", "keyring", "bearer", "none"),
        ],
        "auth": {
            "session": {"enabled": True, "idle_ttl": "3s", "max_ttl": "4s"},
            "enroll": enroll,
            "principals": _with_tokens("tok", "ro", "root"),
        },
        "databases": [
            _tuned("app", pool={"busy_timeout": "100ms"}, grants=grants),
            _tuned("feed", grants=grants),
            _tuned("caps", grants=grants),
        ],
        "control_plane": _CONTROL_PLANE,
        "changefeed": {"enabled": True, "buffer": 4, "max_subscribers": 2},
        "limits": {
            "max_rows": 5,
            "max_result_bytes": 200,
            "max_request_bytes": 2048,
            "max_blob_bytes": 1024,
            "max_export_bytes": 20000,
            "max_restore_bytes": 40000,
            "statement_timeout": "500ms",
            "tx_idle_timeout": "800ms",
            "max_tx_lifetime": "2s",
            "max_sessions_per_db": 2,
        },
    }


def _rate(_identities: Identities, _folder: Path) -> Document:
    numbered = (f"r{number}" for number in range(1, 10))
    return {
        "listeners": [
            _listener("h1", "h1", "bearer"),
            _listener("all", "h1", "keyring", "bearer", "none"),
        ],
        "auth": {
            "enroll": {"enabled": True, "policy": "open", "rate_per_ip": 0.001},
            "principals": _with_tokens("root", *numbered),
        },
        "databases": [_file(name, grants=_everyone(_RW)) for name in ("app", "slow")],
        "control_plane": _CONTROL_PLANE,
        "changefeed": {"enabled": True},
        "limits": {
            "statement_timeout": "1500ms",
            "max_concurrent_per_db": 1,
            "rate": {"per_principal_rps": 0.5},
        },
    }


def _open(_identities: Identities, folder: Path) -> Document:
    return {
        "routing": {"by_path": True, "by_host": True, "host_suffix": "q.local"},
        "listeners": [_listener("h1", "h1"), _listener("h2c", "h2c", "none"), _unix(folder)],
        "databases": [_file("app"), _file("other"), _memory("mem"), _memory("Query")],
        "cors": {
            "enabled": True,
            "origins": ["https://app.example.com", "http://localhost:3000"],
            "allow_headers": ["X-Extra"],
            "expose_headers": ["X-Seen"],
            "max_age": "1h",
        },
        "limits": {"statement_timeout": "2s"},
    }


def _edge(_identities: Identities, folder: Path) -> Document:
    grants = _grants(tok=_RW, ro=_RO, root=_ADMIN, analyst=_RW)
    provision = {
        "enabled": True,
        "backend": "file",
        "name_template": "{principal}-db",
        "pragmas_preset": "recommended",
        "on_revoke": "drop",
    }
    return {
        "routing": {"by_host": True, "host_suffix": ".q.local", "default_db": "app"},
        "listeners": [
            _listener("h1", "h1", "bearer", "password"),
            _listener("h2c", "h2c", "bearer"),
            _listener("h2", "h2", "mtls", "bearer"),
            _listener("h3", "h3", "bearer", advertise=True),
            _listener("all", "h1", "session", "keyring", "bearer", "none"),
            _unix(folder, "bearer"),
        ],
        "auth": {
            "session": {"enabled": True, "idle_ttl": "10m"},
            "sql_policy": {"allow_attach": True},
            "enroll": {
                "enabled": True,
                "policy": "open",
                "rate_per_ip": 1000,
                "provision": provision,
            },
            "principals": [*_with_tokens("tok", "ro", "root"), _analyst()],
        },
        "databases": [_tuned("app", grants=grants), _file("other", grants=grants)],
        "control_plane": _CONTROL_PLANE,
        "cors": {"enabled": True},
        "limits": {"statement_timeout": "2s"},
    }


_VARIANTS: dict[str, Callable[[Identities, Path], Document]] = {
    "first": _first,
    "main": _main,
    "tight": _tight,
    "rate": _rate,
    "open": _open,
    "edge": _edge,
}
