"""What we change in aioquic, machine against machine: a version that moves it is found here."""

from __future__ import annotations

import logging
from typing import Any

import pylsqpack
import pytest
from aioquic.buffer import encode_uint_var
from aioquic.h3.connection import ErrorCode, H3Connection, Setting, encode_frame
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import (
    HandshakeCompleted,
    StopSendingReceived,
    StreamDataReceived,
)
from aioquic.quic.packet import QuicErrorCode

from quicsql_client.server.listeners.quic_machine import HTTP3Machine, read_header
from quicsql_client.server.listeners.settings import (
    CONNECTION_WINDOW_BYTES,
    MAX_QUIC_STREAMS,
    QUIC_CONTROL_WINDOW_BYTES,
    QUIC_STREAM_WINDOW_BYTES,
)

from .made_certificates import make
from .quic_pair import QUICPair

CA = make("client CA", is_ca=True)
MIDDLE = CA.issue("middle", is_ca=True)
LEAF = MIDDLE.issue("analyst")
HEAD = [(b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"l"), (b":path", b"/")]


# --- the handshake


def test_a_certificate_is_asked_for_and_handed_over() -> None:
    pair = QUICPair(LEAF, MIDDLE, asks_for_certificate=True)
    assert pair.server.peer_certificate == LEAF.certificate
    assert pair.server.peer_intermediates == [MIDDLE.certificate]
    assert pair.of(pair.server, HandshakeCompleted)


def test_a_client_without_a_certificate_says_so() -> None:
    pair = QUICPair(asks_for_certificate=True)
    assert pair.server.peer_certificate is None
    assert pair.of(pair.server, HandshakeCompleted)  # it is ours to refuse it


def test_a_certificate_is_not_asked_for() -> None:
    pair = QUICPair(LEAF)
    assert pair.server.peer_certificate is None
    assert pair.of(pair.server, HandshakeCompleted)


def test_the_key_of_the_certificate_is_checked() -> None:
    stolen = type(LEAF)(LEAF.certificate, CA.key)
    pair = QUICPair(stolen, asks_for_certificate=True)
    assert not pair.of(pair.server, HandshakeCompleted)
    assert pair.code == QuicErrorCode.CRYPTO_ERROR + 51  # decrypt_error


def test_no_session_can_be_resumed() -> None:
    tickets: list[Any] = []

    class Collecting(QuicConnection):
        def __init__(self, **keys: Any) -> None:
            super().__init__(session_ticket_handler=tickets.append, **keys)

    pair = QUICPair(client=Collecting)
    (done,) = pair.of(pair.client, HandshakeCompleted)
    assert not done.session_resumed
    assert not done.early_data_accepted
    assert not tickets


def test_a_handshake_too_long_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aioquic.quic.connection.CRYPTO_BUFFER_SIZE", 2**20)  # of the client
    pair = QUICPair(LEAF, *[MIDDLE] * 300, asks_for_certificate=True)  # some 100 KB
    assert pair.code == QuicErrorCode.CRYPTO_BUFFER_EXCEEDED
    assert not pair.of(pair.server, HandshakeCompleted)


def test_other_application_protocols_are_refused() -> None:
    class Offering(QuicConnection):
        def __init__(self, *, configuration: Any) -> None:
            configuration.alpn_protocols = ["hq-interop"]
            super().__init__(configuration=configuration)

    assert QUICPair(client=Offering).code == QuicErrorCode.CRYPTO_ERROR + 120


def test_ending_is_known_at_once() -> None:
    pair = QUICPair()
    before = pair.server.is_ending
    pair.client.close(0x100)
    for data, _ in pair.client.datagrams_to_send(pair.now):
        pair.server.receive_datagram(data, ("192.0.2.1", 4000), pair.now)
    assert (before, pair.server.is_ending) == (False, True)
    assert pair.server.next_event() is None  # aioquic would tell after some round trips


def test_idle_time_is_the_smaller_of_both() -> None:
    assert QUICPair(idle_timeout=60.0).server.idle_timeout_s == 30.0
    assert QUICPair(idle_timeout=5.0).server.idle_timeout_s == 5.0


def test_what_aioquic_says_of_its_peers_is_for_debugging(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "quicsql.server.quic")
    pair = QUICPair()
    pair.client.close(0x100, reason_phrase="a line\nand another")
    pair.run()
    ours = [record for record in caplog.records if record.name == "quicsql.server.quic"]
    assert any("a line" in record.getMessage() for record in ours)
    assert {record.levelno for record in ours} == {logging.DEBUG}


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x40" + bytes(7), b"\xc0\x00\x00\x00\x01\xff"])
def test_what_is_no_packet_has_no_header(data: bytes) -> None:
    assert read_header(data) is None


# --- streams and windows


