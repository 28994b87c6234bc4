"""A UDP socket with all its QUIC connections: who a datagram is for, and who may begin.

A connection costs much before anybody is known to be there. Only so many handshakes go on at a
time, and beyond some of them a newcomer must first show that it gets what is sent to its address
(Retry, RFC 9000 8.1.2), which costs this side nothing to ask. Below, nobody pays for that round
trip. Must not know HTTP.
Source: RFC 9000 5.2, 6, 8.1.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any, cast

from aioquic.quic.packet import (
    QuicHeader,
    QuicPacketType,
    encode_quic_retry,
    encode_quic_version_negotiation,
)
from aioquic.quic.retry import QuicRetryTokenHandler

from .client_chain import Admission
from .endpoint import Endpoint
from .quic_connection import QUICConnection
from .quic_context import QUICContext
from .quic_machine import CONNECTION_ID_BYTES, VERSIONS, QUICMachine, configuration_of, read_header
from .settings import MAX_HANDSHAKES, RETRY_ABOVE_HANDSHAKES

_MIN_FIRST_BYTES = 1200  # of a client's first datagram (RFC 9000 14.1)
_MIN_FIRST_CID_BYTES = 8  # of the connection ID that it makes up (RFC 9000 7.2)


class QUICSocket(asyncio.DatagramProtocol):
    """Protocol of the datagram transport."""

    def __init__(self, endpoint: Endpoint, context: QUICContext) -> None:
        self._endpoint = endpoint
        self._connections: dict[bytes, QUICConnection] = {}
        self._handshakes: set[QUICConnection] = set()
        self._retry = QuicRetryTokenHandler()
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.DatagramTransport
        self._is_full = False  # the system takes no more datagrams at the moment
        self._closed = asyncio.Event()
        self.replace_context(context)

    @classmethod
    async def open(
        cls, bound: socket.socket, endpoint: Endpoint, context: QUICContext
    ) -> QUICSocket:
        """Take datagrams from a bound socket, which is closed with this one."""
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_datagram_endpoint(
            lambda: cls(endpoint, context), sock=bound
        )
        return protocol

    def replace_context(self, context: QUICContext) -> None:
        """Use this context for new handshakes."""
        self._admission = Admission(context)
        self._configuration = configuration_of(context, self._endpoint.timeouts.quic_idle_s)

    def drop_handshakes(self) -> None:
        """Forget who has not been admitted."""
        for connection in list(self._handshakes):
            connection.drop()

    async def close(self) -> None:
        """Forget every connection; the port is free when this returns."""
        for connection in set(self._connections.values()):
            connection.drop()
        self._transport.close()
        await self._closed.wait()
        await asyncio.sleep(0)  # asyncio closes the socket right after it has told us

    # --- protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's own datagram transport does not derive from the class that describes it.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed.set()

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False

    def error_received(self, exc: Exception) -> None:
        """The system could not deliver a datagram: that is what UDP does, and QUIC sends again."""

    def datagram_received(self, data: bytes, addr: Any) -> None:
        header = read_header(data)
        if header is None:
            return
        connection = self._connections.get(header.destination_cid)
        if connection is not None:
            connection.datagram_received(data, addr)
        elif len(data) >= _MIN_FIRST_BYTES and not self._endpoint.is_draining:
            self._greet(header, data, addr)

    # --- newcomers

    def _greet(self, header: QuicHeader, data: bytes, address: Any) -> None:
        if header.version is None or header.packet_type is QuicPacketType.VERSION_NEGOTIATION:
            return
        if header.version not in VERSIONS:
            self._negotiate_version(header, address)
        elif (
            header.packet_type is QuicPacketType.INITIAL
            and len(header.destination_cid) >= _MIN_FIRST_CID_BYTES
        ):
            self._accept(header, data, address)

    def _accept(self, header: QuicHeader, data: bytes, address: Any) -> None:
        original = self._original_cid(header, address)
        if original is None and len(self._handshakes) >= RETRY_ABOVE_HANDSHAKES:
            self._send_retry(header, address)
            return
        if len(self._handshakes) >= MAX_HANDSHAKES:
            return
        machine = QUICMachine(
            self._configuration,
            original_cid=original or header.destination_cid,
            retry_cid=header.destination_cid if original else None,
            asks_for_certificate=self._admission.asks_for_certificate,
        )
        connection = QUICConnection(machine, self._admission, self._endpoint, self)
        self._handshakes.add(connection)
        for cid in (header.destination_cid, machine.host_cid):
            self.claim(cid, connection)
        connection.datagram_received(data, address)

    def _original_cid(self, header: QuicHeader, address: Any) -> bytes | None:
        """The connection ID that a client had before our Retry; None: it has not followed one."""
        try:
            return self._retry.validate_token(
                address=address,
                destination_cid=header.destination_cid,
                token=header.token,
                now=self._loop.time(),
            )
        except ValueError:  # also the token of another server, which a client may have kept
            return None

    def _send_retry(self, header: QuicHeader, address: Any) -> None:
        cid = os.urandom(CONNECTION_ID_BYTES)
        token = self._retry.create_token(
            address=address,
            original_destination_connection_id=header.destination_cid,
            retry_source_connection_id=cid,
            now=self._loop.time(),
        )
        assert header.version is not None  # noqa: S101 - _greet looked at it
        packet = encode_quic_retry(
            version=header.version,
            source_cid=cid,
            destination_cid=header.source_cid,
            original_destination_cid=header.destination_cid,
            retry_token=token,
        )
        self.send(packet, address)

    def _negotiate_version(self, header: QuicHeader, address: Any) -> None:
        packet = encode_quic_version_negotiation(
            source_cid=header.destination_cid,
            destination_cid=header.source_cid,
            supported_versions=list(VERSIONS),
        )
        self.send(packet, address)

    # --- quic_connection.Carrier

    def send(self, data: bytes, address: Any) -> None:
        """Send a datagram, unless too many wait already."""
        if not self._is_full:
            self._transport.sendto(data, address)

    def claim(self, cid: bytes, connection: QUICConnection) -> None:
        """Datagrams with this connection ID are the connection's."""
        self._connections[cid] = connection
        connection.cids.add(cid)

    def release(self, cid: bytes) -> None:
        """They are not any more."""
        connection = self._connections.pop(cid, None)
        if connection is not None:
            connection.cids.discard(cid)

    def handshake_done(self, connection: QUICConnection) -> None:
        """The client is admitted."""
        self._handshakes.discard(connection)

    def forget(self, connection: QUICConnection) -> None:
        """The connection is gone."""
        self._handshakes.discard(connection)
        for cid in connection.cids:
            self._connections.pop(cid, None)
        connection.cids.clear()
