"""Alembic over both dialects and mTLS: transactional DDL, batches, autogenerate."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata, produce_migrations
from alembic.ddl.sqlite import SQLiteImpl
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy.ext.asyncio import create_async_engine

from quicsql_client.testing.reference import ReferenceServer
from quicsql_dbapi.alembic import QuicsqlImpl, foreign_keys_off

METADATA = sa.MetaData()
PARENT = sa.Table(
    "parent",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(20), index=True),
)
CHILD = sa.Table(
    "child",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("parent_id", sa.Integer, sa.ForeignKey("parent.id", ondelete="CASCADE")),
)


@pytest.fixture
def engine(quicsql_server: ReferenceServer, quicsql_db: str) -> Iterator[sa.Engine]:
    """An engine by URL."""
    engine = sa.create_engine(quicsql_server.url(quicsql_db))
    yield engine
    engine.dispose()


@pytest.fixture
def filled(engine: sa.Engine) -> sa.Engine:
    """The engine, with one parent and its child; the server enforces foreign keys."""
    METADATA.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sa.insert(PARENT).values(id=1, name="a"))
        connection.execute(sa.insert(CHILD).values(id=1, parent_id=1))
    return engine


def migrate(connection: sa.Connection, steps: Callable[[Operations], Any]) -> None:
    """Run steps as Alembic runs a migration."""
    context = MigrationContext.configure(connection)
    assert isinstance(context.impl, QuicsqlImpl)
    with context.begin_transaction():
        steps(Operations(context))


def tables(engine: sa.Engine) -> list[str]:
    return sorted(sa.inspect(engine).get_table_names())


def widen(op: Operations) -> None:
    with op.batch_alter_table("parent") as batch:
        batch.alter_column("name", existing_type=sa.String(20), nullable=False)


def fail_midway(op: Operations) -> None:
    op.create_table("half", sa.Column("id", sa.Integer, primary_key=True))
    op.add_column("child", sa.Column("more", sa.Text))
    widen(op)
    op.execute("SELECT * FROM no_such_table")


def test_a_migration_that_fails_midway_leaves_the_schema_as_it_was(filled: sa.Engine) -> None:
    before = sa.text("SELECT sql FROM sqlite_schema ORDER BY rowid")
    with filled.connect() as connection:
        schema = connection.scalars(before).all()
    with (
        pytest.raises(sa.exc.OperationalError, match="no such table"),
        filled.connect() as connection,
    ):
        migrate(connection, fail_midway)
    with filled.connect() as connection:
        assert connection.scalars(before).all() == schema


def test_the_same_in_an_event_loop(quicsql_server: ReferenceServer, quicsql_db: str) -> None:
    async def main() -> list[str]:
        engine = create_async_engine(quicsql_server.url(quicsql_db, scheme="quicsql+aio"))
        async with engine.connect() as connection:
            await connection.run_sync(METADATA.create_all)
            await connection.commit()
            with pytest.raises(sa.exc.OperationalError, match="no such table"):
                await connection.run_sync(migrate, fail_midway)
        async with engine.connect() as connection:
            names = await connection.run_sync(lambda sync: sa.inspect(sync).get_table_names())
        await engine.dispose()
        return sorted(names)

    assert asyncio.run(main()) == ["child", "parent"]


def test_a_batch_with_foreign_keys_off_keeps_the_children(filled: sa.Engine) -> None:
    with filled.connect() as connection:
        with foreign_keys_off(connection):
            migrate(connection, widen)
        assert connection.scalar(sa.select(sa.func.count()).select_from(CHILD)) == 1
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    columns = {column["name"]: column for column in sa.inspect(filled).get_columns("parent")}
    assert columns["name"]["nullable"] is False
    assert [index["name"] for index in sa.inspect(filled).get_indexes("parent")] == [
        "ix_parent_name"
    ]


def test_foreign_keys_are_enforced_again_after_a_failure(filled: sa.Engine) -> None:
    with filled.connect() as connection:
        with pytest.raises(sa.exc.OperationalError), foreign_keys_off(connection):
            migrate(connection, fail_midway)
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    assert tables(filled) == ["child", "parent"]


def test_foreign_keys_off_refuses_an_open_transaction(filled: sa.Engine) -> None:
    with (
        filled.begin() as connection,
        pytest.raises(sa.exc.InvalidRequestError),
        foreign_keys_off(connection),
    ):
        pytest.fail("went on")


def test_autogenerate_finds_what_differs_and_only_that(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"render_as_batch": True})
        script = produce_migrations(context, METADATA)
        assert script.upgrade_ops is not None
        with context.begin_transaction():
            operations = Operations(context)
            for operation in script.upgrade_ops.ops:
                for one in getattr(operation, "ops", [operation]):
                    operations.invoke(one)
    assert tables(engine) == ["child", "parent"]
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, METADATA) == []
        connection.exec_driver_sql("ALTER TABLE child ADD COLUMN extra TEXT")
        ((kind, _, table, column),) = compare_metadata(context, METADATA)
        assert (kind, table, column.name) == ("remove_column", "child", "extra")


def test_offline_scripts_are_one_transaction() -> None:
    out = io.StringIO()
    context = MigrationContext.configure(
        url="quicsql://db.example.com/app", opts={"as_sql": True, "output_buffer": out}
    )
    with context.begin_transaction():
        Operations(context).create_table("one", sa.Column("id", sa.Integer))
    assert out.getvalue().startswith("BEGIN;")
    assert out.getvalue().rstrip().endswith("COMMIT;")


def test_other_drivers_keep_alembic_s_own_rules() -> None:
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert isinstance(context.impl, SQLiteImpl)
        assert not context.impl.transactional_ddl
    engine.dispose()


@pytest.mark.parametrize(
    "first", ["alembic.context", "quicsql_dbapi.alembic", "alembic.ddl.sqlite"]
)
def test_alembic_finds_our_rules_whoever_is_imported_first(first: str) -> None:
    code = f"""
import {first}
from alembic.runtime.migration import MigrationContext
print(type(MigrationContext.configure(url="quicsql://a/b", opts={{"as_sql": True}}).impl).__name__)
"""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60
    )
    assert (ran.stdout, ran.stderr) == ("QuicsqlImpl\n", "")