def test_announced_limits() -> None:
    client = QUICPair().client
    assert client._remote_max_streams_bidi == MAX_QUIC_STREAMS
    assert client._remote_max_streams_uni == MAX_QUIC_STREAMS
    assert client._remote_max_data == CONNECTION_WINDOW_BYTES
    assert client._remote_max_stream_data_bidi_remote == QUIC_STREAM_WINDOW_BYTES
    assert client._remote_max_stream_data_uni == QUIC_CONTROL_WINDOW_BYTES


def test_a_stream_that_ends_makes_room_for_another() -> None:
    pair = QUICPair()
    for _ in range(MAX_QUIC_STREAMS + 20):
        pair.client.send_stream_data(pair.client.get_next_available_stream_id(), b"x", True)
    pair.run()
    opened = {event.stream_id for event in pair.of(pair.server, StreamDataReceived)}
    assert opened == set(range(0, 4 * MAX_QUIC_STREAMS, 4))
    for stream_id in sorted(opened)[:60]:
        pair.server.send_stream_data(stream_id, b"", True)
    pair.run()
    opened = {event.stream_id for event in pair.of(pair.server, StreamDataReceived)}
    assert len(opened) == MAX_QUIC_STREAMS + 20


def test_a_stream_too_many_ends_the_connection() -> None:
    pair = QUICPair()
    pair.client._remote_max_streams_bidi = 1000
    pair.client.send_stream_data(4 * MAX_QUIC_STREAMS, b"x")
    pair.run()
    assert pair.code == QuicErrorCode.STREAM_LIMIT_ERROR


class HoldingPair(QUICPair):
    """Tells the server's machine of what it hands over in the same moment, as a server does."""

    held: dict[int, int]

    def _collect(self, machine: QuicConnection) -> None:
        kept = self.events.setdefault(machine, [])
        while (event := machine.next_event()) is not None:
            kept.append(event)
            if machine is self.server and isinstance(event, StreamDataReceived):
                size = self.held.get(event.stream_id, 0) + len(event.data)
                self.held[event.stream_id] = size
                self.server.hold(event.stream_id, size)

    def __init__(self) -> None:
        self.held = {}
        super().__init__()

    def take(self) -> int:
        """Hold nothing any more: how much it was."""
        size = sum(self.held.values())
        for stream_id in self.held:
            self.server.hold(stream_id, 0)
        self.held.clear()
        return size


def test_a_body_that_nobody_takes_stays_within_its_window() -> None:
    pair = HoldingPair()
    total = 5 * QUIC_STREAM_WINDOW_BYTES
    pair.client.send_stream_data(0, bytes(total), True)
    pair.run()
    assert pair.held[0] == QUIC_STREAM_WINDOW_BYTES
    taken = 0
    for _ in range(10):
        taken += pair.take()
        pair.run()
    assert taken == total


def test_bodies_that_nobody_takes_stay_within_the_connections_window() -> None:
    pair = HoldingPair()
    for stream_id in range(0, 40, 4):
        pair.client.send_stream_data(stream_id, bytes(QUIC_STREAM_WINDOW_BYTES))
    pair.run()
    assert sum(pair.held.values()) == CONNECTION_WINDOW_BYTES
    taken = 0
    for _ in range(10):
        taken += pair.take()
        pair.run()
    assert taken == 10 * QUIC_STREAM_WINDOW_BYTES


@pytest.mark.parametrize("every", [5, 7, 11])
def test_windows_open_again_whatever_is_lost(every: int) -> None:
    pair = HoldingPair()
    pair.loses = lambda number: number % every == 0
    total = 5 * QUIC_STREAM_WINDOW_BYTES
    for stream_id in (0, 4):
        pair.client.send_stream_data(stream_id, bytes(total), True)
    taken = 0
    for _ in range(30):
        pair.run()
        assert sum(pair.held.values()) <= CONNECTION_WINDOW_BYTES
        taken += pair.take()
    assert taken == 2 * total


def test_room_behind_gaps_counts_too() -> None:
    """A byte far off makes aioquic keep room for all before it."""
    pair = QUICPair()
    pair.client._remote_max_data = 2**40
    gap = QUIC_STREAM_WINDOW_BYTES - 1
    for stream_id in range(0, 40, 4):
        pair.client.send_stream_data(stream_id, bytes(gap) + b"x")
        pair.client._streams[stream_id].sender._pending.subtract(0, gap)  # the last byte alone
    pair.run()
    assert pair.code == QuicErrorCode.FLOW_CONTROL_ERROR
    room = sum(len(stream.receiver._buffer) for stream in pair.server._streams.values())
    assert room <= CONNECTION_WINDOW_BYTES


def test_cancelled_uploads_use_up_nothing() -> None:
    pair = HoldingPair()
    for number in range(40):
        stream_id = 4 * number
        pair.client.send_stream_data(stream_id, bytes(500_000))
        pair.run()
        pair.take()
        pair.client.reset_stream(stream_id, 0x10C)
        pair.server.reset_stream(stream_id, 0x10C)
        pair.run()
    pair.client.send_stream_data(4 * 40, bytes(QUIC_STREAM_WINDOW_BYTES))
    pair.run()
    assert pair.held[4 * 40] == QUIC_STREAM_WINDOW_BYTES
    assert pair.code is None


