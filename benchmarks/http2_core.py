"""Our HTTP/2 client core against h2's client side: exchanges in memory, no socket.

    python benchmarks/http2_core.py [--rounds 15] [--exchanges 500]

Both sides get the same requests and the same bytes of answers, in turns within one process. Prints
for each case what one exchange costs on either side, and the ratio: median (least - most) over the
rounds. Figures of a busy machine differ from run to run; the ratio differs less.
"""

from __future__ import annotations

import argparse
import statistics
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import h2.config
import h2.connection
import h2.events
import h2.settings
import hpack

from quicsql_client.transports.events import BodyPart, ResponseEnded, ResponseStarted
from quicsql_client.transports.http2 import HTTP2Connection
from quicsql_client.wire.messages import JSON_HEADERS, Request

SELECT = b'{"sql":"SELECT id, name FROM users WHERE id = ?","args":[7]}'
ROW = b'{"columns":["id","name"],"rows":[[7,"seven"]],"rows_affected":0,"last_insert_id":0}'
_WINDOW_BYTES = 1 << 24
_MAX_WINDOW_BYTES = 2**31 - 1
_FRAME_BYTES = 16384
_DATA, _HEADERS, _SETTINGS, _WINDOW_UPDATE = 0, 1, 4, 8


@dataclass(frozen=True)
class Case:
    """Exchanges of one kind. is_dated: each answer has another date, so no two heads are alike.

    at_once: how many go on at a time.
    """

    name: str
    request_bytes: bytes = SELECT
    answer_bytes: bytes = ROW
    is_dated: bool = False
    at_once: int = 1


