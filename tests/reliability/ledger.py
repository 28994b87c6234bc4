"""What each principal has written, what it must find again, and what was found to be wrong.

A row proves whose it is and that it is whole: its word is a digest of its owner and number.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

KEPT_ROWS = 50  # of a principal; older ones are deleted, so that the table soon stops growing
_SHOWN_FAULTS = 10


def word_of(owner: str, number: int) -> str:
    """The text that belongs to an owner's row of this number."""
    return hashlib.sha256(f"{owner} {number}".encode()).hexdigest()


@dataclass
class Tally:
    """What happened in a run. faults: the first of each kind, in words."""

    done: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def fault(self, kind: str, what: object) -> None:
        """Notes that something is wrong."""
        self.faults[kind] += 1
        if len(self.examples) < _SHOWN_FAULTS:
            self.examples.append(f"{kind}: {what!s:.200}")


class Book:
    """The rows of one principal, in a table of its own."""

    def __init__(self, owner: str, tally: Tally) -> None:
        self.owner = owner
        self.table = "rows_" + owner.rpartition("-")[2]
        self._row_ids: dict[int, int] = {}
        self._tally = tally
        self._kept: set[int] = set()
        self._last = 0
        self._oldest = 0

    def new_row(self) -> tuple[int, str, str]:
        """A row that was never written: number, owner, word."""
        self._last += 1
        return self._last, self.owner, word_of(self.owner, self._last)

    def acknowledge(self, number: int, row_id: int) -> None:
        """The server said that this row is written."""
        self._kept.add(number)
        self._row_ids[number] = row_id

    @property
    def last_number(self) -> int:
        """That of the newest row, whether it is written already or not."""
        return self._last

    def row_ids_after(self, number: int) -> set[int]:
        """The row ids of acknowledged rows that are newer than this one."""
        return {row_id for newer, row_id in self._row_ids.items() if newer > number}

    def trim(self) -> int:
        """The number below which rows may be deleted now; they need not be found any more."""
        self._oldest = max(self._oldest, self._last - KEPT_ROWS)
        self._kept = {number for number in self._kept if number >= self._oldest}
        return self._oldest

    def expected(self) -> frozenset[int]:
        """The numbers of the rows that are there now, at least."""
        return frozenset(self._kept)

    def check_rows(self, rows: Iterable[Any]) -> set[int]:
        """The numbers of rows that were read; notes those that are wrong or another's."""
        numbers = set()
        for number, owner, word in rows:
            if owner != self.owner:
                self._tally.fault("rows of another principal", (self.owner, owner, number))
            elif word != word_of(owner, number):
                self._tally.fault("wrong rows", (owner, number, word))
            numbers.add(number)
        return numbers

    def check_complete(self, expected: frozenset[int], found: set[int]) -> None:
        """Notes rows that were expected, not deleted since, and not found."""
        missing = {number for number in expected - found if number >= self._oldest}
        if missing:
            self._tally.fault("lost rows", (self.owner, sorted(missing)[:5]))
