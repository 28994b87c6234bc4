"""`X REGEXP Y` and `regexp(Y, X)`, in the syntax that Go and RE2 share.

RE2 needs time linear in the text, whatever the pattern; what a single call can cost is bounded
here, as SQLite cannot interrupt it. It knows a connection, neither links nor statements.
Source: protocol/odd-cases.md, 56.
"""

from __future__ import annotations

import functools
from typing import Final, Protocol

import apsw
import re2

from ...types import Value

__all__ = ["install_regexp"]

MAX_PATTERN_BYTES: Final = 2_000  # compiling holds Python's lock: some 40 ms at the worst
MAX_PATTERN_MEMORY_BYTES: Final = 2 * 1024 * 1024  # of each compiled pattern, also while it matches
MAX_KNOWN_PATTERNS: Final = 32  # of the process
# Steps of a pattern times bytes of text. The slowest ones take about 5 ns each, so that this ends
# before the default statement timeout.
MAX_WORK: Final = 4_000_000_000


class _Pattern(Protocol):
    """A compiled pattern."""

    @property
    def programsize(self) -> int: ...
    def search(self, text: bytes, /) -> object | None: ...


def install_regexp(connection: apsw.Connection) -> None:
    """Gives a connection the function regexp(pattern, value), which REGEXP calls.

    It is NULL where one of the two is NULL, else whether the pattern is found anywhere in the
    value. Numbers are matched as the text that SQLite makes of them, blobs as the UTF-8 text that
    their bytes are.
    """

    def text_of(value: Value) -> bytes:
        if isinstance(value, float):  # only SQLite itself words them as SQLite does
            ((value,),) = connection.execute("SELECT CAST(? AS TEXT)", (value,))
        return value if isinstance(value, bytes) else str(value).encode()

    def regexp(*arguments: Value) -> bool | None:
        pattern, value = arguments
        if pattern is None or value is None:
            return None
        return _is_found(text_of(pattern), text_of(value))

    # Innocuous: it reads its arguments alone, so that constraints and views may use it.
    connection.create_scalar_function(
        "regexp", regexp, 2, deterministic=True, flags=apsw.SQLITE_INNOCUOUS
    )


def _is_found(pattern: bytes, text: bytes) -> bool:
    compiled = _compiled(pattern)
    if compiled.programsize * len(text) > MAX_WORK:
        raise _refusal("this pattern is too large for a text of this size")
    return compiled.search(text) is not None


@functools.lru_cache(MAX_KNOWN_PATTERNS)
def _compiled(pattern: bytes) -> _Pattern:
    if len(pattern) > MAX_PATTERN_BYTES:
        raise _refusal(f"a pattern has at most {MAX_PATTERN_BYTES} bytes")
    options = re2.Options()
    options.max_mem = MAX_PATTERN_MEMORY_BYTES
    options.never_capture = True
    options.log_errors = False
    re2.purge()  # the library keeps 128 patterns of its own: ours are those that are kept
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise _refusal(_reason(error)) from None


def _reason(error: Exception) -> str:
    """RE2's words, without the piece of the pattern that they quote: it may be a bound value."""
    reason = error.args[0]
    text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
    return text.partition(": ")[0]


def _refusal(reason: str) -> Exception:
    error = apsw.exception_for(apsw.SQLITE_ERROR)
    error.args = (f"regexp: {reason}",)
    return error
