# Made from quicsql_client/_async/http3_connection.py
# by tools/async_to_sync.py: do not edit, change the source.
"""HTTP3Connection: a QUIC connection, carrying one exchange at a time.

Moves datagrams between a socket and the protocol core, and wakes the core when its time has come;
between calls nothing runs. Every failure becomes a TransportError that says whether the server may
have acted (`may_have_run`) and whether any of the answer came (`answer_began`).
"""

from __future__ import annotations

import contextlib
import ssl
import time
from typing import TYPE_CHECKING

from ..endpoint import Endpoint
from ..errors import ConnectError, RemoteProtocolError, TLSError, TransportError
from ..renewal import TLSKeeper, TLSMaterial
from ..tls import explain_tls_failure
from ..transports import failures
from ..transports.addresses import Address, share_s
from ..transports.collector import ResponseCollector
from ..transports.datagrams import DatagramSocket
from ..transports.events import RequestNotProcessed
from ..wire.messages import Request, Response

if TYPE_CHECKING:
    from ..transports.http3 import HTTP3Core

__all__ = ["HTTP3Connection"]

# A server that was started anew, or a firewall that forgot us, says nothing about a connection that
# was idle: after so long it is asked for a sign before a request is entrusted to it.
_PROBE_AFTER_S = 1.0


