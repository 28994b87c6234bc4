"""The HTTP/3 pool against scripted servers over UDP: right, wrong, cut, silent."""

from __future__ import annotations

import os
import socket
import sys
import time

import pytest
from aioquic.h3.connection import ErrorCode, FrameType

from quicsql_client import AsyncClient, ConfigurationError
from quicsql_client.endpoint import Endpoint
from quicsql_client.errors import (
    ConnectError,
    ConnectTimeout,
    LocalProtocolError,
    PoolTimeout,
    ReadTimeout,
    RemoteProtocolError,
    ResponseTooLarge,
    TransportError,
    WriteTimeout,
)
from quicsql_client.options import (
    ClientOptions,
    Option,
    with_connect_timeout,
    with_max_response,
    with_root_ca,
)
from quicsql_client.wire.messages import Request
from tests.fix_peers import PKI, WAIT_S
from tests.fix_quic_peers import (
    AsyncHTTP3Pool,
    QUICConversation,
    QUICPeer,
    QUICPeerFactory,
)

READ = Request("GET", "/_health")
WRITE = Request("POST", "/app/query", (("content-type", "application/json"),), b'{"sql":"x"}')
OK_HEAD = (":status", "200")


def soon(seconds: float = WAIT_S) -> float:
    return time.monotonic() + seconds


def pool_for(
    peer: QUICPeer, pki: PKI, *options: Option, keepalive_s: float = 50.0
) -> AsyncHTTP3Pool:
    endpoint = Endpoint.parse(peer.address, transport="h3")
    configured = ClientOptions.of([with_root_ca(pki.server_ca.cert_pem), *options], endpoint)
    return AsyncHTTP3Pool(endpoint, configured, keepalive_s=keepalive_s)


def unanswered(conversation: QUICConversation, stream: int) -> None:
    """A script: nothing."""


# Well


async def test_connection_is_kept_and_used_again(
    open_quic_peer: QUICPeerFactory, peer_pki: PKI
) -> None:
    peer = open_quic_peer()
    pool = pool_for(peer, peer_pki)
    first = await pool.send(WRITE, deadline=soon())
    bodies = [(await pool.send(READ, deadline=None)).body for _ in range(3)]
    assert "1 idle" in repr(pool)
    await pool.aclose()
    assert (first.status, first.body, first.header("content-length")) == (200, b"ok", "2")
    assert bodies == [b"ok"] * 3
    assert peer.requests == [WRITE.body, b"", b"", b""]
    assert peer.connections == 1
    peer.wait_ended()  # the client has said farewell


async def test_bodies_beyond_every_window(open_quic_peer: QUICPeerFactory, peer_pki: PKI) -> None:
    def script(conversation: QUICConversation, stream: int) -> None:
        conversation.answer(stream, conversation.bodies[stream][::-1])

    pool = pool_for(open_quic_peer(script), peer_pki)
    body = os.urandom(3_000_000)
    response = await pool.send(Request("POST", "/x", (), body), deadline=soon(60))
    await pool.aclose()
    assert response.body == body[::-1]


async def test_answers_without_a_body_of_their_length(
    open_quic_peer: QUICPeerFactory, peer_pki: PKI
) -> None:
    def script(conversation: QUICConversation, stream: int) -> None:
        if stream == 0:
            conversation.send_fields(stream, (OK_HEAD, ("content-length", "99")), is_last=True)
        elif stream == 4:
            conversation.send_fields(stream, ((":status", "204"),), is_last=True)
        else:
            conversation.send_fields(stream, ((":status", "103"), ("link", "x")))
            conversation.answer(stream, b"ok", (OK_HEAD,), is_last=False)
            conversation.send_fields(stream, (("trailer", "x"),), is_last=True)

    peer = open_quic_peer(script)
    pool = pool_for(peer, peer_pki, with_max_response(10))
    head = await pool.send(Request("HEAD", "/"), deadline=soon())
    empty = await pool.send(READ, deadline=soon())
    late = await pool.send(READ, deadline=soon())
    await pool.aclose()
    assert [(one.status, one.body) for one in (head, empty, late)] == [
        (200, b""),
        (204, b""),
        (200, b"ok"),
    ]
    assert peer.connections == 1


