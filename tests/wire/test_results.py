"""What callers do with a Result."""

from __future__ import annotations

import dataclasses
import pickle

import pytest

from quicsql_client.errors import ProgrammingError, TruncatedError
from quicsql_client.types import Result, Statement

TWO = Result(("a", "b"), ((1, "x"), (2, "y")))


def test_a_result_iterates_and_counts_its_rows() -> None:
    assert list(TWO) == [(1, "x"), (2, "y")]
    assert len(TWO) == 2
    assert len(Result()) == 0


def test_one() -> None:
    assert Result(("a",), ((None,),)).one() == (None,)


@pytest.mark.parametrize(("result", "count"), [(Result(("a",)), 0), (TWO, 2)])
def test_one_wants_exactly_one_row(result: Result, count: int) -> None:
    with pytest.raises(ProgrammingError, match=f"exactly one row, the statement gave {count}"):
        result.one()
    with pytest.raises(ProgrammingError, match=f"gave {count}"):
        result.scalar()


def test_scalar_is_the_first_cell() -> None:
    assert Result(("a", "b"), ((7, 8),)).scalar() == 7
    assert Result(("a",), ((None,),)).scalar() is None


def test_scalar_of_a_row_without_columns() -> None:
    with pytest.raises(ProgrammingError, match="without columns"):
        Result((), ((),)).scalar()


def test_the_only_row_of_a_truncated_result_may_not_be_the_only_one() -> None:
    cut = Result(("a",), ((1,),), truncated=True)
    for call in (cut.one, cut.scalar):
        with pytest.raises(TruncatedError, match="row or byte cap"):
            call()
    assert list(cut) == [(1,)]


def test_dicts() -> None:
    assert TWO.dicts() == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
    assert Result(("a",)).dicts() == []


def test_dicts_loses_no_column() -> None:
    with pytest.raises(ProgrammingError, match="not unique: a, a"):
        Result(("a", "a"), ((1, 2),)).dicts()


def test_results_and_statements_are_frozen_values() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TWO.columns = ()  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(TWO)) == TWO
    assert Statement("SELECT 1") == Statement("SELECT 1", ())
