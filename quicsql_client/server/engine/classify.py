"""How a SQL text is dispatched, from its first token alone: query, exec or refused; may a reader
run it.

It does not know SQLite's grammar, and nothing here is a safety measure: what a statement may touch
is the authorizer's.
Source: protocol/native.md, Statement dispatch.
"""

from __future__ import annotations

import re

_BLANK = r" \t\r\n\f"
_LEAD = re.compile(rf"\ufeff?(?:[{_BLANK}]++|--[^\n]*+(?:\n|\Z)|/\*.*?(?:\*/|\Z))*+", re.DOTALL)
_TOKEN = re.compile(rf"[^{_BLANK}(]*+")
_RETURNING = re.compile(r"\breturning\b", re.IGNORECASE | re.ASCII)
_QUERY_TOKENS = frozenset({"SELECT", "WITH", "EXPLAIN", "VALUES", "PRAGMA"})
_READER_TOKENS = frozenset({"SELECT", "VALUES", "EXPLAIN"})
_ATTACH_TOKENS = frozenset({"ATTACH", "DETACH"})


def first_token(sql: str) -> str:
    """The first token in upper case: up to a blank or `(`, after a BOM, blanks and comments; "" if
    there is none.
    """
    lead = _LEAD.match(sql)
    token = _TOKEN.match(sql, lead.end() if lead else 0)
    return token.group().upper() if token else ""


def is_query(sql: str) -> bool:
    """Whether the text runs as a query, so that its rows are returned; otherwise it is an exec."""
    return first_token(sql) in _QUERY_TOKENS or _RETURNING.search(sql) is not None


def reports_counters(sql: str) -> bool:
    """Whether the counters of the text are reported: a query that can change rows itself, or an
    exec.
    """
    token = first_token(sql)
    return token == "WITH" or token not in _QUERY_TOKENS  # noqa: S105  (a token of SQL)


def is_attach(sql: str) -> bool:
    """Whether the text starts with ATTACH or DETACH, which the server's policy refuses by name."""
    return first_token(sql) in _ATTACH_TOKENS


def suits_reader(sql: str) -> bool:
    """Whether a reader connection may run the text: one statement whose first token only reads.

    A `;` with something after it may hide a second statement that writes, so such a text is left to
    the writer.
    """
    if first_token(sql) not in _READER_TOKENS:
        return False
    return ";" not in sql.rstrip(" \t\r\n\f;")
