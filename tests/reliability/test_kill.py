"""Acknowledged commits outlive SIGKILL, and the account of them finds what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from .deployment import Deployment
from .kill import Ledger, play_round

LEDGER = Ledger(
    kinds={"a": "statement", "b": "batch", "c": "transaction", "d": "statement", "e": "batch"},
    acknowledged={"a", "b"},
    refused={"d"},
)
WELL = {"a": {0}, "b": {0, 1}}


@pytest.mark.parametrize(
    ("found", "faults"),
    [
        (WELL, {}),
        ({**WELL, "c": {0, 1}, "e": {0, 1}}, {}),  # unknown ones may be there
        ({"b": {0, 1}}, {"lost": ["a"]}),
        ({**WELL, "b": {1}}, {"half": ["b"]}),
        ({**WELL, "c": {0}}, {"half": ["c"]}),
        ({**WELL, "d": {0}}, {"done though refused": ["d"]}),
        ({**WELL, "z": {0}}, {"forged": ["z"]}),
    ],
)
def test_the_account(found: dict[str, set[int]], faults: dict[str, list[str]]) -> None:
    assert LEDGER.faults(found) == faults
    assert LEDGER.unknown == 2


def test_no_acknowledged_commit_is_lost(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path, principals=1)
    rounds = [play_round(deployment, number, 4, 0.2 * number) for number in (1, 2, 3)]
    assert [str(played) for played in rounds if played.faults] == []
    assert sum(len(played.ledger.acknowledged) for played in rounds) > 20
