"""The log of slow statements: what is told of them, and what never is."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from quicsql_client.server.engine import (
    Access,
    BatchFailure,
    Caps,
    SQLFailure,
    StatementTimeout,
)
from quicsql_client.server.engine import slow_log as module
from quicsql_client.server.logs import LOGGER_NAME
from quicsql_client.types import Statement
from tests.fix_engine import WAL, Desk, OpenDesk

Told = Callable[[], list[dict[str, Any]]]

EACH = Caps(slow_after_s=1e-9)  # every statement takes longer
WITH_VALUES = Caps(slow_after_s=1e-9, logs_values=True)
ENDLESS = "WITH RECURSIVE c(n) AS (SELECT ? UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c"


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[Told]:
    """The fields of the records so far, without their durations; forgets them."""

    def take() -> list[dict[str, Any]]:
        found = []
        for record in caplog.records:
            assert record.getMessage() == "slow statement"
            members = dict(vars(record)["quicsql_fields"])
            assert members.pop("slow") is True
            assert members.pop("duration_ms") >= 0
            assert members.pop("database") == "app"
            found.append(members)
        caplog.clear()
        return found

    with caplog.at_level(logging.WARNING, LOGGER_NAME):
        yield take


def sqls(records: list[dict[str, Any]]) -> list[str]:
    return [record["sql"] for record in records]


@pytest.fixture
async def desk(open_desk: OpenDesk) -> Desk:
    return await open_desk(WAL, EACH)


async def test_every_statement_of_a_text_by_itself(desk: Desk, told: Told) -> None:
    await desk.run("CREATE TABLE t(x); INSERT INTO t VALUES (?) ;\n SELECT ?\n FROM t", (1, "two"))
    assert told() == [
        {"sql": "CREATE TABLE t(x);"},
        {"sql": "INSERT INTO t VALUES (?) ;"},
        {"sql": "SELECT ?\n FROM t"},
    ]


async def test_every_way_to_run_one(desk: Desk, told: Told) -> None:
    await desk.batch("SELECT 1", "SELECT 2")
    assert sqls(told()) == ["BEGIN", "SELECT 1", "SELECT 2", "COMMIT"]
    pinned = await desk.database.pin(Access.READ_ONLY)
    await pinned.execute(Statement("SELECT 3"))
    await pinned.sequence("SELECT 4; SELECT 5")
    await pinned.describe("SELECT 6")
    assert await pinned.is_autocommit()
    await pinned.release()
    assert sqls(told()) == ["SELECT 3", "SELECT 4;", "SELECT 5"]


async def test_one_that_fails(desk: Desk, told: Told) -> None:
    await desk.run("CREATE TABLE t(x UNIQUE)")
    await desk.run("INSERT INTO t VALUES (1)")
    told()
    with pytest.raises(SQLFailure):
        await desk.run("INSERT INTO t VALUES (?)", (1,))
    with pytest.raises(BatchFailure):
        await desk.batch("INSERT INTO t VALUES (1)")
    assert told() == [
        {"sql": "INSERT INTO t VALUES (?)", "failed": True},
        {"sql": "BEGIN"},
        {"sql": "INSERT INTO t VALUES (1)", "failed": True},
    ]


@pytest.mark.parametrize("caps", [EACH, WITH_VALUES])
async def test_one_that_runs_out_of_time(open_desk: OpenDesk, told: Told, caps: Caps) -> None:
    desk = await open_desk(WAL, caps)
    with pytest.raises(StatementTimeout):
        await desk.run(ENDLESS, (7,), timeout_s=0.1)
    sql = ENDLESS.replace("?", "7") if caps.logs_values else ENDLESS
    assert told() == [{"sql": sql, "failed": True}]
    assert await desk.rows("SELECT 1") == [(1,)]


@pytest.mark.parametrize(("duration_s", "is_told"), [(0.2499, False), (0.25, True), (9.0, True)])
def test_the_threshold(
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    duration_s: float,
    is_told: bool,
) -> None:
    instants_s = iter([16.0, 16.0 + duration_s])
    clock = SimpleNamespace(monotonic=lambda: next(instants_s))
    monkeypatch.setattr(module, "time", clock)
    link: Any = SimpleNamespace(caps=Caps(slow_after_s=0.25), database="app")
    with module.Timed(link, "SELECT 1"):
        pass
    durations = [vars(record)["quicsql_fields"]["duration_ms"] for record in caplog.records]
    assert durations == ([duration_s * 1000] if is_told else [])


async def test_nothing_is_told_where_it_is_off(open_desk: OpenDesk, told: Told) -> None:
    desk = await open_desk(WAL)
    assert desk.database.caps.slow_after_s == math.inf
    await desk.batch("SELECT 1")
    assert told() == []


async def test_values_are_told_only_where_that_was_asked_for(
    open_desk: OpenDesk, told: Told
) -> None:
    values = ("it's", 2, 2.5, b"\x00\xff", None)
    sql = "SELECT ?, ?, ?, ?, ? -- ?"
    desk = await open_desk(WAL, EACH)
    await desk.run(sql, values)
    assert sqls(told()) == [sql]
    desk.database.caps = WITH_VALUES
    await desk.run(sql, values)
    await desk.run("SELECT :a, $b", {"a": 1, "b": "x"})
    assert sqls(told()) == ["SELECT 'it''s', 2, 2.5, x'00ff', NULL -- ?", "SELECT 1, 'x'"]


async def test_telling_values_runs_nothing_twice(open_desk: OpenDesk, told: Told) -> None:
    desk = await open_desk(WAL, WITH_VALUES)
    await desk.run("CREATE TABLE t(x)")
    result = await desk.run("INSERT INTO t VALUES (?)", (1,))
    assert (result.rows_affected, result.last_insert_id) == (1, 1)
    assert await desk.rows("SELECT count(*) FROM t WHERE x = ?", (1,)) == [(1,)]
    assert sqls(told())[1:] == [
        "INSERT INTO t VALUES (1)",
        "SELECT count(*) FROM t WHERE x = 1",
    ]


async def test_one_that_cannot_be_written_with_values_any_more(
    open_desk: OpenDesk, told: Told
) -> None:
    desk = await open_desk(WAL, WITH_VALUES)
    await desk.run("CREATE TABLE t(x)")
    told()
    sql = "CREATE TABLE u AS SELECT ? AS x"
    await desk.run("CREATE TABLE u AS SELECT 1 AS x")
    with pytest.raises(SQLFailure):
        await desk.run(sql, (5,))
    # It did not even prepare, so it did not run.
    assert sqls(told()) == ["CREATE TABLE u AS SELECT 1 AS x"]
    with pytest.raises(SQLFailure):
        await desk.run("INSERT INTO t VALUES (?), (abs(?))", (1, -(2**63)))
    assert sqls(told()) == [f"INSERT INTO t VALUES (1), (abs({-(2**63)}))"]


async def test_long_texts_and_values_are_cut(open_desk: OpenDesk, told: Told) -> None:
    desk = await open_desk(WAL, WITH_VALUES)
    comment = "/* " + "x" * 5_000 + " */"
    await desk.run(f"SELECT 1 {comment}")
    await desk.run("SELECT length(?), length(?)", ("y" * 1_000_000, b"z" * 1_000_000))
    long, short = sqls(told())
    assert len(long) < module.MAX_SQL_CHARS + 50
    assert long.endswith(f"\u2026 ({len(comment) + 9 - module.MAX_SQL_CHARS} more characters)")
    assert short.count("y") == module.MAX_VALUE_LENGTH
    assert short.count("7a") == module.MAX_VALUE_LENGTH
