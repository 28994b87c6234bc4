"""Every odd case of the protocol has a test that names it, or a reason here.

A test names a case in its docstring, or in its module's: "odd-case 12", "odd-cases 4, 62, 118-120".
Source: protocol/odd-cases.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
EVERY_CASE = frozenset(range(1, 195))
_NUMBERS = r"\d+(?:-\d+)?"
_NAMED = re.compile(rf"odd-cases?\s+({_NUMBERS}(?:(?:,|,? and)\s+{_NUMBERS})*)", re.IGNORECASE)

WAITING_FOR_THE_CLIENT: dict[int, str] = {}
"""Cases of what the client or the driver does not offer yet, each with what it waits for."""


def named_in(text: str) -> Iterator[int]:
    """The numbers that a text names."""
    for names in _NAMED.finditer(text):
        for first, last in re.findall(r"(\d+)(?:-(\d+))?", names[1]):
            yield from range(int(first), int(last or first) + 1)


def cases_with_a_test() -> set[int]:
    """The numbers that any test module but this one names."""
    modules = (path for path in TESTS.rglob("test_*.py") if path != Path(__file__))
    return {case for path in modules for case in named_in(path.read_text(encoding="utf-8"))}


@pytest.mark.parametrize(
    ("text", "cases"),
    [
        ("Odd-case 12.", [12]),
        ("odd-cases 4, 62, 118-120: more, 7", [4, 62, 118, 119, 120]),
        ("odd-cases 4,\n    62 and 63.", [4, 62, 63]),
        ("odd-cases 4, and 9; odd-case 11", [4, 9, 11]),
        ("an odd case of 12", []),
    ],
)
def test_how_a_case_is_named(text: str, cases: list[int]) -> None:
    assert list(named_in(text)) == cases


def test_every_case_has_a_test_or_a_reason() -> None:
    excused = WAITING_FOR_THE_CLIENT.keys()
    named = cases_with_a_test()
    assert not named - EVERY_CASE, "there are no such cases"
    assert sorted(EVERY_CASE - named - excused) == [], "no test names these cases"
    assert sorted(named & excused) == [], "these have a test now: take them out of the table"
