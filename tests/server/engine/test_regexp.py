"""REGEXP, and what else the original's SQLite brings: odd-case 56."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quicsql_client.server.engine import Access, SQLFailure, StatementTimeout
from quicsql_client.server.engine import regexp as module
from quicsql_client.server.engine.regexp import install_regexp
from quicsql_client.types import Statement, Value
from tests.fix_engine import EVERY_KIND, WAL, Desk, OpenDesk

ENDLESS = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c)"


@pytest.fixture
async def desk(open_desk: OpenDesk) -> Desk:
    return await open_desk(WAL)


async def failure(desk: Desk, sql: str, args: Sequence[Value] = ()) -> str:
    with pytest.raises(SQLFailure) as caught:
        await desk.run(sql, args)
    assert (caught.value.code, caught.value.extended_code) == (1, 1)
    return caught.value.message


@pytest.mark.parametrize("kind", EVERY_KIND)
async def test_regexp_on_every_kind_of_database(kind: str, open_desk: OpenDesk) -> None:
    desk = await open_desk(EVERY_KIND[kind])
    sql = "SELECT 'foobar' REGEXP '^foo', 'foobar' NOT REGEXP '^bar', regexp('o+b', 'foobar')"
    assert await desk.rows(sql) == [(1, 1, 1)]
    assert (await desk.run(sql, access=Access.READ_ONLY)).rows == ((1, 1, 1),)
    pinned = await desk.database.pin(Access.READ_WRITE)
    assert (await pinned.execute(Statement(sql))).rows == ((1, 1, 1),)
    await pinned.release()


@pytest.mark.parametrize(
    ("value", "pattern", "is_found"),
    [
        ("foobar", "o{2}b", 1),
        ("foobar", "^bar", 0),
        ("FOO", "(?i)foo", 1),
        ("a\nb", "(?s)a.b", 1),
        ("a\nb", "a.b", 0),
        ("a\nb", "(?m)^b$", 1),
        ("na\u00efve", r"^\pL+$", 1),
        ("\u00e9", "^.$", 1),
        ("x\0y", "^x\\x00y$", 1),
        ("", "", 1),
        ("2024-01-02", r"^(?P<year>\d{4})-\d\d-\d\d\z", 1),
        (None, "a", None),
        ("a", None, None),
        (12, "^12$", 1),
        (-(2**63), "^-9223372036854775808$", 1),
        (2.0, r"^2\.0$", 1),
        ("7", 7, 1),
        (b"foobar", b"^foo", 1),
        (b"\xc3\xa9", "^\u00e9$", 1),
        (b"\xff\xfe", "a", 0),
    ],
)
async def test_values(desk: Desk, value: Value, pattern: Value, is_found: int | None) -> None:
    assert await desk.rows("SELECT ? REGEXP ?", (value, pattern)) == [(is_found,)]


@given(st.floats(allow_nan=False))
def test_numbers_are_matched_as_sqlite_words_them(number: float) -> None:
    with closing(apsw.Connection(":memory:")) as connection:
        install_regexp(connection)
        sql = "SELECT ?1 REGEXP '^\\Q' || CAST(?1 AS TEXT) || '\\E$'"
        assert connection.execute(sql, (number,)).fetchall() == [(1,)]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("sec(ret", "regexp: missing )"),
        ("secret[z-a]", "regexp: invalid character class range"),
        ("secret(?=x)", "regexp: invalid perl operator"),
        (r"(secret)\1", "regexp: invalid escape sequence"),
        ("(?:secret){1001}", "regexp: invalid repetition size"),
        (r"secret\pL{1000}", "regexp: pattern too large - compile failed"),
        ("secret" * 1000, "regexp: a pattern has at most 2000 bytes"),
        (b"secret\xff", "regexp: invalid UTF-8"),
    ],
)
async def test_a_bad_pattern_is_an_error_of_sql_that_does_not_quote_it(
    desk: Desk, pattern: Value, message: str
) -> None:
    assert await failure(desk, "SELECT 'a' REGEXP ?", (pattern,)) == message
    assert await desk.rows("SELECT NULL REGEXP ?", (pattern,)) == [(None,)]


async def test_what_ruins_a_matcher_that_backtracks(desk: Desk) -> None:
    text = "x" * 100_000
    for pattern in ("(x+x+)+y", "(x*)*y", "(x|x)*y", "(.*)(.*)(.*)(.*)(.*)y"):
        assert await desk.rows("SELECT ? REGEXP ?", (text, pattern)) == [(0,)]


async def test_a_text_that_would_take_too_long(desk: Desk) -> None:
    text = "ab" * (module.MAX_WORK // 2000)
    message = await failure(desk, "SELECT ? REGEXP '[ab]*a[ab]{999}c'", (text,))
    assert message == "regexp: this pattern is too large for a text of this size"


async def test_the_statement_timeout_holds(desk: Desk) -> None:
    with pytest.raises(StatementTimeout):
        await desk.run(f"{ENDLESS} SELECT count(*) FROM c WHERE n REGEXP 'x'", timeout_s=0.1)
    assert await desk.rows("SELECT 'a' REGEXP 'a'") == [(1,)]


async def test_patterns_are_compiled_once_and_a_bounded_number_is_kept(desk: Desk) -> None:
    known = module._compiled
    known.cache_clear()
    numbers = f"{ENDLESS} SELECT sum(n REGEXP '5$') FROM (SELECT n FROM c LIMIT 1000)"
    assert await desk.rows(numbers) == [(100,)]
    assert known.cache_info().misses == 1
    many = f"{ENDLESS} SELECT sum(n REGEXP '^' || n || '$') FROM (SELECT n FROM c LIMIT 200)"
    assert await desk.rows(many) == [(200,)]
    assert known.cache_info().currsize == module.MAX_KNOWN_PATTERNS


async def test_constraints_indexes_and_triggers_may_use_it(desk: Desk) -> None:
    await desk.run("CREATE TABLE t(x CHECK (x REGEXP '^[a-z]+$'))")
    await desk.run("CREATE INDEX i ON t(x) WHERE x REGEXP '^a'")
    await desk.run("CREATE VIEW v AS SELECT x FROM t WHERE x REGEXP 'c$'")
    await desk.run("INSERT INTO t VALUES ('abc'), ('xyz')")
    with pytest.raises(SQLFailure) as caught:
        await desk.run("INSERT INTO t VALUES ('ABC')")
    assert caught.value.extended_code == 275
    assert await desk.rows("SELECT x FROM v") == [("abc",)]


async def test_it_outlives_the_replacement_of_a_connection(desk: Desk) -> None:
    await desk.run("PRAGMA cache_size = 100")
    assert await desk.rows("SELECT 'a' REGEXP 'a'") == [(1,)]


async def test_full_text_search_is_there_and_vectors_are_not(desk: Desk, tmp_path: Path) -> None:
    await desk.run("CREATE VIRTUAL TABLE f USING fts5(body)")
    await desk.run("INSERT INTO f VALUES ('the quick brown fox')")
    assert await desk.rows("SELECT body FROM f WHERE f MATCH 'quick'") == [("the quick brown fox",)]
    assert await failure(desk, "CREATE VIRTUAL TABLE v USING vec0(a float[3])") == (
        "no such module: vec0"
    )
    await desk.database.close()
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
