"""The change feed's events, in both directions: Server-Sent Events with a few kinds of JSON data.

The server half gives the exact bytes of a frame; the client half is pushed bytes as they come and
gives events. It holds no more than one event. It knows no HTTP and no clock.
Source: protocol/operations.md, "GET /<db>/changes"; WHATWG HTML, "Server-sent events".
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from ..errors import RemoteProtocolError, ResponseTooLarge
from .document import write_document

__all__ = [
    "CONTENT_TYPE",
    "MAX_SEQ",
    "PING",
    "Change",
    "Event",
    "FeedDecoder",
    "Operation",
    "Ready",
    "Reset",
    "encode_event",
]

CONTENT_TYPE: Final = "text/event-stream; charset=utf-8"
PING: Final = b": ping\n\n"
MAX_SEQ: Final = 2**64 - 1

Operation: TypeAlias = Literal["insert", "update", "delete"]
_Seq: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
_RowID: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class Ready(msgspec.Struct, frozen=True):
    """The first frame: nothing was missed. seq: of the newest event there is."""

    seq: _Seq


class Reset(msgspec.Struct, frozen=True):
    """Events up to seq cannot be told: what was read before them must be read anew.

    is_opening: it is the first frame, in place of Ready.
    """

    seq: _Seq
    is_opening: bool = False


class Change(msgspec.Struct, frozen=True):
    """A row was written. rowid: the new one, of a deleted row the old one."""

    seq: _Seq
    table: str
    op: Operation
    rowid: _RowID


Event: TypeAlias = Ready | Reset | Change


# The server: frames out.


def encode_event(event: Event) -> bytes:
    """The frame of an event."""
    match event:
        case Change():
            return b"id: %d\nevent: change\ndata: %s\n" % (event.seq, write_document(event))
        case Reset(seq=seq, is_opening=False):
            return b'id: %d\nevent: reset\ndata: {"seq":%d}\n\n' % (seq, seq)
        case Reset(seq=seq):
            return b'event: reset\ndata: {"seq":%d}\n\n' % seq
        case Ready(seq=seq):
            return b'event: ready\ndata: {"seq":%d}\n\n' % seq


# The client: bytes in, events out.

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class _Numbered(msgspec.Struct):
    seq: _Seq


_numbers = msgspec.json.Decoder(_Numbered)
_changes = msgspec.json.Decoder(Change)


class FeedDecoder:
    """Reads a feed as it arrives, in pieces of any size.

    max_event_bytes: the longest event, and the longest line, that is taken; little more than that
    is ever held back. The first event is a Ready or a Reset. Comments and kinds of events that are
    not known are passed over. An event that the end of the feed cuts off is none: it comes again
    when the feed is resumed. After an error the decoder is of no more use.
    """

    def __init__(self, *, max_event_bytes: int) -> None:
        self._max_event_bytes = max_event_bytes
        self._line = bytearray()
        self._is_after_cr = False
        self._is_first_line = True
        self._has_opened = False
        self._kind = b""
        self._id: bytes | None = None
        self._data = bytearray()

    def feed(self, data: bytes) -> list[Event]:
        """The events that are whole now.

        Raises: RemoteProtocolError for what is not a change feed, ResponseTooLarge for an event
        over the cap.
        """
        if not data:
            return []
        if self._is_after_cr and data.startswith(b"\n"):
            data = data[1:]
        self._is_after_cr = data.endswith(b"\r")
        first, *others = _LINE_END.split(data)
        self._hold(first)
        events: list[Event] = []
        for start in others:
            self._end_line(events)
            self._hold(start)
        return events

    def _hold(self, start: bytes) -> None:
        if len(self._line) + len(self._data) + len(start) > self._max_event_bytes:
            raise ResponseTooLarge(
                f"an event of the server's change feed is longer than {self._max_event_bytes}"
                " bytes",
                limit_bytes=self._max_event_bytes,
            )
        self._line += start

    def _end_line(self, events: list[Event]) -> None:
        line = bytes(self._line)
        self._line.clear()
        if self._is_first_line:
            self._is_first_line = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if line:
            self._read_field(line)
        else:
            self._end_event(events)

    def _read_field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")  # a comment is a field without a name
        value = value.removeprefix(b" ")
        match name:
            case b"event":
                self._kind = value
            case b"data":
                self._data += value + b"\n"
            case b"id":
                self._id = value

    def _end_event(self, events: list[Event]) -> None:
        kind, number, data = self._kind, self._id, bytes(self._data[:-1])
        self._kind, self._id = b"", None
        self._data.clear()
        if not data:
            return
        try:
            event = self._event(kind, data)
            if event is not None:
                _check_number(number, event.seq)
                self._has_opened = True
                events.append(event)
        except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
            raise RemoteProtocolError(
                f"the server's answer is not a change feed: {type(exc).__name__}"
            ) from None

    def _event(self, kind: bytes, data: bytes) -> Event | None:
        match kind:
            case b"change":
                if not self._has_opened:
                    raise ValueError("a change before the first frame")
                return _changes.decode(data)
            case b"reset":
                return Reset(_numbers.decode(data).seq, is_opening=not self._has_opened)
            case b"ready":
                if self._has_opened:
                    raise ValueError("a second first frame")
                return Ready(_numbers.decode(data).seq)
        return None


def _check_number(number: bytes | None, seq: int) -> None:
    if seq > MAX_SEQ or number not in (None, b"%d" % seq):
        raise ValueError("an event whose id is not its number")
