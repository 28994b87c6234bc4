"""Cursors: the lines of an answer, written by the server and read by the client in any pieces."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quicsql_client.errors import RemoteProtocolError, ResponseTooLarge
from quicsql_client.types import Result
from quicsql_client.wire.cursor import (
    PIECE_BYTES,
    CursorDecoder,
    Entry,
    Prelude,
    StepBegin,
    StepEnd,
    StepError,
    encode_prelude,
    encode_result,
    encode_step_error,
)
from quicsql_client.wire.hrana import StreamError

from .strategies import JSON, TEXT, exact, results

MAX_LINE_BYTES = 1_000_000
PRELUDE = b'{"baton":"b","base_url":null}\n'
BEGIN = b'{"type":"step_begin","step":0,"cols":[{"name":"a","decltype":null}]}\n'
ROW = b'{"type":"row","row":[{"type":"integer","value":"1"}]}\n'
END = b'{"type":"step_end","affected_row_count":0,"last_insert_rowid":null}\n'
FAILED = b'{"type":"step_error","step":1,"error":{"message":"no","code":null}}\n'
READ = [Prelude("b"), StepBegin(0, ("a",)), (1,), StepEnd(), StepError(1, StreamError("no"))]


def read(pieces: Iterable[bytes], max_line_bytes: int = MAX_LINE_BYTES) -> list[Entry]:
    decoder = CursorDecoder(max_line_bytes=max_line_bytes)
    entries = [entry for piece in pieces for entry in decoder.feed(piece)]
    return entries + decoder.finish()


def bytewise(body: bytes) -> list[bytes]:
    return [body[i : i + 1] for i in range(len(body))]


# The server's half.


def test_what_the_server_writes() -> None:
    assert encode_prelude("b") == PRELUDE
    assert b"".join(encode_result(0, Result(("a",), ((1,),)))) == BEGIN + ROW + END
    assert encode_step_error(1, StreamError("no")) == FAILED
    changed = Result(("a",), (), 3, 7, truncated=True, decltypes=("INT",))
    first, last = b"".join(encode_result(2, changed)).splitlines()
    assert json.loads(first) == {
        "type": "step_begin",
        "step": 2,
        "cols": [{"name": "a", "decltype": "INT"}],
    }
    assert json.loads(last) == {
        "type": "step_end",
        "affected_row_count": 3,
        "last_insert_rowid": "7",
        "truncated": True,
    }


def test_rows_come_in_pieces() -> None:
    rows = tuple(("x" * 1000,) for _ in range(1000))
    pieces = list(encode_result(0, Result(("a",), rows)))
    assert len(pieces) > 10
    assert max(map(len, pieces)) < PIECE_BYTES + 2000
    assert [e for e in read([PRELUDE, *pieces]) if isinstance(e, tuple)] == list(rows)


def test_pieces_are_made_as_they_are_taken() -> None:
    rows = tuple(("x" * PIECE_BYTES,) for _ in range(3))
    pieces = encode_result(0, Result(("a",), rows))
    assert next(pieces).count(b"\n") == 2, "the beginning and one row"


# The client's half.


@pytest.mark.parametrize("body", [PRELUDE + BEGIN + ROW + END + FAILED])
def test_whole_and_byte_by_byte(body: bytes) -> None:
    assert read([body]) == READ
    assert read(bytewise(body)) == READ
    assert read([body[:-1]]) == READ, "the last line break is missing"
    assert read([body.replace(b"\n", b"\r\n")]) == READ


def test_entries_come_as_soon_as_their_line_is_whole() -> None:
    decoder = CursorDecoder(max_line_bytes=1000)
    assert decoder.feed(PRELUDE[:-1]) == []
    assert decoder.feed(b"\n" + BEGIN + ROW[:5]) == [Prelude("b"), StepBegin(0, ("a",))]
    assert decoder.feed(ROW[5:] + ROW) == [(1,), (1,)]
    assert decoder.feed(b"") == []
    assert decoder.feed(END) == [StepEnd()]
    assert decoder.finish() == []


STEP = st.one_of(
    st.tuples(results()),
    st.tuples(st.builds(StreamError, TEXT, st.none() | TEXT)),
    st.just(()),
)


@given(st.text(min_size=1), st.lists(STEP, max_size=4), st.data())
def test_answers_both_ways(
    baton: str, steps: list[tuple[Result | StreamError, ...]], data: st.DataObject
) -> None:
    body = encode_prelude(baton)
    expected: list[Entry] = [Prelude(baton)]
    for position, outcomes in enumerate(steps):
        for outcome in outcomes:
            if isinstance(outcome, StreamError):
                body += encode_step_error(position, outcome)
                expected.append(StepError(position, outcome))
                continue
            body += b"".join(encode_result(position, outcome))
            expected.append(StepBegin(position, outcome.columns, outcome.decltypes))
            expected.extend(outcome.rows)
            expected.append(
                StepEnd(outcome.rows_affected, outcome.last_insert_id, outcome.truncated)
            )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=5)))
    pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    for cut in ([body], bytewise(body), pieces):
        assert exact(read(cut)) == exact(expected)


@pytest.mark.parametrize(
    ("lines", "entries"),
    [
        # As libSQL servers write them (protocol/libsql-servers.md).
        (b'{"type":"replication_index","replication_index":31}\n', []),
        (b'{"type":"future","x":[1]}\n', []),
        (
            b'{"type":"error","error":{"message":"gone","code":"X"}}\n',
            [StepError(None, StreamError("gone", "X"))],
        ),
        (
            BEGIN + b'{"type":"step_end","affected_row_count":1,"last_insert_rowid":9}\n',
            [StepBegin(0, ("a",)), StepEnd(1, 9)],
        ),
        (
            BEGIN + ROW + FAILED.replace(b'"step":1', b'"step":0'),
            [StepBegin(0, ("a",)), (1,), StepError(0, StreamError("no"))],
        ),
        (
            BEGIN + ROW.replace(b'"integer","value":"1"', b'"float","value":-0') + END,
            [StepBegin(0, ("a",)), (-0.0,), StepEnd()],
        ),
        (
            BEGIN.replace(b"null", b'"INT"') + END,
            [StepBegin(0, ("a",), ("INT",)), StepEnd()],
        ),
    ],
)
def test_lines_of_other_servers(lines: bytes, entries: list[Entry]) -> None:
    assert exact(read([PRELUDE + lines])) == exact([Prelude("b"), *entries])


def test_a_prelude_without_a_baton_is_a_stream_that_has_ended() -> None:
    assert read([b'{"baton":null,"base_url":null}\n']) == [Prelude(None)]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        PRELUDE[:-5],
        PRELUDE + BEGIN,
        PRELUDE + BEGIN + ROW,
        PRELUDE + BEGIN + ROW[:-10],
        PRELUDE + BEGIN + END[:-2],
    ],
)
def test_answers_that_are_cut_off(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match=r"^the server's (cursor was cut off|answer )"):
        read([body])


@pytest.mark.parametrize(
    "body",
    [
        b"\n",
        b"<html>\n",
        b"{}\n",
        b"[]\n",
        b'{"baton":1}\n',
        BEGIN,
        PRELUDE + PRELUDE,
        PRELUDE + b"\n",
        PRELUDE + b"null\n",
        PRELUDE + b"{}\n",
        PRELUDE + ROW,
        PRELUDE + END,
        PRELUDE + BEGIN + BEGIN,
        PRELUDE + BEGIN + END + ROW,
        PRELUDE + BEGIN + b'{"type":"row","row":[]}\n',
        PRELUDE + BEGIN + b'{"type":"row"}\n',
        PRELUDE + BEGIN + b'{"type":"row","row":[1]}\n',
        PRELUDE + BEGIN + ROW.replace(b'"1"', b'"x"'),
        PRELUDE + BEGIN + ROW.replace(b'"1"', b'"9223372036854775808"'),
        PRELUDE + BEGIN.replace(b"0", b"-1"),
        PRELUDE + BEGIN.replace(b"0", b"null"),
        PRELUDE + BEGIN.replace(b'"cols"', b'"x"'),
        PRELUDE + BEGIN + END.replace(b"null", b'"x"'),
        PRELUDE + BEGIN + END.replace(b"0", b"9223372036854775808"),
        PRELUDE + b'{"type":"step_error","step":0}\n',
        PRELUDE + FAILED.replace(b"1", b"null"),
        PRELUDE + FAILED + FAILED.replace(b'"step":1', b'"step":0'),
        PRELUDE + b'{"a":' * 100_000 + b"\n",
        PRELUDE + b'"\xff"\n',
    ],
)
def test_what_is_no_cursor(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match=r"^the server's answer is not a Hrana cursor: "):
        read([body])


@pytest.mark.parametrize("piece_bytes", [1, 7, 10_000])
def test_lines_have_a_cap(piece_bytes: int) -> None:
    body = (
        PRELUDE + BEGIN + ROW.replace(b"integer", b"text").replace(b'"1"', b'"%s"' % (b"x" * 500))
    )
    longest = max(map(len, body.splitlines()))
    pieces = [body[i : i + piece_bytes] for i in range(0, len(body), piece_bytes)]
    assert len(read([*pieces, END], longest)) == 4
    with pytest.raises(ResponseTooLarge) as caught:
        read(pieces, longest - 1)
    assert caught.value.limit_bytes == longest - 1


def test_a_line_without_end_is_not_held_beyond_the_cap() -> None:
    decoder = CursorDecoder(max_line_bytes=100)
    decoder.feed(b"x" * 100)
    with pytest.raises(ResponseTooLarge):
        decoder.feed(b"x")


@given(st.lists(st.binary() | JSON.map(lambda value: json.dumps(value).encode() + b"\n")))
def test_any_bytes_are_entries_or_our_errors(pieces: list[bytes]) -> None:
    try:
        entries = read([PRELUDE, *pieces])
    except RemoteProtocolError:
        return
    assert entries[0] == Prelude("b")


@given(results(), st.data())
def test_a_changed_byte_is_read_or_refused(result: Result, data: st.DataObject) -> None:
    body = bytearray(PRELUDE + b"".join(encode_result(0, result)))
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        entries = read([bytes(body)])
    except RemoteProtocolError:
        return
    assert isinstance(entries[0], Prelude)


def test_entries_are_values() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        StepEnd().truncated = True  # type: ignore[misc]
