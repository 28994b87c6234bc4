"""AsyncRunner: where the statements of a connection run, and what is open on the server for it.

Decides between a request of its own, a transaction's stream and the pinned one; each costs

    autocommit            one request, without a stream
    transaction           BEGIN travels with the first statement, COMMIT with the stream's end:
                          n statements are n + 1 requests
    session state         TEMP objects, PRAGMA values, ATTACH: one pinned stream for the rest of
                          the connection's life, transactions included
"""

from __future__ import annotations

import contextlib
from typing import Literal

from quicsql_client import (
    AsyncClient,
    AsyncTransaction,
    Error,
    OperationalError,
    Result,
    Statement,
    Value,
)

from ..outcomes import lost_writes_are_unknown
from ..parameters import Prepared, fit_one_request
from ..rows import rows_changed
from ..statements import Analysis, Control, Session
from .pinned import AsyncPinnedStream

__all__ = ["AsyncRunner"]

_ENDS = frozenset((Control.COMMIT, Control.ROLLBACK))
_MODES: dict[str, Literal["deferred", "immediate", "exclusive"]] = {
    "DEFERRED": "deferred",
    "IMMEDIATE": "immediate",
    "EXCLUSIVE": "exclusive",
}


class AsyncRunner:
    """Runs statements where they belong. Not for concurrent use.

    autocommit: whether a statement outside a transaction commits by itself. tells_decltypes:
    whether declared types are asked for where they cost another way. total_changes: rows that
    INSERT, REPLACE, UPDATE and DELETE have changed, scripts not counted.
    """

    def __init__(
        self, client: AsyncClient, database: str, *, autocommit: bool, tells_decltypes: bool
    ) -> None:
        self.client = client
        self.database = database
        self.autocommit = autocommit
        self.tells_decltypes = tells_decltypes
        self.total_changes = 0
        self._transaction: AsyncTransaction | None = None
        self._pinned: AsyncPinnedStream | None = None

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open: some statement has run in it, or BEGIN was called."""
        return self._transaction is not None or (
            self._pinned is not None and self._pinned.in_transaction
        )

    @property
    def settings(self) -> frozenset[str]:
        """What is set on the pinned stream: "PRAGMA FOREIGN_KEYS", "ATTACH AUX"."""
        return frozenset() if self._pinned is None else self._pinned.settings

    async def aclose(self) -> None:
        """Roll back what is open and give the stream back; what fails of it is not told."""
        # The server rolls back a stream that is given up, too.
        with contextlib.suppress(Error):
            await self.rollback()
        if self._pinned is not None:
            with contextlib.suppress(Error):
                await self._pinned.aclose()

    def abandon(self) -> None:
        """Forget what is open without asking the server."""
        self._transaction = self._pinned = None

    async def ask(self, sql: str) -> Value:
        """The cell of a query, where the connection is; opens no transaction."""
        statement = Prepared(Statement(sql), Analysis())
        if self._pinned is not None:
            result = await self._pinned.run(statement)
        elif self._transaction is not None:
            result = await self._run_in_transaction(self._transaction, statement.statement)
        else:
            result = await self.client.query(self.database, sql)
        return result.scalar()

    async def run(self, prepared: Prepared) -> Result:
        """Run one statement where it belongs."""
        control = prepared.analysis.control
        if control is Control.BEGIN and not self.in_transaction:
            return await self._begin(prepared.analysis.begin_mode)
        if control is not None and control in _ENDS:
            return await self._end(control)
        result = await self._run_statement(prepared)
        self._count([result], prepared.analysis)
        return result

    async def run_script(self, prepared: Prepared) -> None:
        analysis = prepared.analysis
        if not analysis.statement_count:
            return
        if analysis.controls or analysis.leaves_state:
            # A script that opens or ends transactions has them in its own hands.
            begin = not (analysis.controls or self.autocommit or self.in_transaction)
            await self._pin().run(prepared, begin=begin)
            await self._unpin()
        else:
            await self._run_statement(prepared)

    async def run_many(self, statements: list[Statement], analysis: Analysis) -> list[Result]:
        """Run statements in one request where they fit, all or nothing in autocommit."""
        if not statements:
            return []
        results = await self._run_all(statements, analysis)
        self._count(results, analysis)
        return results

    async def _run_all(self, statements: list[Statement], analysis: Analysis) -> list[Result]:
        begin = not self.in_transaction
        if self._pinned is not None:
            return await self._run_many_pinned(self._pinned, statements, begin=begin)
        if self._transaction is not None or not self.autocommit:
            transaction = self._transaction or self.client.transaction(self.database)
            return await self._run_many_in_transaction(transaction, statements)
        if fit_one_request(statements):
            with lost_writes_are_unknown(analysis):
                return await self.client.batch(self.database, statements)
        async with self.client.transaction(self.database) as whole:
            return await whole.batch(statements)

    def _count(self, results: list[Result], analysis: Analysis) -> None:
        if analysis.changes_rows:
            self.total_changes += rows_changed(results)

    async def _run_many_pinned(
        self, pinned: AsyncPinnedStream, statements: list[Statement], *, begin: bool
    ) -> list[Result]:
        if not (begin and self.autocommit):
            return await pinned.run_many(statements, begin=begin)
        try:
            results = await pinned.run_many(statements, begin=True)
        except BaseException:
            if pinned.in_transaction:
                with contextlib.suppress(Error):
                    await pinned.rollback()
            raise
        await pinned.commit()
        return results

    async def _run_many_in_transaction(
        self, transaction: AsyncTransaction, statements: list[Statement]
    ) -> list[Result]:
        self._transaction = transaction
        try:
            return await transaction.batch(statements)
        except Error as exc:
            await self._drop_unbegun(transaction, exc)
            raise

    async def _run_statement(self, prepared: Prepared) -> Result:
        analysis, statement = prepared.analysis, prepared.statement
        if self._pinned is not None or self._needs_pin(analysis):
            is_in_transaction = self.autocommit or self.in_transaction
            pinned = self._pin()
            begin = not (is_in_transaction or analysis.runs_outside)
            may_commit = not (begin or self.in_transaction)
            try:
                with lost_writes_are_unknown(analysis) if may_commit else contextlib.nullcontext():
                    return await pinned.run(prepared, begin=begin)
            finally:
                await self._unpin()
        if self._transaction is None:
            if self.autocommit or analysis.runs_outside:
                return await self._run_alone(statement, analysis)
            self._transaction = self.client.transaction(self.database)
        return await self._run_in_transaction(self._transaction, statement)

    async def _run_alone(self, statement: Statement, analysis: Analysis) -> Result:
        # Only Hrana tells declared types; what is neither read nor changed has none.
        decltypes = self.tells_decltypes and (analysis.only_reads or analysis.changes_rows)
        with lost_writes_are_unknown(analysis):
            return await self.client.query(
                self.database, statement.sql, statement.args, decltypes=decltypes
            )

    def _needs_pin(self, analysis: Analysis) -> bool:
        is_alone = self.autocommit and self._transaction is None
        if analysis.session is Session.COUNTER or analysis.control is Control.SAVEPOINT:
            return is_alone
        return analysis.session is not None

    async def _run_in_transaction(
        self, transaction: AsyncTransaction, statement: Statement
    ) -> Result:
        try:
            return await transaction.execute(statement.sql, statement.args)
        except Error as exc:
            await self._drop_unbegun(transaction, exc)
            raise

    async def _drop_unbegun(self, transaction: AsyncTransaction, exc: Error) -> None:
        """Forget a transaction that BEGIN did not open; one that was lost stays until rollback."""
        if transaction.has_begun:
            return
        self._transaction = None
        with contextlib.suppress(Error):
            await transaction.rollback()

    def _pin(self) -> AsyncPinnedStream:
        """The pinned stream; the open transaction, where there is one, goes on in it."""
        if self._pinned is None:
            self._pinned = AsyncPinnedStream(self.client, self.database)
            if self._transaction is not None:
                self._pinned.adopt(self._transaction)
                self._transaction = None
        return self._pinned

    async def _unpin(self) -> None:
        """Give a stream back that was only there for a transaction."""
        pinned = self._pinned
        if pinned is not None and not pinned.is_kept and not pinned.in_transaction:
            self._pinned = None
            with contextlib.suppress(Error):
                await pinned.aclose()

    async def _begin(self, mode: str) -> Result:
        if self._pinned is not None:
            await self._pinned.begin(mode)
            return Result()
        transaction = self.client.transaction(self.database, _MODES[mode])
        self._transaction = transaction
        if mode != "DEFERRED":
            # The lock is asked for now; BEGIN alone has no request of its own.
            await self._run_in_transaction(transaction, Statement("SELECT 1"))
        return Result()

    async def _end(self, control: Control) -> Result:
        verb = control.name.lower()
        if self.autocommit and not self.in_transaction:
            raise OperationalError(
                f"cannot {verb} - no transaction is active",
                code=1,
                extended_code=1,
                name="SQLITE_ERROR",
            )
        if control is Control.COMMIT:
            await self.commit()
        else:
            await self.rollback()
        return Result()

    async def commit(self) -> None:
        if self._transaction is not None:
            try:
                await self._transaction.commit()
            finally:
                self._drop_ended()
        elif self._pinned is not None and self._pinned.in_transaction:
            try:
                await self._pinned.commit()
            finally:
                await self._unpin()

    async def rollback(self) -> None:
        if self._transaction is not None:
            try:
                await self._transaction.rollback()
            finally:
                self._drop_ended()
        elif self._pinned is not None and self._pinned.in_transaction:
            try:
                await self._pinned.rollback()
            finally:
                await self._unpin()

    def _drop_ended(self) -> None:
        """Forget a transaction that has ended; one that the server refused to end goes on."""
        if self._transaction is not None and not self._transaction.is_active:
            self._transaction = None
