"""Every section and key of the configuration, as frozen values with upstream's defaults.

Attribute = YAML key; a duration's attribute has the suffix `_s` and holds seconds as a float. As
upstream, the zero value of a key (0, 0s, "", an empty list) stands for its default. Values may also
be made in code, without a file. It must not know files, YAML, or what goes together with what.
Source: protocol/config.md, Keys.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Final, TypeAlias

import msgspec

__all__ = [
    "AuthConfig",
    "BearerMethod",
    "CORSConfig",
    "ChangefeedConfig",
    "Config",
    "ControlPlaneConfig",
    "DatabaseConfig",
    "EnrollCodesConfig",
    "EnrollConfig",
    "EnrollGrantConfig",
    "GrantConfig",
    "KeyringMethod",
    "LimitsConfig",
    "ListenerConfig",
    "LoggingConfig",
    "MTLSMethod",
    "MetaStoreConfig",
    "MethodConfig",
    "PasswordMethod",
    "PeercredMethod",
    "PoolConfig",
    "PragmaValue",
    "PrincipalConfig",
    "ProvisionConfig",
    "RateConfig",
    "RoutingConfig",
    "SQLPolicyConfig",
    "SecretSourceConfig",
    "Section",
    "ServerConfig",
    "SessionConfig",
    "TLSProfile",
    "VaultConfig",
]

PragmaValue: TypeAlias = str | int | float
"""A pragma's argument; booleans are 1 and 0."""

# What `pragmas_preset: recommended` stands for.
RECOMMENDED_PRAGMAS: Final[dict[str, PragmaValue]] = {
    "busy_timeout": 5000,
    "journal_mode": "WAL",
    "foreign_keys": 1,
}
# Waiting must be possible before anything locks; page size and auto_vacuum are fixed once WAL
# writes the header.
_PRAGMA_ORDER: Final[tuple[str, ...]] = (
    "busy_timeout",
    "page_size",
    "encoding",
    "auto_vacuum",
    "journal_mode",
    "synchronous",
    "temp_store",
    "foreign_keys",
    "cache_size",
)
_WITHOUT_JOURNAL: Final = frozenset({"memdb", "mvcc"})


def _yaml_key(attribute: str) -> str:
    return attribute.removesuffix("_s")


class Section(msgspec.Struct, frozen=True, kw_only=True, rename=_yaml_key):
    """Base of every section: equality by value, and a repr that keeps secrets to itself."""

    secret_keys: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        for name, default in zip(self.__struct_fields__, self.__struct_defaults__, strict=True):
            if isinstance(default, (str, int, float, tuple)) and not getattr(self, name):
                msgspec.structs.force_setattr(self, name, default)

    def __repr__(self) -> str:
        shown = (f"{name}={self._shown(name)}" for name in self.__struct_fields__)
        return f"{type(self).__name__}({', '.join(shown)})"

    def _shown(self, name: str) -> str:
        value = getattr(self, name)
        return "'***'" if value and name in self.secret_keys else repr(value)


class MetaStoreConfig(Section, frozen=True, kw_only=True):
    """Where the server keeps what was made at run time.

    path: relative to data_dir; key: a secret reference.
    """

    secret_keys = frozenset({"key"})
    backend: str = "vault"
    path: str = "_meta.vault"
    key: str = ""


class ServerConfig(Section, frozen=True, kw_only=True):
    """data_dir: base of relative database paths; "" is the working directory."""

    data_dir: str = ""
    meta_store: MetaStoreConfig | None = None


class SecretSourceConfig(Section, frozen=True, kw_only=True):
    """A place to read secrets from. type: env, file or kms; dir: of files; command: argv of kms."""

    name: str = ""
    type: str = ""
    dir: str = ""
    command: tuple[str, ...] = ()
    endpoint: str = ""


class RoutingConfig(Section, frozen=True, kw_only=True):
    """How a request names its database. by_path is on when neither it nor by_host was asked for."""

    by_path: bool = False
    by_host: bool = False
    host_suffix: str = ""
    default_db: str = ""

    def __post_init__(self) -> None:
        if not self.by_host:
            msgspec.structs.force_setattr(self, "by_path", True)


class TLSProfile(Section, frozen=True, kw_only=True):
    """Certificates of listeners. cert, key, client_ca: PEM paths; min_version: "1.2" or "1.3"."""

    mode: str = ""
    cert: str = ""
    key: str = ""
    client_ca: str | None = None
    min_version: str = "1.2"
    hosts: tuple[str, ...] = ()
    subdomain: str = "i.qip.sh"
    refresh_s: float = 43200.0


class ListenerConfig(Section, frozen=True, kw_only=True):
    """One bound endpoint.

    tls: a profile's name; auth: the accepted methods; socket_mode: permission bits (0o600).
    """

    name: str = ""
    transport: str = ""
    address: str = ""
    tls: str | None = None
    auth: tuple[str, ...] = ("none",)
    socket_mode: int | None = None
    advertise: bool = False


