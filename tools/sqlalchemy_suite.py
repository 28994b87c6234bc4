"""Run SQLAlchemy's own dialect suite against the reference server, over HTTP/2 with mutual TLS.

    python tools/sqlalchemy_suite.py [sync] [async]         both unless one is named

What follows a `--` goes to pytest. Fails when a test fails, when fewer pass than the built-in
drivers pass (LEAST), or when a test is skipped without a reason of ours.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from quicsql_client.server.config import DatabaseConfig, GrantConfig
from quicsql_client.testing.reference import ReferenceServer

SUITE = Path(__file__).resolve().parent.parent / "tests" / "sqlalchemy_suite"
SCHEMES = {"sync": "sqlite+quicsql", "async": "sqlite+aioquicsql"}
LEAST = {"sync": 1284, "async": 1298}
"""What pysqlite and aiosqlite pass with SQLAlchemy 2.1.9, schemas closed."""

_SKIPPED = re.compile(r"^SKIPPED \[(\d+)\] .*? : (?P<reason>.*)$")
_NO_REASON = "marked as skip"  # what the suite says of a capability that nobody decided on


def main(arguments: Sequence[str]) -> int:
    """Run the named colours; 0 when all is as it should be."""
    colours, extra = list(arguments), []
    if "--" in colours:
        place = colours.index("--")
        colours, extra = colours[:place], colours[place + 1 :]
    return max(_run(colour, extra) for colour in colours or SCHEMES)


def _run(colour: str, extra: Sequence[str]) -> int:
    with tempfile.TemporaryDirectory() as folder, ReferenceServer(Path(folder, "q")) as server:
        name = _create_database(server)
        url = server.url(name, scheme=SCHEMES[colour])
        command = [sys.executable, "-m", "pytest", "-q", "-rs", "--dburi", url, *extra]
        ran = subprocess.run(command, cwd=SUITE, stdout=subprocess.PIPE, text=True)
    reasons = Counter[str]()
    for line in ran.stdout.splitlines():
        skipped = _SKIPPED.match(line)
        if skipped is None:
            print(line)
        else:
            reasons[skipped["reason"]] += int(skipped[1])
    for reason, count in reasons.most_common():
        print(f"skipped {count:4d}: {reason}")
    return ran.returncode or (0 if extra else _judge(colour, ran.stdout, reasons))


def _create_database(server: ReferenceServer) -> str:
    """A database as the suite expects one: SQLite does not enforce foreign keys unless asked."""
    database = DatabaseConfig(
        name="suite",
        backend="file",
        path="suite.db",
        pragmas={"journal_mode": "WAL", "busy_timeout": 5000},
        grants=(GrantConfig(principal="analyst", level="read-write"),),
    )
    databases = (*server.config.databases, database)
    server.reload(msgspec.structs.replace(server.config, databases=databases))
    return database.name


def _judge(colour: str, output: str, reasons: Counter[str]) -> int:
    found = re.search(r"(\d+) passed", output)
    passed = int(found[1]) if found else 0
    print(f"{colour}: {passed} passed, at least {LEAST[colour]} expected")
    if reasons[_NO_REASON]:
        print("skipped without a reason: add the capability to quicsql_dbapi.sqlalchemy's list")
    return int(passed < LEAST[colour] or bool(reasons[_NO_REASON]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
