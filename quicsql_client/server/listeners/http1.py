"""HTTP/1.1 and 1.0 on one connection, by h11: one request at a time, pipelining in order.

States of a connection:

    waiting for a head --request--> exchange --whole answer--> waiting for a head
      |                               |    \\-- short body unread --> dropping it --> waiting
      |-- refused (400 417 431        |-- whole answer, and "close", HTTP/1.0, draining
      |   501 505): lingering close   |   or a long body unread: lingering close
      |-- too slow, or neither        |
      |   version on h2c: silent close|-- application failed half-way: reset
                                      |-- client gone: task cancelled, close

Bytes wait in an inbox and are given to h11 only when somebody wants them, so that a body nobody
reads stops the socket being read. Must not know TLS.
Source: protocol/transports.md, "Timeouts" and "Limits"; RFC 9112.
"""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus

import h11

from .asgi import Exchange, Headers, RequestBody, Scope, answer_asterisk, plain_text
from .deadline import Deadline
from .link import Link
from .scope import BadRequest, check_host, parse_target, replace_host
from .settings import BODY_BUFFER_BYTES, MAX_HEADER_BLOCK_BYTES, UNREAD_BODY_BYTES

_FEED_BYTES = 64 * 1024
_HTTP2_PREFACE = (b"PRI", b"*", b"2.0")
_REQUEST_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [^\x00-\x20\x7f]+ HTTP/\d\.\d\r?")
_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