class HTTP3Connection:
    """A socket and the protocol core that speaks on it. Made by `open`.

    generation: of the certificates that it was made with.
    """

    def __init__(
        self,
        socket: DatagramSocket,
        core: HTTP3Core,
        endpoint: Endpoint,
        material: TLSMaterial,
    ) -> None:
        self._socket = socket
        self._core = core
        self._endpoint = endpoint
        self._options = material.options
        self._is_intact = True
        self.generation = material.generation
        self.was_used = False
        self.idle_since = time.monotonic()

    @classmethod
    def open(
        cls,
        core: type[HTTP3Core],
        endpoint: Endpoint,
        tls: TLSKeeper,
        deadline: float | None,
        request: str,
    ) -> HTTP3Connection:
        """Shake hands with the first address that answers, with the certificates of now.

        Raises ConnectError, ConnectTimeout or TLSError: nothing was sent.
        """
        material = tls.current
        try:
            addresses = DatagramSocket.addresses_of(endpoint, deadline)
            for tries_left in range(len(addresses), 0, -1):
                soon = _share(deadline, tries_left)
                try:
                    connection = cls._try(core, endpoint, material, addresses.pop(0), soon)
                except OSError:
                    if not addresses:
                        raise
                else:
                    tls.note_server(connection._core.peer_certificate)
                    return connection
            raise OSError(f"no address for {endpoint.host}")
        except (TimeoutError, ConnectionAbortedError) as error:
            raise failures.connect_timeout(endpoint, request) from error
        except TransportError as error:
            error.__dict__.update(request=request, may_have_run=False)
            raise
        except OSError as error:
            raise failures.connect_failure(error, endpoint, request) from error

    @classmethod
    def _try(
        cls,
        core: type[HTTP3Core],
        endpoint: Endpoint,
        material: TLSMaterial,
        address: Address,
        deadline: float | None,
    ) -> HTTP3Connection:
        machine = core(endpoint, material.options, time.monotonic())
        connection = cls(DatagramSocket(address), machine, endpoint, material)
        try:
            while not machine.is_trusted:
                connection._raise_failure()
                connection._advance(deadline)
            return connection
        except ssl.SSLError as error:
            connection.close()
            raise connection._explained(error) from error
        except BaseException:
            connection.close()
            raise

    @property
    def is_reusable(self) -> bool:
        """True when the last exchange ended well and another one may begin."""
        return self._is_intact and self._core.max_streams > 0

    def is_alive(self, deadline: float | None) -> bool:
        """Look at what came while the connection was idle; after a while, also ask for a sign.

        True when it may be used again. Raises TimeoutError at the deadline.
        """
        try:
            while received := self._socket.receive_available():
                self._take(received)
            self._core.handle_timer(time.monotonic())
            if time.monotonic() - self.idle_since >= _PROBE_AFTER_S and self.is_reusable:
                self._core.start_probe(time.monotonic())
                while (result := self._core.probe_result(time.monotonic())) is None:
                    self._advance(deadline)
                return result and self.is_reusable
        except TimeoutError:
            raise
        except OSError:
            return False
        return self.is_reusable

    def close(self) -> None:
        """Close at once, with a farewell that may be lost. May be called again."""
        self._core.close()
        with contextlib.suppress(OSError):
            self._send()
        self.abandon()

    def abandon(self) -> None:
        """Close our side without a word: for the copy of a connection that another process has."""
        self._is_intact = False
        self._socket.close()

    # One exchange

    def exchange(self, request: Request, deadline: float | None) -> Response:
        """Send the request and read the whole answer, at most options.max_response_bytes of body.

        When this does not return, for whatever reason, the connection is of no more use. Raises
        TransportError, its `may_have_run` set.
        """
        self._is_intact = False
        collector = ResponseCollector(request, self._options.max_response_bytes)
        sent_before = self._socket.sent
        stream_id = -1
        try:
            stream_id = self._core.start_request(request)
            response = self._collect(stream_id, collector, deadline)
        except (ConnectError, RequestNotProcessed) as error:
            error.__dict__.update(request=str(request))
            failures.mark(error, may_have_run=False)
            raise
        except RemoteProtocolError as error:
            error.__dict__.update(request=str(request))
            has_sent = self._socket.sent > sent_before
            failures.mark(error, may_have_run=has_sent, answer_began=collector.has_started)
            raise
        except TimeoutError as error:
            raise self._late(str(request), stream_id) from error
        except OSError as error:
            sent = self._socket.sent - sent_before
            raise self._lost(error, str(request), sent, collector.has_started) from error
        self.was_used = True
        self.idle_since = time.monotonic()
        with contextlib.suppress(OSError):  # the answer is here, even if nobody is there any more
            self._send()
            self._is_intact = True
        return response

    def _collect(
        self, stream_id: int, collector: ResponseCollector, deadline: float | None
    ) -> Response:
        while True:
            event = self._core.next_event(stream_id)
            if event is None:
                self._advance(deadline)
            elif (response := collector.take(event)) is not None:
                return response

    def _advance(self, deadline: float | None) -> None:
        """Send what there is to send, and wait for a datagram or the core's time.

        Raises TimeoutError when the deadline has passed, OSError when nobody is there.
        """
        try:
            self._send()
        except OSError:
            received = self._socket.receive_available()
            if not received:
                raise
            self._take(received)  # said before the server went: it may be the answer
            return
        if deadline is not None and time.monotonic() >= deadline:
            raise TimeoutError("the deadline has passed")
        instants = [at for at in (deadline, self._core.next_timer()) if at is not None]
        self._take(self._socket.receive(min(instants, default=None)))
        self._core.handle_timer(time.monotonic())

    def _send(self) -> None:
        for data in self._core.datagrams_to_send(time.monotonic()):
            self._socket.send(data)

    def _take(self, received: list[bytes]) -> None:
        for data in received:
            self._core.receive_datagram(data, time.monotonic())

    def _raise_failure(self) -> None:
        if self._core.failure is not None:
            raise self._core.failure

    # What is wrong

    def _late(self, request: str, stream_id: int) -> TransportError:
        if self._core.has_unsent(stream_id):
            return failures.write_timeout(self._endpoint, request, may_have_run=True)
        return failures.read_timeout(self._endpoint, request)

    def _lost(self, error: OSError, request: str, sent: int, answer_began: bool) -> TransportError:
        """What the end of the connection means, after so many datagrams since the request began."""
        with contextlib.suppress(OSError):  # what the server said before it went
            self._take(self._socket.receive_available())
        said = self._core.failure
        if isinstance(said, ssl.SSLError) and not self._core.is_confirmed:
            explained = self._explained(said)
            # The server refused us before it took anything that comes after the handshake.
            explained.__dict__.update(request=request, may_have_run=False, answer_began=False)
            return explained
        # A single datagram of which the system says that nobody took it has done nothing.
        is_refused = isinstance(error, ConnectionRefusedError) and sent <= 1
        lost = failures.answer_lost(
            said or error, self._endpoint, request, may_have_run=sent > 0 and not is_refused
        )
        failures.mark(lost, may_have_run=True, answer_began=answer_began)
        return lost

    def _explained(self, error: ssl.SSLError) -> TLSError:
        return explain_tls_failure(
            error,
            endpoint=self._endpoint,
            options=self._options,
            server_leaf=self._core.peer_certificate,
        )


def _share(deadline: float | None, tries_left: int) -> float | None:
    """The instant until which one of so many addresses is tried."""
    if deadline is None:
        return None
    now = time.monotonic()
    return now + share_s(deadline - now, tries_left)
