"""Runs SQL of clients on a link: statements, scripts, batches, sequences.

It knows no thread and no principal; whose right holds is the link's matter.
Source: protocol/native.md, Statement dispatch and Batches; design/decisions.md, 4.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import apsw

from ...types import Result, Statement, Value
from .access import (
    BatchFailure,
    EngineError,
    MaskedFailure,
    PolicyDenied,
    SQLFailure,
    StatementTimeout,
    TransactionDenied,
)
from .authorizer import Touch
from .classify import first_token, is_attach, is_query, reports_counters
from .link import Link
from .reading import Rows, blob_query, decoded_rows, discard_rows, read_rows
from .slow_log import Timed
from .steps import ArgumentSource, Step

T = TypeVar("T")

_REPEATABLE_TOKENS = frozenset({"SELECT", "VALUES", "WITH"})

ATTACH_DENIED = "statement not permitted by server policy: ATTACH/DETACH is disabled"
TRANSACTION_DENIED = (
    "statement not permitted by server policy: transaction control on /query;"
    " use a batch or a Hrana stream"
)


class Counters(NamedTuple):
    """SQLite's counters after a statement that changes rows."""

    rows_affected: int = 0
    last_insert_id: int = 0


def execute(link: Link, statement: Statement, *, allow_transactions: bool) -> Result:
    """Runs one statement or script, dispatched by its first token.

    Rows are those of the last statement that has columns; none for an exec. Counters are those of
    the last statement that changes rows. Without allow_transactions BEGIN and its like are
    PolicyDenied, wherever in a script they stand.
    """
    if is_attach(statement.sql) and link.guard.attach_rule is None:
        raise PolicyDenied(ATTACH_DENIED)
    keeps_rows = is_query(statement.sql)
    arguments = ArgumentSource(statement.args)
    rows, counters = Rows(), Counters()
    for step in _steps(link, statement.sql):
        if not allow_transactions and step.touch & Touch.TRANSACTION and not step.is_explain:
            raise TransactionDenied(TRANSACTION_DENIED)
        given, counted = _run(link, step, arguments.take(step.names), keeps_rows=keeps_rows)
        if given.columns:
            rows = given
        counters = counted or counters
    if not reports_counters(statement.sql):
        counters = Counters()
    return _result(rows, counters) if keeps_rows else _result(Rows(), counters)


def run_batch(link: Link, statements: Sequence[Statement], lock: str) -> list[Result]:
    """Runs statements in one transaction, all or nothing. lock: of BEGIN, "" for SQLite's default.

    Raises BatchFailure; nothing of the batch is left then, save what a COMMIT inside it has kept.
    """
    try:
        _indexed(None, partial(_begin, link, lock))
        results = [
            _indexed(index, partial(execute, link, statement, allow_transactions=True))
            for index, statement in enumerate(statements)
        ]
        _indexed(None, partial(_command, link, "COMMIT"))
    except BatchFailure:
        link.roll_back()
        raise
    return results


def run_sequence(link: Link, sql: str) -> None:
    """Runs a script and discards its rows; what ran before a failing statement stays.

    ATTACH is the authorizer's matter here. Source: protocol/hrana.md, sequence.
    """
    arguments = ArgumentSource(())
    for step in _steps(link, sql):
        _run(link, step, arguments.take(step.names), keeps_rows=False)


def look(link: Link, sql: str) -> Step:
    """The first statement of sql, prepared and not run. Raises EngineError when it does not
    prepare.
    """
    return _prepared(link, partial(link.steps.look, sql))


def _steps(link: Link, sql: str) -> Iterator[Step]:
    tail = sql
    while tail:
        step = _prepared(link, partial(link.steps.read, tail))
        if step.has_program:
            yield step
        tail = step.tail


def _prepared(link: Link, prepare: Callable[[], Step]) -> Step:
    """What prepare gives. Most PRAGMAs take effect now, even if the statement then fails to
    prepare.
    """
    link.guard.seen = Touch.NOTHING
    try:
        return _translated(link, partial(_healed, link, prepare))
    finally:
        link.note_prepared()


def _run(
    link: Link, step: Step, values: tuple[Value, ...], *, keeps_rows: bool
) -> tuple[Rows, Counters | None]:
    """Runs one statement: its rows, and its counters if it changes rows."""
    link.guard.seen = Touch.NOTHING
    link.touched |= step.touch
    stack = contextlib.ExitStack()
    if step.touch & Touch.ROWS:
        link.look_out(step.sql)
    try:
        with stack, Timed(link, step.sql, values):
            if step.is_read_only:
                link.end_turn()
            else:
                stack.enter_context(link.turn_to_write())
            if step.touch & Touch.BUSY_TIMEOUT:
                stack.enter_context(link.visible_busy_timeout())
            return _counted(
                link,
                step,
                partial(_translated, link, partial(_stepped, link, step, values, keeps_rows)),
            )
    finally:
        link.touched |= link.guard.seen
        link.tell_changes()


def _counted(link: Link, step: Step, run: Callable[[], Rows]) -> tuple[Rows, Counters | None]:
    """What run gives, and the counters of that statement alone.

    SQLite keeps the last row id of the connection: it is set aside, so that it shows whether this
    statement inserted. A statement that reads last_insert_rowid() itself must find it, though.
    """
    if not step.touch & Touch.ROWS or step.touch & Touch.SCHEMA or step.is_explain:
        return run(), None
    connection = link.connection
    if step.touch & Touch.ROWID_FUNCTION:
        rows = run()
        return rows, Counters(connection.changes(), connection.last_insert_rowid())
    before = connection.last_insert_rowid()
    connection.set_last_insert_rowid(0)
    try:
        rows = run()
        return rows, Counters(connection.changes(), connection.last_insert_rowid())
    finally:
        if connection.last_insert_rowid() == 0:
            connection.set_last_insert_rowid(before)


