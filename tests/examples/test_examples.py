"""Every example runs, and says what its reader is told that it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from quicsql_client.testing.reference import ReferenceServer

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=EXAMPLES.parent,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("application.py", "ada has 100\nrefused: CHECK constraint failed"),
        ("dbapi.py", "24 rows\n['n', 'warmest'] (24, 16.0)\n"),
        ("sqlalchemy_orm.py", "Ursula: The Dispossessed, The Lathe of Heaven\n"),
        (
            "alembic_migrations.py",
            "as before: account, alembic_version, entry\n"
            "account has id, name, email; 1 entry kept\n",
        ),
        (
            "frames.py",
            "pandas: 10000 rows, at is M\n"
            "Polars: 250 rows, at is Datetime(time_unit='us', time_zone=None)\n"
            "the same types without a row: True\n",
        ),
        ("arrow_out.py", "int64, double, string, binary\n3 rows, sum of n 6\n"),
        ("telemetry.py", "SELECT: app as analyst at localhost\nthe value is not told\n"),
        ("asyncio_app.py", "visits: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\ntotal: 45\n"),
    ],
)
def test_example(name: str, said: str, tmp_path: Path) -> None:
    with ReferenceServer(tmp_path / "server") as server:
        server.create_database("app")
        certificate, key = server.pki.client("analyst")
        out = run(
            f"examples/{name}", server.address, str(server.pki.root_ca), str(certificate), str(key)
        )
    assert said in out


def test_mtls_in_production() -> None:
    out = run("examples/mtls_in_production.py")
    assert "NOT AS EXPECTED" not in out
    assert out.endswith(" 12 steps, 0 not as expected\n") or "12 steps, 0 not as expected" in out


def test_pytest_fixture() -> None:
    out = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "examples/pytest_fixture.py")
    assert "3 passed" in out
