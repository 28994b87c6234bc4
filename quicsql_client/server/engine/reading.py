"""Reads the rows of a running statement: caps, times, and text that is not UTF-8.

It knows a cursor and the caps, not where the statement came from.
Source: protocol/native.md, Result caps and Cell encoding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ...types import Row, Value
from .access import Caps
from .times import is_time_type, render_time

NUMBER_BYTES = 8  # what INTEGER, REAL and NULL count towards the cap


@dataclass(slots=True)
class Rows:
    """What a statement gave: columns as (name, declared type), rows, whether a cap cut them."""

    columns: tuple[tuple[str, str | None], ...] = ()
    rows: list[Row] = field(default_factory=list)
    is_truncated: bool = False


def read_rows(
    cursor: Iterable[Row], columns: tuple[tuple[str, str | None], ...], caps: Caps
) -> Rows:
    """The rows of a cursor until a cap is reached: rows beyond max_rows are not read, and the row
    that reaches max_result_bytes is the last one kept.
    """
    found = Rows(columns)
    times = [place for place, (_, decltype) in enumerate(columns) if is_time_type(decltype)]
    total_bytes = 0
    for row in cursor:
        if len(found.rows) >= caps.max_rows:
            found.is_truncated = True
            break
        found.rows.append(_with_times(row, times) if times else row)
        total_bytes += row_bytes(row)
        if total_bytes >= caps.max_result_bytes:
            found.is_truncated = True
            break
    return found


def row_bytes(row: Row) -> int:
    """What a row counts towards the byte cap: bytes of text and blobs, 8 for every other cell."""
    total = 0
    for cell in row:
        if type(cell) is str:
            total += len(cell) if cell.isascii() else len(cell.encode("utf-8", "surrogatepass"))
        elif type(cell) is bytes:
            total += len(cell)
        else:
            total += NUMBER_BYTES
    return total


def discard_rows(cursor: Iterable[Row]) -> None:
    """Runs a statement to its end without keeping rows; text that is not UTF-8 does not matter
    here.
    """
    while True:
        try:
            for _ in cursor:
                pass
            return
        except UnicodeDecodeError:
            continue


def _with_times(row: Row, places: list[int]) -> Row:
    cells = list(row)
    for place in places:
        cell = cells[place]
        if isinstance(cell, str):
            cells[place] = render_time(cell)
    return tuple(cells)


def blob_query(sql: str, width: int) -> str:
    """A query with the rows of sql, each text cell as a blob, and a flag beside each cell that says
    it was text.

    apsw hands over text as str only, so text that is not UTF-8 has to come as bytes.
    """
    names = ", ".join(f"c{place}" for place in range(width))
    cells = ", ".join(
        f"CASE typeof(c{place}) WHEN 'text' THEN CAST(c{place} AS BLOB) ELSE c{place} END,"
        f" typeof(c{place}) = 'text'"
        for place in range(width)
    )
    inner = sql.strip().rstrip("; \t\r\n\f").lstrip("\ufeff; \t\r\n\f")
    return f"WITH quicsql_rows({names}) AS (\n{inner}\n) SELECT {cells} FROM quicsql_rows"  # noqa: S608


def decoded_rows(cursor: Iterable[Row], encoding: str) -> Iterator[Row]:
    """The rows of a `blob_query`, as the query itself would have given them; what is not text in
    the database's encoding becomes U+FFFD.
    """
    codec = encoding.lower().replace("utf-16le", "utf-16-le").replace("utf-16be", "utf-16-be")
    for row in cursor:
        yield tuple(
            _decoded(row[place], is_text=bool(row[place + 1]), codec=codec)
            for place in range(0, len(row), 2)
        )


def _decoded(cell: Value, *, is_text: bool, codec: str) -> Value:
    return cell.decode(codec, "replace") if is_text and isinstance(cell, bytes) else cell
