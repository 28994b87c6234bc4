"""The built wheel: what it holds, what it brings, and that it works where nothing else is."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    # By way of the source archive, as releases are made; a stale build/ folder has no say then.
    run(sys.executable, "-m", "build", "--outdir", folder, cwd=ROOT)
    (built,) = folder.glob("*.whl")
    return built


def test_it_is_pure_and_typed_and_holds_no_tests(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"quicsql_client/py.typed", "quicsql_dbapi/py.typed"} <= set(names)
    assert not [name for name in names if name.startswith(("tests/", "tools/", "examples/"))]


@pytest.mark.timeout(300)
def test_it_imports_in_an_empty_environment_without_extras(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", "empty", cwd=tmp_path)
    python = tmp_path / "empty" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", wheel, cwd=tmp_path)
    code = "import quicsql_client, quicsql_dbapi; print(quicsql_client.__version__)"
    assert run(python, "-W", "error", "-c", code, cwd=tmp_path).strip() in wheel.name
    assert "pki" in run(python, "-m", "quicsql_client", "--help", cwd=tmp_path)


def test_the_entry_points_stand_and_load() -> None:
    points = {
        (point.group, point.name): point
        for point in importlib.metadata.distribution("quicsql-client").entry_points
    }
    expected = {
        ("alembic.plugins", "quicsql"),
        ("console_scripts", "quicsql-py"),
        ("pytest11", "quicsql"),
        ("sqlalchemy.dialects", "quicsql"),
        ("sqlalchemy.dialects", "quicsql.aio"),
        ("sqlalchemy.dialects", "sqlite.quicsql"),
        ("sqlalchemy.dialects", "sqlite.aioquicsql"),
    }
    assert set(points) == expected
    for point in points.values():
        assert point.load()


def test_the_pytest_plugin_imports_nothing_heavy() -> None:
    heavy = "('ssl', 'asyncio', 'httpx', 'apsw', 'cryptography', 'msgspec')"
    show = f"import sys; print([name for name in {heavy} if name in sys.modules])"
    # pytest itself is there before any plugin, so what it imports does not count.
    alone = run(sys.executable, "-c", f"import pytest; {show}", cwd=ROOT)
    plugin = f"import pytest, quicsql_client.testing.plugin; {show}"
    assert run(sys.executable, "-c", plugin, cwd=ROOT) == alone
