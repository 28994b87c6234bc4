"""What a statement is, without running it: parameters, columns, whether it only reads.

It knows texts and prepared statements, not the wire.
Source: protocol/hrana.md, describe.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .steps import Step

_PARAMETER = re.compile(
    r"'(?:[^']|'')*+'|\"(?:[^\"]|\"\")*+\"|`(?:[^`]|``)*+`|\[[^\]]*+\]"  # literals and quoted names
    r"|--[^\n]*+|/\*.*?(?:\*/|\Z)"  # comments
    r"|[A-Za-z_\x80-\U0010ffff][\w$]*+|\d[\w.]*+"  # words and numbers, which may hold a $ inside
    r"|(?P<name>[:@][\w$]++|\$[\w$]++(?:::[\w$]++)*+(?:\([^)\s]*+\))?)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Description:
    """A prepared statement. params: names with their sign, None for `?`; columns: (name, declared
    type or None).
    """

    params: tuple[str | None, ...]
    columns: tuple[tuple[str, str | None], ...]
    is_explain: bool
    is_readonly: bool


def describe_step(step: Step, *, is_explain: bool) -> Description:
    """The description of a statement that was looked at."""
    return Description(_signed(step), step.columns, is_explain, step.is_read_only)


def _signed(step: Step) -> tuple[str | None, ...]:
    """The parameters' names with signs: SQLite numbers them as they first stand in the text."""
    found = dict.fromkeys(m["name"] for m in _PARAMETER.finditer(step.sql) if m["name"])
    remaining = list(found)
    return tuple(_with_sign(name, remaining) for name in step.names)


def _with_sign(name: str | None, remaining: list[str]) -> str | None:
    if name is None:
        return None
    for place, candidate in enumerate(remaining):
        if candidate[1:] == name:
            return remaining.pop(place)
    return f"?{name}"
