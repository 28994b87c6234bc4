"""HTTP/1.1 and 1.0 on the wire: framing, keep-alive, targets, what is refused and how.

Odd-cases 134, 138, 169.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from email.utils import parsedate_to_datetime

import pytest

from quicsql_client.server.listeners import HTTPTimeouts, Receive, Scope, Send

from .applications import Gate, answer, echo, read_body, refuse_unread
from .clients import TIMEOUT_S, connect, hang_up, head_of, read_answer, talk
from .conftest import Open

HOST = b"Host: localhost\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
CLOSE = b"Connection: close\r\n"


def last_get(target: bytes = b"/", extra: bytes = b"") -> bytes:
    return b"GET " + target + b" HTTP/1.1\r\n" + HOST + CLOSE + extra + b"\r\n"


def body_of(answer_bytes: bytes) -> bytes:
    return answer_bytes.partition(b"\r\n\r\n")[2]


async def test_scope_of_a_plain_request(open_one: Open) -> None:
    listener = await open_one()
    raw = await talk(listener.address, last_get(b"/a%20b/%C3%A9?x=%31&y", b"X-Two: 1\r\n"))
    seen = json.loads(body_of(raw))
    assert (seen["path"], seen["raw_path"], seen["query"]) == ("/a b/é", "/a%20b/%C3%A9", "x=%31&y")
    assert (seen["method"], seen["version"], seen["scheme"]) == ("GET", "1.1", "http")
    assert ["x-two", "1"] in seen["headers"]
    assert seen["client"][0] == "127.0.0.1"
    host, _, port = listener.address.rpartition(":")
    assert seen["server"] == [host, int(port)]
    assert "tls" not in seen["extensions"]


async def test_single_message_gets_content_length_and_date(open_one: Open) -> None:
    listener = await open_one()
    reader, writer = await connect(listener.address)
    writer.write(GET)
    status, headers, body = await read_answer(reader)
    assert status == 200
    assert headers["content-length"] == str(len(body))
    assert parsedate_to_datetime(headers["date"]).tzinfo is not None
    assert "transfer-encoding" not in headers
    await hang_up(writer)


async def test_streamed_answer_is_chunked_and_flushed(open_one: Open) -> None:
    go_on = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await send({"type": "http.response.body", "body": b"two"})

    listener = await open_one(app)
    reader, writer = await connect(listener.address)
    writer.write(GET)
    async with asyncio.timeout(TIMEOUT_S):  # the head comes before any byte of the body
        head = await reader.readuntil(b"\r\n\r\n")
        go_on.set()
        rest = await reader.readuntil(b"0\r\n\r\n")
    assert b"transfer-encoding: chunked" in head.lower()
    assert rest == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
    await hang_up(writer)


async def test_keep_alive_and_pipelining_in_order(open_one: Open) -> None:
    listener = await open_one()
    reader, writer = await connect(listener.address)
    requests = [
        b"POST /%d HTTP/1.1\r\n" % n + HOST + b"Content-Length: 3\r\n\r\nabc" for n in range(5)
    ]
    writer.write(b"".join(requests))
    for number in range(5):
        status, _, body = await read_answer(reader)
        assert (status, json.loads(body)["path"]) == (200, f"/{number}")
    writer.write(requests[0])
    assert (await read_answer(reader))[0] == 200
    await hang_up(writer)


async def test_requests_byte_by_byte(open_one: Open) -> None:
    listener = await open_one()
    reader, writer = await connect(listener.address)
    for byte in (
        b"POST /slow HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
    ):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0)
    status, _, body = await read_answer(reader)
    assert (status, json.loads(body)["body"]) == (200, "ab")
    await hang_up(writer)


async def test_head_has_the_headers_and_no_body(open_one: Open) -> None:
    listener = await open_one()
    reader, writer = await connect(listener.address)
    writer.write(b"HEAD / HTTP/1.1\r\n" + HOST + b"\r\n" + GET)
    async with asyncio.timeout(TIMEOUT_S):
        head = await reader.readuntil(b"\r\n\r\n")
    status, text = head_of(head)
    assert status == 200
    assert int(text.partition("content-length: ")[2].split()[0]) > 0
    status, _, body = await read_answer(reader)  # right behind: no stray byte in between
    assert (status, json.loads(body)["method"]) == (200, "GET")
    await hang_up(writer)


async def test_no_content_has_no_body(open_one: Open) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"", 204)

    listener = await open_one(app)
    status, text = head_of(await talk(listener.address, last_get()))
    assert status == 204
    assert "content-length" not in text
    assert "transfer-encoding" not in text


async def test_http10_without_host_is_answered_and_closed(open_one: Open) -> None:
    listener = await open_one()
    raw = await talk(listener.address, b"GET /old HTTP/1.0\r\n\r\n")
    assert head_of(raw)[0] == 200
    seen = json.loads(body_of(raw))
    assert (seen["version"], seen["path"]) == ("1.0", "/old")


async def test_http10_streams_to_the_end_of_the_connection(open_one: Open) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"abc", "more_body": True})
        await send({"type": "http.response.body"})

    listener = await open_one(app)
    raw = await talk(listener.address, b"GET / HTTP/1.0\r\n\r\n")
    assert "chunked" not in head_of(raw)[1]
    assert body_of(raw) == b"abcabcabc"


async def test_options_asterisk_stays_below_the_application(open_one: Open) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("the application must not see this")

    listener = await open_one(app)
    raw = await talk(listener.address, b"OPTIONS * HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n")
    status, text = head_of(raw)
    assert status == 200
    assert "content-length: 0" in text
    assert body_of(raw) == b""


@pytest.mark.parametrize(
    ("line", "path", "host"),
    [
        (b"GET http://other:1/p?q=1 HTTP/1.1", "/p", "other:1"),
        (b"GET http://other HTTP/1.1", "/", "other"),
        (b"FOO * HTTP/1.1", "*", "localhost"),
    ],
)
async def test_other_forms_of_targets(open_one: Open, line: bytes, path: str, host: str) -> None:
    listener = await open_one()
    seen = json.loads(
        body_of(await talk(listener.address, line + b"\r\n" + HOST + CLOSE + b"\r\n"))
    )
    assert seen["path"] == path
    assert [value for name, value in seen["headers"] if name == "host"] == [host]


async def test_connect_is_an_ordinary_request(open_one: Open) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(
            send, f"{scope['method']} {scope['headers'][0]} {scope['path']!r}".encode(), 404
        )

    listener = await open_one(app)
    reader, writer = await connect(listener.address)
    for _ in range(2):
        writer.write(b"CONNECT other:443 HTTP/1.1\r\n" + HOST + b"\r\n")
        status, _, body = await read_answer(reader)
        assert (status, body) == (404, b"CONNECT (b'host', b'other:443') ''")
    await hang_up(writer)


@pytest.mark.parametrize("line", [b"\x8f\x02 garbage", b"GET  /two-blanks HTTP/1.1", b"hello"])
async def test_a_first_line_that_is_no_request_is_refused_at_once(
    open_one: Open, line: bytes
) -> None:
    listener = await open_one()
    reader, writer = await connect(listener.address)
    writer.write(line + b"\r\nand the head goes on")
    status, _, _ = await read_answer(reader)
    assert status == 400
    await hang_up(writer)


@pytest.mark.parametrize("line", [b"INVALID CONNECTION PREFACE", b"\x16\x03\x01 garbage", b"hello"])
@pytest.mark.parametrize("more", [b"\r\n", b"\r\n\r\n", b"\r\nand the head goes on"])
async def test_what_is_neither_version_on_h2c_gets_no_answer(
    open_one: Open, line: bytes, more: bytes
) -> None:  # RFC 9113 3.4; h2spec 3.5
    listener = await open_one(transport="h2c")
    assert await talk(listener.address, line + more) == b""


async def test_a_bad_request_line_on_h2c_is_refused(open_one: Open) -> None:
    listener = await open_one(transport="h2c")
    raw = await talk(listener.address, b"GET  /two-blanks HTTP/1.1\r\n" + HOST + b"\r\n")
    assert head_of(raw)[0] == 400
    reader, writer = await connect(listener.address)
    writer.write(GET)
    assert (await read_answer(reader))[0] == 200
    writer.write(b"hello\r\n\r\n")  # HTTP/1.1 is spoken here by now
    assert (await read_answer(reader))[0] == 400
    await hang_up(writer)


async def test_http2_preface_on_h1_is_an_ordinary_request(open_one: Open) -> None:
    listener = await open_one()
    raw = await talk(listener.address, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert head_of(raw)[0] == 200
    assert raw.count(b"HTTP/1.1 ") == 1
    seen = json.loads(body_of(raw))
    assert (seen["method"], seen["path"]) == ("PRI", "*")


async def test_upgrade_to_h2c_is_answered_as_http11(open_one: Open) -> None:
    listener = await open_one(transport="h2c")
    upgrade = (
        b"Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n"
    )
    raw = await talk(listener.address, b"GET /up HTTP/1.1\r\n" + HOST + upgrade + b"\r\n")
    assert head_of(raw)[0] == 200
    assert json.loads(body_of(raw))["version"] == "1.1"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        (b"GET /%zz HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET nowhere HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
        (b"GET / HTTP/3.0\r\n" + HOST + b"\r\n", 505),
        (b"GET / HTTP/0.9\r\n" + HOST + b"\r\n", 505),
        (b"GET /\r\n\r\n", 400),
        (
            b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
            400,
        ),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: -5\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +5\r\n\r\nabcde", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length : 5\r\n\r\nabcde", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: identity, chunked\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"X-A: b\0c\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Expect: a miracle\r\n\r\n", 417),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ],
)
async def test_refused_below_the_application(
    open_one: Open, request_bytes: bytes, status: int
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] == "http.request":
            pass

    listener = await open_one(app)
    raw = await talk(listener.address, request_bytes + GET)
    seen, text = head_of(raw)
    assert seen == status
    assert "content-type: text/plain; charset=utf-8" in text
    assert "connection: close" in text
    assert "date: " in text
    assert raw.count(b"HTTP/1.1 ") == 1  # what follows is believed no more


async def test_chunked_with_content_length_is_answered_once_then_closed(open_one: Open) -> None:
    listener = await open_one()
    both = b"Content-Length: 18\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
    raw = await talk(listener.address, b"POST / HTTP/1.1\r\n" + HOST + both + GET)
    status, text = head_of(raw)
    assert status == 200
    assert "connection: close" in text
    assert raw.count(b"HTTP/1.1 ") == 1
    seen = json.loads(body_of(raw))
    assert seen["body"] == "hi"
    assert "content-length" not in dict(seen["headers"])


@pytest.mark.parametrize(("total", "status"), [(1051576, 200), (1052672, 431), (3000000, 431)])
async def test_size_of_the_header_block(open_one: Open, total: int, status: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"ok")

    listener = await open_one(app)
    start = b"GET / HTTP/1.1\r\n" + HOST + CLOSE + b"X-A: "
    block = start + b"a" * (total - len(start) - 4) + b"\r\n\r\n"
    assert len(block) == total
    for _ in range(3):  # the answer must not be lost to a reset
        raw = await talk(listener.address, block)
        assert head_of(raw)[0] == status


async def test_too_long_request_line(open_one: Open) -> None:
    listener = await open_one()
    raw = await talk(
        listener.address, b"GET /" + b"a" * 3_000_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n"
    )
    status, text = head_of(raw)
    assert status == 431
    assert "text/plain" in text


async def test_expect_continue(open_one: Open) -> None:
    listener = await open_one()
    reader, writer = await connect(listener.address)
    writer.write(
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    )
    async with asyncio.timeout(TIMEOUT_S):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"hello")
    status, _, body = await read_answer(reader)
    assert (status, json.loads(body)["body"]) == (200, "hello")
    writer.write(GET)  # and the connection lives on
    assert (await read_answer(reader))[0] == 200
    await hang_up(writer)


async def test_expect_continue_refused_closes(open_one: Open) -> None:
    listener = await open_one(refuse_unread)
    raw = await talk(
        listener.address,
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    )
    status, text = head_of(raw)
    assert status == 401
    assert "connection: close" in text


async def test_short_unread_body_keeps_the_connection(open_one: Open) -> None:
    listener = await open_one(refuse_unread)
    reader, writer = await connect(listener.address)
    writer.write(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 200000\r\n\r\n")
    status, headers, _ = await read_answer(reader)
    assert (status, headers.get("connection")) == (401, None)
    writer.write(b"x" * 200_000 + GET)
    assert (await read_answer(reader))[0] == 401
    await hang_up(writer)


@pytest.mark.parametrize("framing", [b"Content-Length: 9000000", b"Transfer-Encoding: chunked"])
async def test_long_unread_body_gets_its_answer_and_the_end(open_one: Open, framing: bytes) -> None:
    listener = await open_one(refuse_unread)
    for _ in range(10):  # without a lingering close the answer is lost now and then
        head = b"POST / HTTP/1.1\r\n" + HOST + framing + b"\r\n\r\n"
        reader, writer = await connect(listener.address)
        writer.write(head + b"8000\r\n" + b"x" * 600_000)
        status, headers, body = await read_answer(reader)
        assert (status, headers["connection"], body) == (401, "close", b"no")
        await hang_up(writer)


async def test_slow_header_block_is_closed_silently(open_one: Open) -> None:
    listener = await open_one(timeouts=HTTPTimeouts(header_s=0.2))
    raw = await talk(listener.address, b"GET /_health HTTP/1.1\r\nHost: l\r\nX-A: ")
    assert raw == b""


async def test_silent_connection_is_closed(open_one: Open) -> None:
    listener = await open_one(timeouts=HTTPTimeouts(header_s=0.2))
    assert await talk(listener.address, b"") == b""


async def test_drip_of_header_bytes_does_not_extend_the_time(open_one: Open) -> None:
    listener = await open_one(timeouts=HTTPTimeouts(header_s=0.3))
    reader, writer = await connect(listener.address)
    writer.write(b"GET / HTTP/1.1\r\nX-A: ")

    async def drip() -> None:
        while not reader.at_eof():
            writer.write(b"a")
            await asyncio.sleep(0.05)

    dripping = asyncio.create_task(drip())
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read(-1) == b""
    dripping.cancel()
    await hang_up(writer)


async def test_idle_keep_alive_ends(open_one: Open) -> None:
    listener = await open_one(timeouts=HTTPTimeouts(idle_s=0.2))
    raw = await talk(listener.address, GET)
    assert head_of(raw)[0] == 200


async def test_slow_body_fails_on_h1_and_not_on_h2c(open_one: Open) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        kinds = []
        while True:
            message = await receive()
            kinds.append(message["type"])
            if message["type"] == "http.disconnect" or not message["more_body"]:
                break
        await answer(send, json.dumps(kinds).encode(), 400)

    timeouts = HTTPTimeouts(request_s=0.2)
    start = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nab"
    listener = await open_one(app, "h1", timeouts=timeouts)
    raw = await talk(listener.address, start)
    assert (head_of(raw)[0], body_of(raw)) == (400, b'["http.request", "http.disconnect"]')
    assert "connection: close" in head_of(raw)[1]
    listener = await open_one(app, "h2c", timeouts=timeouts)
    reader, writer = await connect(listener.address)
    writer.write(start)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await reader.read(1)
    writer.write(b"cde")
    assert (await read_answer(reader))[2].endswith(b'"http.request"]')
    await hang_up(writer)


async def test_slow_body_without_an_answer_gets_408(open_one: Open) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)

    listener = await open_one(app, timeouts=HTTPTimeouts(request_s=0.2))
    raw = await talk(
        listener.address, b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nab"
    )
    assert head_of(raw)[0] == 408


async def test_application_can_give_a_body_more_time(open_one: Open) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert "quicsql.read_timeout" in scope["extensions"]
        await send({"type": "quicsql.read_timeout", "timeout_s": None})
        await answer(send, await read_body(receive))

    listener = await open_one(app, timeouts=HTTPTimeouts(request_s=0.1))
    reader, writer = await connect(listener.address)
    writer.write(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\n\r\nab")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await reader.read(1)
    writer.write(b"cd")
    assert (await read_answer(reader))[2] == b"abcd"
    await hang_up(writer)


async def test_client_that_leaves_stops_the_application(open_one: Open) -> None:
    gate = Gate()
    listener = await open_one(gate)
    _, writer = await connect(listener.address)
    writer.write(GET)
    await gate.entered.wait()
    writer.write_eof()
    async with asyncio.timeout(TIMEOUT_S):
        await gate.cancelled.wait()
    assert gate.messages == ["http.disconnect"]
    await hang_up(writer)


async def test_waiting_receive_sees_the_client_leave(open_one: Open) -> None:
    seen: asyncio.Queue[str] = asyncio.Queue()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        seen.put_nowait("waiting")
        try:
            seen.put_nowait((await receive())["type"])
        except asyncio.CancelledError:
            seen.put_nowait((await receive())["type"])

    listener = await open_one(app)
    _, writer = await connect(listener.address)
    writer.write(GET)
    async with asyncio.timeout(TIMEOUT_S):
        assert await seen.get() == "waiting"
        await hang_up(writer)
        assert await seen.get() == "http.disconnect"


async def test_application_that_fails_before_its_answer(
    open_one: Open, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/bad":
            raise ValueError("broken")
        await echo(scope, receive, send)

    listener = await open_one(app)
    reader, writer = await connect(listener.address)
    writer.write(b"GET /bad?secret=1 HTTP/1.1\r\n" + HOST + b"\r\n" + GET)
    status, headers, body = await read_answer(reader)
    assert (status, headers["content-type"]) == (500, "application/json")
    assert body == b'{"error":{"message":"internal error"}}\n'
    assert (await read_answer(reader))[0] == 200  # the connection is none the worse
    await hang_up(writer)
    (record,) = [r for r in caplog.records if r.name == "quicsql.server"]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert "secret" not in record.getMessage()


@pytest.mark.parametrize("head_only", [True, False])
async def test_application_that_fails_in_its_answer(
    open_one: Open, caplog: pytest.LogCaptureFixture, head_only: bool
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if not head_only:
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ValueError("broken")

    listener = await open_one(app)
    reader, writer = await connect(listener.address)
    writer.write(GET)
    if head_only:  # nothing has gone out yet: still a clean 500
        assert (await read_answer(reader))[0] == 500
    else:
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(-1), TIMEOUT_S)
    await hang_up(writer)
    assert any(record.exc_info for record in caplog.records)


async def test_application_that_says_nothing(
    open_one: Open, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)

    listener = await open_one(app)
    raw = await talk(listener.address, last_get())
    assert head_of(raw)[0] == 500
    assert "without a whole answer" in caplog.text


@pytest.mark.parametrize(
    "header", [(b"x-a", b"b\r\nset-cookie: c"), (b"X-Upper", b"b"), (b"a b", b"c")]
)
async def test_illegal_response_headers_are_the_applications_fault(
    open_one: Open, caplog: pytest.LogCaptureFixture, header: tuple[bytes, bytes]
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [header]})
        await send({"type": "http.response.body", "body": b"x"})

    listener = await open_one(app)
    raw = await talk(listener.address, last_get())
    assert head_of(raw)[0] == 500
    assert b"cookie" not in raw
    assert "illegal name or value" in caplog.text
