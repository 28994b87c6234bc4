"""Run SQLAlchemy's own dialect suite against the reference server, over HTTP/2 with mutual TLS.

    python tools/sqlalchemy_suite.py [sync] [async] [schemas]    the first two unless one is named

"schemas" is the synchronous suite with a database attached to each connection as `test_schema`,
which the server allows a server-admin.
What follows a `--` goes to pytest. Fails when a test fails, when fewer pass than the built-in
drivers pass (LEAST), or when a test is skipped without a reason of ours.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from quicsql_client.server.config import (
    Config,
    ControlPlaneConfig,
    DatabaseConfig,
    GrantConfig,
    SQLPolicyConfig,
)
from quicsql_client.testing.reference import ReferenceServer

SUITE = Path(__file__).resolve().parent.parent / "tests" / "sqlalchemy_suite"
SCHEMES = {"sync": "sqlite+quicsql", "async": "sqlite+aioquicsql", "schemas": "sqlite+quicsql"}
DEFAULT = ("sync", "async")
LEAST = {"sync": 1284, "async": 1288, "schemas": 1610}
"""What pysqlite passes with SQLAlchemy 2.1.9, schemas closed and open; async: what aiosqlite
passes (1,298) without ServerSideCursorsTest, which waits for cursors that stream."""

_SKIPPED = re.compile(r"^SKIPPED \[(\d+)\] .*? : (?P<reason>.*)$")
_NO_REASON = "marked as skip"  # what the suite says of a capability that nobody decided on


def main(arguments: Sequence[str]) -> int:
    """Run the named colours; 0 when all is as it should be."""
    colours, extra = list(arguments), []
    if "--" in colours:
        place = colours.index("--")
        colours, extra = colours[:place], colours[place + 1 :]
    return max(_run(colour, extra) for colour in colours or DEFAULT)


def _run(colour: str, extra: Sequence[str]) -> int:
    has_schemas = colour == "schemas"
    with tempfile.TemporaryDirectory() as folder:
        server = _SuiteServer(Path(folder, "q"), has_schemas)
        environment = dict(os.environ)
        if has_schemas:
            environment["QUICSQL_TEST_SCHEMA"] = str(Path(folder, "q", "test_schema.db").resolve())
        with server:
            url = server.url(_create_database(server), scheme=SCHEMES[colour])
            command = [sys.executable, "-m", "pytest", "-q", "-rs", "--dburi", url, *extra]
            ran = subprocess.run(
                command, cwd=SUITE, stdout=subprocess.PIPE, text=True, env=environment
            )
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


class _SuiteServer(ReferenceServer):
    """The reference server; with schemas its principal may ATTACH."""

    def __init__(self, folder: Path, has_schemas: bool) -> None:
        self._has_schemas = has_schemas
        super().__init__(folder)

    def _configuration(self, folder: Path) -> Config:
        config = super()._configuration(folder)
        if not self._has_schemas:
            return config
        return msgspec.structs.replace(
            config,
            auth=msgspec.structs.replace(
                config.auth, sql_policy=SQLPolicyConfig(allow_attach=True)
            ),
            control_plane=ControlPlaneConfig(admins=("analyst",)),
        )


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