def _stepped(link: Link, step: Step, values: tuple[Value, ...], keeps_rows: bool) -> Rows:
    try:
        return _stepped_once(link, step, values, keeps_rows)
    except _NotPrepared as stale:
        _heal(link)
        try:
            return _stepped_once(link, step, values, keeps_rows)
        except _NotPrepared as again:
            raise again.error from stale
    except UnicodeDecodeError:
        if first_token(step.sql) not in _REPEATABLE_TOKENS or not step.is_read_only:
            raise
        return _stepped_as_blobs(link, step, values)


class _NotPrepared(Exception):
    """The statement failed before its first step."""

    def __init__(self, error: apsw.SQLError) -> None:
        super().__init__()
        self.error = error


def _stepped_once(link: Link, step: Step, values: tuple[Value, ...], keeps_rows: bool) -> Rows:
    is_prepared = False

    def note(_cursor: apsw.Cursor, _sql: str, _values: object) -> bool:
        nonlocal is_prepared
        is_prepared = True
        return True

    cursor = link.connection.cursor()
    cursor.exec_trace = note
    try:
        # A prepared PRAGMA would not set again what it set, and would repeat what it said. ATTACH
        # is asked about each time. A kept CREATE would be prepared anew in its first step, by the
        # schema of before another connection's DROP, past what heals that.
        can_cache = not step.touch & (Touch.PRAGMA | Touch.ATTACH | Touch.SCHEMA)
        cursor.execute(step.sql, values, can_cache=can_cache)
        if not keeps_rows:
            discard_rows(cursor)
            return Rows()
        return read_rows(cursor, _columns(link, cursor, step), link.caps)
    except apsw.SQLError as error:
        if is_prepared:
            raise
        raise _NotPrepared(error) from error
    finally:
        cursor.close(True)


def _columns(link: Link, cursor: apsw.Cursor, step: Step) -> tuple[tuple[str, str | None], ...]:
    """The columns of a statement that has made its first step, which may have prepared it anew."""
    if not step.columns:
        return ()
    try:
        return tuple(cursor.get_description())
    except apsw.ExecutionCompleteError:  # no row
        if step.touch & Touch.PRAGMA:
            return step.columns
        return link.steps.look(step.sql).columns


def _stepped_as_blobs(link: Link, step: Step, values: tuple[Value, ...]) -> Rows:
    """Runs a query again, with its text as bytes: apsw gives no str for what is not UTF-8."""
    connection = link.connection
    columns = link.steps.look(step.sql).columns
    encoding = str(connection.pragma("encoding"))
    cursor = connection.cursor()
    try:
        cursor.execute(blob_query(step.sql, len(columns)), values)
        return read_rows(decoded_rows(cursor, encoding), columns, link.caps)
    finally:
        cursor.close(True)


def _healed(link: Link, prepare: Callable[[], T]) -> T:
    """What prepare gives; after a failure it is tried once more with the schema read anew.

    SQLite keeps the schema of a connection after another connection has changed it, and some errors
    do not make it look.
    Source: design/decisions.md, 4, intended differences.
    """
    try:
        return prepare()
    except apsw.SQLError:
        _heal(link)
        return prepare()


def _heal(link: Link) -> None:
    with contextlib.suppress(apsw.Error):
        link.connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()


def _begin(link: Link, lock: str) -> None:
    with link.turn_to_write() if lock else contextlib.nullcontext():
        _command(link, f"BEGIN {lock}".rstrip())


def _command(link: Link, sql: str) -> None:
    with Timed(link, sql):
        _translated(link, lambda: link.connection.execute(sql).fetchall())


def _indexed(index: int | None, run: Callable[[], T]) -> T:
    try:
        return run()
    except EngineError as error:
        raise BatchFailure(index, error) from error


def _translated(link: Link, run: Callable[[], T]) -> T:
    """What run gives; apsw's errors become the engine's."""
    try:
        return run()
    except apsw.Error as error:
        raise _engine_error(link, error) from error
    except UnicodeDecodeError as error:
        raise MaskedFailure("text that is not in the database's encoding") from error
    except (TypeError, OverflowError, UnicodeEncodeError) as error:
        raise MaskedFailure("a value that SQLite cannot bind") from error
    except ValueError as error:  # apsw: a null character in the text
        raise SQLFailure('unrecognized token: "\\0"', 1, 1) from error


def _engine_error(link: Link, error: apsw.Error) -> EngineError:
    gives_up = isinstance(error, apsw.InterruptError | apsw.BusyError)
    if gives_up and link.watch.is_over:
        return StatementTimeout()
    refusal, link.guard.attach_refusal = link.guard.attach_refusal, None
    if refusal is not None:
        return PolicyDenied(f"statement not permitted by server policy: {refusal}")
    extended_code = getattr(error, "extendedresult", None)
    if not extended_code:  # apsw itself refused
        return MaskedFailure(type(error).__name__)
    return SQLFailure(str(error), extended_code & 0xFF, extended_code)


def _result(rows: Rows, counters: Counters) -> Result:
    return Result(
        columns=tuple(name for name, _ in rows.columns),
        rows=tuple(rows.rows),
        rows_affected=counters.rows_affected,
        last_insert_id=counters.last_insert_id,
        truncated=rows.is_truncated,
        decltypes=tuple(decltype for _, decltype in rows.columns),
    )
