"""A statement with its arguments, checked before anything is sent. Knows no connection.

SQLite's servers fill what is missing with NULL, mask it as an inner error, or ignore what is too
much; here the number and the names must fit exactly. No error holds a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from quicsql_client import Arguments, ProgrammingError, Statement

from .statements import Analysis, analyse
from .types import adapt

__all__ = ["Prepared", "fit_one_request", "prepare", "prepare_many", "prepare_script"]

# Room for the frame of a request and for what a row's JSON adds to its values; the server's
# default cap is 8 MiB (protocol/config.md, limits).
_MAX_REQUEST_BYTES = 6 * 1024 * 1024
_VALUE_BYTES = 40  # tags, quotes and a number's digits
_STEP_BYTES = 120  # keys of a statement and its condition


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement that may be sent, and what its text tells."""

    statement: Statement
    analysis: Analysis


def prepare(sql: str, args: Arguments | None = ()) -> Prepared:
    """One statement with its arguments. Raises ProgrammingError where they do not fit."""
    analysis = _analyse_one(sql)
    return Prepared(Statement(sql, _bound(analysis, () if args is None else args)), analysis)


def prepare_many(sql: str, rows: Iterable[Arguments]) -> tuple[Analysis, list[Statement]]:
    """One statement for each of many sets of arguments.

    Raises ProgrammingError for a statement that only reads, and where a set does not fit: its
    position is in failed_index, and nothing has run.
    """
    analysis = _analyse_one(sql)
    if analysis.only_reads or analysis.control is not None:
        raise ProgrammingError(
            f"executemany takes a statement that changes rows, not {analysis.verb}; use execute",
            sql=sql,
        )
    statements = []
    for position, args in enumerate(rows):
        try:
            statements.append(Statement(sql, _bound(analysis, args)))
        except ProgrammingError as exc:
            exc.failed_index, exc.sql = position, sql
            raise
    return analysis, statements


def prepare_script(sql: str) -> Prepared:
    """A script without arguments. Raises ProgrammingError where it has parameters."""
    analysis = _analyse_text(sql)
    if analysis.parameter_count:
        raise ProgrammingError("a script takes no parameters; use execute", sql=sql)
    return Prepared(Statement(sql), analysis)


def _analyse_text(sql: str) -> Analysis:
    if not isinstance(sql, str):
        raise ProgrammingError(f"the statement must be a str, not {type(sql).__name__}")
    if "\0" in sql:
        raise ProgrammingError("the statement holds a NUL character, where SQLite would stop")
    return analyse(sql)


def _analyse_one(sql: str) -> Analysis:
    analysis = _analyse_text(sql)
    if analysis.statement_count > 1:
        raise ProgrammingError(
            f"execute takes one statement, this text holds {analysis.statement_count}; "
            "use executescript",
            sql=sql,
        )
    return analysis


def _bound(analysis: Analysis, args: Arguments) -> Arguments:
    if isinstance(args, Mapping):
        return _bound_by_name(analysis, args)
    if isinstance(args, str | bytes | bytearray | memoryview) or not _is_sequence(args):
        raise ProgrammingError(
            f"parameters must be a sequence or a mapping, not {type(args).__name__}; "
            "write (value,) for a single one"
        )
    if len(args) != analysis.parameter_count:
        raise ProgrammingError(
            f"the statement has {_counted(analysis.parameter_count)}, "
            f"and {len(args)} {'was' if len(args) == 1 else 'were'} given"
        )
    if analysis.names:
        raise ProgrammingError(
            f"the statement has named parameters ({', '.join(analysis.names)}): "
            "give a mapping of their names"
        )
    return tuple(map(adapt, args))


def _is_sequence(args: Any) -> bool:
    return hasattr(args, "__len__") and hasattr(args, "__getitem__")


def _bound_by_name(analysis: Analysis, args: Mapping[str, Any]) -> Arguments:
    """Only the names that the statement has; others are ignored, as `sqlite3` ignores them."""
    if len(analysis.names) != analysis.parameter_count:
        raise ProgrammingError(
            f"the statement has {_counted(analysis.parameter_count)}, "
            f"{len(analysis.names)} of them with a name: give a sequence, not a mapping"
        )
    names = dict.fromkeys(name[1:] for name in analysis.names)
    missing = [name for name in names if name not in args]
    if missing:
        raise ProgrammingError(
            f"the statement has {_counted(len(names))}, and {len(names) - len(missing)} of them "
            f"were given; missing: {', '.join(missing)}"
        )
    return {name: adapt(args[name]) for name in names}


def _counted(count: int) -> str:
    return "1 parameter" if count == 1 else f"{count} parameters"


def fit_one_request(statements: list[Statement], max_bytes: int = _MAX_REQUEST_BYTES) -> bool:
    """Whether the statements surely fit into one request of the native API."""
    return sum(map(_size, statements)) <= max_bytes


def _size(statement: Statement) -> int:
    """About how many bytes the statement takes in a request, at most a little too many."""
    args = statement.args
    values = args.values() if isinstance(args, Mapping) else args
    return _STEP_BYTES + len(statement.sql) + sum(map(_value_size, values))


def _value_size(value: Any) -> int:
    if isinstance(value, str):
        return _VALUE_BYTES + (
            len(value) if value.isascii() else len(value.encode("utf-8", "replace"))
        )
    if isinstance(value, bytes | bytearray | memoryview):
        return _VALUE_BYTES + memoryview(value).nbytes * 4 // 3
    return _VALUE_BYTES
