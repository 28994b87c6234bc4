"""The run before handing over stops at the first failure."""

from pathlib import Path

import pytest

from tools.check import STEPS, run_steps


def test_it_stops_at_the_first_failure_and_names_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    steps = {"one": ("-c", "print('ran one')"), "two": ("-c", "exit(3)"), "three": ("-c", "1")}
    assert run_steps(steps, tmp_path) == 3
    text = capfd.readouterr().out
    assert "ran one" in text
    assert "== one: well, " in text
    assert "== two: failed, " in text
    assert "three" not in text


def test_all_well_is_exit_code_0(tmp_path: Path) -> None:
    assert run_steps({"one": ("-c", "pass")}, tmp_path) == 0


def test_every_script_among_the_steps_is_there() -> None:
    root = Path(__file__).resolve().parents[2]
    scripts = [arguments[0] for arguments in STEPS.values() if arguments[0].endswith(".py")]
    assert scripts == ["tools/async_to_sync.py", "tools/check_layers.py"]
    assert all((root / script).is_file() for script in scripts)
