# Made from tests/client/_async/test_pool.py
# by tools/async_to_sync.py: do not edit, change the source.
"""The pool against scripted servers: right, wrong, cut, slow, surplus."""

from __future__ import annotations

import math
import os
import pickle
import threading
import time
from pathlib import Path

import pytest

from quicsql_client.endpoint import Endpoint
from quicsql_client.errors import (
    ConnectError,
    ConnectTimeout,
    Error,
    LocalProtocolError,
    PoolTimeout,
    ReadTimeout,
    RemoteProtocolError,
    ResponseTooLarge,
    TLSError,
    TransportError,
)
from quicsql_client.options import (
    ClientOptions,
    with_connect_timeout,
    with_max_response,
    with_root_ca,
)
from quicsql_client.wire.messages import Request
from tests.fix_peers import (
    OK,
    PKI,
    WAIT_S,
    Conversation,
    H2Conversation,
    Peer,
    PeerFactory,
    Pool,
    answering,
    speaking_h2,
)

READ = Request("GET", "/_health")
WRITE = Request("POST", "/app/query", (("content-type", "application/json"),), b'{"sql":"x"}')


def soon(seconds: float = WAIT_S) -> float:
    return time.monotonic() + seconds


def pool_for(peer: Peer, transport: str = "h1", options: ClientOptions | None = None) -> Pool:
    endpoint = Endpoint.parse(peer.address, transport=transport)
    return Pool(endpoint, options or ClientOptions())


def test_connection_is_kept_and_used_again(open_peer: PeerFactory) -> None:
    peer = open_peer(answering(OK, OK))
    pool = pool_for(peer)
    first = pool.send(WRITE, deadline=soon())
    second = pool.send(READ, deadline=math.inf)
    pool.close()
    assert (first.status, first.body, second.body) == (200, b"ok", b"ok")
    assert first.header("content-length") == "2"
    assert peer.connections == 1
    assert peer.requests[0].startswith(b"POST /app/query HTTP/1.1\r\n")
    assert f"host: {peer.address}".encode() in peer.requests[0].lower()
    assert b"accept-encoding: identity" in peer.requests[0].lower()
    assert peer.requests[0].endswith(b'\r\n\r\n{"sql":"x"}')


def test_unix_socket(open_peer: PeerFactory, tmp_path: Path) -> None:
    path = str(tmp_path / "a socket")
    peer = open_peer(answering(OK), None, path)
    pool = Pool(Endpoint.unix(path), ClientOptions())
    response = pool.send(READ, deadline=soon())
    pool.close()
    assert response.body == b"ok"
    assert b"host: unix\r\n" in peer.requests[0].lower()


def test_informational_and_chunked(open_peer: PeerFactory) -> None:
    answer = (
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        b"2\r\nab\r\n1\r\nc\r\n0\r\nx-trailer: 1\r\n\r\n"
    )
    pool = pool_for(open_peer(answering(answer)))
    assert pool.send(READ, deadline=soon()).body == b"abc"
    pool.close()


def test_answer_in_single_bytes(open_peer: PeerFactory) -> None:
    def script(conversation: Conversation) -> None:
        conversation.read_request()
        for byte in OK:
            conversation.send(bytes([byte]))

    pool = pool_for(open_peer(script))
    assert pool.send(READ, deadline=soon()).body == b"ok"
    pool.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage\r\n\r\n",
        b"just text, no status line",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nno length",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\nonly this",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
    ],
)
def test_broken_answer_is_an_error_and_sent_once(open_peer: PeerFactory, answer: bytes) -> None:
    def script(conversation: Conversation) -> None:
        if conversation.read_request():
            conversation.send(answer)

    peer = open_peer(script)
    pool = pool_for(peer)
    with pytest.raises(RemoteProtocolError) as caught:
        pool.send(WRITE, deadline=soon())
    pool.close()
    assert caught.value.may_have_run
    assert caught.value.request == "POST /app/query"
    assert len(peer.requests) == 1


def test_surplus_answer_does_not_answer_the_next_call(open_peer: PeerFactory) -> None:
    def script(conversation: Conversation) -> None:
        conversation.read_request()
        if conversation.number == 1:
            conversation.send(OK + OK.replace(b"ok", b"NO"))
        else:
            conversation.send(OK)
        conversation.wait_for_end()

    peer = open_peer(script)
    pool = pool_for(peer)
    bodies = [pool.send(READ, deadline=soon()).body for _ in range(2)]
    pool.close()
    assert bodies == [b"ok", b"ok"]
    assert peer.connections == 2


