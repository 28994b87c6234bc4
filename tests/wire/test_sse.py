"""The change feed's frames: written by the server, read by the client in any pieces."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quicsql_client.errors import RemoteProtocolError, ResponseTooLarge
from quicsql_client.wire.sse import (
    MAX_SEQ,
    PING,
    Change,
    Event,
    FeedDecoder,
    Ready,
    Reset,
    encode_event,
)

from .strategies import INT64, TEXT

MAX_EVENT_BYTES = 100_000
READY = b'event: ready\ndata: {"seq":41}\n\n'
CHANGE = b'id: 42\nevent: change\ndata: {"seq":42,"table":"t","op":"insert","rowid":7}\n\n'
RESET = b'id: 43\nevent: reset\ndata: {"seq":43}\n\n'
OPENED_BY_RESET = b'event: reset\ndata: {"seq":41}\n\n'
FEED: list[Event] = [Ready(41), Change(42, "t", "insert", 7), Reset(43)]

SEQ = st.integers(0, MAX_SEQ)
OPENING = st.one_of(st.builds(Ready, SEQ), st.builds(Reset, SEQ, is_opening=st.just(True)))
CHANGES = st.builds(Change, SEQ, TEXT, st.sampled_from(["insert", "update", "delete"]), INT64)
FOLLOWING = st.one_of(CHANGES, st.builds(Reset, SEQ))
FEEDS: st.SearchStrategy[list[Event]] = st.builds(
    lambda opening, following: [opening, *following], OPENING, st.lists(FOLLOWING, max_size=6)
)


def read(pieces: Iterable[bytes], max_event_bytes: int = MAX_EVENT_BYTES) -> list[Event]:
    decoder = FeedDecoder(max_event_bytes=max_event_bytes)
    return [event for piece in pieces for event in decoder.feed(piece)]


def bytewise(body: bytes) -> list[bytes]:
    return [body[i : i + 1] for i in range(len(body))]


# The server's half.


def test_the_exact_bytes() -> None:
    assert [encode_event(event) for event in FEED] == [READY, CHANGE, RESET]
    assert encode_event(Reset(41, is_opening=True)) == OPENED_BY_RESET
    assert PING == b": ping\n\n"


def test_names_are_escaped_as_in_every_answer() -> None:
    frame = encode_event(Change(1, 'a<b>&"\n\u2028é', "delete", -(2**63)))
    data = '{"seq":1,"table":"a\\u003cb\\u003e\\u0026\\"\\n\\u2028é","op":"delete"'
    assert frame == f'id: 1\nevent: change\ndata: {data},"rowid":{-(2**63)}}}\n\n'.encode()


# Both.


@given(FEEDS, st.lists(st.integers(0, 2000), max_size=8))
def test_what_was_written_is_read_in_any_pieces(feed: list[Event], cuts: list[int]) -> None:
    body = PING.join(encode_event(event) for event in feed)
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    pieces = [body[a:b] for a, b in pairwise(places)]
    assert read([body]) == read(pieces) == read(bytewise(body)) == feed


# The client's half.


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_every_line_end(end: bytes, mark: bytes) -> None:
    body = mark + (READY + PING + CHANGE + RESET).replace(b"\n", end)
    assert read([body]) == read(bytewise(body)) == FEED


@pytest.mark.parametrize(
    "body",
    [
        b'data: {"seq":41}\nevent: ready\n\n',
        b'event:ready\ndata:{"seq":41}\n\n',
        b'retry: 5\nevent: x\nevent: ready\nunknown: 1\ndata\ndata: {"seq":41}\n\n',
        b'event: ready\ndata: {"seq":\ndata: 41}\n\n',
        b'event: ready\ndata: {"seq":41,"more":[1]}\n\n',
        b": c\n\nid: 9\n\nevent: ready\n\nevent: news\ndata: x\n\ndata: y\n\n" + READY,
    ],
)
def test_what_the_format_allows(body: bytes) -> None:
    assert read([body]) == read(bytewise(body)) == [Ready(41)]


def test_an_event_is_given_when_it_is_whole() -> None:
    decoder = FeedDecoder(max_event_bytes=MAX_EVENT_BYTES)
    assert decoder.feed(READY[:-1]) == []
    assert decoder.feed(b"") == []
    assert decoder.feed(READY[-1:] + CHANGE[:20]) == [Ready(41)]
    assert decoder.feed(CHANGE[20:]) == [FEED[1]]
    # What the end cuts off is no event.
    assert decoder.feed(RESET[:-1]) == []


def test_a_carriage_return_and_its_line_feed_in_two_pieces() -> None:
    decoder = FeedDecoder(max_event_bytes=MAX_EVENT_BYTES)
    body = READY.replace(b"\n", b"\r\n")
    assert decoder.feed(body[:-1]) == [Ready(41)]
    assert decoder.feed(b"\n" + CHANGE) == [FEED[1]]


HOSTILE = [
    b"event: change\nid: 1\ndata: {nope\n\n",
    CHANGE,
    READY + READY,
    b"event: ready\ndata: []\n\n",
    b'event: ready\ndata: {"seq":-1}\n\n',
    b'event: ready\ndata: {"seq":1.5}\n\n',
    b'event: ready\ndata: {"seq":18446744073709551616}\n\n',
    b'event: ready\ndata: {"seq":"41"}\n\n',
    b"event: ready\ndata: {}\n\n",
    b'event: ready\ndata: {"seq":41}x\n\n',
    b"event: ready\ndata: \xff\n\n",
    b"event: ready\ndata: " + b"[" * 50_000 + b"\n\n",
    READY + CHANGE.replace(b"id: 42", b"id: 41"),
    READY + CHANGE.replace(b"id: 42", b"id: 42\0"),
    READY + CHANGE.replace(b'"t"', b"null"),
    READY + CHANGE.replace(b'"t"', b'"\\ud800"'),
    READY + CHANGE.replace(b'"t"', b'"\xe9"'),
    READY + CHANGE.replace(b"insert", b"truncate"),
    READY + CHANGE.replace(b"7}", b"9223372036854775808}"),
    READY + CHANGE.replace(b'"rowid":7', b'"x":7'),
    READY + RESET.replace(b'"seq":43', b'"seq":44'),
]


@pytest.mark.parametrize("body", HOSTILE)
def test_hostile_input_is_an_error_of_ours(body: bytes) -> None:
    for pieces in ([body], bytewise(body)):
        with pytest.raises(RemoteProtocolError, match="is not a change feed"):
            read(pieces)


@given(st.lists(st.binary(max_size=60), max_size=6), st.booleans())
def test_no_input_raises_anything_else(pieces: list[bytes], is_opened: bool) -> None:
    with contextlib.suppress(RemoteProtocolError, ResponseTooLarge):
        read([READY, *pieces] if is_opened else pieces, max_event_bytes=50)


@pytest.mark.parametrize("start", [b"data: ", b"event: ", b": ", b"", b"id: 1\ndata: "])
def test_no_event_and_no_line_is_held_beyond_the_cap(start: bytes) -> None:
    decoder = FeedDecoder(max_event_bytes=100)
    decoder.feed(READY + start)
    decoder.feed(b"x" * (100 - len(start.rpartition(b"\n")[2])))
    with pytest.raises(ResponseTooLarge) as caught:
        decoder.feed(b"x")
    assert caught.value.limit_bytes == 100


def test_many_short_lines_make_a_long_event_too() -> None:
    with pytest.raises(ResponseTooLarge):
        read([READY, b"data\n" * 101], max_event_bytes=100)
    assert read([READY, PING * 100, CHANGE], max_event_bytes=100) == FEED[:2]