async def test_early_answer_to_a_large_request_is_read(
    open_quic_peer: QUICPeerFactory, peer_pki: PKI
) -> None:
    def refuse(conversation: QUICConversation, stream: int) -> None:
        conversation.answer(stream, b"big", ((":status", "413"),))
        conversation.quic.stop_stream(stream, ErrorCode.H3_NO_ERROR)
        conversation.transmit()

    peer = open_quic_peer(unanswered, at_head=refuse)
    pool = pool_for(peer, peer_pki)
    response = await pool.send(Request("POST", "/x", (), b"y" * 5_000_000), deadline=soon())
    await pool.aclose()
    assert (response.status, response.body) == (413, b"big")


async def test_old_idle_connection_is_not_used(
    open_quic_peer: QUICPeerFactory, peer_pki: PKI
) -> None:
    peer = open_quic_peer()
    pool = pool_for(peer, peer_pki, keepalive_s=0.0)
    for _ in range(2):
        await pool.send(READ, deadline=soon())
    await pool.aclose()
    assert peer.connections == 2


async def test_renewed_certificates_make_a_new_connection(
    open_quic_peer: QUICPeerFactory, peer_pki: PKI
) -> None:
    peer = open_quic_peer()
    pool = pool_for(peer, peer_pki)
    await pool.send(READ, deadline=soon())
    assert pool.tls is not None
    pool.tls.reload()
    await pool.send(READ, deadline=soon())
    peer.wait_ended()
    await pool.send(READ, deadline=soon())
    status = pool.tls.status()
    await pool.aclose()
    assert peer.connections == 2
    assert status.server is not None
    assert status.generation == 1


# The server goes between calls


async def test_server_says_farewell_between_calls(
    open_quic_peer: QUICPeerFactory, peer_pki: PKI
) -> None:
    peer = open_quic_peer()
    pool = pool_for(peer, peer_pki)
    await pool.send(WRITE, deadline=soon())
    peer.close()
    again = open_quic_peer(port=peer.port)
    assert (await pool.send(WRITE, deadline=soon())).body == b"ok"
    await pool.aclose()
    assert (len(peer.requests), len(again.requests)) == (1, 1)


async def test_server_is_another_one_without_a_word(
    open_quic_peer: QUICPeerFactory, peer_pki: PKI
) -> None:
    peer = open_quic_peer()
    pool = pool_for(peer, peer_pki)
    await pool.send(WRITE, deadline=soon())
    peer.close(is_silent=True)
    again = open_quic_peer(port=peer.port)
    pool._idle[0].idle_since -= 10.0  # long enough to be asked whether it is there
    assert (await pool.send(WRITE, deadline=soon())).body == b"ok"
    await pool.aclose()
    assert (len(peer.requests), len(again.requests)) == (1, 1)


async def test_idle_connection_that_answers_is_kept(
    open_quic_peer: QUICPeerFactory, peer_pki: PKI
) -> None:
    peer = open_quic_peer()
    pool = pool_for(peer, peer_pki)
    for _ in range(3):
        await pool.send(WRITE, deadline=soon())
        pool._idle[0].idle_since -= 10.0
    await pool.aclose()
    assert peer.connections == 1


async def test_server_is_gone_without_a_word(
    open_quic_peer: QUICPeerFactory, peer_pki: PKI
) -> None:
    peer = open_quic_peer()
    pool = pool_for(peer, peer_pki)
    await pool.send(WRITE, deadline=soon())
    peer.close(is_silent=True)
    with pytest.raises(ConnectError, match="is the server running") as caught:
        await pool.send(WRITE, deadline=soon())
    await pool.aclose()
    assert not caught.value.may_have_run


