"""What Alembic loads by the entry point `alembic.plugins`, so that `quicsql_dbapi.alembic` counts.

Apart from it, because whoever imports that one first is still importing it when Alembic asks for
its plugins. Source: alembic.sqlalchemy.org, "Plugins".
"""

from __future__ import annotations

from typing import Any

from . import alembic as _registers_its_rules  # noqa: F401

__all__ = ["setup"]


def setup(plugin: Any) -> None:
    """Called once by Alembic; to have imported this module is all that is needed."""
