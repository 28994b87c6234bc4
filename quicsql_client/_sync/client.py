# Made from quicsql_client/_async/client.py
# by tools/async_to_sync.py: do not edit, change the source.
"""Client: one server, one identity, every operation. It opens, drives and closes, no more."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from ..endpoint import Endpoint
from ..errors import ConfigurationError, DatabaseError
from ..operations import Operation
from ..operations.changeset import (
    OnConflict,
    apply_changeset,
    concat_changesets,
    invert_changeset,
)
from ..operations.health import health
from ..operations.query import StatementLike, batch, pipeline, query
from ..operations.transaction import TransactionMode
from ..operations.transfer import export
from ..options import ClientOptions, Option
from ..renewal import TLSStatus
from ..types import Arguments, Enrollment, Result, SessionToken, Statement
from ..url import parse_url
from .admin import Admin
from .channel import Channel
from .stream import Stream
from .transaction import Transaction

if TYPE_CHECKING:
    import httpx

__all__ = ["Client"]

_T = TypeVar("_T")


class Client:
    """A connection pool to one quicSQL server.

    Make one by transport: `h1`, `h2c`, `h2tls`, `h3`, `unix`, or `from_url`. Nothing is dialled
    until the first call. Safe for concurrent use. Every failure is a `quicsql_client.Error`.
    """

    def __init__(self, endpoint: Endpoint, *options: Option, database: str | None = None) -> None:
        configured = ClientOptions.of(options, endpoint)
        self._channel = Channel(endpoint, configured)
        self._http: httpx.Client | None = None
        self._is_closed = False
        self.endpoint = endpoint
        self.database = database

    @classmethod
    def h1(cls, address: str, *options: Option) -> Self:
        """HTTP/1.1 in cleartext to "host:port"."""
        return cls(Endpoint.parse(address, transport="h1"), *options)

    @classmethod
    def h2c(cls, address: str, *options: Option) -> Self:
        """HTTP/2 in cleartext, by prior knowledge, to "host:port"."""
        return cls(Endpoint.parse(address, transport="h2c"), *options)

    @classmethod
    def h2tls(cls, address: str, *options: Option, insecure: bool = False) -> Self:
        """HTTP/2 over TLS to "host:port"; HTTP/1.1 where the server has no HTTP/2.

        insecure: True skips all verification of the server; never in production.
        """
        return cls(Endpoint.parse(address, transport="h2", insecure=insecure), *options)

    @classmethod
    def h3(cls, address: str, *options: Option, insecure: bool = False) -> Self:
        """HTTP/3 over QUIC (UDP) to "host:port"; needs `pip install "quicsql-client[h3]"`.

        insecure: True skips all verification of the server; never in production.
        """
        return cls(Endpoint.parse(address, transport="h3", insecure=insecure), *options)

    @classmethod
    def unix(cls, path: str, *options: Option) -> Self:
        """HTTP/1.1 over the unix socket at `path`."""
        return cls(Endpoint.unix(path), *options)

    @classmethod
    def from_url(cls, url: str, *options: Option) -> Self:
        """A client for a `quicsql://host:port/database?transport=h2&sslcert=...` URL.

        `database` of the client is the URL's. Options given here win over those of the URL.
        Raises: ConfigurationError for a URL that cannot work, UnsafeCredentialError for one that
        would send a credential over an exposed channel. Source: protocol/client.md, section 2.
        """
        parsed = parse_url(url)
        return cls(parsed.endpoint, *parsed.options, *options, database=parsed.database)

    def query(
        self, database: str, sql: str, args: Arguments = (), *, decltypes: bool = False
    ) -> Result:
        """Run one statement, or a script, by itself: it commits before the answer comes.

        args: a sequence for `?`, a mapping of names for `:name`, `@name` and `$name`. decltypes:
        ask for the declared types of the columns, too (`result.decltypes`).
        Raises: the statement's error by its SQLite code; TransportError where no answer came;
        AuthenticationError (401) and AuthorizationError (403) where the server refused.
        Source: protocol/native.md.
        """
        return self._run(query(database, Statement(sql, args), decltypes=decltypes))

    def execute(self, database: str, sql: str, args: Arguments = ()) -> Result:
        """The same call as `query`, for reading at the call site."""
        return self.query(database, sql, args)

    def batch(self, database: str, statements: Iterable[StatementLike]) -> list[Result]:
        """Run statements in one request and one transaction: all take effect, or none does.

        Each is SQL, (SQL, arguments) or a Statement; one Result comes back for each. Raises: the
        failing statement's error, its position in exc.failed_index. Source: protocol/native.md,
        "Batches".
        """
        return self._run(batch(database, statements))

    def pipeline(
        self, database: str, statements: Iterable[StatementLike]
    ) -> list[Result | DatabaseError]:
        """Run statements one by one in one request. Not atomic: one that fails stops no other.

        Each gives its Result, or its error (not raised), with `failed_index` and `sql`; so nothing
        of what happened is hidden. Where all or none is to happen, use `batch`.
        """
        return self._run(pipeline(database, statements))

    def transaction(self, database: str, mode: TransactionMode = "deferred") -> Transaction:
        """A transaction for a `with` block: commits at its end, rolls back on an exception."""
        return Transaction(self._channel, database, mode)

    def stream(self, database: str) -> Stream:
        """A Hrana stream for a `with` block: statements that share one connection of the server."""
        return Stream(self._channel, database)

    def apply_changeset(
        self,
        database: str,
        changeset: bytes,
        on_conflict: OnConflict = "abort",
        tables: Iterable[str] = (),
    ) -> None:
        """Make the changes that a stream recorded (`start_capture`), of these tables or of all.

        on_conflict: where rows are not as they were, "abort" undoes everything and raises
        DatabaseError, "omit" leaves that change out, "replace" lets it win. Tables that the
        database has not are passed over. Source: protocol/operations.md, Changesets.
        """
        self._run(apply_changeset(database, changeset, on_conflict, tables))

    def invert_changeset(self, database: str, changeset: bytes) -> bytes:
        """The changeset that undoes this one. The database is asked, and stays as it is."""
        return self._run(invert_changeset(database, changeset))

    def concat_changesets(self, database: str, first: bytes, second: bytes) -> bytes:
        """One changeset for both, in this order. The database is asked, and stays as it is."""
        return self._run(concat_changesets(database, first, second))

    def export(self, database: str) -> bytes:
        """The whole database as the bytes of a SQLite file; write them to one to open it.

        Held in memory, so `with_max_response` caps it. Raises: DataError where it is larger than
        the server's cap; ResponseTooLarge.
        """
        return self._run(export(database))

    def mint_session(self) -> SessionToken:
        """Trade the client's credential for a session token, which it shows from now on.

        A renewable token is renewed by the server's answers as it is used. When it has ended calls
        raise AuthenticationError; mint another one then. Source: protocol/auth.md, Session tokens.
        """
        return self._channel.run_as_it_is(self._channel.identity.mint_session())

    def renew_session(self) -> SessionToken:
        """The next token of the session, in place of the one in use.

        Raises: OperationalError (409) where the server's tokens are not renewable.
        """
        return self._channel.run_as_it_is(self._channel.identity.renew_session())

    def revoke_session(self) -> None:
        """End the session on the server; the client goes on with the credential it was made with.

        A session that has ended already is no error.
        """
        self._channel.run_as_it_is(self._channel.identity.revoke_session())

    def enroll(self, token: str | None = None) -> Enrollment:
        """Make the key of `with_ed25519` that of a principal of its own.

        token: an enrolment token or single-use code, where the server asks for one. An enrolled key
        may enrol again: it is told its name. Raises: AuthorizationError without a good token,
        RateLimitedError. Source: protocol/auth.md, Device enrolment.
        """
        return self._channel.run_as_it_is(self._channel.identity.enroll(token))

    def health(self) -> None:
        """Returns when the server answers that it is well. Raises OperationalError otherwise."""
        self._run(health())

    @property
    def admin(self) -> Admin:
        """The control plane of the server: databases, streams, enrolled devices."""
        return Admin(self._channel)

    @property
    def http(self) -> httpx.Client:
        """An httpx client on the same connections, TLS context and credential, for other requests.

        It lives as long as this client; redirects, cookies and proxy environment are off.
        """
        if self._http is None:
            self._http = self._channel.http_transport().client()
        return self._http

    @property
    def ssl_context(self) -> ssl.SSLContext | None:
        """The TLS context that new connections are made with, or None where there is no TLS.

        A renewal of the certificates puts another one in its place.
        """
        tls = self._channel.tls
        return tls.current.context if tls is not None else None

    @property
    def user(self) -> str | None:
        """Who calls: the user of basic auth, else the common name of the client certificate.

        None for a token, and where there is neither.
        """
        return self._channel.user

    def tls_status(self) -> TLSStatus | None:
        """The certificates of both sides as they are now; None where there is no TLS of ours."""
        tls = self._channel.tls
        return tls.status() if tls is not None else None

    def reload_certificates(self) -> None:
        """Read the certificate and CA files now, and use them for new connections.

        Changed files are found without it within `with_certificate_check` seconds. Raises
        ConfigurationError, naming the file: the old ones stay in use then.
        """
        tls = self._channel.tls
        if tls is None:
            raise ConfigurationError("reload_certificates: this client has no TLS of its own")
        tls.reload()

    def close(self) -> None:
        """Close every connection. Closing twice does nothing."""
        self._is_closed = True
        self._channel.close()

    def _run(self, operation: Operation[_T]) -> _T:
        return self._channel.run(operation)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.endpoint.base_url}>"

    def __del__(self) -> None:
        if not getattr(self, "_is_closed", True):
            warnings.warn(f"{self!r} was not closed", ResourceWarning, source=self, stacklevel=2)