def test_surplus_that_comes_while_idle_is_noticed(open_peer: PeerFactory) -> None:
    is_idle, is_sent = threading.Event(), threading.Event()

    def script(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(OK)
        if conversation.number == 1:
            assert is_idle.wait(WAIT_S)
            conversation.send(OK.replace(b"ok", b"NO"))
            is_sent.set()
        conversation.wait_for_end()

    peer = open_peer(script)
    pool = pool_for(peer)
    pool.send(READ, deadline=soon())
    is_idle.set()
    assert is_sent.wait(WAIT_S)
    second = pool.send(WRITE, deadline=soon())
    pool.close()
    assert second.body == b"ok"
    assert peer.connections == 2


@pytest.mark.parametrize("is_reset", [False, True])
def test_connection_closed_while_idle_is_replaced(open_peer: PeerFactory, is_reset: bool) -> None:
    def script(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(OK)
        if conversation.number > 1:
            conversation.wait_for_end()
        elif is_reset:
            conversation.reset()

    peer = open_peer(script)
    pool = pool_for(peer)
    pool.send(WRITE, deadline=soon())
    peer.wait_ended()
    assert pool.send(WRITE, deadline=soon()).body == b"ok"
    pool.close()
    assert len(peer.requests) == 2


def _dying_after_request(conversation: Conversation) -> None:
    """Answers once, then reads one more request and dies; later connections are well."""
    conversation.read_request()
    conversation.send(OK)
    if conversation.number == 1:
        conversation.read_request()
    else:
        conversation.wait_for_end()


def test_write_whose_answer_is_lost_is_not_sent_again(open_peer: PeerFactory) -> None:
    peer = open_peer(_dying_after_request)
    pool = pool_for(peer)
    pool.send(WRITE, deadline=soon())
    with pytest.raises(TransportError, match="may have taken effect") as caught:
        pool.send(WRITE, deadline=soon())
    pool.close()
    assert caught.value.may_have_run
    assert len(peer.requests) == 2


def test_read_on_a_dead_kept_connection_is_sent_again(open_peer: PeerFactory) -> None:
    peer = open_peer(_dying_after_request)
    pool = pool_for(peer)
    pool.send(WRITE, deadline=soon())
    assert pool.send(READ, deadline=soon()).body == b"ok"
    pool.close()
    assert len(peer.requests) == 3


def test_read_on_a_new_connection_is_not_sent_again(open_peer: PeerFactory) -> None:
    peer = open_peer(lambda conversation: conversation.read_request() and None)
    pool = pool_for(peer)
    with pytest.raises(TransportError):
        pool.send(READ, deadline=soon())
    pool.close()
    assert len(peer.requests) == 1


def test_early_answer_to_a_large_request_is_read(open_peer: PeerFactory) -> None:
    refused = b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbig"

    def script(conversation: Conversation) -> None:
        conversation.sock.recv(1000)
        conversation.send(refused)
        conversation.wait_for_end()

    pool = pool_for(open_peer(script))
    response = pool.send(Request("POST", "/x", (), b"y" * 300_000), deadline=soon())
    pool.close()
    assert (response.status, response.body) == (413, b"big")


def test_no_answer_ends_at_the_deadline(open_peer: PeerFactory) -> None:
    pool = pool_for(open_peer(lambda conversation: conversation.wait_for_end()))
    started = time.monotonic()
    with pytest.raises(ReadTimeout) as caught:
        pool.send(READ, deadline=soon(0.2))
    pool.close()
    assert 0.15 < time.monotonic() - started < 2
    assert caught.value.may_have_run


def test_deadline_is_total_for_a_trickling_answer(open_peer: PeerFactory) -> None:
    stop = threading.Event()

    def script(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        while not stop.wait(0.02):
            conversation.send(b"x")

    pool = pool_for(open_peer(script))
    started = time.monotonic()
    with pytest.raises(ReadTimeout):
        pool.send(READ, deadline=soon(0.3))
    stop.set()
    pool.close()
    assert time.monotonic() - started < 2


def test_nobody_listens(open_peer: PeerFactory) -> None:
    peer = open_peer(answering(OK))
    peer.close()
    pool = pool_for(peer)
    with pytest.raises(ConnectError, match="is the server running") as caught:
        pool.send(WRITE, deadline=soon())
    pool.close()
    assert caught.value.is_retryable
    assert not caught.value.may_have_run
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


def test_missing_unix_socket(tmp_path: Path) -> None:
    pool = Pool(Endpoint.unix(tmp_path / "none"), ClientOptions())
    with pytest.raises(ConnectError, match="no such socket"):
        pool.send(READ, deadline=soon())
    pool.close()


def test_name_that_does_not_resolve() -> None:
    pool = Pool(Endpoint.parse("x.invalid:1", transport="h1"), ClientOptions())
    with pytest.raises(ConnectError, match=r"x\.invalid|in time"):
        pool.send(READ, deadline=soon())
    pool.close()


def test_handshake_that_hangs_ends_at_the_connect_timeout(
    open_peer: PeerFactory, peer_pki: PKI
) -> None:
    peer = open_peer(lambda conversation: conversation.wait_for_end())
    pool = pool_for(peer, "h2", ClientOptions.of([with_connect_timeout(0.2)]))
    with pytest.raises(ConnectTimeout, match="with_connect_timeout"):
        pool.send(WRITE, deadline=soon())
    pool.close()


def test_pool_timeout_while_every_connection_is_in_use(open_peer: PeerFactory) -> None:
    peer = open_peer(answering(OK, OK))
    pool = Pool(Endpoint.parse(peer.address, transport="h1"), ClientOptions(), max_connections=1)
    pool.send(READ, deadline=soon())
    held = pool._shelf.take(None, is_fresh=False)
    assert held is not None
    with pytest.raises(PoolTimeout) as caught:
        pool.send(READ, deadline=soon(0.1))
    pool._shelf.give_back(held)
    assert pool.send(READ, deadline=soon()).body == b"ok"
    pool.close()
    assert not caught.value.may_have_run


def test_connect_timeout_while_another_call_tries(open_peer: PeerFactory) -> None:
    peer = open_peer(answering(OK))
    pool = Pool(Endpoint.parse(peer.address, transport="h1"), ClientOptions(), max_connections=1)
    assert pool._shelf.take(None, is_fresh=False) is None
    with pytest.raises(ConnectTimeout):
        pool.send(READ, deadline=soon(0.1))
    pool._shelf.add(None)
    assert pool.send(READ, deadline=soon()).body == b"ok"
    pool.close()


def test_old_idle_connection_is_not_used(open_peer: PeerFactory) -> None:
    peer = open_peer(answering(OK, OK))
    endpoint = Endpoint.parse(peer.address, transport="h1")
    pool = Pool(endpoint, ClientOptions(), keepalive_s=0.0)
    for _ in range(2):
        pool.send(READ, deadline=soon())
    pool.close()
    assert peer.connections == 2


def test_connection_of_the_parent_process_is_not_used(
    open_peer: PeerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = open_peer(answering(OK, OK))
    pool = pool_for(peer)
    pool.send(READ, deadline=soon())
    pid = os.getpid()
    monkeypatch.setattr("os.getpid", lambda: pid + 1)
    pool.send(READ, deadline=soon())
    pool.close()
    assert peer.connections == 2


def test_closed_pool_refuses(open_peer: PeerFactory) -> None:
    pool = pool_for(open_peer(answering(OK)))
    pool.close()
    pool.close()
    with pytest.raises(LocalProtocolError, match="closed"):
        pool.send(READ, deadline=soon())


@pytest.mark.parametrize(
    ("size", "is_chunked"), [(10, False), (11, False), (10, True), (11, True), (2**63, False)]
)
def test_response_cap(open_peer: PeerFactory, size: int, is_chunked: bool) -> None:
    """Odd-case 149."""
    body = b"x" * min(size, 1000)
    head = b"HTTP/1.1 200 OK\r\n"
    if is_chunked:
        answer = head + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (size, body)
    else:
        answer = head + b"content-length: %d\r\n\r\n%b" % (size, body)
    pool = pool_for(open_peer(answering(answer)), "h1", ClientOptions.of([with_max_response(10)]))
    if size <= 10:
        assert pool.send(READ, deadline=soon()).body == body
    else:
        with pytest.raises(ResponseTooLarge, match="with_max_response") as caught:
            pool.send(READ, deadline=soon())
        assert caught.value.limit_bytes == 10
    pool.close()


@pytest.mark.parametrize(
    "request_",
    [
        Request("GET", "/a b"),
        Request("GET", "no-slash"),
        Request("GET", "/x\r\nevil: 1"),
        Request("G ET", "/"),
        Request("GET", "/", (("x", "a\r\nevil: 1"),)),
        Request("GET", "/", (("X-Upper", "a"),)),
        Request("GET", "/", (("x", "\u20ac-SECRET"),)),
    ],
)
def test_request_that_would_say_something_else_is_refused(
    open_peer: PeerFactory, request_: Request
) -> None:
    peer = open_peer(answering(OK))
    pool = pool_for(peer)
    with pytest.raises(LocalProtocolError) as caught:
        pool.send(request_, deadline=soon())
    pool.close()
    assert "SECRET" not in str(caught.value)
    assert peer.connections == 0


def test_errors_pickle(open_peer: PeerFactory) -> None:
    peer = open_peer(lambda conversation: conversation.read_request() and None)
    pool = pool_for(peer)
    secret = Request("POST", "/x", (("authorization", "Bearer S3CRET"),), b"S3CRET")
    with pytest.raises(Error) as caught:
        pool.send(secret, deadline=soon())
    pool.close()
    data = pickle.dumps(caught.value)
    again = pickle.loads(data)
    assert b"S3CRET" not in data
    assert (type(again), str(again)) == (type(caught.value), str(caught.value))
    assert again.may_have_run is True


# HTTP/2


def _echo(conversation: H2Conversation) -> None:
    while stream := conversation.read_request():
        conversation.answer(stream, conversation.bodies.get(stream, b"none"))


def test_h2_over_tls_and_cleartext(open_peer: PeerFactory, peer_pki: PKI) -> None:
    options = _trusting(peer_pki)
    for transport, context in (("h2", peer_pki.context(alpn=["h2"])), ("h2c", None)):
        peer = open_peer(speaking_h2(_echo), context)
        pool = pool_for(peer, transport, options if transport == "h2" else None)
        bodies = [pool.send(WRITE, deadline=soon()).body for _ in range(3)]
        assert pool.send(READ, deadline=soon()).body == b"none"
        pool.close()
        assert bodies == [WRITE.body] * 3
        assert peer.connections == 1


def _trusting(pki: PKI) -> ClientOptions:
    return ClientOptions.of([with_root_ca(pki.server_ca.cert_pem)])


def test_h2_bodies_beyond_every_window(open_peer: PeerFactory) -> None:
    peer = open_peer(speaking_h2(_echo_large))
    pool = pool_for(peer, "h2c")
    body = os.urandom(1_000_000)
    response = pool.send(Request("POST", "/x", (), body), deadline=soon())
    pool.close()
    assert response.body == body[::-1]


def _echo_large(conversation: H2Conversation) -> None:
    stream = conversation.read_request()
    body = conversation.bodies[stream][::-1]
    conversation.h2.send_headers(stream, [(":status", "200")])
    while body:
        size = min(conversation.h2.local_flow_control_window(stream), 16384)
        conversation.h2.send_data(stream, body[:size])
        body = body[size:]
    conversation.h2.end_stream(stream)
    conversation.flush()
    while conversation.read_request():
        pass


def test_h2_goaway_between_calls(open_peer: PeerFactory) -> None:
    sent = threading.Event()

    def script(conversation: H2Conversation) -> None:
        stream = conversation.read_request()
        conversation.answer(stream)
        if conversation.number == 1:
            conversation.send_goaway(stream)
            sent.set()
        conversation.read_request()

    peer = open_peer(speaking_h2(script))
    pool = pool_for(peer, "h2c")
    pool.send(WRITE, deadline=soon())
    assert sent.wait(WAIT_S)
    assert pool.send(WRITE, deadline=soon()).body == b"ok"
    pool.close()
    assert peer.connections == 2


def test_h2_graceful_goaway_lets_the_answer_come(open_peer: PeerFactory) -> None:
    def script(conversation: H2Conversation) -> None:
        stream = conversation.read_request()
        conversation.send_goaway(2**31 - 1)
        conversation.answer(stream)
        conversation.read_request()

    peer = open_peer(speaking_h2(script))
    pool = pool_for(peer, "h2c")
    assert pool.send(WRITE, deadline=soon()).body == b"ok"
    assert pool.send(WRITE, deadline=soon()).body == b"ok"
    pool.close()
    assert peer.connections == 2


@pytest.mark.parametrize("how", ["goaway", "refused"])
def test_h2_request_not_processed_is_sent_again(open_peer: PeerFactory, how: str) -> None:
    def script(conversation: H2Conversation) -> None:
        stream = conversation.read_request()
        if conversation.number > 1:
            conversation.answer(stream)
        elif how == "goaway":
            conversation.send_goaway(0)
        else:
            conversation.h2.reset_stream(stream, 7)
            conversation.flush()
        conversation.read_request()

    peer = open_peer(speaking_h2(script))
    pool = pool_for(peer, "h2c")
    assert pool.send(WRITE, deadline=soon()).body == b"ok"
    pool.close()
    assert peer.connections == 2


def test_h2_never_processed_ends(open_peer: PeerFactory) -> None:
    def script(conversation: H2Conversation) -> None:
        conversation.h2.reset_stream(conversation.read_request(), 7)
        conversation.flush()
        conversation.read_request()

    peer = open_peer(speaking_h2(script))
    pool = pool_for(peer, "h2c")
    with pytest.raises(RemoteProtocolError, match="refused") as caught:
        pool.send(WRITE, deadline=soon())
    pool.close()
    assert not caught.value.may_have_run
    assert peer.connections == 3


@pytest.mark.parametrize("how", ["internal", "cut", "cut-in-body", "no-status", "big-frame", "h1"])
def test_h2_broken_answer_is_an_error_and_sent_once(open_peer: PeerFactory, how: str) -> None:
    def script(conversation: H2Conversation) -> None:
        stream = conversation.read_request()
        if how == "internal":
            conversation.h2.reset_stream(stream, 2)
        elif how == "cut-in-body":
            conversation.h2.send_headers(stream, [(":status", "200")])
            conversation.h2.send_data(stream, b"x")
        conversation.flush()
        raw = {
            "no-status": b"\0\0\1\1\5" + stream.to_bytes(4, "big") + b"\x90",
            "big-frame": b"\x20\0\0\0\0" + stream.to_bytes(4, "big"),
            "h1": b"HTTP/1.1 200 OK\r\n\r\n",
        }
        conversation.sock.sendall(raw.get(how, b""))

    peer = open_peer(speaking_h2(script))
    pool = pool_for(peer, "h2c")
    with pytest.raises(TransportError) as caught:
        pool.send(WRITE, deadline=soon())
    pool.close()
    assert caught.value.may_have_run
    assert peer.connections == 1


def test_h2c_to_an_http1_server(open_peer: PeerFactory) -> None:
    def script(conversation: Conversation) -> None:
        conversation.sock.recv(1000)
        conversation.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")

    pool = pool_for(open_peer(script), "h2c")
    with pytest.raises(RemoteProtocolError, match="does not speak HTTP/2"):
        pool.send(WRITE, deadline=soon())
    pool.close()


def test_tls_falls_back_to_http1_without_alpn(open_peer: PeerFactory, peer_pki: PKI) -> None:
    peer = open_peer(answering(OK, OK), peer_pki.context(alpn=()))
    pool = pool_for(peer, "h2", _trusting(peer_pki))
    for _ in range(2):
        assert pool.send(WRITE, deadline=soon()).body == b"ok"
    pool.close()
    assert peer.connections == 1


def test_plain_http_to_a_tls_port_says_so(open_peer: PeerFactory, peer_pki: PKI) -> None:
    peer = open_peer(answering(OK), peer_pki.context())
    pool = pool_for(peer, "h1")
    with pytest.raises(TLSError, match="expects TLS") as caught:
        pool.send(WRITE, deadline=soon())
    pool.close()
    assert caught.value.reason == "plain_http_on_tls_port"
    assert peer.requests == []


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
        b"\x15\x03\x01\x00\x02\x02\x0a",
    ],
)
def test_answer_of_a_tls_port_is_recognised(open_peer: PeerFactory, answer: bytes) -> None:
    def script(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(answer)

    pool = pool_for(open_peer(script))
    with pytest.raises(TLSError) as caught:
        pool.send(WRITE, deadline=soon())
    pool.close()
    assert caught.value.reason == "plain_http_on_tls_port"
