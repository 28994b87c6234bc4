"""Alembic on quicSQL: migrations that take effect as a whole, and batches that keep child rows.

Alembic 1.18 and later load this module by `alembic_plugin`; for an earlier one, import it in
`env.py`. Engines of other drivers keep Alembic's own rules. Source: alembic.sqlalchemy.org,
"Plugins" and "Running Batch Migrations for SQLite".
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alembic.ddl.sqlite import SQLiteImpl
from sqlalchemy.engine import Connection
from sqlalchemy.exc import InvalidRequestError

from .sqlalchemy.base import QuicsqlDialectBase

__all__ = ["QuicsqlImpl", "foreign_keys_off"]


class QuicsqlImpl(SQLiteImpl):
    """Alembic's rules for SQLite; over `quicsql_dbapi` DDL is part of the transaction.

    Alembic finds it by the dialect's name, "sqlite", which other drivers have, too.
    """

    __dialect__ = "sqlite"

    def __init__(self, dialect: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(dialect, QuicsqlDialectBase):
            self.transactional_ddl = True
        super().__init__(dialect, *args, **kwargs)


@contextmanager
def foreign_keys_off(connection: Connection) -> Iterator[None]:
    """Let batch migrations drop and recreate tables that others refer to, and lose no row.

    Where the server enforces foreign keys, dropping a table deletes its rows first, and by
    ON DELETE CASCADE those of its children. Put `context.begin_transaction()` inside of the block:
    SQLite changes the setting between transactions only. Raises: InvalidRequestError in one.
    """
    if connection.in_transaction():
        raise InvalidRequestError("foreign_keys_off must begin before the transaction does")
    was_on = connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one()
    connection.rollback()
    _enforce(connection, False)
    try:
        yield
    finally:
        if connection.in_transaction():
            connection.rollback()
        _enforce(connection, bool(was_on))


def _enforce(connection: Connection, is_on: bool) -> None:
    connection.exec_driver_sql(f"PRAGMA foreign_keys = {int(is_on)}")
    connection.commit()
