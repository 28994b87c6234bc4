"""Everything that is run before handing over, stopping at the first failure.

    python -m tools.check

The tests are apart: `pytest -q -m "not slow"`, then `pytest -q`.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

STEPS: dict[str, tuple[str, ...]] = {
    "layout": ("-m", "ruff", "format", "--check", "."),
    "lint": ("-m", "ruff", "check", "."),
    "made files": ("tools/async_to_sync.py", "--check"),
    "layers": ("tools/check_layers.py",),
    "types": (
        "-m",
        "mypy",
        "--strict",
        "quicsql_client",
        "quicsql_dbapi",
        "tools",
        "examples",
        "benchmarks",
    ),
    "types of tests": ("-m", "mypy", "tests"),
}


def run_steps(steps: Mapping[str, Sequence[str]] = STEPS, root: Path = ROOT) -> int:
    """Run each step with this Python; the exit code of the first that fails, else 0."""
    for name, arguments in steps.items():
        print(f"== {name}: python {' '.join(arguments)}", flush=True)
        begin = time.monotonic()
        code = subprocess.run([sys.executable, *arguments], cwd=root).returncode
        print(f"== {name}: {'failed' if code else 'well'}, {time.monotonic() - begin:.1f} s")
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(run_steps())