async def test_goaway_between_calls(open_quic_peer: QUICPeerFactory, peer_pki: PKI) -> None:
    peer = open_quic_peer()
    pool = pool_for(peer, peer_pki)
    await pool.send(WRITE, deadline=soon())
    peer.do(lambda: peer.conversations[0].send_goaway(4))
    # The one pair of datagrams on loopback is there when the next call looks, or refuses it.
    assert (await pool.send(WRITE, deadline=soon())).body == b"ok"
    await pool.aclose()
    assert peer.connections == 2


async def test_goaway_lets_the_answer_come(open_quic_peer: QUICPeerFactory, peer_pki: PKI) -> None:
    def script(conversation: QUICConversation, stream: int) -> None:
        conversation.send_control(0x21, b"of a kind that nobody knows")
        conversation.send_goaway(stream + 4)
        conversation.answer(stream)

    peer = open_quic_peer(script)
    pool = pool_for(peer, peer_pki)
    for _ in range(2):
        assert (await pool.send(WRITE, deadline=soon())).body == b"ok"
    await pool.aclose()
    assert peer.connections == 2


# The server does not process


@pytest.mark.parametrize("how", ["goaway", "rejected"])
async def test_request_not_processed_is_sent_again(
    open_quic_peer: QUICPeerFactory, peer_pki: PKI, how: str
) -> None:
    def script(conversation: QUICConversation, stream: int) -> None:
        if conversation.number > 1:
            conversation.answer(stream)
        elif how == "goaway":
            conversation.send_goaway(stream)
        else:
            conversation.reset(stream, ErrorCode.H3_REQUEST_REJECTED)

    peer = open_quic_peer(script)
    pool = pool_for(peer, peer_pki)
    assert (await pool.send(WRITE, deadline=soon())).body == b"ok"
    await pool.aclose()
    assert peer.connections == 2


async def test_never_processed_ends(open_quic_peer: QUICPeerFactory, peer_pki: PKI) -> None:
    def script(conversation: QUICConversation, stream: int) -> None:
        conversation.reset(stream, ErrorCode.H3_REQUEST_REJECTED)

    peer = open_quic_peer(script)
    pool = pool_for(peer, peer_pki)
    with pytest.raises(RemoteProtocolError, match="refused") as caught:
        await pool.send(WRITE, deadline=soon())
    await pool.aclose()
    assert not caught.value.may_have_run
    assert caught.value.request == "POST /app/query"
    assert peer.connections == 3


# The answer is lost


@pytest.mark.parametrize("is_begun", [False, True])
async def test_connection_closed_in_mid_call(
    open_quic_peer: QUICPeerFactory, peer_pki: PKI, is_begun: bool
) -> None:
    def script(conversation: QUICConversation, stream: int) -> None:
        if is_begun:
            conversation.answer(stream, b"o", (OK_HEAD,), is_last=False)
        conversation.close(error_code=ErrorCode.H3_INTERNAL_ERROR, reason_phrase="out of order")

    peer = open_quic_peer(script)
    pool = pool_for(peer, peer_pki)
    with pytest.raises(TransportError, match=r"may have taken effect") as caught:
        await pool.send(WRITE, deadline=soon())
    await pool.aclose()
    assert caught.value.may_have_run
    assert "out of order" in str(caught.value)
    assert caught.value.answer_began is is_begun
    assert len(peer.requests) == 1


async def test_read_on_a_kept_connection_that_ends_is_sent_again(
    open_quic_peer: QUICPeerFactory, peer_pki: PKI
) -> None:
    def script(conversation: QUICConversation, stream: int) -> None:
        if stream == 4:
            conversation.close(error_code=ErrorCode.H3_NO_ERROR)
        else:
            conversation.answer(stream)

    peer = open_quic_peer(script)
    pool = pool_for(peer, peer_pki)
    await pool.send(WRITE, deadline=soon())
    assert (await pool.send(READ, deadline=soon())).body == b"ok"
    with pytest.raises(TransportError) as caught:
        await pool.send(WRITE, deadline=soon())
    await pool.aclose()
    assert caught.value.may_have_run
    assert len(peer.requests) == 4


