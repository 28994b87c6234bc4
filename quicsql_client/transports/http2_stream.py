"""One exchange on an HTTP/2 connection: what of the request is unsent, what of the answer has come.

Knows no frame and no other stream. Source: RFC 9113, 5.2, 8.1 and 8.3.2.
"""

from __future__ import annotations

from collections import deque

from ..errors import RemoteProtocolError
from ..wire.messages import Request
from .events import BodyPart, Event, ResponseEnded, ResponseStarted
from .fields import Section
from .frames import ErrorCode, StreamBreach, malformed

__all__ = ["ReceiveWindow", "Stream"]

# RFC 9110, 6.4.1: answers that have no body, whatever their content-length says.
_BODILESS = frozenset({204, 304})
# Parts of a body become one up to this size: many tiny ones would take more memory than they hold.
_MAX_MERGED_BYTES = 4096


class ReceiveWindow:
    """What the peer may send before it has to wait. Given back as it is taken, half at a time."""

    __slots__ = ("_left", "_taken", "_threshold")

    def __init__(self, size: int) -> None:
        self._left = size
        self._taken = 0
        self._threshold = size // 2

    def use(self, size: int) -> bool:
        """Count what has come; False when the peer was not allowed so much."""
        self._left -= size
        return self._left >= 0

    def give_back(self, size: int) -> int:
        """Count what was taken: by how much the window is to be opened again now, often 0."""
        self._taken += size
        if self._taken < self._threshold:
            return 0
        increment, self._taken = self._taken, 0
        self._left += increment
        return increment


class Stream:
    """One request and its answer.

    unsent: of the request's body. send_window: how much of it the peer takes now; below 0 after it
    changed its mind. window: how much of the answer it may send. is_over: nothing more comes, or
    is wanted. events: what the caller has not taken yet; an error is the last one.
    """

    __slots__ = (
        *("_expected", "_is_head", "_received", "events", "has_started", "is_over"),
        *("send_window", "stream_id", "unsent", "window"),
    )

    def __init__(
        self, stream_id: int, request: Request, send_window: int, receive_window: int
    ) -> None:
        self.stream_id = stream_id
        self.unsent = memoryview(request.body)
        self.send_window = send_window
        self.window = ReceiveWindow(receive_window)
        self.is_over = False
        self.has_started = False  # the answer
        self.events: deque[Event | RemoteProtocolError] = deque()
        self._is_head = request.method == "HEAD"
        self._expected: int | None = None
        self._received = 0

    @property
    def untaken_bytes(self) -> int:
        """How much of the body the caller has not taken yet."""
        return sum(len(event.data) for event in self.events if isinstance(event, BodyPart))

    def close(self) -> None:
        """Nothing more comes, and nothing more is sent."""
        self.is_over = True
        self.unsent = memoryview(b"")

    def take_section(self, section: Section, *, is_last: bool) -> None:
        """The fields of an interim answer (nothing comes of it), of the answer, or its trailers.

        Raises StreamBreach.
        """
        if self.has_started:
            if section.status is not None or not is_last:
                raise malformed("a second head, or trailers with something after them")
        elif section.status is None:
            raise malformed("an answer without :status")
        elif section.status >= 200:
            self.has_started = True
            is_bodiless = self._is_head or section.status in _BODILESS
            self._expected = 0 if is_bodiless else section.length
            self.events.append(ResponseStarted(section.status, section.headers))
        elif section.status == 101 or is_last:  # RFC 9113, 8.1 and 8.6
            raise malformed(f"{section.status} where it may not be")
        self._count(0, is_last=is_last)
        if is_last:
            self.events.append(ResponseEnded())

    def take_data(self, data: bytes, size: int, *, is_last: bool) -> None:
        """The next bytes of the body, which came as `size` bytes. Raises StreamBreach."""
        if not self.window.use(size):
            raise StreamBreach(ErrorCode.FLOW_CONTROL_ERROR, "more data than we allowed")
        if not self.has_started:
            raise malformed("a body before the head of its answer")
        self._count(len(data), is_last=is_last)
        if data:
            self._add(data)
        if is_last:
            self.events.append(ResponseEnded())

    def _count(self, size: int, *, is_last: bool) -> None:
        """RFC 9113, 8.1.1."""
        self._received += size
        expected = self._expected
        if expected is None:
            return
        if self._received > expected or (is_last and self._received < expected):
            raise malformed("a body that is not as long as its content-length, or should not be")

    def _add(self, data: bytes) -> None:
        last = self.events[-1] if self.events else None
        if isinstance(last, BodyPart) and len(last.data) + len(data) <= _MAX_MERGED_BYTES:
            self.events[-1] = BodyPart(last.data + data)
        else:
            self.events.append(BodyPart(data))
