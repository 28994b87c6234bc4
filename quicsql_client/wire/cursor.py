"""A cursor's answer, in both directions: a prelude line, then lines for each step that ran.

The server half gives pieces of the body; the client half is pushed bytes as they come and gives
entries. Neither holds more than one result's rows, or one line. It knows no HTTP.
Source: protocol/hrana.md, "Cursor"; protocol/libsql-servers.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final, TypeAlias

import msgspec

from ..errors import RemoteProtocolError, ResponseTooLarge
from ..types import Result, Row
from .document import write_document
from .hrana.messages import StreamError
from .hrana.results import (
    AffectedRows,
    Col,
    ErrorObject,
    RowID,
    decode_columns,
    decode_row,
    decode_row_id,
    encode_columns,
    encode_counters,
    encode_error,
    encode_row,
    with_signed_zeros,
)
from .hrana.values import TaggedValue

__all__ = [
    "CONTENT_TYPE",
    "PIECE_BYTES",
    "CursorDecoder",
    "Entry",
    "Prelude",
    "StepBegin",
    "StepEnd",
    "StepError",
    "encode_prelude",
    "encode_result",
    "encode_step_error",
]

CONTENT_TYPE: Final = "text/plain"
PIECE_BYTES: Final = 65_536  # rows are sent in pieces of about this size


@dataclass(frozen=True, slots=True)
class Prelude:
    """The first line. baton: of the stream, usable once the answer has ended."""

    baton: str | None


@dataclass(frozen=True, slots=True)
class StepBegin:
    """A step ran. decltypes: empty when no column has a declared type."""

    step: int
    columns: tuple[str, ...] = ()
    decltypes: tuple[str | None, ...] = ()


@dataclass(frozen=True, slots=True)
class StepEnd:
    """All rows of the step have come. The members are those of `types.Result`."""

    rows_affected: int = 0
    last_insert_id: int = 0
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class StepError:
    """A step failed. step: None when the server gave the whole cursor up."""

    step: int | None
    error: StreamError


Entry: TypeAlias = Prelude | StepBegin | Row | StepEnd | StepError
"""One line of the answer; a row is a plain tuple."""


# The server: entries out.


def encode_prelude(baton: str) -> bytes:
    """The first line."""
    return write_document({"baton": baton, "base_url": None})


def encode_result(step: int, result: Result) -> Iterator[bytes]:
    """The lines of a step that ran, in pieces of PIECE_BYTES and what the last line adds."""
    piece = write_document({"type": "step_begin", "step": step, "cols": encode_columns(result)})
    lines, size = [piece], len(piece)
    for row in result.rows:
        if size >= PIECE_BYTES:
            yield b"".join(lines)
            lines, size = [], 0
        line = write_document({"type": "row", "row": encode_row(row)})
        lines.append(line)
        size += len(line)
    lines.append(write_document({"type": "step_end", **encode_counters(result)}))
    yield b"".join(lines)


def encode_step_error(step: int, error: StreamError) -> bytes:
    """The line of a step that failed."""
    return write_document({"type": "step_error", "step": step, "error": encode_error(error)})


# The client: bytes in, entries out.


class _Prelude(msgspec.Struct):
    baton: str | None


class _Line(msgspec.Struct):
    type: str
    step: Annotated[int, msgspec.Meta(ge=0)] | None = None
    cols: list[Col] | None = None
    row: list[TaggedValue] | None = None
    affected_row_count: AffectedRows = 0
    last_insert_rowid: RowID = None
    truncated: bool = False
    error: ErrorObject | None = None


_preludes = msgspec.json.Decoder(_Prelude)
_lines = msgspec.json.Decoder(_Line)


class CursorDecoder:
    """Reads a cursor's answer as it arrives, in pieces of any size.

    max_line_bytes: the longest line that is taken; no more than that is ever held back. Entries
    come in the order that the protocol gives them: the prelude first, rows only inside a step.
    Entry types that are not known are passed over. After an error the decoder is of no more use.
    """

    def __init__(self, *, max_line_bytes: int) -> None:
        self._max_line_bytes = max_line_bytes
        self._held = bytearray()
        self._has_prelude = False
        self._width: int | None = None  # columns of the open step
        self._next_step = 0

    def feed(self, data: bytes) -> list[Entry]:
        """The entries that are whole now.

        Raises: RemoteProtocolError for what is not a cursor's answer, ResponseTooLarge for a line
        over the cap.
        """
        first, *others = data.split(b"\n")
        self._hold(first)
        entries: list[Entry] = []
        for start in others:
            self._read_line(entries)
            self._hold(start)
        return entries

    def finish(self) -> list[Entry]:
        """The body has ended: what its last line gives, if that had no line break.

        Raises: as `feed`, and RemoteProtocolError when the answer was cut off.
        """
        entries: list[Entry] = []
        if self._held:
            self._read_line(entries)
        if not self._has_prelude or self._width is not None:
            raise RemoteProtocolError("the server's cursor was cut off before its end")
        return entries

    def _hold(self, start: bytes) -> None:
        if len(self._held) + len(start) > self._max_line_bytes:
            raise ResponseTooLarge(
                f"a line of the server's cursor is longer than {self._max_line_bytes} bytes",
                limit_bytes=self._max_line_bytes,
            )
        self._held += start

    def _read_line(self, entries: list[Entry]) -> None:
        line = bytes(self._held)
        self._held.clear()
        try:
            entry = self._entry(with_signed_zeros(line))
        except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
            raise RemoteProtocolError(
                f"the server's answer is not a Hrana cursor: {type(exc).__name__}"
            ) from None
        if entry is not None:
            entries.append(entry)

    def _entry(self, line: bytes) -> Entry | None:
        if not self._has_prelude:
            self._has_prelude = True
            return Prelude(_preludes.decode(line).baton)
        found = _lines.decode(line)
        match found.type:
            case "row":
                return self._row(found.row)
            case "step_begin":
                return self._begin(found.step, found.cols)
            case "step_end":
                return self._end(found)
            case "step_error" | "error":
                return self._error(found)
        return None

    def _row(self, row: list[TaggedValue] | None) -> Row:
        if row is None or len(row) != self._width:
            raise ValueError("a row outside a step, or of another width")
        return decode_row(row)

    def _begin(self, step: int | None, cols: list[Col] | None) -> StepBegin:
        if cols is None or self._width is not None:
            raise ValueError("a step without columns, or inside another one")
        self._width = len(cols)
        return StepBegin(self._checked(step), *decode_columns(cols))

    def _end(self, found: _Line) -> StepEnd:
        if self._width is None:
            raise ValueError("the end of no step")
        self._width = None
        row_id = decode_row_id(found.last_insert_rowid)
        return StepEnd(found.affected_row_count, row_id, found.truncated)

    def _error(self, found: _Line) -> StepError:
        if found.error is None:
            raise ValueError("an error without an error object")
        self._width = None  # a step that fails among its rows has no other end
        step = self._checked(found.step) if found.type == "step_error" else None
        return StepError(step, found.error.decode())

    def _checked(self, step: int | None) -> int:
        """The number of a step. A step that began may fail later, so its number may come twice."""
        if step is None or step < self._next_step - 1:
            raise ValueError("steps out of order")
        self._next_step = step + 1
        return step
