# Made from quicsql_client/_async/stream.py
# by tools/async_to_sync.py: do not edit, change the source.
"""Stream: a Hrana stream, one connection of the server pinned for its holder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self

from ..operations.query import StatementLike
from ..operations.stream import StreamOperations
from ..types import Arguments, Description, Result, Statement
from .channel import Channel

__all__ = ["Stream"]


class Stream:
    """Statements that share one connection of the server: TEMP tables, PRAGMAs, BEGIN and COMMIT.

    The server is asked with the first call, and gives an idle stream up after its tx_idle_timeout
    (30 s unless configured). Close it, or use it in a `with` block: what is not committed is rolled
    back. Not for concurrent use. Source: protocol/hrana.md, "Streams and batons".
    """

    def __init__(
        self, channel: Channel, database: str, operations: StreamOperations | None = None
    ) -> None:
        self._channel = channel
        self._operations = operations or StreamOperations(database)
        self.database = database

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.database!r} {self._operations.state.value}>"

    def execute(self, sql: str, args: Arguments = ()) -> Result:
        """Run one statement. Raises: its error; the stream stays usable after a SQL error."""
        return self._channel.run(self._operations.execute(Statement(sql, args)))

    def batch(
        self, statements: Iterable[StatementLike], *, in_transaction: bool = False
    ) -> list[Result]:
        """Run statements in one request, up to the first that fails (exc.failed_index).

        There is no transaction of its own: what ran before the failing one stays. in_transaction:
        run each only while a transaction is open; TransactionEndedError says that none was, as
        SQLite ends one by itself after some errors.
        """
        operation = self._operations.batch(statements, in_transaction=in_transaction)
        return self._channel.run(operation)

    def sequence(self, script: str) -> None:
        """Run a script of any statements, its rows discarded; it takes no arguments.

        What ran before a failing statement stays. Raises: OperationalError; servers may tell no
        more than that it failed.
        """
        self._channel.run(self._operations.sequence(script))

    def describe(self, sql: str) -> Description:
        """The parameters and columns of a statement, without running it. Raises: its error."""
        return self._channel.run(self._operations.describe(sql))

    def is_autocommit(self) -> bool:
        """Whether no transaction is open on the stream."""
        return self._channel.run(self._operations.is_autocommit())

    def start_capture(self, tables: Sequence[str] = ()) -> None:
        """Record the changes that this stream makes from now on, to these tables or to all.

        Tables without a primary key are not recorded. One recording at a time; it ends with
        `changeset` or the stream. Source: protocol/hrana.md, "Request types".
        """
        self._channel.run(self._operations.start_capture(tables))

    def changeset(self) -> bytes:
        """What was recorded, as a SQLite changeset; the recording ends. Empty: nothing changed."""
        return self._channel.run(self._operations.changeset())

    def close(self) -> None:
        """End the stream; an open transaction is rolled back. Closing twice does nothing."""
        self._channel.run(self._operations.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
