"""Memory, open files and threads of a process over time, read from /proc, and whether they grow."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024


@dataclass(frozen=True)
class Sample:
    """One look at a process. at_s: of time.monotonic."""

    at_s: float
    memory_bytes: int
    files: int
    threads: int


def take_sample(pid: int) -> Sample:
    """How the process is now. Raises: FileNotFoundError when it is gone."""
    folder = Path(f"/proc/{pid}")
    fields = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    return Sample(
        at_s=time.monotonic(),
        memory_bytes=int(fields["VmRSS"].split()[0]) * 1024,
        files=len(os.listdir(folder / "fd")),
        threads=int(fields["Threads"]),
    )


def slope_per_minute(samples: Sequence[Sample], value: Callable[[Sample], float]) -> float:
    """How fast a value grows, by the line of least squares; 0 for fewer than two samples."""
    count = len(samples)
    if count < 2:
        return 0.0
    mean_s = sum(one.at_s for one in samples) / count
    mean = sum(value(one) for one in samples) / count
    spread = sum((one.at_s - mean_s) ** 2 for one in samples)
    if spread == 0:
        return 0.0
    return 60 * sum((one.at_s - mean_s) * (value(one) - mean) for one in samples) / spread
