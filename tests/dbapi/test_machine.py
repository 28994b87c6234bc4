"""Random operations on Python's `sqlite3` and on us, side by side: they must not differ.

`make machine` runs 2,000 examples; QUICSQL_MACHINE_EXAMPLES sets another number.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

import quicsql_dbapi
from quicsql_client import Client

from .standard import Outcome, Standard, failing_as

EXAMPLES = int(os.environ.get("QUICSQL_MACHINE_EXAMPLES", "100"))
SCHEMA = [
    "CREATE TABLE t(id INTEGER PRIMARY KEY, v UNIQUE, n INTEGER NOT NULL DEFAULT 0 CHECK (n >= 0))",
    "CREATE TABLE log(what)",
    "CREATE TRIGGER guard BEFORE DELETE ON t WHEN old.n = 3 "
    "BEGIN SELECT RAISE(ROLLBACK, 'three stays'); END",
    "CREATE TRIGGER note AFTER UPDATE ON t BEGIN INSERT INTO log VALUES (new.id); END",
]

# Hrana names these in full, others by their primary code (protocol/hrana.md, "Errors").
NAMED_CODES = (2067, 1555, 787, 1299, 275)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["", "a", "b", "a\0b", "é\U0001f600", "1", "1.0", "null"]
)
REAL = st.floats(allow_infinity=False) | st.sampled_from([0.0, -0.0, 100.0, 5e-324, 1e300])
INTEGER = st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1)
VALUE = st.none() | INTEGER | REAL | TEXT | st.binary(max_size=8) | st.booleans()
COUNT = st.integers(-1, 4) | st.none()
CONFLICT = st.sampled_from(["", "", "OR IGNORE", "OR REPLACE", "OR FAIL", "OR ROLLBACK"])
SAVEPOINTS = [f"{word} {name}" for word in ("SAVEPOINT", "RELEASE", "ROLLBACK TO") for name in "ab"]
DDL = [
    "CREATE TABLE u(x, y DEFAULT 'd')",
    "CREATE TABLE IF NOT EXISTS u(x)",
    "DROP TABLE u",
    "DROP TABLE IF EXISTS u",
    "ALTER TABLE u ADD COLUMN z",
    "CREATE INDEX by_n ON t(n)",
    "DROP INDEX by_n",
    "CREATE VIEW w AS SELECT v FROM t",
    "DROP VIEW w",
    "CREATE TEMP TABLE pinned_one(x)",
    "CREATE TEMP TABLE IF NOT EXISTS pinned_one(x)",
    "DROP TABLE pinned_one",
]
QUERIES = [
    "SELECT id, v, typeof(v), n FROM t ORDER BY id",
    "SELECT count(*), sum(n), max(id) FROM t",
    "SELECT * FROM u ORDER BY rowid",
    "SELECT v FROM w ORDER BY 1",
    "SELECT * FROM pinned_one",
    "SELECT count(*) FROM log",
    "VALUES (1, 'x'), (NULL, x'00')",
    "WITH a(x) AS (SELECT 1) SELECT x AS one FROM a",
    "SELEC 1",
    "SELECT * FROM nowhere",
    "SELECT abs(-9223372036854775808)",
]
CHANGES = [
    "UPDATE t SET n = n + 1",
    "UPDATE t SET n = n - 1",
    "DELETE FROM t WHERE n = 3",
    "DELETE FROM t WHERE id = 1",
    "DELETE FROM t",
    "UPDATE OR ROLLBACK t SET v = 'a'",
    "INSERT INTO u(x) SELECT v FROM t",
    "WITH a(x) AS (VALUES (1), (2)) INSERT INTO log SELECT x FROM a",
    "INSERT INTO pinned_one VALUES (1)",
    "INSERT INTO t(v) VALUES ('a') ON CONFLICT (v) DO UPDATE SET n = n + 1",
    "INSERT INTO t(v) VALUES ('a'), ('b') RETURNING id, v",
    "UPDATE t SET n = 1 WHERE n <> 1 RETURNING id",
    "DELETE FROM t WHERE n = 1 RETURNING v, n",
]


def exact(rows: list[tuple[Any, ...]] | None) -> str:
    """Rows with their types, and with the sign of zero."""
    return repr(rows)


class Machine(RuleBasedStateMachine):
    """Each rule does the same on both connections, and compares everything that is told."""

    def __init__(self, client: Client, database: str) -> None:
        super().__init__()
        self.client = client
        self.database = database
        self.committed: dict[str, list[Any]] = {}
        self.is_equal = True

    @initialize(autocommit=st.booleans(), is_pinned=st.booleans())
    def begin(self, autocommit: bool, is_pinned: bool) -> None:
        self._empty()
        self.standard = Standard(autocommit=autocommit)
        for statement in SCHEMA:
            self.standard.connection.execute(statement)
        self.client.batch(self.database, SCHEMA)
        self.ours = quicsql_dbapi.connect(
            client=self.client, db=self.database, autocommit=autocommit
        )
        self.cursor = self.ours.cursor()
        if is_pinned:
            self.ours.execute("PRAGMA case_sensitive_like = OFF")
        self.committed = self.standard.dump()

    def _empty(self) -> None:
        """Leave no table of the example before."""
        names = "SELECT type, name FROM sqlite_schema WHERE type IN ('table', 'view')"
        objects = self.client.query(self.database, names).rows
        self.client.batch(self.database, [f"DROP {kind!s} {name!s}" for kind, name in objects])

    def _compare(self, call: Callable[[], Any], expected: Outcome) -> None:
        self.is_equal = False
        got = Outcome()
        with failing_as(got):
            cursor = call()
            if cursor is not None:
                got.rowcount, got.lastrowid = cursor.rowcount, cursor.lastrowid
                if cursor.description is not None:
                    got.columns = [column[0] for column in cursor.description]
                    got.rows = cursor.fetchall()
        if expected.code is None:
            got.code = None
        elif expected.code not in NAMED_CODES:
            got.code, expected.code = (got.code or 0) & 0xFF, expected.code & 0xFF
        if expected.lastrowid is None:
            got.lastrowid = None
        assert exact(got.rows) == exact(expected.rows)
        got.rows = expected.rows
        assert got == expected, (got.text, expected.text)
        assert self.ours.in_transaction == self.standard.in_transaction
        if not self.standard.in_transaction:
            self.committed = self.standard.dump()
        self.is_equal = True

    def _execute(self, sql: str, args: Any = (), *, has_rowid: bool = False) -> None:
        expected = self.standard.execute(sql, args)
        if not has_rowid or not expected.rowcount:
            expected.lastrowid = None
        self._compare(lambda: self.cursor.execute(sql, args), expected)

    @rule(sql=st.sampled_from(QUERIES))
    def query(self, sql: str) -> None:
        self._execute(sql)

    @rule(sql=st.sampled_from(CHANGES))
    def change(self, sql: str) -> None:
        self._execute(sql)

    @rule(sql=st.sampled_from(DDL))
    def define(self, sql: str) -> None:
        self._execute(sql)

    @rule(values=st.tuples(VALUE, VALUE), is_named=st.booleans())
    def echo(self, values: tuple[Any, Any], is_named: bool) -> None:
        if is_named:
            named = dict(zip("ab", values, strict=True))
            self._execute("SELECT :a AS a, typeof(:a), @b, typeof(@b), :a", named)
        else:
            self._execute("SELECT ?, typeof(?1), ?2, typeof(?2)", values)

    @rule(conflict=CONFLICT, key=st.none() | st.integers(1, 5) | TEXT, value=VALUE, count=COUNT)
    def insert(self, conflict: str, key: Any, value: Any, count: Any) -> None:
        sql = f"INSERT {conflict} INTO t(id, v, n) VALUES (?, ?, ?)"
        self._execute(sql, (key, value, count), has_rowid=True)

    @rule(conflict=CONFLICT, rows=st.lists(st.tuples(VALUE, COUNT), max_size=4))
    def insert_many(self, conflict: str, rows: list[tuple[Any, Any]]) -> None:
        self._many(f"INSERT {conflict} INTO t(v, n) VALUES (?, ?)", rows)

    @rule(rows=st.lists(st.tuples(COUNT, st.integers(1, 4)), max_size=3))
    def update_many(self, rows: list[tuple[Any, Any]]) -> None:
        self._many("UPDATE t SET n = ? WHERE id = ?", rows)

    def _many(self, sql: str, rows: list[Any]) -> None:
        expected = self.standard.executemany(sql, rows)
        self._compare(lambda: self.cursor.executemany(sql, rows), expected)

    @rule(statements=st.lists(st.sampled_from([*CHANGES[:8], *DDL[:6]]), max_size=3))
    def script(self, statements: list[str]) -> None:
        if statements:
            expected = self.standard.script(statements)
            self._compare(lambda: self.cursor.executescript("; ".join(statements)), expected)

    @rule(sql=st.sampled_from(["BEGIN", "BEGIN IMMEDIATE", "COMMIT", "ROLLBACK"]))
    def control(self, sql: str) -> None:
        expected = self.standard.execute(sql)
        expected.lastrowid = None
        self._compare(lambda: self.cursor.execute(sql), expected)

    @rule(sql=st.sampled_from(SAVEPOINTS))
    def savepoint(self, sql: str) -> None:
        self._execute(sql)

    @rule()
    def commit(self) -> None:
        self._compare(self.ours.commit, self.standard.commit())

    @rule()
    def rollback(self) -> None:
        self._compare(self.ours.rollback, self.standard.rollback())

    @rule(value=st.booleans())
    def set_autocommit(self, value: bool) -> None:
        expected = self.standard.set_autocommit(value)
        self._compare(lambda: setattr(self.ours, "autocommit", value), expected)
        assert self.ours.autocommit == self.standard.autocommit

    @rule(args=st.lists(VALUE, max_size=4).filter(lambda args: len(args) != 2))
    def misfit(self, args: list[Any]) -> None:
        self._compare(
            lambda: self.cursor.execute("SELECT ?, ?", args), Outcome(error="ProgrammingError")
        )

    @rule()
    @precondition(lambda self: self.standard.in_transaction)
    def look_from_outside(self) -> None:
        self._look()

    def _look(self) -> None:
        for name, rows in self.committed.items():
            seen = self.client.query(self.database, f"SELECT * FROM {name} ORDER BY rowid")
            assert exact(list(seen.rows)) == exact(rows), name

    def teardown(self) -> None:
        if not hasattr(self, "ours"):
            return
        self.ours.close()
        self.standard.rollback()
        if not self.is_equal:
            return
        assert exact(self.standard.dump().items()) == exact(self.committed.items())  # type: ignore[arg-type]
        self._look()
        self.standard.connection.close()


@pytest.mark.timeout(120 + EXAMPLES)
def test_we_do_what_sqlite3_does(quicsql_client: Client, quicsql_db: str) -> None:
    def machine() -> Machine:
        return Machine(quicsql_client, quicsql_db)

    run_state_machine_as_test(
        cast(Any, machine),  # any callable will do
        settings=settings(max_examples=EXAMPLES, stateful_step_count=30, deadline=None),
    )
