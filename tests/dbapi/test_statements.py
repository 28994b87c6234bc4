"""The scanner, against Python's own SQLite and by tables of cases."""

from __future__ import annotations

import re
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quicsql_dbapi.statements import Control, Session, analyse

PIECES = st.sampled_from(
    [
        "?",
        "?1",
        "?7",
        "?007",
        ":a",
        ":b",
        "@a",
        "$a",
        "$a::b",
        "$a(x)",
        ":é",
        "'?'",
        "'it''s :a'",
        '"?"',
        '"a"":a"',
        "`?`",
        "[:a]",
        "/* ? */",
        "/* ' */",
        "-- ?\n",
        "-- '\n",
        "1",
        "1.5e3",
        "x'00'",
        "NULL",
        "\ufeff",
        "\u00a0",
        "+",
        "||",
        "(",
        ")",
        ",",
        " ",
        "\n",
    ]
)


def sqlite_count(connection: sqlite3.Connection, sql: str) -> int | None:
    """How many parameters SQLite itself finds, or None where it does not compile the text."""
    try:
        connection.execute(sql, ())
    except sqlite3.ProgrammingError as exc:
        (count,) = re.findall(r"uses (\d+), and there are", str(exc))
        return int(count)
    except sqlite3.Error:
        return None
    return 0


@given(st.lists(PIECES, max_size=14))
def test_parameters_are_counted_as_sqlite_counts_them(pieces: list[str]) -> None:
    items = " , ".join(piece for piece in pieces if piece.strip() and piece not in ("(", ")", ","))
    connection = sqlite3.connect(":memory:")
    try:
        for sql in (f"SELECT {items}", "SELECT 1 " + " ".join(pieces), "".join(pieces)):
            count = sqlite_count(connection, sql)
            if count is not None:
                assert analyse(sql).parameter_count == count, sql
    finally:
        connection.close()


@given(st.text())
def test_any_text_can_be_read(sql: str) -> None:
    analysis = analyse(sql)
    assert analysis.statement_count >= 0
    assert len(analysis.names) <= analysis.parameter_count


@given(st.lists(st.sampled_from(["SELECT 1", "INSERT INTO t VALUES (';')", "/* ; */", ""])))
def test_statements_are_counted(parts: list[str]) -> None:
    expected = sum(part.startswith(("SELECT", "INSERT")) for part in parts)
    assert analyse(";".join(parts)).statement_count == expected


@pytest.mark.parametrize(
    ("sql", "count"),
    [
        ("CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; SELECT 2; END", 1),
        ("CREATE TEMP TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; END; SELECT 3", 2),
        (
            "CREATE TRIGGER x UPDATE ON t BEGIN UPDATE t SET a = CASE a WHEN 1 THEN 2 END; END;",
            1,
        ),
        (";;", 0),
        ("-- only a comment", 0),
        ("SELECT ';' ;", 1),
    ],
)
def test_triggers_are_one_statement(sql: str, count: int) -> None:
    assert analyse(sql).statement_count == count


@pytest.mark.parametrize(
    ("sql", "verb"),
    [
        ("select 1", "SELECT"),
        ("/* x */ insert into t values (1)", "INSERT"),
        ("WITH a AS (SELECT 1) SELECT * FROM a", "SELECT"),
        ("with a as (select 1), b as (values (2)) insert into t select * from a", "INSERT"),
        ("WITH a AS (DELETE_ME) UPDATE t SET x = 1", "UPDATE"),
        ("REPLACE INTO t VALUES (1)", "REPLACE"),
        ("", ""),
        ("EXPLAIN INSERT INTO t VALUES (1)", "EXPLAIN"),
    ],
)
def test_verbs(sql: str, verb: str) -> None:
    assert analyse(sql).verb == verb


@pytest.mark.parametrize(
    ("sql", "control", "mode"),
    [
        ("BEGIN", Control.BEGIN, "DEFERRED"),
        ("begin immediate transaction", Control.BEGIN, "IMMEDIATE"),
        ("BEGIN EXCLUSIVE", Control.BEGIN, "EXCLUSIVE"),
        ("COMMIT", Control.COMMIT, "DEFERRED"),
        ("END TRANSACTION", Control.COMMIT, "DEFERRED"),
        ("ROLLBACK", Control.ROLLBACK, "DEFERRED"),
        ("ROLLBACK TRANSACTION TO SAVEPOINT x", Control.ROLLBACK_TO, "DEFERRED"),
        ("rollback to x", Control.ROLLBACK_TO, "DEFERRED"),
        ("SAVEPOINT x", Control.SAVEPOINT, "DEFERRED"),
        ("RELEASE x", Control.RELEASE, "DEFERRED"),
        ("SELECT 'COMMIT'", None, "DEFERRED"),
    ],
)
def test_controls(sql: str, control: Control | None, mode: str) -> None:
    analysis = analyse(sql)
    assert (analysis.control, analysis.begin_mode) == (control, mode)


@pytest.mark.parametrize(
    ("sql", "session", "setting"),
    [
        ("CREATE TEMP TABLE x(a)", Session.TEMP, ""),
        ("create temporary view x as select 1", Session.TEMP, ""),
        ("CREATE TABLE IF NOT EXISTS temp.x(a)", Session.TEMP, ""),
        ('CREATE TABLE "temp".x(a)', Session.TEMP, ""),
        ("CREATE TABLE x(temp)", None, ""),
        ("CREATE TABLE temperature(a)", None, ""),
        ("PRAGMA foreign_keys = ON", Session.SETTING, "PRAGMA FOREIGN_KEYS"),
        ("pragma main.cache_size(5)", Session.SETTING, "PRAGMA CACHE_SIZE"),
        ("PRAGMA foreign_keys", None, ""),
        ("PRAGMA main.table_info('t')", None, ""),
        ("PRAGMA user_version = 4", None, ""),
        ("PRAGMA", None, ""),
        ("ATTACH 'x.db' AS extra", Session.SETTING, "ATTACH EXTRA"),
        ("DETACH DATABASE extra", Session.DETACH, "ATTACH EXTRA"),
        ("SELECT last_insert_rowid()", Session.COUNTER, ""),
        ("SELECT changes () FROM t", Session.COUNTER, ""),
        ("SELECT changes FROM t", None, ""),
    ],
)
def test_state_of_the_connection(sql: str, session: Session | None, setting: str) -> None:
    analysis = analyse(sql)
    assert (analysis.session, analysis.setting) == (session, setting)


@pytest.mark.parametrize(
    ("sql", "is_outside"),
    [
        ("VACUUM", True),
        ("PRAGMA journal_mode = WAL", True),
        ("PRAGMA journal_mode", False),
        ("PRAGMA foreign_keys = 1", True),
        ("ATTACH 'x' AS y", True),
        ("CREATE TEMP TABLE x(a)", False),
        ("SELECT 1", False),
    ],
)
def test_what_runs_outside_transactions(sql: str, is_outside: bool) -> None:
    assert analyse(sql).runs_outside is is_outside


def test_scripts_tell_of_all_their_statements() -> None:
    analysis = analyse("SELECT 1; BEGIN; CREATE TEMP TABLE x(a); COMMIT")
    assert analysis.controls == (Control.BEGIN, Control.COMMIT)
    assert analysis.leaves_state
    assert analysis.session is None
