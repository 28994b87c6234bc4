"""What the server counts, and how it says so in the text format of Prometheus, version 0.0.4.

It knows names and seconds, neither requests nor databases. Not thread-safe: it belongs to the event
loop.

Written by hand because prometheus-client cannot be made to say what the protocol asks for: its text
puts a HELP line before every series and writes counts as floats (`2.0`).
Source: protocol/operations.md, /_health, /_metrics.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

__all__ = ["Metrics"]


@dataclass(slots=True)
class _Counts:
    admitted: int = 0
    ended: int = 0
    seconds: float = 0.0


class Metrics:
    """Admitted requests by database, and how long they took. clock: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: dict[str, _Counts] = {}

    def begin(self, database: str) -> Callable[[], None]:
        """Count a request as admitted; what it gives is to be called once, when it has ended."""
        counts = self._counts.setdefault(database, _Counts())
        counts.admitted += 1
        began_at = self._clock()

        def end() -> None:
            counts.ended += 1
            counts.seconds += self._clock() - began_at

        return end

    def forget(self, database: str) -> None:
        """Drop what was counted for a database that is no longer served."""
        self._counts.pop(database, None)

    def text(self, gauges: Mapping[str, int]) -> bytes:
        """Everything, by database; then these gauges by name."""
        return "".join(f"{line}\n" for line in self._lines(gauges)).encode()

    def _lines(self, gauges: Mapping[str, int]) -> Iterator[str]:
        counted = sorted(self._counts.items())
        yield "# TYPE requests_total counter"
        for name, counts in counted:
            yield f'requests_total{{db="{name}"}} {counts.admitted}'
        yield "# TYPE request_duration_seconds summary"
        for name, counts in counted:
            yield f'request_duration_seconds_sum{{db="{name}"}} {_number(counts.seconds)}'
            yield f'request_duration_seconds_count{{db="{name}"}} {counts.ended}'
        for gauge, value in sorted(gauges.items()):
            yield f"# TYPE {gauge} gauge"
            yield f"{gauge} {value}"


def _number(value: float) -> str:
    return repr(value).removesuffix(".0")
