"""quicSQL for Python: a client for the network SQLite server, at its best over mutual TLS.

    client = Client.h2tls("db.example.com:7777",
                          with_root_ca("server-ca.crt"),
                          with_client_cert("analyst.crt", "analyst.key"))
    client.query("app", "SELECT id, name FROM users WHERE id = ?", [7])

Clients and options are imported when first used: the pytest plugin and the command line live in
this package and must not pay for httpx, ssl and cryptography in runs that use none of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__
from .errors import (
    AuthenticationError,
    AuthorizationError,
    ConfigurationError,
    ConnectError,
    ConnectTimeout,
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    LocalProtocolError,
    NotSupportedError,
    OperationalError,
    OutcomeUnknownError,
    OverloadedError,
    PoolTimeout,
    ProgrammingError,
    RateLimitedError,
    ReadTimeout,
    RemoteProtocolError,
    ResponseTooLarge,
    StreamExpiredError,
    TLSError,
    TransactionEndedError,
    TransportError,
    TransportWarning,
    TruncatedError,
    UnsafeCredentialError,
    Warning,
    WriteTimeout,
)
from .types import Arguments, Description, Enrollment, Result, Row, SessionToken, Statement, Value

if TYPE_CHECKING:
    from ._async.admin import AsyncAdmin
    from ._async.client import AsyncClient
    from ._async.stream import AsyncStream
    from ._async.transaction import AsyncTransaction
    from ._sync.admin import Admin
    from ._sync.client import Client
    from ._sync.stream import Stream
    from ._sync.transaction import Transaction
    from .admin import (
        Checkpoint,
        DatabaseInfo,
        EnrollCode,
        EnrolledPrincipal,
        ServerInfo,
        SessionInfo,
        Snapshot,
    )
    from .certificate_sources import (
        CertificateEnvironment,
        CertificateFiles,
        CertificateSource,
        PKCS12File,
    )
    from .options import (
        Option,
        with_basic_auth,
        with_bearer,
        with_certificate_check,
        with_client_cert,
        with_connect_timeout,
        with_ed25519,
        with_insecure_auth_allowed,
        with_max_response,
        with_min_tls,
        with_root_ca,
        with_server_pin,
        with_timeout,
        with_transport,
    )
    from .renewal import TLSStatus
    from .ssh_agent import AgentKey, SSHAgent
    from .url import URL_PARAMETERS, ConnectionURL, parse_url

__all__ = [
    "URL_PARAMETERS",
    "Admin",
    "AgentKey",
    "Arguments",
    "AsyncAdmin",
    "AsyncClient",
    "AsyncStream",
    "AsyncTransaction",
    "AuthenticationError",
    "AuthorizationError",
    "CertificateEnvironment",
    "CertificateFiles",
    "CertificateSource",
    "Checkpoint",
    "Client",
    "ConfigurationError",
    "ConnectError",
    "ConnectTimeout",
    "ConnectionURL",
    "DataError",
    "DatabaseError",
    "DatabaseInfo",
    "Description",
    "EnrollCode",
    "EnrolledPrincipal",
    "Enrollment",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "LocalProtocolError",
    "NotSupportedError",
    "OperationalError",
    "Option",
    "OutcomeUnknownError",
    "OverloadedError",
    "PKCS12File",
    "PoolTimeout",
    "ProgrammingError",
    "RateLimitedError",
    "ReadTimeout",
    "RemoteProtocolError",
    "ResponseTooLarge",
    "Result",
    "Row",
    "SSHAgent",
    "ServerInfo",
    "SessionInfo",
    "SessionToken",
    "Snapshot",
    "Statement",
    "Stream",
    "StreamExpiredError",
    "TLSError",
    "TLSStatus",
    "Transaction",
    "TransactionEndedError",
    "TransportError",
    "TransportWarning",
    "TruncatedError",
    "UnsafeCredentialError",
    "Value",
    "Warning",
    "WriteTimeout",
    "__version__",
    "parse_url",
    "with_basic_auth",
    "with_bearer",
    "with_certificate_check",
    "with_client_cert",
    "with_connect_timeout",
    "with_ed25519",
    "with_insecure_auth_allowed",
    "with_max_response",
    "with_min_tls",
    "with_root_ca",
    "with_server_pin",
    "with_timeout",
    "with_transport",
]

_LATE = {
    **dict.fromkeys(
        ("CertificateEnvironment", "CertificateFiles", "CertificateSource", "PKCS12File"),
        ".certificate_sources",
    ),
    "AgentKey": ".ssh_agent",
    "SSHAgent": ".ssh_agent",
    **dict.fromkeys(
        (
            "Checkpoint",
            "DatabaseInfo",
            "EnrollCode",
            "EnrolledPrincipal",
            "ServerInfo",
            "SessionInfo",
            "Snapshot",
        ),
        ".admin",
    ),
    "Admin": "._sync.admin",
    "AsyncAdmin": "._async.admin",
    "TLSStatus": ".renewal",
    "AsyncClient": "._async.client",
    "AsyncStream": "._async.stream",
    "AsyncTransaction": "._async.transaction",
    "Client": "._sync.client",
    "Stream": "._sync.stream",
    "Transaction": "._sync.transaction",
    "ConnectionURL": ".url",
    "Option": ".options",
    "URL_PARAMETERS": ".url",
    "parse_url": ".url",
}


def __getattr__(name: str) -> Any:
    module = ".options" if name.startswith("with_") else _LATE.get(name)
    if module is None or name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(module, __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
