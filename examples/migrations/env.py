"""What Alembic runs for every command: `alembic init` writes one; these lines matter on quicSQL."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from quicsql_dbapi.alembic import foreign_keys_off

target_metadata = None  # yours, for `--autogenerate`


def run_migrations_online() -> None:
    engine = create_engine(context.config.attributes["url"], poolclass=NullPool)
    with engine.connect() as connection, foreign_keys_off(connection):
        context.configure(connection, target_metadata=target_metadata, render_as_batch=True)
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


run_migrations_online()
