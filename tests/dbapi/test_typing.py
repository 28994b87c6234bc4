"""What mypy infers for lines that users write."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

LINES = """
from dataclasses import dataclass
from quicsql_client import AsyncClient, Client
import quicsql_dbapi
from quicsql_dbapi import Connection, Row, aio, class_row, dict_row

@dataclass
class User:
    id: int
    name: str

def plain(client: Client, connection: Connection) -> None:
    reveal_type(quicsql_dbapi.connect(client=client, db="app"))
    reveal_type(connection.execute("SELECT 1").fetchone())
    reveal_type(connection.cursor().fetchall())
    connection.row_factory = dict_row
    connection.autocommit = True
    reveal_type(connection.cursor(row_factory=Row).execute("SELECT 1").fetchmany())
    reveal_type(connection.cursor(row_factory=class_row(User)).fetchone())

def made(client: Client) -> None:
    users = quicsql_dbapi.connect(client=client, db="app", row_factory=class_row(User))
    reveal_type(users)
    for user in users.execute("SELECT 1"):
        reveal_type(user.name)
    reveal_type(quicsql_dbapi.connect(row_factory=dict_row).execute("SELECT 1").fetchone())
    with users as same:
        reveal_type(same)

async def awaited(client: AsyncClient) -> None:
    connection = await aio.connect(client=client, db="app", row_factory=Row)
    reveal_type(connection)
    async for row in await connection.execute("SELECT 1"):
        reveal_type(row)
    reveal_type(await connection.cursor(row_factory=dict_row).fetchone())
    async with aio.connect("quicsql://h:1/app") as plain:
        reveal_type(await (await plain.execute("SELECT 1")).fetchall())
"""
EXPECTED = [
    "Connection[tuple[Any, ...]]",
    "tuple[Any, ...] | None",
    "list[tuple[Any, ...]]",
    "list[Row]",
    "User | None",
    "Connection[User]",
    "str",
    "dict[str, Any] | None",
    "Connection[User]",
    "AsyncConnection[Row]",
    "Row",
    "dict[str, Any] | None",
    "list[tuple[Any, ...]]",
]
_QUALIFIED = re.compile(r"\b(?:[A-Za-z_]\w*\.)+(?=[A-Za-z_])")


def test_what_mypy_infers(tmp_path: Path) -> None:
    source = tmp_path / "users_lines.py"
    source.write_text(LINES, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(source)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    revealed = re.findall(r'Revealed type is "(.*)"', done.stdout)
    assert "error:" not in done.stdout, done.stdout
    assert [_QUALIFIED.sub("", text) for text in revealed] == EXPECTED
