"""PEP 249's exceptions as attributes of connections: the classes of `quicsql_client.errors`."""

from __future__ import annotations

import quicsql_client as client

__all__ = ["ErrorAttributes"]


class ErrorAttributes:
    """`except connection.IntegrityError`, for code that has a connection and not the module."""

    Warning = client.Warning
    Error = client.Error
    InterfaceError = client.InterfaceError
    DatabaseError = client.DatabaseError
    DataError = client.DataError
    OperationalError = client.OperationalError
    IntegrityError = client.IntegrityError
    InternalError = client.InternalError
    ProgrammingError = client.ProgrammingError
    NotSupportedError = client.NotSupportedError
