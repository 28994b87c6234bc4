"""One statement, and all-or-nothing batches, without a stream.

Positional arguments go to the native API; named ones, which it cannot carry, and declared types,
which it does not tell, go by a Hrana pipeline that opens and closes its stream in the same request.
Source: protocol/native.md; protocol/hrana.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias
from urllib.parse import quote

from ..errors import DatabaseError, Error, ProgrammingError
from ..types import Arguments, Result, Statement
from ..wire import hrana, native
from ..wire.messages import JSON_HEADERS, Request
from ..wire.values import is_unicode
from . import Operation
from .answers import require_ok, result_of, results_of

__all__ = [
    "StatementLike",
    "as_statement",
    "as_tables",
    "batch",
    "chained_steps",
    "database_path",
    "pipeline",
    "query",
]

_IN_TRANSACTION = hrana.Condition("not", cond=hrana.Condition("is_autocommit"))

StatementLike: TypeAlias = str | Statement | tuple[str, Arguments]
"""A statement as callers write it: SQL alone, (SQL, arguments), or a Statement."""


def as_statement(item: StatementLike) -> Statement:
    """The Statement that a caller means. Raises ProgrammingError for anything else."""
    match item:
        case Statement():
            return item
        case str(sql):
            return Statement(sql)
        case (str(sql), args):
            return Statement(sql, args)
    raise ProgrammingError(
        f"a statement is SQL text, (SQL, arguments) or a Statement, not {type(item).__name__}"
    )


def as_tables(tables: Iterable[str]) -> tuple[str, ...]:
    """The names of tables that a caller means. Raises ProgrammingError for what holds none."""
    names = () if isinstance(tables, str) else tuple(tables)
    if isinstance(tables, str) or not all(
        isinstance(n, str) and n and is_unicode(n) for n in names
    ):
        raise ProgrammingError("tables: expected a sequence of table names, each a non-empty str")
    return names


def database_path(database: str, endpoint: str) -> str:
    """The request target of an endpoint of a database. Raises ProgrammingError for no name."""
    if not isinstance(database, str) or not database:
        raise ProgrammingError(f"the database name must be a non-empty str, not {database!r}")
    if database in (".", "..") or not is_unicode(database):
        raise ProgrammingError(f"{database!r} cannot be a database name: it makes no URL path")
    return f"/{quote(database, safe='')}/{endpoint}"


def query(database: str, statement: Statement, *, decltypes: bool = False) -> Operation[Result]:
    """Run one statement, or a script, by itself. Returns its result.

    decltypes: with the declared types of its columns, which the native API does not tell.
    """
    try:
        if decltypes or _is_named(statement):
            return (yield from _query_by_hrana(database, statement))
        request = Request(
            "POST",
            database_path(database, "query"),
            JSON_HEADERS,
            native.encode_query(statement),
        )
        response = yield request
        require_ok(request, response)
        return native.decode_result(response.body)
    except Error as exc:
        exc.sql = statement.sql
        raise


def _is_named(statement: Statement) -> bool:
    return isinstance(statement.args, Mapping) and bool(statement.args)


def _query_by_hrana(database: str, statement: Statement) -> Operation[Result]:
    (result,) = yield from _one_shot(database, hrana.Execute(hrana.Stmt.of(statement)))
    return result_of(result)


def _one_shot(database: str, *asked: hrana.StreamRequest) -> Operation[list[hrana.StreamResult]]:
    """Requests on a stream that ends with them."""
    requests = (*asked, hrana.Close())
    request = Request(
        "POST",
        database_path(database, "v3/pipeline"),
        JSON_HEADERS,
        hrana.encode_pipeline(hrana.Pipeline(None, requests)),
    )
    response = yield request
    require_ok(request, response)
    return hrana.decode_answer(response.body, requests)[1][:-1]


def batch(database: str, items: Iterable[StatementLike]) -> Operation[list[Result]]:
    """Run statements in one request and one transaction: all take effect, or none.

    Returns one result for each. Raises: the failing statement's error, with its failed_index.
    No statements: no request, and an empty list.
    """
    statements = [as_statement(item) for item in items]
    if not statements:
        return []
    if any(map(_is_named, statements)):
        return (yield from _batch_named(database, statements))
    request = Request(
        "POST", database_path(database, "query"), JSON_HEADERS, native.encode_batch(statements)
    )
    response = yield request
    require_ok(request, response)
    return native.decode_results(response.body, len(statements))


def _batch_named(database: str, statements: Sequence[Statement]) -> Operation[list[Result]]:
    begin, commit, rollback = (hrana.Stmt(word) for word in ("BEGIN", "COMMIT", "ROLLBACK"))
    last = len(statements)
    steps = (
        hrana.Step(begin),
        *chained_steps(statements, first=1),
        hrana.Step(commit, hrana.Condition("ok", last)),
        hrana.Step(rollback, hrana.Condition("not", cond=hrana.Condition("ok", last + 1))),
    )
    (result,) = yield from _one_shot(database, hrana.Batch(steps))
    return results_of(result, last, first=1, commit=last + 1)


def pipeline(
    database: str, items: Iterable[StatementLike]
) -> Operation[list[Result | DatabaseError]]:
    """Run statements one by one in one request, each by itself: one that fails stops no other.

    Returns for each its result, or its error with failed_index and sql. No statements: no request.
    """
    statements = [as_statement(item) for item in items]
    if not statements:
        return []
    asked = []
    for index, statement in enumerate(statements):
        try:
            asked.append(hrana.Execute(hrana.Stmt.of(statement)))
        except Error as exc:
            exc.failed_index, exc.sql = index, statement.sql
            raise
    told = yield from _one_shot(database, *asked)
    return [_outcome(index, *pair) for index, pair in enumerate(zip(statements, told, strict=True))]


def _outcome(
    index: int, statement: Statement, result: hrana.StreamResult
) -> Result | DatabaseError:
    if isinstance(result, hrana.StreamError):
        return result.as_error(failed_index=index, sql=statement.sql)
    return result_of(result)


def chained_steps(
    statements: Sequence[Statement], *, first: int, guarded: bool = False
) -> tuple[hrana.Step, ...]:
    """Batch steps that each run only if the one before succeeded; `first` is the first's index.

    guarded: and only while a transaction is open. A step before `first` is the BEGIN then.
    """
    steps = []
    before = None
    for position, statement in enumerate(statements):
        condition = hrana.Condition("ok", first + position - 1) if first + position else None
        # What follows BEGIN, or ran as the same text just now, finds the transaction open: a text
        # that ends it does not succeed twice. So a batch of one INSERT stays small.
        if guarded and statement.sql != before and (before is not None or not first):
            condition = _and_in_transaction(condition)
        before = statement.sql
        try:
            steps.append(hrana.Step(hrana.Stmt.of(statement), condition))
        except Error as exc:
            exc.failed_index, exc.sql = position, statement.sql
            raise
    return tuple(steps)


def _and_in_transaction(condition: hrana.Condition | None) -> hrana.Condition:
    if condition is None:
        return _IN_TRANSACTION
    return hrana.Condition("and", conds=(condition, _IN_TRANSACTION))
