"""Dispatch by the first token.

Odd-cases 22, 43, 154, 155.
"""

from __future__ import annotations

import pytest

from quicsql_client.server.engine.classify import (
    first_token,
    is_attach,
    is_query,
    reports_counters,
    suits_reader,
)


@pytest.mark.parametrize(
    ("sql", "token"),
    [
        ("SELECT 1", "SELECT"),
        ("select(1)", "SELECT"),
        ("\ufeffSELECT 1", "SELECT"),
        (" \t\r\n\f select 1", "SELECT"),
        ("/* hint */ SELECT 1", "SELECT"),
        ("/* a *//* b */-- c\nSELECT 1", "SELECT"),
        ("-- c\nSELECT 1", "SELECT"),
        ("SELECT/**/1", "SELECT/**/1"),
        (";;SELECT 1", ";;SELECT"),
        ("(SELECT 1)", ""),
        ("", ""),
        ("-- nothing", ""),
        ("/* open", ""),
        ("\x0bSELECT", "\x0bSELECT"),
    ],
)
def test_first_token(sql: str, token: str) -> None:
    assert first_token(sql) == token


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1", True),
        ("WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x", True),
        ("EXPLAIN SELECT 1", True),
        ("VALUES (1)", True),
        ("PRAGMA user_version", True),
        ("INSERT INTO t VALUES (1) RETURNING id", True),
        ("INSERT INTO t VALUES ('is returning soon')", True),
        ("INSERT INTO t VALUES ('unreturning')", False),
        ("INSERT INTO returnings VALUES (1)", False),
        ("SELECT/**/1", False),
        (";;SELECT 1", False),
        ("CREATE TABLE t(x)", False),
        ("", False),
    ],
)
def test_is_query(sql: str, expected: bool) -> None:
    assert is_query(sql) is expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("ATTACH 'x' AS y", True),
        ("  detach database y", True),
        ("/* c */ ATTACH 'x' AS y", True),
        ("SELECT 1; ATTACH 'x' AS y", False),
        ("SELECT 'ATTACH'", False),
    ],
)
def test_is_attach(sql: str, expected: bool) -> None:
    assert is_attach(sql) is expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1", True),
        ("SELECT 1 ;  ", True),
        ("VALUES (1)", True),
        ("EXPLAIN SELECT 1", True),
        ("SELECT 1; DELETE FROM t", False),
        ("WITH x AS (SELECT 1) SELECT * FROM x", False),
        ("PRAGMA user_version", False),
        ("INSERT INTO t VALUES (1)", False),
    ],
)
def test_suits_reader(sql: str, expected: bool) -> None:
    assert suits_reader(sql) is expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("INSERT INTO t VALUES (1)", True),
        ("INSERT INTO t VALUES (1) RETURNING id", True),
        ("WITH x AS (SELECT 1) DELETE FROM t", True),
        ("SELECT 1; INSERT INTO t VALUES (1)", False),
        ("PRAGMA user_version", False),
    ],
)
def test_reports_counters(sql: str, expected: bool) -> None:
    assert reports_counters(sql) is expected