async def test_reset_stream(open_quic_peer: QUICPeerFactory, peer_pki: PKI) -> None:
    def script(conversation: QUICConversation, stream: int) -> None:
        conversation.reset(stream, ErrorCode.H3_INTERNAL_ERROR)

    peer = open_quic_peer(script)
    pool = pool_for(peer, peer_pki)
    with pytest.raises(RemoteProtocolError, match="H3_INTERNAL_ERROR") as caught:
        await pool.send(WRITE, deadline=soon())
    await pool.aclose()
    assert caught.value.may_have_run
    assert peer.connections == 1


async def test_no_answer_ends_at_the_deadline(
    open_quic_peer: QUICPeerFactory, peer_pki: PKI
) -> None:
    def script(conversation: QUICConversation, stream: int) -> None:
        if conversation.number > 1:
            conversation.answer(stream)

    peer = open_quic_peer(script)
    pool = pool_for(peer, peer_pki)
    with pytest.raises(ReadTimeout) as caught:
        await pool.send(WRITE, deadline=soon(0.5))
    peer.wait_ended()  # the server learns of it
    assert (await pool.send(WRITE, deadline=soon())).body == b"ok"
    await pool.aclose()
    assert caught.value.may_have_run
    assert peer.connections == 2


async def test_request_that_is_not_taken_ends_at_the_deadline(
    open_quic_peer: QUICPeerFactory, peer_pki: PKI
) -> None:
    def stop_reading(conversation: QUICConversation, stream: int) -> None:
        conversation.peer._server._transport.pause_reading()  # type: ignore[union-attr]

    peer = open_quic_peer(unanswered, at_head=stop_reading)
    pool = pool_for(peer, peer_pki)
    with pytest.raises(WriteTimeout) as caught:
        await pool.send(Request("POST", "/x", (), b"y" * 5_000_000), deadline=soon(0.5))
    await pool.aclose()
    assert caught.value.may_have_run


# No connection


async def test_nobody_listens(open_quic_peer: QUICPeerFactory, peer_pki: PKI) -> None:
    peer = open_quic_peer()
    peer.close()
    pool = pool_for(peer, peer_pki)
    with pytest.raises(ConnectError, match="is the server running") as caught:
        await pool.send(WRITE, deadline=soon())
    await pool.aclose()
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    assert caught.value.is_retryable
    assert not caught.value.may_have_run


async def test_silent_port_ends_at_the_connect_timeout(silent_port: int) -> None:
    endpoint = Endpoint.parse(f"localhost:{silent_port}", transport="h3")
    pool = AsyncHTTP3Pool(endpoint, ClientOptions.of([with_connect_timeout(0.6)]))
    with pytest.raises(ConnectTimeout, match="UDP") as caught:
        await pool.send(WRITE, deadline=soon())
    await pool.aclose()
    assert not caught.value.may_have_run


async def test_name_that_does_not_resolve() -> None:
    pool = AsyncHTTP3Pool(Endpoint.parse("x.invalid:1", transport="h3"), ClientOptions())
    with pytest.raises(ConnectError, match=r"x\.invalid|in time"):
        await pool.send(READ, deadline=soon())
    await pool.aclose()