def test_what_a_client_has_not_acknowledged() -> None:
    pair = QUICPair(max_stream_data=10_000)
    pair.client._write_stream_limits = lambda **keys: None  # type: ignore[method-assign]
    pair.client.send_stream_data(0, b"x", True)
    pair.run()
    assert pair.server.is_flushed
    assert pair.server.unacknowledged_bytes(0) == 0
    pair.server.send_stream_data(0, bytes(50_000), True)
    assert pair.server.unacknowledged_bytes(0) == 50_000
    pair.run()
    assert pair.server.unacknowledged_bytes(0) == 40_000
    before = pair.server.is_flushed
    pair.server.reset_stream(0, 0x10C)
    assert (before, pair.server.is_flushed) == (False, True)
    assert pair.server.unacknowledged_bytes(400) == 0  # of no stream


def test_a_client_is_asked_to_send_no_more_only_where_it_may() -> None:
    pair = QUICPair()
    for stream_id, end in ((0, True), (4, False)):
        pair.client.send_stream_data(stream_id, b"x", end)
    pair.run()
    for stream_id in (0, 4, 8):
        pair.server.stop_reading(stream_id, 0x100)
    pair.run()
    stopped = pair.of(pair.client, StopSendingReceived)
    assert [(event.stream_id, event.error_code) for event in stopped] == [(4, 0x100)]


# --- HTTP/3


class HTTP3Pair(QUICPair):
    def __init__(self, **keys: Any) -> None:
        super().__init__(**keys)
        self.http = H3Connection(self.client)
        self.ours = HTTP3Machine(self.server)
        self.exchange()

    def exchange(self) -> list[Any]:
        """Carry everything; what our side made of it."""
        found: list[Any] = []
        for _ in range(3):
            self.run()
            for machine, http in ((self.client, self.http), (self.server, self.ours)):
                events, self.events[machine] = self.events[machine], []
                for event in events:
                    parts = http.handle_event(event)
                    found += parts if machine is self.server else []
        return found


def test_settings_offer_no_table() -> None:
    pair = HTTP3Pair()
    assert pair.http.received_settings == {
        Setting.QPACK_MAX_TABLE_CAPACITY: 0,
        Setting.QPACK_BLOCKED_STREAMS: 0,
        Setting.MAX_FIELD_SECTION_SIZE: 1048896,
    }


def test_a_table_of_the_client_is_not_used() -> None:
    pair = HTTP3Pair()
    blocks = set()
    for _ in range(3):
        blocks.add(pair.ours._encode_headers(0, [(b":status", b"200"), (b"x-a", b"b" * 100)]))
    assert len(blocks) == 1
    assert pair.server._streams[pair.ours._local_encoder_stream_id or 0].sender._buffer_stop == 1


def test_a_client_that_fills_a_table_is_cut() -> None:
    pair = HTTP3Pair()
    encoder = pylsqpack.Encoder()
    filling = encoder.apply_settings(max_table_capacity=4096, blocked_streams=16)
    pair.client.send_stream_data(pair.http._local_encoder_stream_id or 0, filling)
    pair.exchange()
    pair.run()
    assert pair.code == ErrorCode.QPACK_ENCODER_STREAM_ERROR


def test_requests_are_read_and_what_waits_is_told() -> None:
    pair = HTTP3Pair()
    pair.http.send_headers(0, HEAD)
    pair.http.send_data(0, b"body", True)
    head, data = pair.exchange()
    assert isinstance(head, HeadersReceived)
    assert isinstance(data, DataReceived)
    assert (head.headers, data.data, data.stream_ended) == (HEAD, b"body", True)
    half = encode_frame(1, bytes(5000))[:3000]
    pair.client.send_stream_data(4, half)
    assert pair.exchange() == []
    assert pair.ours.held_bytes(4) == 3000 - 3
    pair.ours.forget(4)
    assert pair.ours.held_bytes(4) == 0


def test_goaway_goes_out_on_the_control_stream() -> None:
    pair = HTTP3Pair()
    pair.ours.send_goaway(400)
    pair.run()
    control = pair.of(pair.client, StreamDataReceived)
    assert [(event.stream_id, event.data) for event in control] == [
        (3, b"\x07\x02" + encode_uint_var(400))
    ]


def test_a_header_block_that_blows_up_ends_the_connection() -> None:
    pair = HTTP3Pair()
    bomb = b"\x00\x00" + b"\xd1" * 200_000  # ":method: GET", a byte each
    pair.client.send_stream_data(0, encode_frame(1, bomb), True)
    assert pair.exchange() == []
    pair.run()
    assert pair.code == ErrorCode.H3_EXCESSIVE_LOAD
