"""One statement of a SQL text: where it ends, which parameters it has, what it would touch; and its
bound values.

A text is looked at without running it. It does not know what a statement is allowed to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apsw

from ...types import Value
from .access import MaskedFailure
from .authorizer import Guard, Touch

MAX_KNOWN_STEPS = 256
MAX_KNOWN_TEXT = 8_192  # longer texts are looked at each time, so that the cache stays small
_NO_BINDINGS: Any = vars(apsw)["_null_bindings"]  # apsw's way to look at a statement unbound
_SIGNS = ("", ":", "@", "$")


@dataclass(frozen=True, slots=True)
class Step:
    """The first statement of a text.

    sql: its own text; tail: what follows it. names: its parameters in order, without sign; None for
    `?`, digits for `?3`. touch: what it would touch. has_program: False for a comment or nothing at
    all.
    """

    sql: str
    tail: str
    names: tuple[str | None, ...]
    touch: Touch
    is_explain: bool
    is_read_only: bool
    has_program: bool
    columns: tuple[tuple[str, str | None], ...]


class StepReader:
    """Finds the first statement of texts, and remembers what it found for one connection."""

    def __init__(self, connection: apsw.Connection, guard: Guard) -> None:
        self._connection = connection
        self._guard = guard
        self._known: dict[str, Step] = {}

    def forget(self) -> None:
        """Looks at every text anew: the rights of the connection have changed."""
        self._known.clear()

    def read(self, text: str) -> Step:
        """The first statement of text. Raises what SQLite raises when it does not prepare."""
        step = self._known.get(text)
        if step is None:
            step = self.look(text)
            if len(text) <= MAX_KNOWN_TEXT:
                if len(self._known) >= MAX_KNOWN_STEPS:
                    del self._known[next(iter(self._known))]
                self._known[text] = step
        return step

    def look(self, text: str) -> Step:
        """As `read`, always prepared anew: the statement cache would answer without asking the
        authorizer.
        """
        found: list[Step] = []

        def note(cursor: apsw.Cursor, sql: str, _bindings: Any) -> bool:
            found.append(self._describe(cursor, sql, text))
            return False

        cursor = self._connection.cursor()
        cursor.exec_trace = note
        self._guard.seen = Touch.NOTHING
        try:
            cursor.execute(text, _NO_BINDINGS, can_cache=False)
        except apsw.ExecTraceAbort:
            pass
        finally:
            cursor.close(True)
        if found:
            return found[0]
        return Step(text, "", (), Touch.NOTHING, False, True, False, ())

    def _describe(self, cursor: apsw.Cursor, sql: str, text: str) -> Step:
        return Step(
            sql=sql,
            tail=text[len(sql) :],
            names=tuple(cursor.bindings_names),
            touch=self._guard.seen,
            is_explain=cursor.is_explain != 0,
            is_read_only=cursor.is_readonly,
            has_program=cursor.has_vdbe,
            columns=tuple(cursor.get_description()),
        )


class ArgumentSource:
    """The arguments of a request, handed out statement by statement.

    Positional ones are used up in order; what is left over is ignored. Named ones serve every
    statement of a script, for `:x`, `@x` and `$x` alike, with or without their sign; a plain `?`
    takes the named value of its place.
    Source: protocol/native.md, Argument values; protocol/hrana.md, stmt.
    """

    def __init__(self, args: Sequence[Value] | Mapping[str, Value]) -> None:
        self._args = args
        self._used = 0

    def take(self, names: tuple[str | None, ...]) -> tuple[Value, ...]:
        """The values of one statement. Raises MaskedFailure when one is missing."""
        if isinstance(self._args, Mapping):
            ordered = tuple(self._args.values())
            return tuple(
                self._named(self._args, ordered, place, name) for place, name in enumerate(names)
            )
        end = self._used + len(names)
        if end > len(self._args):
            raise MaskedFailure(f"{len(names)} arguments needed, {len(self._args)} given")
        taken = tuple(self._args[self._used : end])
        self._used = end
        return taken

    @staticmethod
    def _named(
        args: Mapping[str, Value], ordered: tuple[Value, ...], place: int, name: str | None
    ) -> Value:
        if name is not None:
            for sign in _SIGNS:
                if sign + name in args:
                    return args[sign + name]
        if (name is None or name.isdecimal()) and place < len(ordered):
            return ordered[place]
        raise MaskedFailure("a named argument is missing")
