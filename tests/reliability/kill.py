"""Kills the server under write load and accounts for every commit that was acknowledged.

    python -m tests.reliability.kill --rounds 20

A round: writers insert by single statements, batches and transactions, the server is killed by
SIGKILL at a random moment and started again on its data. Then every row that the client was told
of has to be there; what the client says did not happen must not be; a batch and a transaction are
there whole or not at all; nothing is there that nobody wrote; SQLite finds the file sound. What the
client calls unknown may be either. Exit code 1 when a round fails.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from quicsql_client import Client, OutcomeUnknownError, TransportError, with_timeout

from .deployment import DATABASE, Deployment, address_of

KILL_AFTER_S = (0.1, 1.0)
UP_WITHIN_S = 5.0  # reliability/matrix.md, G8
STATEMENT_TIMEOUT_S = 10.0
PAUSE_S = 0.01  # of a writer that got no answer
PARTS = {"statement": {0}, "batch": {0, 1}, "transaction": {0, 1}}
TABLE = "CREATE TABLE IF NOT EXISTS written(key TEXT, part INTEGER, PRIMARY KEY(key, part))"
INSERT = "INSERT INTO written VALUES (?, ?)"
READ = "SELECT key, part FROM written WHERE key > ? AND key LIKE ? ORDER BY key, part LIMIT 5000"


@dataclass
class Ledger:
    """What the writers of a round were told, by the key of each write. kinds: of all of them."""

    kinds: dict[str, str] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)

    @property
    def unknown(self) -> int:
        return len(self.kinds) - len(self.acknowledged) - len(self.refused)

    def faults(self, found: dict[str, set[int]]) -> dict[str, list[str]]:
        """What is wrong with the rows that were found, by the kind of fault."""
        whole = {key for key, parts in found.items() if parts == PARTS.get(self.kinds.get(key, ""))}
        faults = {
            "lost": self.acknowledged - found.keys(),
            "half": found.keys() & self.kinds.keys() - whole,
            "done though refused": found.keys() & self.refused,
            "forged": found.keys() - self.kinds.keys(),
        }
        return {kind: sorted(keys) for kind, keys in faults.items() if keys}


@dataclass(frozen=True)
class Round:
    """How a round ended. faults: by kind; none when it is well."""

    ledger: Ledger
    faults: dict[str, list[str]]
    up_s: float

    def __str__(self) -> str:
        ledger = self.ledger
        told = f"{len(ledger.acknowledged)} acknowledged, {ledger.unknown} unknown"
        faults = "; ".join(f"{kind}: {keys[:3]}" for kind, keys in self.faults.items())
        return f"{told}, {len(ledger.refused)} refused, up in {self.up_s:.2f} s; {faults or 'well'}"


def play_round(deployment: Deployment, number: int, writers: int, moment_s: float) -> Round:
    """One round; moment_s: of the kill, after the first write."""
    prefix = f"{number:04}-"
    ledger, stop = Ledger(), threading.Event()
    with deployment.start() as server:
        address = address_of(server)
        with _client(deployment, address) as client:
            client.execute(DATABASE, TABLE)
        threads = [
            threading.Thread(
                target=_write, args=(deployment, address, f"{prefix}{n}", ledger, stop)
            )
            for n in range(writers)
        ]
        for thread in threads:
            thread.start()
        time.sleep(moment_s)
        server.close()  # SIGKILL
        stop.set()
        for thread in threads:
            thread.join()
    begin = time.monotonic()
    with deployment.start() as server, _client(deployment, address_of(server)) as client:
        sound = client.query(DATABASE, "PRAGMA integrity_check").scalar()
        up_s = time.monotonic() - begin
        faults = ledger.faults(_read(client, prefix))
    if sound != "ok":
        faults["corrupt"] = [str(sound)]
    if up_s > UP_WITHIN_S:
        faults["late"] = [f"{up_s:.1f} s"]
    return Round(ledger, faults, up_s)


def _client(deployment: Deployment, address: str) -> Client:
    options = deployment.options(deployment.names[0])
    return Client.h2tls(address, *options, with_timeout(STATEMENT_TIMEOUT_S))


def _read(client: Client, prefix: str) -> dict[str, set[int]]:
    """The parts of every write of a round, read in pages of whole keys."""
    found: dict[str, set[int]] = {}
    last = ""
    while rows := client.query(DATABASE, READ, [last, f"{prefix}%"]).rows:
        for key, part in rows:
            assert isinstance(key, str)
            assert isinstance(part, int)
            found.setdefault(key, set()).add(part)
            last = key
        if len(rows) == 5000:  # the last key may have been cut in two
            del found[last]
            last = max(found)
    return found


def _write(
    deployment: Deployment, address: str, prefix: str, ledger: Ledger, stop: threading.Event
) -> None:
    """Write until told to stop, each write under a key of its own."""
    chance = random.Random(prefix)
    with _client(deployment, address) as client:
        number = 0
        while not stop.is_set():
            number += 1
            key, kind = f"{prefix}-{number:06}", chance.choice(sorted(_WRITE))
            ledger.kinds[key] = kind
            try:
                _WRITE[kind](client, key)
            except (OutcomeUnknownError, TransportError) as error:
                if _did_not_happen(error, kind):
                    ledger.refused.add(key)
                stop.wait(PAUSE_S)
            else:
                ledger.acknowledged.add(key)


def _did_not_happen(error: OutcomeUnknownError | TransportError, kind: str) -> bool:
    """Whether the client says that nothing was written.

    Of a transaction it says OutcomeUnknownError once the COMMIT was sent, and of all else in
    `may_have_run`.
    """
    if isinstance(error, OutcomeUnknownError):
        return False
    return kind == "transaction" or not error.may_have_run


def _write_statement(client: Client, key: str) -> None:
    client.execute(DATABASE, INSERT, [key, 0])


def _write_batch(client: Client, key: str) -> None:
    client.batch(DATABASE, [(INSERT, [key, part]) for part in (0, 1)])


def _write_transaction(client: Client, key: str) -> None:
    with client.transaction(DATABASE, "immediate") as transaction:
        for part in (0, 1):
            transaction.execute(INSERT, [key, part])


_WRITE: dict[str, Callable[[Client, str], None]] = {
    "batch": _write_batch,
    "statement": _write_statement,
    "transaction": _write_transaction,
}


def main(arguments: list[str] | None = None) -> int:
    """Plays the rounds and prints each; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills")
    chosen = parser.parse_args(arguments)
    chance = random.Random(chosen.seed)
    acknowledged = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        deployment = Deployment(Path(folder), principals=1)
        for number in range(1, chosen.rounds + 1):
            played = play_round(deployment, number, chosen.writers, chance.uniform(*KILL_AFTER_S))
            acknowledged += len(played.ledger.acknowledged)
            failed += bool(played.faults)
            print(f"round {number}: {played}", flush=True)
    print(f"{acknowledged} acknowledged commits; {chosen.rounds - failed} passed, {failed} failed")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
