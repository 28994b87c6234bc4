"""A client and a server machine in memory, with a clock that is moved by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import QuicEvent

from quicsql_client.server.listeners import QUICContext
from quicsql_client.server.listeners.quic_machine import QUICMachine, configuration_of, read_header

from .made_certificates import Made, make

CLIENT_ADDRESS, SERVER_ADDRESS = ("192.0.2.1", 4000), ("192.0.2.2", 443)
SERVER = make("localhost")
_QUIET_S = 5.0  # timers later than this are about idle connections
_STEP_S = 0.001


class QUICPair:
    """events: of either side, in order. loses: whether a datagram is lost, by its number."""

    loses: Callable[[int], bool] = staticmethod(lambda number: False)

    def __init__(
        self,
        identity: Made | None = None,
        *more: Made,
        asks_for_certificate: bool = False,
        client: type[QuicConnection] = QuicConnection,
        **options: Any,
    ) -> None:
        """identity: what the client presents, with more behind it. client: its machine."""
        configuration = QuicConfiguration(
            is_client=True, alpn_protocols=["h3"], server_name="localhost", verify_mode=0, **options
        )
        if identity is not None:
            configuration.certificate = identity.certificate
            configuration.certificate_chain = [one.certificate for one in more]
            configuration.private_key = identity.key
        self.now = 100.0
        self._carried = 0
        self.events: dict[QuicConnection, list[QuicEvent]] = {}
        self.client = client(configuration=configuration)
        self.client.connect(SERVER_ADDRESS, self.now)
        first = self.client.datagrams_to_send(self.now)
        header = read_header(first[0][0])
        assert header is not None
        self.server = QUICMachine(
            configuration_of(QUICContext(SERVER.certificate, (), SERVER.key, (), False), 30.0),
            original_cid=header.destination_cid,
            retry_cid=None,
            asks_for_certificate=asks_for_certificate,
        )
        for data, _ in first:
            self.server.receive_datagram(data, CLIENT_ADDRESS, self.now)
        self.run()

    def run(self) -> None:
        """Carry datagrams until both sides have nothing more to say."""
        ways = (
            (self.client, self.server, CLIENT_ADDRESS),
            (self.server, self.client, SERVER_ADDRESS),
        )
        while True:
            is_moving = False
            for source, sink, address in ways:
                for data, _ in source.datagrams_to_send(self.now):
                    is_moving = True
                    self._carried += 1
                    if self.loses(self._carried):
                        continue
                    sink.receive_datagram(data, address, self.now)
                self._collect(sink)
            self.now += _STEP_S
            if not is_moving and not self._ring():
                return

    def _ring(self) -> bool:
        """Let the next timer go off; False: the next ones are far."""
        timers = [(at, one) for one in (self.client, self.server) if (at := one.get_timer())]
        at, machine = min(timers, key=lambda timer: timer[0], default=(0.0, None))
        if machine is None or at > self.now + _QUIET_S:
            return False
        self.now = max(self.now, at)
        machine.handle_timer(self.now)
        self._collect(machine)
        return True

    def _collect(self, machine: QuicConnection) -> None:
        kept = self.events.setdefault(machine, [])
        while (event := machine.next_event()) is not None:
            kept.append(event)

    def of(self, machine: QuicConnection, kind: type[Any]) -> list[Any]:
        return [event for event in self.events[machine] if isinstance(event, kind)]

    @property
    def code(self) -> int | None:
        """What the client knows that the connection was closed with; None: it is open."""
        event = self.client._close_event  # aioquic tells of it only some round trips later
        return None if event is None else event.error_code