class BearerMethod(Section, frozen=True, kw_only=True):
    """token_hash: lower-case hex SHA-256 of the token."""

    secret_keys = frozenset({"token_hash"})
    token_hash: str = ""


class PasswordMethod(Section, frozen=True, kw_only=True):
    """user: the Basic user name; password_hash: bcrypt."""

    secret_keys = frozenset({"password_hash"})
    user: str = ""
    password_hash: str = ""


class MTLSMethod(Section, frozen=True, kw_only=True):
    """subject_cn: exact Common Name; spki_sha256: lower-case hex SHA-256 of the public key.

    Either matches.
    """

    subject_cn: str | None = None
    spki_sha256: str | None = None


class KeyringMethod(Section, frozen=True, kw_only=True):
    """ed25519: an authorized-keys line."""

    ed25519: str = ""


class PeercredMethod(Section, frozen=True, kw_only=True):
    """uid: the numeric user id of the Unix-socket peer; None: missing, which loading refuses."""

    uid: int | None = None


class MethodConfig(Section, frozen=True, kw_only=True):
    """One credential of a principal: exactly one of these is not None."""

    bearer: BearerMethod | None = None
    password: PasswordMethod | None = None
    mtls: MTLSMethod | None = None
    keyring: KeyringMethod | None = None
    peercred: PeercredMethod | None = None


class PrincipalConfig(Section, frozen=True, kw_only=True):
    """A name and the credentials that prove it."""

    name: str = ""
    methods: tuple[MethodConfig, ...] = ()


class SessionConfig(Section, frozen=True, kw_only=True):
    """Session tokens.

    idle_ttl_s: life of one token; max_ttl_s: of a renewed chain, 0 is not renewable.
    """

    enabled: bool = False
    idle_ttl_s: float = 900.0
    max_ttl_s: float = 0.0


class SQLPolicyConfig(Section, frozen=True, kw_only=True):
    """allow_attach: ATTACH and DETACH on streams; for development only."""

    allow_attach: bool = False


class EnrollGrantConfig(Section, frozen=True, kw_only=True):
    """A grant that every enrolled device gets. level: read-only or read-write."""

    db: str = ""
    level: str = ""


class EnrollCodesConfig(Section, frozen=True, kw_only=True):
    """Single-use enrolment codes. ttl_s: how long one can be used."""

    enabled: bool = False
    ttl_s: float = 86400.0


class VaultConfig(Section, frozen=True, kw_only=True):
    """What can be checked of a vault block; this server has no vaults.

    has_*: the key is there and not empty.
    """

    compression: str = ""
    cipher: str = ""
    anchor_type: str = ""
    has_key: bool = False
    has_identities: bool = False


class ProvisionConfig(Section, frozen=True, kw_only=True):
    """A database of its own for each enrolled device.

    max_bytes: 0 is no cap; on_revoke: keep or drop.
    """

    enabled: bool = False
    name_template: str = "{principal}"
    backend: str = "vault"
    vault: VaultConfig | None = None
    pragmas_preset: str = ""
    pragmas: dict[str, PragmaValue] = {}
    level: str = "read-write"
    max_bytes: int = 0
    on_revoke: str = "keep"


class EnrollConfig(Section, frozen=True, kw_only=True):
    """Device enrolment.

    tokens: lower-case hex SHA-256; rate_per_ip: requests a second; idle_ttl_s: 0 is off.
    """

    secret_keys = frozenset({"tokens"})
    enabled: bool = False
    policy: str = "token"
    tokens: tuple[str, ...] = ()
    max_principals: int = 1000
    rate_per_ip: float = 0.1
    grants: tuple[EnrollGrantConfig, ...] = ()
    idle_ttl_s: float = 0.0
    codes: EnrollCodesConfig = EnrollCodesConfig()
    provision: ProvisionConfig = ProvisionConfig()


class AuthConfig(Section, frozen=True, kw_only=True):
    """Who there is. authorized_keys: path of a key roster, "" for none."""

    principals: tuple[PrincipalConfig, ...] = ()
    authorized_keys: str = ""
    session: SessionConfig = SessionConfig()
    sql_policy: SQLPolicyConfig = SQLPolicyConfig()
    enroll: EnrollConfig = EnrollConfig()


class PoolConfig(Section, frozen=True, kw_only=True):
    """Connections of one database.

    max_open: 0 is unlimited; tx_lock: "", deferred, immediate or exclusive.
    """

    max_open: int = 0
    tx_lock: str = ""
    busy_timeout_s: float = 0.0


class GrantConfig(Section, frozen=True, kw_only=True):
    """What a principal, or `*`, may do: none, read-only, read-write or admin."""

    principal: str = ""
    level: str = ""