class HTTP1Connection:
    """Speaks HTTP/1.1 over a link."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._endpoint = link.endpoint
        self._timeouts = link.endpoint.timeouts
        self._h11 = h11.Connection(h11.SERVER, MAX_HEADER_BLOCK_BYTES)
        self._inbox = bytearray()
        self._head_bytes = 0
        self._is_idle = False  # nothing of the next request has come
        self._closes_after = False
        self._may_be_http2 = link.endpoint.kind == "h2c"  # until the first request
        self._is_finished = False
        self._request: _Request | None = None
        self._is_paused = False
        self._deadline = Deadline(self._expire)
        self._deadline.arm(self._timeouts.header_s)

    @property
    def is_busy(self) -> bool:
        """Whether a request is in flight."""
        return self._request is not None

    # --- from the link

    def data_received(self, data: bytes) -> None:
        """Bytes of the peer."""
        if self._is_finished:
            return
        if self._is_idle:
            self._is_idle = False
            self._deadline.arm(self._timeouts.header_s)
        self._inbox += data
        self._advance()

    def eof_received(self) -> None:
        """The peer will send nothing more: as a Go server does, take it for gone."""
        if self._request is None or self._request.task.done():
            self._finish()
            self._link.close()
        else:
            self._request.client_gone()

    def writable(self) -> None:
        """Nothing to do: whoever writes waits for itself."""

    def shutdown(self) -> None:
        """Let the request in flight end, then close."""
        self._closes_after = True
        if self._request is None and not self._is_finished:
            self._finish()
            self._link.close()

    def lost(self) -> None:
        """The connection is gone."""
        self._finish()
        if self._request is not None:
            self._request.client_gone()

    def _finish(self) -> None:
        self._is_finished = True
        self._deadline.close()
        self._inbox.clear()

    def _expire(self) -> None:
        if self._request is None:
            self._finish()
            self._link.close()  # silently: the peer never said a whole request
        elif self._request.is_dropping:
            self._finish()
            self._link.linger()
        else:
            self._request.body.fail(408, "the request body did not come in time")
            self._closes_after = True

    # --- reading

    def _advance(self) -> None:
        """Go as far as the bytes and the application's appetite allow."""
        while not self._is_finished:
            if self._request is None:
                if not self._read_head():
                    break
            elif not self._request.wants_body or not self._read_body(self._request):
                break
        self._regulate_reading()

    def _regulate_reading(self) -> None:
        is_full = len(self._inbox) >= BODY_BUFFER_BYTES and not self._is_finished
        if is_full != self._is_paused:
            self._is_paused = is_full
            if is_full:
                self._link.transport.pause_reading()
            else:
                self._link.transport.resume_reading()

    def _feed(self, max_bytes: int) -> int:
        """Give h11 the next bytes; how many."""
        size = min(len(self._inbox), max_bytes)
        if size:
            self._h11.receive_data(bytes(memoryview(self._inbox)[:size]))
            del self._inbox[:size]
        return size

    def _read_head(self) -> bool:
        """One step towards the next request; False when more bytes are needed."""
        if self._may_be_http2 and b"HTTP/" not in (self._first_line() or b"HTTP/"):
            self._finish()
            self._link.close()  # silently: HTTP/1.1's answer is noise to HTTP/2 (RFC 9113 3.4)
            return False
        try:
            event = self._h11.next_event()
            if isinstance(event, h11.Request):
                self._begin(event)
                return True
        except h11.RemoteProtocolError as error:
            self._refuse(error.error_status_hint, str(error))
            return False
        except BadRequest as error:
            self._refuse(400, str(error))
            return False
        room = MAX_HEADER_BLOCK_BYTES - 1 - self._head_bytes
        if room <= 0:
            self._refuse(431, "the request line and header fields are too long")
            return False
        fed = self._feed(min(room, _FEED_BYTES))
        self._head_bytes += fed
        if not fed and self._head_bytes <= _FEED_BYTES and self._is_garbage():
            self._refuse(400, "what came is no HTTP request line")
        return fed > 0

    def _is_garbage(self) -> bool:
        """Whether the first line is whole and no request line: h11 waits for all of the head."""
        line = self._first_line()
        return line is not None and _REQUEST_LINE.fullmatch(line) is None

    def _first_line(self) -> bytes | None:
        line, newline, _ = self._h11.trailing_data[0].lstrip(b"\r\n").partition(b"\n")
        return line if newline else None

    def _read_body(self, request: _Request) -> bool:
        """One step through the body; False when more bytes are needed, or it is whole."""
        try:
            event = self._h11.next_event()
        except h11.RemoteProtocolError as error:
            self._closes_after = True
            request.body.fail(400, str(error))
            if request.is_dropping:
                self._next()
            return False
        if isinstance(event, h11.Data):
            request.take(bytes(event.data))
            return True
        if isinstance(event, h11.EndOfMessage):
            self._deadline.disarm()
            request.body.finish()
            if request.is_dropping:
                self._next()
            return False
        return self._feed(_FEED_BYTES) > 0

    # --- requests

    def _begin(self, event: h11.Request) -> None:
        self._may_be_http2 = False
        method = event.method.decode("ascii")
        version = event.http_version.decode("ascii")
        is_preface = (event.method, event.target, event.http_version) == _HTTP2_PREFACE
        if not version.startswith("1.") and not is_preface:
            self._refuse(505, f"HTTP/{version} is not spoken here")
            return
        headers = self._read_headers(event)
        if is_preface:  # an ordinary request to the application, and the last one
            version, self._closes_after = "1.1", True
        target = parse_target(method, event.target)
        if target.authority is not None:
            headers = replace_host(headers, target.authority)
        scope = self._link.facts.scope(version, method, target, headers)
        if self._endpoint.limits_request_time:
            scope["extensions"]["quicsql.read_timeout"] = {}
            self._deadline.arm(self._timeouts.request_s)
        else:
            self._deadline.disarm()
        self._request = request = _Request(self, scope)
        is_asterisk = event.method == b"OPTIONS" and event.target == b"*"
        app = answer_asterisk if is_asterisk else self._endpoint.app
        request.task = self._endpoint.spawn(request.exchange.run(app), self._ended)

    def _read_headers(self, event: h11.Request) -> Headers:
        headers: Headers = [(bytes(name), bytes(value)) for name, value in event.headers]
        names = [name for name, _ in headers]
        if b"transfer-encoding" in names and b"content-length" in names:
            # One of two parsers on the way would be wrong about where this request ends: the
            # chunks say it here, and nothing after it is believed (RFC 9112 6.1).
            headers = [field for field in headers if field[0] != b"content-length"]
            self._closes_after = True
        for name, value in headers:
            if name == b"host":
                check_host(value)
            elif name == b"expect" and value.lower() != b"100-continue":
                raise h11.RemoteProtocolError("unknown expectation", error_status_hint=417)
        return headers

    def _refuse(self, status: int, reason: str) -> None:
        """Answer below the application, and close."""
        headers, body = plain_text(status, reason)
        headers.append((b"connection", b"close"))
        lines = [b"HTTP/1.1 %d %s\r\n" % (status, _REASONS[status])]
        lines += [b"%s: %s\r\n" % (name.title(), value) for name, value in headers]
        self._finish()
        self._link.write(b"".join([*lines, b"\r\n", body]))
        self._link.linger()

    def _ended(self) -> None:
        """The request's task is done."""
        request = self._request
        if request is None or self._is_finished:
            self._request = None
            return
        exchange = request.exchange
        if exchange.is_complete and not request.body.is_disconnected:
            self._next()
            return
        self._request = None
        self._finish()
        if exchange.is_begun and not exchange.is_complete:
            self._link.cut()
        else:
            self._link.close()

    def _next(self) -> None:
        """The answer is out: go on with the next request, or close."""
        request = self._request
        if request is None or not request.task.done():
            return
        if self._closes_after or self._h11.our_state is not h11.DONE:
            self._request = None
            self._finish()
            self._link.linger()
        elif self._h11.their_state is h11.SEND_BODY:
            request.drop_body()
            self._deadline.arm(self._timeouts.request_s)
            self._advance()
        else:
            self._request = None
            self._h11.start_next_cycle()
            self._head_bytes = len(self._h11.trailing_data[0])
            self._is_idle = not self._inbox and not self._head_bytes
            idle_s, header_s = self._timeouts.idle_s, self._timeouts.header_s
            self._deadline.arm(idle_s if self._is_idle else header_s)
            self._advance()

    # --- for the request in flight

    def read_more(self) -> None:
        """The application took what was buffered."""
        if not self._is_finished:
            self._advance()

    def rearm(self, timeout_s: float | None) -> None:
        """Give the rest of the body another time."""
        if self._request is not None and not self._request.body.is_whole:
            if timeout_s is None:
                self._deadline.disarm()
            else:
                self._deadline.arm(timeout_s)

    async def send(self, *events: h11.Event) -> None:
        """Write events in one piece, then wait while the peer is slow."""
        if not self._link.is_lost:
            self._link.write(b"".join([self._h11.send(event) or b"" for event in events]))
        await self._link.wait_writable()

    def send_continue(self) -> None:
        """Tell a client that waits for it to send its body (RFC 9110 10.1.1)."""
        if self._h11.they_are_waiting_for_100_continue:
            event = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
            self._link.write(self._h11.send(event))

    def closing_header(self, *, has_unread_body: bool) -> Headers:
        """The Connection header of an answer that is the last one."""
        if has_unread_body and not self._can_drop_body():
            self._closes_after = True
        if self._endpoint.is_draining:
            self._closes_after = True
        return [(b"connection", b"close")] if self._closes_after else []

    def _can_drop_body(self) -> bool:
        if self._h11.they_are_waiting_for_100_continue or self._request is None:
            return False
        length = self._request.content_length()
        return length is not None and length <= UNREAD_BODY_BYTES


