# Made from quicsql_client/_async/link.py
# by tools/async_to_sync.py: do not edit, change the source.
"""Link: a socket and the protocol core that speaks on it, for the exchanges that share it.

Moves bytes, and remembers how the connection ended. Knows no pool, and of exchanges only the
numbers.
"""

from __future__ import annotations

import time

from ..transports.events import ConnectionCore
from ..transports.network import SocketStream
from ..transports.turns import Turn
from ..wire.messages import Request

__all__ = ["Link"]

_KEPT_BYTES = 16


class Link:
    """A connection that moves.

    has_ended: nothing comes any more; error: why, None for an orderly end. first_bytes: what the
    peer began with.
    """

    def __init__(self, stream: SocketStream, core: ConnectionCore) -> None:
        self.stream = stream
        self.core = core
        self.has_ended = False
        self.error: OSError | None = None
        self.first_bytes = b""
        self._turn = Turn()
        self._exchanges = 0  # that have begun and not ended
        self._passed_on = 0  # of the bytes that the core has queued
        self._silent_since: float | None = None

    @property
    def capacity(self) -> int:
        """How many exchanges may go on at a time, 0 when none may begin any more."""
        if self.has_ended:
            return 0
        return self.core.max_streams if self.stream.is_shareable else min(1, self.core.max_streams)

    @property
    def silence_s(self) -> float:
        """For how long the peer has said nothing though it was asked something."""
        return 0.0 if self._silent_since is None else time.monotonic() - self._silent_since

    def start(self, request: Request) -> int:
        """Begin an exchange: its number. Raises RequestNotProcessed."""
        stream_id = self.core.start_request(request)
        self._exchanges += 1
        if self._silent_since is None:
            self._silent_since = time.monotonic()
        return stream_id

    def advance(self, stream_id: int, deadline: float | None) -> None:
        """Send what is due, and wait until something has come for this exchange, or the end.

        Raises TimeoutError at the deadline.
        """
        if self._turn.is_taken:
            self._write_soon()  # together with what others have to send now
        if not self._turn.take(stream_id, deadline):
            return
        try:
            while not self.has_ended:
                is_alone = self._exchanges == 1
                self.stream.write_from(self.core.data_to_send, deadline, is_alone=is_alone)
                self._passed_on = self.core.bytes_queued
                self._read(deadline)
                news = self.core.take_news()
                self._turn.tell(news)
                if stream_id in news:
                    return
        finally:
            self._turn.give(is_last=self.has_ended)

    def _write_soon(self) -> None:
        self.stream.write_soon(self.core.data_to_send)
        self._passed_on = self.core.bytes_queued

    def _read(self, deadline: float | None) -> None:
        try:
            data = self.stream.read(deadline)
        except TimeoutError:
            raise
        except OSError as error:
            self.has_ended, self.error = True, error
        else:
            self.has_ended = not data
            self._take(data)

    def _take(self, data: bytes) -> None:
        self._silent_since = time.monotonic() if self._exchanges else None
        if len(self.first_bytes) < _KEPT_BYTES:
            self.first_bytes += data[:_KEPT_BYTES]
        self.core.receive_data(data)

    def finish(self) -> None:
        """After an exchange that ended well: what is due goes out, or with the next exchange."""
        self._exchanges -= 1
        if not self._exchanges:
            self._silent_since = None
        if self.stream.is_shareable and self.core.bytes_queued > self._passed_on:
            self._write_soon()

    def give_up(self, stream_id: int) -> None:
        """After one that did not: tell the peer, without waiting."""
        self._exchanges -= bool(stream_id)
        self.core.cancel(stream_id)
        self._write_soon()

    def is_alive(self) -> bool:
        """Look, without waiting, at what came while nobody asked anything.

        True when an exchange may begin.
        """
        try:
            while self.core.max_streams:
                data = self.stream.read_available()
                if data is None:
                    return True
                self._take(data)
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Close at once. May be called again."""
        self.has_ended = True
        self.stream.close()
