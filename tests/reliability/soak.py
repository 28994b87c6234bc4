"""Many connections of many principals for a while: is every row right, and does nothing grow?

    python -m tests.reliability.soak --seconds 60 --connections 300 --principals 50

The server is a process of its own, with mutual TLS; half the connections speak HTTP/2, half
HTTP/1.1. Memory, open files and threads are read from /proc twice a second; growth is measured in
the second half of the time. Exit code 1 for a wrong, lost or foreign row, a failed call, memory
that keeps growing, or files and streams that stay behind.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from quicsql_client import Client

from .deployment import DATABASE, Deployment, address_of
from .lanes import LANES, Lane
from .ledger import Book, Tally
from .samples import MIB, Sample, slope_per_minute, take_sample

SAMPLE_EVERY_S = 0.5
SETTLE_S = 15.0
CROWD_AFTER = 0.25  # of the time
CROWD_TIMEOUT_S = 100.0
LEAST_SECONDS_FOR_GROWTH = 30.0  # a shorter run says nothing about it
# What a database keeps when nobody is there: one writer, 2 * 4 readers and 8 idle streams, each
# with its file, its log and the log's index.
KEPT_CONNECTIONS = 17
FILES_OF_A_CONNECTION = 3


@dataclass(frozen=True)
class Plan:
    """How much is done. pause_s: of a connection between two pieces of work, on average."""

    seconds: float = 60.0
    connections: int = 300
    principals: int = 50
    pause_s: float = 1.0
    max_growth_mib: float = 4.0


@dataclass
class Outcome:
    """How a soak ended. samples: while it ran; before, after: without connections."""

    plan: Plan
    tally: Tally
    before: Sample
    after: Sample
    active_sessions: int
    samples: list[Sample] = field(default_factory=list)

    @property
    def second_half(self) -> Sequence[Sample]:
        return self.samples[len(self.samples) // 2 :]

    @property
    def growth_mib(self) -> float:
        """Of memory, for each minute of the second half."""
        return slope_per_minute(self.second_half, lambda one: one.memory_bytes) / MIB

    def faults(self) -> list[str]:
        """What is wrong, in words; nothing when all is well."""
        found = [f"{count} {kind}" for kind, count in self.tally.faults.items()]
        found += self.tally.examples
        if not self.tally.done:
            found.append("nothing was done")
        if self.plan.seconds >= LEAST_SECONDS_FOR_GROWTH:
            found += self._growth()
        if self.after.files > self.before.files + files_kept(self.plan):
            found.append(f"{self.after.files - self.before.files} files stay open")
        if self.after.threads > self.before.threads + KEPT_CONNECTIONS:
            found.append(f"{self.after.threads - self.before.threads} threads stay")
        if self.active_sessions:
            found.append(f"{self.active_sessions} streams stay open")
        return found

    def _growth(self) -> Iterator[str]:
        if self.growth_mib > self.plan.max_growth_mib:
            yield f"memory grows by {self.growth_mib:.1f} MiB a minute"
        files = slope_per_minute(self.second_half, lambda one: one.files)
        if files > self.plan.connections / 10:
            yield f"open files grow by {files:.0f} a minute"

    def report(self) -> str:
        """The figures, a line each."""
        first, last = self.samples[0], self.samples[-1]
        highest = max(one.memory_bytes for one in self.samples)
        took_s = last.at_s - first.at_s
        done = ", ".join(f"{count} {name}" for name, count in sorted(self.tally.done.items()))
        return "\n".join(
            [
                f"done in {took_s:.0f} s: {done}",
                f"memory: {self.before.memory_bytes / MIB:.1f} MiB before, "
                f"{first.memory_bytes / MIB:.1f} at the start, {last.memory_bytes / MIB:.1f} at "
                f"the end, {highest / MIB:.1f} at most, {self.after.memory_bytes / MIB:.1f} after; "
                f"second half {self.growth_mib:+.2f} MiB a minute",
                f"open files: {self.before.files} before, {first.files} at the start, "
                f"{last.files} at the end, {self.after.files} after",
                f"threads: {self.before.threads} before, {last.threads} at the end, "
                f"{max(one.threads for one in self.samples)} at most, {self.after.threads} after",
                "; ".join(self.faults()) or "well",
            ]
        )


def files_kept(plan: Plan) -> int:
    """How many files the server may keep open.

    While any connection has a database file open, SQLite closes no other descriptor of it (that
    would drop POSIX locks), and takes those left over for the next connections: there may be as
    many as connections were open at once.
    """
    return FILES_OF_A_CONNECTION * KEPT_CONNECTIONS + plan.connections


def run_soak(plan: Plan, folder: Path) -> Outcome:
    """Starts a server, runs the plan on it, and tells how it went."""
    deployment = Deployment(folder, plan.principals)
    tally = Tally()
    books = [Book(name, tally) for name in deployment.names]
    with deployment.start() as server:
        address = address_of(server)
        with Client.h2tls(address, *deployment.options(deployment.names[0])) as client:
            for book in books:
                columns = "n INTEGER, owner TEXT, word TEXT"
                client.execute(DATABASE, f"CREATE TABLE {book.table}({columns})")
        before = take_sample(server.pid)
        samples = asyncio.run(_load(plan, deployment, address, books, tally, server.pid))
        after = _settled(server.pid, before.files + files_kept(plan))
        with Client.h2tls(address, *deployment.options(deployment.names[0])) as client:
            metrics = client.http.get("/_metrics").text
    streams = int(metrics.partition("\nactive_sessions ")[2].split()[0])
    return Outcome(plan, tally, before, after, streams, samples)


async def _load(
    plan: Plan, deployment: Deployment, address: str, books: list[Book], tally: Tally, pid: int
) -> list[Sample]:
    """All connections at work until the time is over; samples of the server meanwhile."""
    lanes = [
        LANES[(number // len(books)) % len(LANES)](
            *(deployment, address, books[number % len(books)], tally),
            is_http1=bool((number + number // len(books)) % 2),
        )
        for number in range(plan.connections)
    ]
    samples: list[Sample] = []
    sampling = asyncio.create_task(_sample(pid, samples))
    begin = time.monotonic()
    try:
        await _keep_all_busy(lanes, plan.pause_s, begin + CROWD_AFTER * plan.seconds)
        await _crowd(lanes)
        await _keep_all_busy(lanes, plan.pause_s, begin + plan.seconds)
        await asyncio.gather(*(lane.finish() for lane in lanes))
    finally:
        sampling.cancel()
        for lane in lanes:
            await lane.aclose()
    return samples


async def _sample(pid: int, samples: list[Sample]) -> None:
    while True:
        samples.append(take_sample(pid))
        await asyncio.sleep(SAMPLE_EVERY_S)


async def _keep_all_busy(lanes: Sequence[Lane], pause_s: float, ends_at: float) -> None:
    await asyncio.gather(*(_keep_busy(lane, pause_s, ends_at) for lane in lanes))


async def _crowd(lanes: Sequence[Lane]) -> None:
    """All hold a stream at the same time, so that what follows cannot need more at once than this:
    whatever memory grows by afterwards is no matter of how busy the machine is.
    """
    everyone = asyncio.Barrier(len(lanes))
    async with asyncio.timeout(CROWD_TIMEOUT_S):
        await asyncio.gather(*(lane.hold_stream(everyone) for lane in lanes))


async def _keep_busy(lane: Lane, pause_s: float, ends_at: float) -> None:
    """One piece of work after the other, with pauses of many lengths, until the time is over."""
    chance = random.Random(id(lane))
    pause_s *= lane.pace
    await asyncio.sleep(chance.uniform(0.0, pause_s))
    while time.monotonic() < ends_at:
        await lane.step()
        await asyncio.sleep(chance.uniform(0.5, 1.5) * pause_s)


def _settled(pid: int, files: int) -> Sample:
    """The process once it has no more open files than this, or after SETTLE_S."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        sample = take_sample(pid)
        if sample.files <= files or time.monotonic() > deadline:
            return sample
        time.sleep(0.1)


def main(arguments: list[str] | None = None) -> int:
    """Runs the soak and prints its figures; the exit code."""
    usual = Plan()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=usual.seconds)
    parser.add_argument("--connections", type=int, default=usual.connections)
    parser.add_argument("--principals", type=int, default=usual.principals)
    parser.add_argument("--pause", type=float, default=usual.pause_s, dest="pause_s")
    parser.add_argument(
        "--max-growth",
        type=float,
        default=usual.max_growth_mib,
        help="MiB a minute",
        dest="max_growth_mib",
    )
    plan = Plan(**vars(parser.parse_args(arguments)))
    with tempfile.TemporaryDirectory() as folder:
        outcome = run_soak(plan, Path(folder))
    print(outcome.report())
    return int(bool(outcome.faults()))


if __name__ == "__main__":
    sys.exit(main())
