"""A short soak, and that its judges see what is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .ledger import Book, Tally, word_of
from .samples import MIB, Sample, slope_per_minute, take_sample
from .soak import Outcome, Plan, run_soak


def test_a_few_seconds_of_every_kind_of_work(tmp_path: Path) -> None:
    plan = Plan(seconds=3.0, connections=24, principals=6, pause_s=0.05)
    outcome = run_soak(plan, tmp_path)
    assert outcome.faults() == [], outcome.report()
    assert min(outcome.tally.done[name] for name in ("native", "transaction", "cursor", "feed")) > 0


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ((1, "principal-01", word_of("principal-01", 1)), None),
        ((1, "principal-01", word_of("principal-01", 2)), "wrong rows"),
        ((1, "principal-02", word_of("principal-02", 1)), "rows of another principal"),
    ],
)
def test_a_row_proves_whose_it_is(row: tuple[int, str, str], fault: str | None) -> None:
    tally = Tally()
    assert Book("principal-01", tally).check_rows([row]) == {1}
    assert list(tally.faults) == ([] if fault is None else [fault])


def test_a_row_that_is_missing_is_lost_unless_it_was_deleted() -> None:
    tally = Tally()
    book = Book("principal-01", tally)
    for _ in range(300):
        book.acknowledge(book.new_row()[0], row_id=1)
    expected = book.expected()
    book.trim()
    book.check_complete(expected, set(range(100, 301)))
    assert not tally.faults
    book.check_complete(expected, set(range(100, 300)))
    assert tally.faults == {"lost rows": 1}


def samples(*memory_mib: float, files: int = 10) -> list[Sample]:
    """One a second."""
    return [
        Sample(float(second), int(mib * MIB), files, 5) for second, mib in enumerate(memory_mib)
    ]


@pytest.mark.parametrize(
    ("taken", "slope"), [([3.0], 0.0), ([3.0, 3.0, 3.0], 0.0), ([1.0, 2.0, 3.0], 60.0)]
)
def test_the_slope_is_by_minute(taken: list[float], slope: float) -> None:
    found = slope_per_minute(samples(*taken), lambda one: one.memory_bytes / MIB)
    assert found == pytest.approx(slope)


def test_this_process_can_be_sampled() -> None:
    sample = take_sample(os.getpid())
    assert sample.memory_bytes > MIB
    assert min(sample.files, sample.threads) >= 1


def outcome_of(**changes: object) -> Outcome:
    (idle,) = samples(50.0)
    facts = {
        "plan": Plan(seconds=60.0, connections=10),
        "tally": Tally(),
        "before": idle,
        "after": idle,
        "active_sessions": 0,
        "samples": samples(50.0, 60.0, 60.0, 60.0),
    }
    outcome = Outcome(**(facts | changes))  # type: ignore[arg-type]
    outcome.tally.done["native"] = 1
    return outcome


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({}, ""),
        ({"samples": samples(50.0, 60.0, 60.0, 61.0)}, "memory grows"),
        ({"after": samples(50.0, files=10_000)[0]}, "files stay open"),
        ({"after": Sample(0.0, 0, 10, 100)}, "threads stay"),
        ({"active_sessions": 3}, "3 streams stay open"),
    ],
)
def test_growth_and_leftovers_are_faults(changes: dict[str, object], fault: str) -> None:
    found = "; ".join(outcome_of(**changes).faults())
    assert (fault in found) if fault else (found == "")


def test_any_fault_of_a_lane_is_one_of_the_soak() -> None:
    outcome = outcome_of()
    outcome.tally.fault("wrong rows", "this one")
    assert outcome.faults() == ["1 wrong rows", "wrong rows: this one"]
    assert "wrong rows: this one" in outcome.report()
    outcome.tally.done.clear()
    assert "nothing was done" in outcome.faults()
