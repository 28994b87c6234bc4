"""Result codes, both ways, and the error class for each: Python's own sqlite3 is the judge."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from quicsql_client import errors
from quicsql_client.errors import class_for_code, is_busy
from quicsql_client.wire.codes import code_of_name, hrana_name, name_of_code, sqlite_error

# Outcomes that are no errors.
NOT_ERRORS = {"SQLITE_ROW", "SQLITE_DONE", "SQLITE_OK_LOAD_PERMANENTLY", "SQLITE_OK_SYMLINK"}
CODES = {
    name: code
    for name, code in (apsw.mapping_result_codes | apsw.mapping_extended_result_codes).items()
    if isinstance(name, str) and isinstance(code, int) and name not in NOT_ERRORS
}


@pytest.mark.parametrize("name", sorted(CODES))
def test_names_and_numbers_both_ways(name: str) -> None:
    assert code_of_name(name) == CODES[name]
    assert name_of_code(CODES[name]) == name


def test_the_names_of_python_are_known() -> None:
    constants = {name: getattr(sqlite3, name) for name in CODES if hasattr(sqlite3, name)}
    assert len(constants) > 90
    assert {name: code_of_name(name) for name in constants} == constants


def test_an_extended_code_of_a_later_sqlite_has_the_name_of_its_primary() -> None:
    assert name_of_code(19 | 200 << 8) == "SQLITE_CONSTRAINT"
    assert name_of_code(77) is None
    assert code_of_name("SQLITE_NONSENSE") is None
    assert code_of_name("") is None


EXTENDED_IN_HRANA = {
    2067: "UNIQUE",
    1555: "PRIMARYKEY",
    787: "FOREIGNKEY",
    1299: "NOTNULL",
    275: "CHECK",
}
PRIMARY_IN_HRANA = {1, 5, 6, 8, 9, 11, 19, 20, 23}


@pytest.mark.parametrize("code", sorted(set(CODES.values())))
def test_the_name_in_hrana(code: int) -> None:
    if code in EXTENDED_IN_HRANA:
        expected = f"SQLITE_CONSTRAINT_{EXTENDED_IN_HRANA[code]}"
    elif code & 0xFF in PRIMARY_IN_HRANA:
        expected = str(apsw.mapping_result_codes[code & 0xFF])
    else:
        expected = "SQLITE_ERROR"
    assert hrana_name(code) == expected
    assert code_of_name(hrana_name(code)) is not None


Failure = Callable[[sqlite3.Connection, Path], object]


def _script(script: str, last: str) -> Failure:
    def fail(connection: sqlite3.Connection, path: Path) -> object:
        connection.executescript(script)
        return connection.execute(last)

    return fail


def _interrupt(connection: sqlite3.Connection, path: Path) -> object:
    connection.set_progress_handler(lambda: 1, 1)
    return connection.execute(
        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c) SELECT sum(n) FROM c"
    )


def _deny(connection: sqlite3.Connection, path: Path) -> object:
    connection.set_authorizer(lambda *_: sqlite3.SQLITE_DENY)
    return connection.execute("SELECT 1")


def _busy(connection: sqlite3.Connection, path: Path) -> object:
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        return connection.execute("BEGIN IMMEDIATE")
    finally:
        other.close()


def _too_big(connection: sqlite3.Connection, path: Path) -> object:
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1000)
    return connection.execute("SELECT zeroblob(100000)")


def _no_database(connection: sqlite3.Connection, path: Path) -> object:
    garbage = path.with_suffix(".txt")
    garbage.write_bytes(b"this is not a database, whatever one calls it" * 100)
    other = sqlite3.connect(garbage)
    try:
        return other.execute("SELECT * FROM sqlite_schema")
    finally:
        other.close()


FAILURES: dict[str, Failure] = {
    "SQLITE_ERROR": _script("", "SELECT * FROM missing"),
    "SQLITE_ERROR ": _script("", "SELEC 1"),
    "SQLITE_CONSTRAINT_UNIQUE": _script(
        "CREATE TABLE t(a UNIQUE); INSERT INTO t VALUES(1)", "INSERT INTO t VALUES(1)"
    ),
    "SQLITE_CONSTRAINT_PRIMARYKEY": _script(
        "CREATE TABLE t(a INTEGER PRIMARY KEY); INSERT INTO t VALUES(1)", "INSERT INTO t VALUES(1)"
    ),
    "SQLITE_CONSTRAINT_FOREIGNKEY": _script(
        "PRAGMA foreign_keys=ON; CREATE TABLE p(a PRIMARY KEY); CREATE TABLE t(a REFERENCES p)",
        "INSERT INTO t VALUES(1)",
    ),
    "SQLITE_CONSTRAINT_NOTNULL": _script(
        "CREATE TABLE t(a NOT NULL)", "INSERT INTO t VALUES(NULL)"
    ),
    "SQLITE_CONSTRAINT_CHECK": _script("CREATE TABLE t(a CHECK(a > 1))", "INSERT INTO t VALUES(1)"),
    "SQLITE_CONSTRAINT_TRIGGER": _script(
        "CREATE TABLE t(a); CREATE TRIGGER r BEFORE INSERT ON t BEGIN SELECT raise(ABORT,''); END",
        "INSERT INTO t VALUES(1)",
    ),
    "SQLITE_CONSTRAINT_DATATYPE": _script(
        "CREATE TABLE t(a INTEGER) STRICT", "INSERT INTO t VALUES('x')"
    ),
    "SQLITE_MISMATCH": _script(
        "CREATE TABLE t(a INTEGER PRIMARY KEY)", "INSERT INTO t VALUES('x')"
    ),
    "SQLITE_READONLY": _script("CREATE TABLE t(a); PRAGMA query_only=1", "INSERT INTO t VALUES(1)"),
    "SQLITE_FULL": _script(
        "PRAGMA max_page_count=3; CREATE TABLE t(a)", "INSERT INTO t VALUES(zeroblob(100000))"
    ),
    "SQLITE_CANTOPEN": _script("", "ATTACH '/nonexistent/folder/file.db' AS other"),
    "SQLITE_BUSY": _busy,
    "SQLITE_INTERRUPT": _interrupt,
    "SQLITE_AUTH": _deny,
    "SQLITE_TOOBIG": _too_big,
    "SQLITE_NOTADB": _no_database,
}


@pytest.mark.parametrize("name", sorted(FAILURES))
def test_real_failures_have_the_class_that_sqlite3_gives_them(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    connection = sqlite3.connect(path, isolation_level=None, timeout=0)
    try:
        with pytest.raises(sqlite3.Error) as caught:
            FAILURES[name](connection, path)
    finally:
        connection.close()
    theirs = caught.value
    # Python has no name for the newest codes.
    assert theirs.sqlite_errorname in (name.strip(), "unknown")
    code = theirs.sqlite_errorcode
    ours = sqlite_error(str(theirs), code & 0xFF, code)
    names = {kind.__name__ for kind in type(ours).__mro__}
    assert type(theirs).__name__ in names
    if name != "SQLITE_AUTH":
        assert type(ours).__name__ == type(theirs).__name__
    assert ours.sqlite_errorcode == theirs.sqlite_errorcode
    assert ours.sqlite_errorname == name.strip()
    assert ours.code == code & 0xFF
    assert str(ours) == str(theirs)


def test_authorisation_has_a_class_of_its_own() -> None:
    assert class_for_code(23) is errors.AuthorizationError
    assert class_for_code(23 | 1 << 8) is errors.AuthorizationError


@pytest.mark.parametrize("code", [2, 12])
def test_internal_codes(code: int) -> None:
    assert class_for_code(code) is errors.InternalError


@pytest.mark.parametrize("code", [11, 21, 24, 25, 26, 27, 99])
def test_other_codes_are_plain_database_errors(code: int) -> None:
    assert class_for_code(code) is errors.DatabaseError


@pytest.mark.parametrize(
    ("code", "extended", "told"), [(19, 2067, 2067), (19, 0, 19), (0, 2067, 2067), (None, 5, 5)]
)
def test_either_code_will_do(code: int | None, extended: int, told: int) -> None:
    error = sqlite_error("m", code, extended, failed_index=3)
    assert (error.code, error.extended_code) == (told & 0xFF, told)
    assert error.failed_index == 3


@pytest.mark.parametrize("none", [None, 0])
def test_a_masked_failure_has_no_code(none: int | None) -> None:
    error = sqlite_error("internal error", none, none)
    assert type(error) is errors.DatabaseError
    assert (error.code, error.extended_code, error.name) == (None, None, None)
    assert error.is_retryable is False


@pytest.mark.parametrize("code", sorted(set(CODES.values())))
def test_only_busy_and_locked_are_worth_another_try(code: int) -> None:
    assert is_busy(code) is (code & 0xFF in (5, 6))
    assert sqlite_error("m", code & 0xFF, code or 1).is_retryable is (code & 0xFF in (5, 6))
