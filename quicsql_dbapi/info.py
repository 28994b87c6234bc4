"""ConnectionInfo: where a connection leads and as whom. Asks nothing of the server."""

from __future__ import annotations

from dataclasses import dataclass

from quicsql_client import AsyncClient, Client, TLSStatus

__all__ = ["ConnectionInfo"]


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """The facts of a connection, none of them secret.

    transport: "h1", "h2c", "h2", "h3" or "unix". host, port: as dialled; for "unix" the path of
    the socket and 0. user: of basic auth, else the common name of the client certificate, else
    None. tls: the certificates of both sides, None without TLS.
    """

    transport: str
    host: str
    port: int
    database: str
    user: str | None
    tls: TLSStatus | None

    @classmethod
    def of(cls, client: Client | AsyncClient, database: str) -> ConnectionInfo:
        """The facts of a connection to `database` over this client."""
        endpoint = client.endpoint
        host = endpoint.path or endpoint.host
        return cls(
            endpoint.transport, host, endpoint.port, database, client.user, client.tls_status()
        )
