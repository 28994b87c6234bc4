"""The configuration of the reference server: one YAML file, read and checked as a whole.

    load                    all of what follows, in order
    document                YAML text -> nodes that know their lines
    build                   nodes -> sections of `model`; scalars, durations: what single words mean
    validate, rules_*       what goes together; vocabulary: the words that values may be
    credentials, secrets    what principals prove themselves with
    cautions                warnings: what is allowed, and unwise or without effect
    file_cautions           warnings: who can read the named files, and who signs for both sides
    problems                everything that is wrong, with file, line and key

It must not know sockets, requests or SQLite.
Source: protocol/config.md.
"""

from .credentials import resolve
from .load import LoadedConfig, load_config
from .model import (
    AuthConfig,
    BearerMethod,
    ChangefeedConfig,
    Config,
    ControlPlaneConfig,
    CORSConfig,
    DatabaseConfig,
    EnrollCodesConfig,
    EnrollConfig,
    EnrollGrantConfig,
    GrantConfig,
    KeyringMethod,
    LimitsConfig,
    ListenerConfig,
    LoggingConfig,
    MetaStoreConfig,
    MethodConfig,
    MTLSMethod,
    PasswordMethod,
    PeercredMethod,
    PoolConfig,
    PragmaValue,
    PrincipalConfig,
    ProvisionConfig,
    RateConfig,
    RoutingConfig,
    SecretSourceConfig,
    ServerConfig,
    SessionConfig,
    SQLPolicyConfig,
    TLSProfile,
    VaultConfig,
)
from .problems import ConfigError
from .rules_databases import database_faults
from .vocabulary import is_valid_database_name

__all__ = [
    "AuthConfig",
    "BearerMethod",
    "CORSConfig",
    "ChangefeedConfig",
    "Config",
    "ConfigError",
    "ControlPlaneConfig",
    "DatabaseConfig",
    "EnrollCodesConfig",
    "EnrollConfig",
    "EnrollGrantConfig",
    "GrantConfig",
    "KeyringMethod",
    "LimitsConfig",
    "ListenerConfig",
    "LoadedConfig",
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
    "ServerConfig",
    "SessionConfig",
    "TLSProfile",
    "VaultConfig",
    "database_faults",
    "is_valid_database_name",
    "load_config",
    "resolve",
]