class DatabaseConfig(Section, frozen=True, kw_only=True):
    """One database.

    path: of backend file, relative to data_dir or absolute; mode: ro, rw or rwc.
    """

    name: str = ""
    backend: str = ""
    path: str = ""
    mode: str = "rwc"
    pool: PoolConfig = PoolConfig()
    pragmas_preset: str = ""
    pragmas: dict[str, PragmaValue] = {}
    vault: VaultConfig | None = None
    grants: tuple[GrantConfig, ...] = ()

    @property
    def effective_pragmas(self) -> dict[str, PragmaValue]:
        """The pragmas to set on each connection, in the order in which to set them; busy_timeout in
        milliseconds.

        `pragmas` wins over the preset, and `pool.busy_timeout` over both. memdb drops journal_mode.
        Source: protocol/config.md, databases[].
        """
        merged = dict(RECOMMENDED_PRAGMAS) if self.pragmas_preset == "recommended" else {}
        merged.update({name.lower(): value for name, value in self.pragmas.items()})
        if self.pool.busy_timeout_s > 0:
            merged["busy_timeout"] = math.ceil(self.pool.busy_timeout_s * 1000)
        if self.backend in _WITHOUT_JOURNAL:
            merged.pop("journal_mode", None)
        ordered = [name for name in _PRAGMA_ORDER if name in merged]
        ordered += [name for name in merged if name not in _PRAGMA_ORDER]
        return {name: merged[name] for name in ordered}


class ControlPlaneConfig(Section, frozen=True, kw_only=True):
    """The `/_admin` surface. admins: names of principals."""

    enabled: bool = False
    admins: tuple[str, ...] = ()


class RateConfig(Section, frozen=True, kw_only=True):
    """per_principal_rps: requests a second of each principal; 0 is unlimited."""

    per_principal_rps: float = 0.0

    @property
    def burst(self) -> float:
        """How many requests may come at once: the rate, at least 1."""
        return max(self.per_principal_rps, 1.0)


class LimitsConfig(Section, frozen=True, kw_only=True):
    """Caps. Whatever is not positive is the default; max_restore_bytes: -1 is unlimited.

    0 is unlimited for max_concurrent_per_db and rate, and "keep open" for idle_handle_timeout_s.
    """

    max_rows: int = 100_000
    max_result_bytes: int = 67_108_864
    max_request_bytes: int = 8_388_608
    max_blob_bytes: int = 1_073_741_824
    max_export_bytes: int = 1_073_741_824
    max_restore_bytes: int = 4_294_967_296
    statement_timeout_s: float = 30.0
    tx_idle_timeout_s: float = 30.0
    max_tx_lifetime_s: float = 300.0
    max_sessions_per_db: int = 64
    max_concurrent_per_db: int = 0
    idle_handle_timeout_s: float = 0.0
    rate: RateConfig = RateConfig()

    def __post_init__(self) -> None:
        for name, default in zip(self.__struct_fields__, self.__struct_defaults__, strict=True):
            value: Any = getattr(self, name)
            if isinstance(default, (int, float)) and value <= 0:
                is_unlimited = name == "max_restore_bytes" and value < 0
                msgspec.structs.force_setattr(self, name, -1 if is_unlimited else default)


class LoggingConfig(Section, frozen=True, kw_only=True):
    """format: text or json; slow_threshold_s: log statements from this long on, 0 is off."""

    format: str = "text"
    slow_threshold_s: float = 0.0
    expand_params: bool = False


class CORSConfig(Section, frozen=True, kw_only=True):
    """Browsers of other origins. max_age_s: how long a preflight may be kept."""

    enabled: bool = False
    origins: tuple[str, ...] = ("*",)
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age_s: float = 7200.0


class ChangefeedConfig(Section, frozen=True, kw_only=True):
    """The change feed. buffer: events kept for each database; max_subscribers: of each. 0 is the
    default.
    """

    enabled: bool = False
    buffer: int = 1024
    max_subscribers: int = 128

    def __post_init__(self) -> None:
        for name, default in (("buffer", 1024), ("max_subscribers", 128)):
            if getattr(self, name) == 0:
                msgspec.structs.force_setattr(self, name, default)


class Config(Section, frozen=True, kw_only=True):
    """A whole configuration.

    Source: protocol/config.md.
    """

    server: ServerConfig = ServerConfig()
    secrets: tuple[SecretSourceConfig, ...] = ()
    routing: RoutingConfig = RoutingConfig()
    tls: dict[str, TLSProfile] = {}
    listeners: tuple[ListenerConfig, ...] = ()
    auth: AuthConfig = AuthConfig()
    databases: tuple[DatabaseConfig, ...] = ()
    control_plane: ControlPlaneConfig = ControlPlaneConfig()
    limits: LimitsConfig = LimitsConfig()
    logging: LoggingConfig = LoggingConfig()
    cors: CORSConfig = CORSConfig()
    changefeed: ChangefeedConfig = ChangefeedConfig()

    @property
    def is_open_mode(self) -> bool:
        """Whether nobody and nothing is protected: no principals and no grants.

        Source: protocol/README.md, Vocabulary.
        """
        return not self.auth.principals and not any(database.grants for database in self.databases)