class _Request:
    """The request in flight, and the way its answer goes out."""

    def __init__(self, connection: HTTP1Connection, scope: Scope) -> None:
        self._connection = connection
        self._headers: Headers = scope["headers"]
        self.body = RequestBody(lambda _: connection.read_more(), connection.send_continue)
        self.exchange = Exchange(scope, self.body, self)
        self.task: asyncio.Task[None]
        self.is_dropping = False

    @property
    def wants_body(self) -> bool:
        """Whether more of the body should be read now."""
        body = self.body
        if body.is_whole or body.failure is not None:
            return False
        return self.is_dropping or body.buffered_bytes < BODY_BUFFER_BYTES

    def take(self, data: bytes) -> None:
        """Bytes of the body."""
        if not self.is_dropping:
            self.body.push(data)

    def drop_body(self) -> None:
        """Read the rest of the body, for nobody."""
        self.is_dropping = True
        self.body.discard()

    def content_length(self) -> int | None:
        """The announced length of the body; None when it is chunked."""
        for name, value in self._headers:
            if name == b"content-length":
                return int(value)
        return None

    def client_gone(self) -> None:
        """Tell the application, and stop it."""
        self.body.disconnect()
        self.task.cancel()

    # --- asgi.ResponseWriter

    async def start(self, status: int, headers: Headers, body: bytes, more: bool) -> None:
        """Send the head with the first piece of the body."""
        extra = self._connection.closing_header(has_unread_body=not self.body.is_whole)
        head = h11.Response(
            status_code=status, headers=headers + extra, reason=_REASONS.get(status, b"")
        )
        await self._connection.send(head, *_body_events(body, more))

    async def write(self, body: bytes, more: bool) -> None:
        """Send a later piece of the body."""
        await self._connection.send(*_body_events(body, more))

    def rearm(self, timeout_s: float | None) -> None:
        """Give the rest of the body another time."""
        self._connection.rearm(timeout_s)


def _body_events(body: bytes, more: bool) -> list[h11.Event]:
    events: list[h11.Event] = [h11.Data(data=body)] if body else []
    return events if more else [*events, h11.EndOfMessage()]
