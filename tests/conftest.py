"""Plugins of fixtures, one per subject."""

pytest_plugins: list[str] = [
    "tests.fix_peers",
    "tests.fix_config",
    "tests.fix_engine",
    "tests.fix_application",
    "tests.fix_server_process",
]
