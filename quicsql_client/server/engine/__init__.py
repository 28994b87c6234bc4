"""The engine: SQL on SQLite connections, bounded and isolated, in threads of its own.

It knows nothing of HTTP, principals or configuration files. apsw is the only SQLite of the process.
"""

from .access import (
    Access,
    AttachRule,
    BatchFailure,
    CannotOpen,
    Caps,
    DatabaseBusy,
    DatabaseUnavailable,
    EngineError,
    MaskedFailure,
    PolicyDenied,
    SQLFailure,
    StatementTimeout,
    TransactionDenied,
    UnknownDatabase,
)

__all__ = [
    "Access",
    "AttachRule",
    "BatchFailure",
    "CannotOpen",
    "Caps",
    "DatabaseBusy",
    "DatabaseUnavailable",
    "EngineError",
    "MaskedFailure",
    "PolicyDenied",
    "SQLFailure",
    "StatementTimeout",
    "TransactionDenied",
    "UnknownDatabase",
]
