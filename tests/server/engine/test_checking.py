"""Images that somebody sent: sound ones pass, all others are refused and harm nothing."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import apsw
import pytest

from quicsql_client.server.engine import checking
from quicsql_client.server.engine.checking import ImageCheck

SCHEMA = """
CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT UNIQUE, b REAL CHECK (b > 0), c AS (a || 'x'));
CREATE INDEX i ON t(b);
CREATE VIEW v AS SELECT * FROM t;
CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM t WHERE id < 0; END;
CREATE TABLE w(k TEXT PRIMARY KEY, v BLOB) WITHOUT ROWID;
CREATE VIRTUAL TABLE f USING fts5(words);
CREATE VIRTUAL TABLE r USING rtree(id, x0, x1);
WITH RECURSIVE n(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM n WHERE x<300)
    INSERT INTO t(a, b) SELECT 'text ' || x, x FROM n;
INSERT INTO w VALUES ('k', zeroblob(20000));
INSERT INTO f VALUES ('some words'), ('other words');
INSERT INTO r VALUES (1, 0, 1);
DELETE FROM t WHERE id % 3 = 0;
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "an image?#.db"


@pytest.fixture
def sound(tmp_path: Path) -> bytes:
    connection = apsw.Connection(str(tmp_path / "sound.db"))
    connection.execute("PRAGMA page_size=1024")
    connection.execute(SCHEMA)
    connection.close()
    return (tmp_path / "sound.db").read_bytes()


def check(path: Path, body: bytes) -> str | None:
    path.write_bytes(body)
    before = sorted(os.listdir(path.parent))
    fault = ImageCheck(str(path)).run()
    assert sorted(os.listdir(path.parent)) == before  # nothing is left beside it
    assert path.read_bytes() == body
    return fault


@pytest.mark.parametrize("mode", ["delete", "wal"])
@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le"])
def test_a_sound_image(path: Path, tmp_path: Path, mode: str, encoding: str) -> None:
    connection = apsw.Connection(str(tmp_path / "made.db"))
    connection.pragma("encoding", encoding)
    connection.pragma("journal_mode", mode)
    connection.execute(SCHEMA)
    connection.close()
    assert check(path, (tmp_path / "made.db").read_bytes()) is None


def test_cut_and_longer_images(path: Path, sound: bytes) -> None:
    assert check(path, b"") is not None
    for length in range(1, len(sound), 1021):
        assert check(path, sound[:length]) is not None
    assert check(path, sound[1:]) is not None


def test_no_mutated_image_does_harm(path: Path, sound: bytes) -> None:
    """SQLite may find some sound, as a changed row is; none may crash, hang or write."""
    chance = random.Random(20240704)
    refused = 0
    for _ in range(400):
        mutated = bytearray(sound)
        for _ in range(chance.choice((1, 4, 64))):
            # Headers of the file and of pages decide most.
            place = chance.choice((chance.randrange(100), chance.randrange(len(sound))))
            if chance.random() < 0.3:
                place = chance.randrange(len(sound) // 1024) * 1024 + chance.randrange(12)
            mutated[place] = chance.randrange(256)
        refused += check(path, bytes(mutated)) is not None
    assert refused > 200


def test_pages_of_chance(path: Path) -> None:
    chance = random.Random(1)
    for _ in range(50):
        assert check(path, b"SQLite format 3\0" + chance.randbytes(8192)) is not None


def test_a_schema_that_lies(path: Path, tmp_path: Path) -> None:
    made = str(tmp_path / "made.db")
    for lie in ("CREATE TABLE", "garbage", "CREATE TABLE t(a, a)", "CREATE VIEW t AS SELECT 1"):
        connection = apsw.Connection(made)
        connection.execute("DROP TABLE IF EXISTS t; CREATE TABLE t(a)")
        connection.config(apsw.SQLITE_DBCONFIG_WRITABLE_SCHEMA, 1)
        connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 't'", (lie,))
        connection.close()
        assert check(path, (tmp_path / "made.db").read_bytes()) is not None
        os.unlink(made)


def large(folder: Path) -> bytes:
    connection = apsw.Connection(str(folder / "large.db"))
    connection.execute(
        "CREATE TABLE t(a, b); CREATE INDEX i ON t(b);"
        "WITH RECURSIVE n(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM n WHERE x<100000)"
        " INSERT INTO t SELECT x, -x FROM n"
    )
    connection.close()
    return (folder / "large.db").read_bytes()


def test_the_check_ends_in_time(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = large(tmp_path)
    monkeypatch.setattr(checking, "MIN_CHECK_S", -1000.0)
    assert check(path, body) == "interrupted"


def test_the_check_is_stopped(path: Path, tmp_path: Path) -> None:
    path.write_bytes(large(tmp_path))
    stopped = ImageCheck(str(path))
    stopped.stop()
    assert stopped.run() == "interrupted"


def test_its_time_grows_with_the_image(path: Path, sound: bytes) -> None:
    path.write_bytes(sound)
    one = ImageCheck(str(path))
    before = time.monotonic()
    assert one.run() is None
    assert one._ends_at >= before + checking.MIN_CHECK_S
