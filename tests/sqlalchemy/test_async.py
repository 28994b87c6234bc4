"""The asynchronous dialect with the ORM and Core, over mTLS to the reference server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

import quicsql_dbapi
from quicsql_client.testing.reference import ReferenceServer
from quicsql_dbapi import aio
from quicsql_dbapi.sqlalchemy.aio import AsyncQuicsqlDialect
from tests.sqlalchemy.models import FULL, Base, Post, User


@pytest_asyncio.fixture
async def engine(quicsql_server: ReferenceServer, quicsql_db: str) -> AsyncIterator[AsyncEngine]:
    """An engine by URL, its tables made."""
    engine = create_async_engine(quicsql_server.url(quicsql_db, scheme="quicsql+aio"))
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield engine
    await engine.dispose()


async def count(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return await connection.scalar(sa.select(sa.func.count()).select_from(User)) or 0


async def test_unit_of_work_and_types(engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session:
        session.add(User(**FULL, posts=[Post(title="one")]))
        await session.commit()
    async with AsyncSession(engine) as session:
        user = (await session.scalars(sa.select(User))).one()
        for name, value in FULL.items():
            assert getattr(user, name) == value, name
        posts = await session.scalars(sa.select(Post.title))
        assert posts.all() == ["one"]
        user.name = "changed"
        await session.rollback()
        await session.refresh(user)
        assert user.name == "ada"


async def test_savepoints(engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session:
        session.add(User(name="kept"))
        await session.flush()

        async def twice() -> None:
            async with session.begin_nested():
                await session.execute(sa.insert(User).values(name="kept"))

        with pytest.raises(sa.exc.IntegrityError):
            await twice()
        await session.commit()
    assert await count(engine) == 1


async def test_many_rows_and_streaming(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        rows = [{"name": str(number)} for number in range(1500)]
        result = await connection.execute(sa.insert(User), rows)
        assert result.rowcount == 1500
    async with engine.connect() as connection:
        ids = (await connection.scalars(sa.select(User.id).order_by(User.id))).all()
        assert ids == list(range(1, 1501))


async def test_reflection(engine: AsyncEngine) -> None:
    def reflect(connection: sa.Connection) -> list[str]:
        return sorted(sa.inspect(connection).get_table_names())

    async with engine.connect() as connection:
        assert await connection.run_sync(reflect) == ["posts", "users"]


async def test_isolation_levels(engine: AsyncEngine) -> None:
    for level in ("AUTOCOMMIT", "READ UNCOMMITTED", "SERIALIZABLE"):
        async with engine.connect() as connection:
            await connection.execution_options(isolation_level=level)
            assert await connection.get_isolation_level() == level
            await connection.execute(sa.insert(User).values(name=level))
    assert await count(engine) == 1


async def test_one_blocked_query_delays_nobody(engine: AsyncEngine) -> None:
    async def write(number: int) -> None:
        async with engine.begin() as connection:
            await connection.execute(sa.insert(User).values(name=str(number)))

    await asyncio.gather(*(write(number) for number in range(20)))
    assert await count(engine) == 20


async def test_given_client_is_used_and_stays_open(
    quicsql_server: ReferenceServer, quicsql_db: str
) -> None:
    async with quicsql_server.async_client() as client:
        arguments: dict[str, Any] = {"client": client, "db": quicsql_db}
        engine = create_async_engine("sqlite+quicsql://", connect_args=arguments)
        async with engine.connect() as connection:
            raw = await connection.get_raw_connection()
            assert isinstance(raw.driver_connection, aio.AsyncConnection)
            assert raw.driver_connection.client is client
            assert await connection.scalar(sa.text("SELECT 1")) == 1
        await engine.dispose()
        assert (await client.query(quicsql_db, "SELECT 1")).scalar() == 1


async def test_pre_ping_replaces_a_lost_connection(
    quicsql_server: ReferenceServer, quicsql_db: str
) -> None:
    engine = create_async_engine(quicsql_server.url(quicsql_db), pool_pre_ping=True)
    async with engine.connect() as connection:
        await connection.execute(sa.text("CREATE TEMP TABLE mine(x)"))
        await connection.commit()
        raw = (await connection.get_raw_connection()).driver_connection
        assert isinstance(raw, aio.AsyncConnection)
        await raw.aclose()
    async with engine.connect() as connection:
        assert await connection.scalar(sa.text("SELECT 1")) == 1
    await engine.dispose()


@pytest.mark.parametrize(
    "scheme", ["quicsql", "quicsql+aio", "sqlite+quicsql", "sqlite+aioquicsql"]
)
def test_every_scheme_gives_the_asynchronous_dialect(scheme: str) -> None:
    engine = create_async_engine(f"{scheme}://h:1/app")
    assert type(engine.dialect) is AsyncQuicsqlDialect
    assert engine.dialect.name == "sqlite"
    assert engine.dialect.is_async
    assert isinstance(engine.pool, sa.AsyncAdaptedQueuePool)
    assert getattr(engine.dialect.dbapi, "__name__", None) == quicsql_dbapi.__name__
