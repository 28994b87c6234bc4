"""What the text of a statement tells a driver: its parameters, its kind, what state it leaves.

A scanner of SQLite's tokens, no parser: it knows strings, quoted identifiers, comments, parameters
and words, and refuses nothing. Knows no connection and no value.
Source: sqlite.org/lang_expr.html, "Parameters"; sqlite.org/lang_keywords.html; tokens as in
sqlite.org/c3ref/complete.html.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["Analysis", "Control", "Session", "analyse"]

_ID = r"[0-9A-Za-z_$\x80-\U0010ffff]"
_TOKEN = re.compile(
    rf"""
      (?P<blank> [ \t\n\v\f\r\ufeff]++ | --[^\n]*+ | /\*.*?(?:\*/|\Z) )
    | (?P<text> '[^']*+(?:''[^']*+)*+'? )
    | (?P<quoted> "[^"]*+(?:""[^"]*+)*+"? | `[^`]*+(?:``[^`]*+)*+`? | \[[^\]]*+\]? )
    | (?P<unnamed> \?[0-9]*+ )
    | (?P<named> [:@$](?:::)*+{_ID}(?:{_ID}|::)*+(?:\([^\s)]*+\))? )
    | (?P<word> [A-Za-z_\x80-\U0010ffff]{_ID}*+ )
    | (?P<number> [0-9][0-9A-Za-z_$.\x80-\U0010ffff]*+ )
    | (?P<sign> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_HEAD_TOKENS = 12  # enough for EXPLAIN QUERY PLAN CREATE TEMPORARY TABLE IF NOT EXISTS temp . name
_CACHED_CHARACTERS = 65536
_CHANGING_VERBS = frozenset(("INSERT", "REPLACE", "UPDATE", "DELETE"))
_READING_VERBS = frozenset(("SELECT", "VALUES", "EXPLAIN", "PRAGMA"))
_MAIN_VERBS = _CHANGING_VERBS | {"SELECT", "VALUES"}
_COUNTERS = frozenset(("LAST_INSERT_ROWID", "CHANGES", "TOTAL_CHANGES"))

# Pragmas that leave nothing on the connection though they take an argument: they read, or change
# the file. Source: sqlite.org/pragma.html
_STATELESS_PRAGMAS = frozenset(
    (
        "APPLICATION_ID",
        "AUTO_VACUUM",
        "FOREIGN_KEY_CHECK",
        "FOREIGN_KEY_LIST",
        "INCREMENTAL_VACUUM",
        "INDEX_INFO",
        "INDEX_LIST",
        "INDEX_XINFO",
        "INTEGRITY_CHECK",
        "JOURNAL_MODE",
        "OPTIMIZE",
        "QUICK_CHECK",
        "SCHEMA_VERSION",
        "TABLE_INFO",
        "TABLE_LIST",
        "TABLE_XINFO",
        "USER_VERSION",
        "WAL_CHECKPOINT",
    )
)


class Control(enum.Enum):
    """A statement that opens or ends a transaction."""

    BEGIN = enum.auto()
    COMMIT = enum.auto()
    ROLLBACK = enum.auto()
    SAVEPOINT = enum.auto()
    RELEASE = enum.auto()
    ROLLBACK_TO = enum.auto()


class Session(enum.Enum):
    """What a statement leaves on, or asks of, the server's connection that runs it."""

    TEMP = enum.auto()
    """A TEMP object."""
    SETTING = enum.auto()
    """A PRAGMA value or an attached database, which can be set again on another connection."""
    DETACH = enum.auto()
    """Takes an attached database away."""
    COUNTER = enum.auto()
    """Reads last_insert_rowid(), changes() or total_changes()."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """The facts of one SQL text; of its first statement, where nothing else is said.

    parameter_count: as sqlite3_bind_parameter_count says. names: the named parameters with their
    sign, in order of appearance. statement_count: statements that are not empty. verb: upper-case
    first word, for WITH that of its main part; "" for no statement. begin_mode: of a BEGIN.
    setting: what identifies a Session.SETTING or DETACH, so that the last one counts.
    runs_outside: cannot run in a transaction, or would have no effect there.
    controls: every statement of the text that opens or ends a transaction, in order.
    leaves_state: whether any statement of the text leaves something on the connection.
    """

    parameter_count: int = 0
    names: tuple[str, ...] = ()
    statement_count: int = 0
    verb: str = ""
    control: Control | None = None
    begin_mode: str = "DEFERRED"
    session: Session | None = None
    setting: str = ""
    runs_outside: bool = False
    controls: tuple[Control, ...] = ()
    leaves_state: bool = False

    @property
    def changes_rows(self) -> bool:
        """INSERT, REPLACE, UPDATE or DELETE, also behind WITH."""
        return self.verb in _CHANGING_VERBS

    @property
    def inserts(self) -> bool:
        """INSERT or REPLACE."""
        return self.verb in ("INSERT", "REPLACE")

    @property
    def only_reads(self) -> bool:
        """SELECT, VALUES, EXPLAIN or PRAGMA, also behind WITH."""
        return self.verb in _READING_VERBS


def analyse(sql: str) -> Analysis:
    """The facts of a SQL text; those of texts up to 64 KiB are remembered."""
    return _analyse_cached(sql) if len(sql) <= _CACHED_CHARACTERS else _analyse(sql)


def _analyse(sql: str) -> Analysis:
    parts = [part for part in _split(sql) if part.head]
    controls = tuple(c for c in (_control(part.head) for part in parts) if c is not None)
    if not parts:
        return Analysis()
    first = parts[0]
    session, setting = _session(first)
    return Analysis(
        parameter_count=first.parameters.count,
        names=tuple(first.parameters.numbers),
        statement_count=len(parts),
        verb=first.verb,
        control=_control(first.head),
        begin_mode=_begin_mode(first.head),
        session=session,
        setting=setting,
        runs_outside=_runs_outside(first.head, session),
        controls=controls,
        leaves_state=any(_session(part)[0] not in (None, Session.COUNTER) for part in parts),
    )


_analyse_cached = lru_cache(maxsize=256)(_analyse)


class _Parameters:
    """Numbers parameters as SQLite does: `?` takes the next, `?5` the fifth, a name its own."""

    def __init__(self) -> None:
        self.count = 0
        self.numbers: dict[str, int] = {}

    def add_unnamed(self, digits: str) -> None:
        self.count = max(self.count, int(digits[:9])) if digits else self.count + 1

    def add_named(self, name: str) -> None:
        if name not in self.numbers:
            self.count += 1
            self.numbers[name] = self.count


class _Part:
    """One statement of a text, filled token by token."""

    def __init__(self) -> None:
        self.head: list[str] = []
        self.last = ""
        self.before_last = ""
        self.verb = ""
        self.parameters = _Parameters()
        self.reads_counters = False
        self._depth = 0

    @property
    def is_trigger(self) -> bool:
        words = [word for word in self.head[:6] if word not in ("TEMP", "TEMPORARY", "EXPLAIN")]
        return words[:2] == ["CREATE", "TRIGGER"]

    @property
    def may_end(self) -> bool:
        """False in the body of a trigger, whose statements end with semicolons of their own."""
        return not self.is_trigger or (self.last, self.before_last) == ("END", ";")

    def add(self, kind: str, lexeme: str) -> None:
        if kind == "unnamed":
            self.parameters.add_unnamed(lexeme[1:])
        elif kind == "named":
            self.parameters.add_named(lexeme)
        elif kind == "word":
            lexeme = lexeme.upper()
            self._note_verb(lexeme)
        elif lexeme == "(":
            self._depth += 1
            self.reads_counters |= self.last in _COUNTERS
        elif lexeme == ")":
            self._depth -= 1
        if len(self.head) < _HEAD_TOKENS:
            self.head.append(lexeme)
        self.before_last, self.last = self.last, lexeme

    def _note_verb(self, word: str) -> None:
        is_main = self.verb == "WITH" and not self._depth and word in _MAIN_VERBS
        if not self.head or is_main:
            self.verb = word


def _split(sql: str) -> Iterator[_Part]:
    part = _Part()
    for match in _TOKEN.finditer(sql):
        kind = match.lastgroup or ""
        if kind == "blank":
            continue
        lexeme = match.group()
        if lexeme == ";" and part.may_end:
            yield part
            part = _Part()
        else:
            part.add(kind, lexeme)
    yield part


def _control(head: list[str]) -> Control | None:
    match head[0]:
        case "BEGIN":
            return Control.BEGIN
        case "COMMIT" | "END":
            return Control.COMMIT
        case "ROLLBACK":
            words = [word for word in head if word != "TRANSACTION"]
            return Control.ROLLBACK_TO if words[1:2] == ["TO"] else Control.ROLLBACK
        case "SAVEPOINT":
            return Control.SAVEPOINT
        case "RELEASE":
            return Control.RELEASE
    return None


def _begin_mode(head: list[str]) -> str:
    mode = head[1] if len(head) > 1 else ""
    return mode if mode in ("IMMEDIATE", "EXCLUSIVE") else "DEFERRED"


def _session(part: _Part) -> tuple[Session | None, str]:
    head = part.head
    match head[0]:
        case "CREATE" if _creates_temp(head):
            return Session.TEMP, ""
        case "PRAGMA" if _sets_pragma(head):
            return Session.SETTING, f"PRAGMA {_pragma_name(head)}"
        case "ATTACH":
            return Session.SETTING, f"ATTACH {part.last.upper()}"
        case "DETACH":
            return Session.DETACH, f"ATTACH {part.last.upper()}"
    return (Session.COUNTER, "") if part.reads_counters else (None, "")


def _creates_temp(head: list[str]) -> bool:
    if head[1:2] in (["TEMP"], ["TEMPORARY"]):
        return True
    names = [word.strip('"`[]').upper() for word in head if word not in ("IF", "NOT", "EXISTS")]
    return names[2:4] == ["TEMP", "."]


def _pragma_name(head: list[str]) -> str:
    """The name behind PRAGMA, without its schema."""
    return head[3] if head[2:3] == ["."] and len(head) > 3 else head[1]


def _sets_pragma(head: list[str]) -> bool:
    if len(head) < 2:
        return False
    name = _pragma_name(head)
    argument = head[head.index(name) + 1 :][:1]
    return argument in (["="], ["("]) and name.upper() not in _STATELESS_PRAGMAS


def _runs_outside(head: list[str], session: Session | None) -> bool:
    is_journal_mode = head[0] == "PRAGMA" and "JOURNAL_MODE" in head and "=" in head
    return (
        session in (Session.SETTING, Session.DETACH) or head[0] == "VACUUM" or bool(is_journal_mode)
    )