async def test_every_address_of_a_name_is_tried(
    open_quic_peer: QUICPeerFactory, peer_pki: PKI, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = open_quic_peer()
    dead = open_quic_peer()
    dead.close()
    found = [
        (socket.AF_INET, socket.SOCK_DGRAM, 0, "", ("127.0.0.1", port))
        for port in (dead.port, peer.port)
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **keys: found)
    endpoint = Endpoint.parse(f"localhost:{dead.port}", transport="h3")
    options = ClientOptions.of([with_root_ca(peer_pki.server_ca.cert_pem)])
    pool = AsyncHTTP3Pool(endpoint, options)
    assert (await pool.send(WRITE, deadline=soon())).body == b"ok"
    await pool.aclose()
    assert peer.connections == 1


async def test_pool_timeout_while_every_connection_is_in_use(
    open_quic_peer: QUICPeerFactory, peer_pki: PKI
) -> None:
    endpoint = Endpoint.parse(open_quic_peer().address, transport="h3")
    options = ClientOptions.of([with_root_ca(peer_pki.server_ca.cert_pem)])
    pool = AsyncHTTP3Pool(endpoint, options, max_connections=1)
    await pool._slots.acquire(None)
    with pytest.raises(PoolTimeout) as caught:
        await pool.send(READ, deadline=soon(0.1))
    pool._slots.release()
    assert (await pool.send(READ, deadline=soon())).body == b"ok"
    await pool.aclose()
    assert not caught.value.may_have_run


async def test_connection_of_the_parent_process_is_not_used(
    open_quic_peer: QUICPeerFactory, peer_pki: PKI, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = open_quic_peer()
    pool = pool_for(peer, peer_pki)
    await pool.send(READ, deadline=soon())
    pid = os.getpid()
    monkeypatch.setattr("os.getpid", lambda: pid + 1)
    await pool.send(READ, deadline=soon())
    assert not peer.ended.acquire(blocking=False)  # the parent's goes on
    await pool.aclose()
    assert peer.connections == 2


async def test_closed_pool_refuses(open_quic_peer: QUICPeerFactory, peer_pki: PKI) -> None:
    pool = pool_for(open_quic_peer(), peer_pki)
    await pool.aclose()
    await pool.aclose()
    with pytest.raises(LocalProtocolError, match="closed"):
        await pool.send(READ, deadline=soon())


# What answers may say


@pytest.mark.parametrize("is_announced", [False, True])
async def test_response_cap(
    open_quic_peer: QUICPeerFactory, peer_pki: PKI, is_announced: bool
) -> None:
    def script(conversation: QUICConversation, stream: int) -> None:
        size = 10 if stream == 0 else 2**40
        fields = (OK_HEAD, ("content-length", str(size))) if is_announced else (OK_HEAD,)
        conversation.answer(stream, b"x" * min(size, 11), fields, is_last=stream == 0)

    pool = pool_for(open_quic_peer(script), peer_pki, with_max_response(10))
    assert (await pool.send(READ, deadline=soon())).body == b"x" * 10
    with pytest.raises(ResponseTooLarge, match="with_max_response") as caught:
        await pool.send(WRITE, deadline=soon())
    await pool.aclose()
    assert caught.value.limit_bytes == 10


BROKEN: dict[str, tuple[tuple[str, str], ...]] = {
    "no status": (("x", "y"),),
    "status of letters": ((":status", "abc"),),
    "status 099": ((":status", "099"),),
    "status 101": ((":status", "101"),),
    "status twice": (OK_HEAD, OK_HEAD),
    "status after a field": (("x", "y"), OK_HEAD),
    "request's field": (OK_HEAD, (":path", "/")),
    "upper case": (OK_HEAD, ("X-Upper", "y")),
    "line break": (OK_HEAD, ("x", "a\r\nevil: 1")),
    "blank at the end": (OK_HEAD, ("x", "a ")),
    "connection field": (OK_HEAD, ("connection", "close")),
    "transfer-encoding": (OK_HEAD, ("transfer-encoding", "chunked")),
    "lengths that differ": (OK_HEAD, ("content-length", "2"), ("content-length", "3")),
    "length with a sign": (OK_HEAD, ("content-length", "+2")),
    "too short": (OK_HEAD, ("content-length", "3")),
    "too long": (OK_HEAD, ("content-length", "1")),
    "encoded": (OK_HEAD, ("content-encoding", "gzip")),
    "many fields": (OK_HEAD, *((f"x{n}", "y" * 100) for n in range(600))),
}


@pytest.mark.parametrize("how", BROKEN)
async def test_broken_head_is_an_error_and_sent_once(
    open_quic_peer: QUICPeerFactory, peer_pki: PKI, how: str
) -> None:
    def script(conversation: QUICConversation, stream: int) -> None:
        conversation.answer(stream, b"ok", BROKEN[how])

    peer = open_quic_peer(script)
    pool = pool_for(peer, peer_pki)
    with pytest.raises(RemoteProtocolError) as caught:
        await pool.send(READ, deadline=soon())
    await pool.aclose()
    assert caught.value.may_have_run
    assert len(peer.requests) == 1


RAW = {
    "end without an answer": b"",
    "cut frame": b"\x01\x40\x50abc",
    "body first": b"\x00\x02ok",
    "settings": b"\x04\x00",
    "goaway": b"\x07\x01\x00",
    "no qpack": b"\x01\x05\xff\xff\xff\xff\xff",
    "table that is not there": b"\x01\x03\x02\x00\x80",
    "field section without end": b"\x01\x80\x10\x00\x00" + b"x" * 200_000,
    "push": b"\x05\x04\x00\x00\x00\xd9",
    "http1": b"HTTP/1.1 200 OK\r\n\r\n",
}


@pytest.mark.parametrize("how", RAW)
async def test_broken_frames_are_an_error_and_sent_once(
    open_quic_peer: QUICPeerFactory, peer_pki: PKI, how: str
) -> None:
    def script(conversation: QUICConversation, stream: int) -> None:
        conversation.send_raw(stream, RAW[how], is_last="without end" not in how)

    peer = open_quic_peer(script)
    pool = pool_for(peer, peer_pki)
    with pytest.raises(RemoteProtocolError) as caught:
        await pool.send(READ, deadline=soon())
    await pool.aclose()
    assert caught.value.may_have_run
    assert len(peer.requests) == 1


@pytest.mark.parametrize(
    "payload", [b"", b"\x05", b"\x40\x00\x00", b"\x00" * 9], ids=["none", "push", "more", "long"]
)
async def test_broken_goaway(
    open_quic_peer: QUICPeerFactory, peer_pki: PKI, payload: bytes
) -> None:
    def script(conversation: QUICConversation, stream: int) -> None:
        conversation.send_control(FrameType.GOAWAY, payload)

    pool = pool_for(open_quic_peer(script), peer_pki)
    with pytest.raises(RemoteProtocolError, match="GOAWAY"):
        await pool.send(WRITE, deadline=soon())
    await pool.aclose()


async def test_goaway_that_takes_another_one_back(
    open_quic_peer: QUICPeerFactory, peer_pki: PKI
) -> None:
    def script(conversation: QUICConversation, stream: int) -> None:
        conversation.send_goaway(4)
        conversation.send_goaway(8)

    pool = pool_for(open_quic_peer(script), peer_pki)
    with pytest.raises(RemoteProtocolError, match="GOAWAY"):
        await pool.send(WRITE, deadline=soon())
    await pool.aclose()


# The client


async def test_client_by_name_and_by_url(open_quic_peer: QUICPeerFactory, peer_pki: PKI) -> None:
    def script(conversation: QUICConversation, stream: int) -> None:
        conversation.answer(stream, b'{"status":"ok"}')

    peer = open_quic_peer(script)
    path = peer_pki.folder / "server-ca.pem"
    path.write_bytes(peer_pki.server_ca.cert_pem)
    async with AsyncClient.h3(peer.address, with_root_ca(path)) as client:
        await client.health()
        assert (await client.http.get("/_health")).json() == {"status": "ok"}
        status = client.tls_status()
    url = f"quicsql://{peer.address}/app?transport=h3&sslrootcert={path}"
    async with AsyncClient.from_url(url) as client:
        await client.health()
    assert status is not None
    assert status.server is not None
    assert peer.connections == 2


async def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "quicsql_client.transports.http3", None)
    with pytest.raises(ConfigurationError, match=r'pip install "quicsql-client\[h3\]"'):
        AsyncClient.h3("localhost:1")