CASES = (
    Case("small, heads alike"),
    Case("small, each head new", is_dated=True),
    Case("small, 100 at a time", at_once=100),
    Case("100 KB request", request_bytes=bytes(100_000)),
    Case("100 KB answer", answer_bytes=bytes(100_000)),
)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame, written by hand."""
    size = len(payload)
    return struct.pack(">HBBBI", size >> 8, size & 255, kind, flags, stream) + payload


def answer_for(case: Case, number: int, encoder: hpack.Encoder) -> bytes:
    """The frames of one answer."""
    minute, second = divmod(number % 3600 if case.is_dated else 0, 60)
    block = encoder.encode(
        [
            (":status", "200"),
            ("content-type", "application/json"),
            ("content-length", str(len(case.answer_bytes))),
            ("date", f"Mon, 01 Dec 2025 10:{minute:02}:{second:02} GMT"),
        ]
    )
    stream, body = 1 + 2 * number, case.answer_bytes
    pieces = [body[at : at + _FRAME_BYTES] for at in range(0, len(body), _FRAME_BYTES)]
    data = [frame(_DATA, piece is pieces[-1], stream, piece) for piece in pieces]
    return b"".join([frame(_HEADERS, 4, stream, block), *data])


def opening() -> bytes:
    """SETTINGS and windows that let every request out at once."""
    settings = struct.pack(">HIHI", 3, 1000, 4, _MAX_WINDOW_BYTES)
    increment = struct.pack(">I", _MAX_WINDOW_BYTES - 65535)
    return frame(_SETTINGS, 0, 0, settings) + frame(_WINDOW_UPDATE, 0, 0, increment)


def run_ours(case: Case, batches: Sequence[tuple[int, bytes]]) -> None:
    """Every exchange through our core."""
    core = HTTP2Connection("db.example.com:7777", "https")
    core.receive_data(opening())
    core.data_to_send()
    request = Request("POST", "/app/query", JSON_HEADERS, case.request_bytes)
    for count, answers in batches:
        streams = []
        for _ in range(count):
            streams.append(core.start_request(request))
            while core.data_to_send():
                pass
        core.receive_data(answers)
        for stream in streams:
            status, parts = 0, []
            while not isinstance(event := core.next_event(stream), ResponseEnded):
                if isinstance(event, BodyPart):
                    parts.append(event.data)
                elif isinstance(event, ResponseStarted):
                    status = event.status
            check(case, status, b"".join(parts))
        core.data_to_send()


def run_h2(case: Case, batches: Sequence[tuple[int, bytes]]) -> None:
    """The same through h2, set up as we announce ourselves."""
    core = h2_client()
    fields = [
        *((":method", "POST"), (":scheme", "https"), (":authority", "db.example.com:7777")),
        *((":path", "/app/query"), ("accept-encoding", "identity")),
        *(("content-length", str(len(case.request_bytes))), *JSON_HEADERS),
    ]
    for count, answers in batches:
        found: dict[int, tuple[int, list[bytes]]] = {}
        for _ in range(count):
            stream = core.get_next_available_stream_id()
            core.send_headers(stream, fields)
            body = case.request_bytes
            for at in range(0, len(body), _FRAME_BYTES):
                is_last = at + _FRAME_BYTES >= len(body)
                core.send_data(stream, body[at : at + _FRAME_BYTES], end_stream=is_last)
            core.data_to_send()
        for event in core.receive_data(answers):
            if isinstance(event, h2.events.ResponseReceived):
                found[event.stream_id] = (int(dict(event.headers)[b":status"]), [])
            elif isinstance(event, h2.events.DataReceived):
                core.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                found[event.stream_id][1].append(event.data)
        for status, parts in found.values():
            check(case, status, b"".join(parts))
        core.data_to_send()


def h2_client() -> h2.connection.H2Connection:
    """h2's client side, with the peer's opening read."""
    core = h2.connection.H2Connection(
        h2.config.H2Configuration(client_side=True, header_encoding=None)
    )
    codes = h2.settings.SettingCodes
    values = {
        codes.HEADER_TABLE_SIZE: 0,
        codes.ENABLE_PUSH: 0,
        codes.INITIAL_WINDOW_SIZE: _WINDOW_BYTES,
    }
    core.local_settings = h2.settings.Settings(client=True, initial_values=values)
    core.initiate_connection()
    core.increment_flow_control_window(_WINDOW_BYTES)
    core.receive_data(opening())
    core.data_to_send()
    return core


def check(case: Case, status: int, body: bytes) -> None:
    """A benchmark of wrong answers is none."""
    if (status, body) != (200, case.answer_bytes):
        raise SystemExit(f"{case.name}: a wrong answer")


def time_us(run: Callable[[], None], exchanges: int) -> float:
    """Processor time of one exchange, in microseconds."""
    begin = time.process_time()
    run()
    return (time.process_time() - begin) / exchanges * 1e6


def measure(case: Case, rounds: int, exchanges: int) -> None:
    """One line of results."""
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    answers = [answer_for(case, number, encoder) for number in range(exchanges)]
    parts = [answers[at : at + case.at_once] for at in range(0, exchanges, case.at_once)]
    batches = [(len(part), b"".join(part)) for part in parts]
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(time_us(lambda: run_ours(case, batches), exchanges))
        theirs.append(time_us(lambda: run_h2(case, batches), exchanges))
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    print(f"{case.name:22} {spread(ours, 1)} us {spread(theirs, 1)} us {spread(ratios, 2)}")


def spread(values: Sequence[float], digits: int) -> str:
    """Median, least and most."""
    middle, least, most = statistics.median(values), min(values), max(values)
    return f"{middle:8.{digits}f} ({least:.{digits}f} - {most:.{digits}f})"


def main() -> None:
    """Measure every case."""
    parser = argparse.ArgumentParser(description="HTTP/2 client cores, ours and h2, in memory")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--exchanges", type=int, default=500)
    given = parser.parse_args()
    print(f"{given.rounds} rounds of {given.exchanges} exchanges, in turns")
    print(f"{'':22} {'ours':>8}{'':20} {'h2':>8}{'':20} {'h2 / ours':>8}")
    for case in CASES:
        measure(case, given.rounds, given.exchanges)


if __name__ == "__main__":
    main()
