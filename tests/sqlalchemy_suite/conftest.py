"""SQLAlchemy's own pytest plugin. `tools/sqlalchemy_suite.py` runs this folder, on a server of its
own.
"""

import os

import pytest

pytest.register_assert_rewrite("sqlalchemy.testing.assertions")

from sqlalchemy.testing.plugin.pytestplugin import *  # noqa: E402, F403


@pytest.hookimpl(trylast=True)
def pytest_collection() -> None:
    """Some tests want a schema whether schemas are offered or not: SQLite always has "main"."""
    from sqlalchemy.testing import config

    if "QUICSQL_TEST_SCHEMA" in os.environ:
        return
    config.test_schema = "main"  # type: ignore[assignment]
    for configured in config.Config.all_configs():  # type: ignore[no-untyped-call]
        configured.test_schema = "main"
