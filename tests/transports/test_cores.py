"""What both sans-IO cores share: pieces, cuts, one exchange after another; and HTTP/1.1.

HTTP/2 by itself has its tests in http2/.
"""

from __future__ import annotations

import pytest

from quicsql_client.errors import LocalProtocolError, RemoteProtocolError
from quicsql_client.transports.events import (
    BodyPart,
    ConnectionCore,
    ResponseEnded,
    ResponseStarted,
)
from quicsql_client.transports.http1 import HTTP1Connection
from quicsql_client.transports.http2 import HTTP2Connection
from quicsql_client.wire.messages import Request

from .http2.fix_frames import DATA, END_HEADERS, END_STREAM, HEADERS, SETTINGS, frame

REQUEST = Request("POST", "/app/query", (("x-a", "1"),), b"body")
ANSWER = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
# ":status 200" of the static table, then DATA with END_STREAM.
H2_ANSWER = (
    frame(SETTINGS)
    + frame(HEADERS, END_HEADERS, 1, b"\x88")
    + frame(DATA, 0, 1, b"abc")
    + frame(DATA, END_STREAM, 1, b"de")
)


def collect(core: ConnectionCore, stream_id: int) -> tuple[int | None, bytes, bool]:
    status, body, is_ended = None, b"", False
    while not is_ended and (event := core.next_event(stream_id)) is not None:
        if isinstance(event, ResponseStarted):
            status = event.status
        elif isinstance(event, BodyPart):
            body += event.data
        else:
            assert isinstance(event, ResponseEnded)
            is_ended = True
    return status, body, is_ended


def fresh(kind: str) -> tuple[ConnectionCore, bytes]:
    if kind == "h1":
        return HTTP1Connection("db:1"), ANSWER
    return HTTP2Connection("db:1", "https"), H2_ANSWER


@pytest.mark.parametrize("kind", ["h1", "h2"])
def test_whole_and_byte_by_byte_are_the_same(kind: str) -> None:
    core, answer = fresh(kind)
    stream_id = core.start_request(REQUEST)
    core.receive_data(answer)
    assert collect(core, stream_id) == (200, b"abcde", True)
    core, answer = fresh(kind)
    stream_id = core.start_request(REQUEST)
    status, body = None, b""
    for byte in answer:
        core.receive_data(bytes([byte]))
        found, part, is_ended = collect(core, stream_id)
        status, body = found or status, body + part
    assert (status, body, is_ended) == (200, b"abcde", True)
    assert core.max_streams
    assert core.has_heard


@pytest.mark.parametrize("kind", ["h1", "h2"])
def test_every_cut_is_an_error_or_not_an_end(kind: str) -> None:
    _, answer = fresh(kind)
    for length in range(1, len(answer)):
        core, _ = fresh(kind)
        stream_id = core.start_request(REQUEST)
        core.receive_data(answer[:length])
        assert not collect(core, stream_id)[2]
        core.receive_data(b"")
        with pytest.raises(RemoteProtocolError):
            collect(core, stream_id)
        assert not core.max_streams


@pytest.mark.parametrize("kind", ["h1", "h2"])
def test_end_of_stream_while_idle(kind: str) -> None:
    core, answer = fresh(kind)
    stream_id = core.start_request(REQUEST)
    core.receive_data(answer)
    collect(core, stream_id)
    core.receive_data(b"")
    assert not core.max_streams


@pytest.mark.parametrize("kind", ["h1", "h2"])
def test_a_number_means_nothing_before_and_after_its_exchange(kind: str) -> None:
    core, answer = fresh(kind)
    with pytest.raises(LocalProtocolError):
        core.next_event(1)
    stream_id = core.start_request(REQUEST)
    core.receive_data(answer)
    collect(core, stream_id)
    with pytest.raises(LocalProtocolError):
        core.next_event(stream_id)
    core.cancel(stream_id)
    assert core.max_streams


@pytest.mark.parametrize("kind", ["h1", "h2"])
def test_news_say_whose_answer_goes_on(kind: str) -> None:
    core, answer = fresh(kind)
    stream_id = core.start_request(REQUEST)
    assert core.take_news() == set()
    core.receive_data(answer)
    assert core.take_news() == {stream_id}
    assert core.take_news() == set()


def test_h1_one_request_at_a_time() -> None:
    core = HTTP1Connection("db:1")
    core.start_request(REQUEST)
    with pytest.raises(LocalProtocolError):
        core.start_request(REQUEST)


def test_h1_given_up_is_of_no_more_use() -> None:
    core = HTTP1Connection("db:1")
    core.cancel(core.start_request(REQUEST))
    assert not core.max_streams
    assert core.data_to_send() == b""


def test_h1_request_bytes() -> None:
    core = HTTP1Connection("db:1")
    core.start_request(REQUEST)
    head, _, body = core.data_to_send().partition(b"\r\n\r\n")
    assert body == b"body"
    assert head.split(b"\r\n")[0] == b"POST /app/query HTTP/1.1"
    assert set(head.lower().split(b"\r\n")[1:]) == {
        b"host: db:1",
        b"accept-encoding: identity",
        b"content-length: 4",
        b"x-a: 1",
    }


@pytest.mark.parametrize(
    ("method", "answer", "is_reusable"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n", True),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", True),
        ("GET", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", False),
        ("GET", b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", False),
        ("GET", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nH", False),
    ],
)
def test_h1_when_a_connection_may_be_used_again(
    method: str, answer: bytes, is_reusable: bool
) -> None:
    core = HTTP1Connection("db:1")
    stream_id = core.start_request(Request(method, "/"))
    core.receive_data(answer)
    assert collect(core, stream_id)[2]
    assert bool(core.max_streams) is is_reusable
