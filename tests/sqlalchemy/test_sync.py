"""The dialect with the ORM and Core, over mTLS to the reference server."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Session

import quicsql_dbapi
from quicsql_client import Client
from quicsql_client.testing.pki import EphemeralPKI
from quicsql_client.testing.reference import ReferenceServer, ServerThread
from quicsql_dbapi.sqlalchemy.dialect import QuicsqlDialect
from tests.sqlalchemy.models import FULL, Base, Post, User


@pytest.fixture
def engine(quicsql_server: ReferenceServer, quicsql_db: str) -> Iterator[sa.Engine]:
    """An engine by URL, its tables made."""
    engine = sa.create_engine(quicsql_server.url(quicsql_db))
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def count(engine: sa.Engine, entity: type[Base] = User) -> int:
    with engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(entity)) or 0


def test_every_type_comes_back(engine: sa.Engine) -> None:
    with Session(engine) as session:
        session.add(User(**FULL))
        session.commit()
    with Session(engine) as session:
        user = session.scalars(sa.select(User)).one()
        assert user.is_active is True
        for name, value in FULL.items():
            assert getattr(user, name) == value, name
            assert type(getattr(user, name)) is type(value), name
        assert user.seen is not None
        assert user.seen.tzinfo is None


@pytest.mark.parametrize(
    "seen",
    [
        datetime.datetime(2024, 1, 2),
        datetime.datetime(1, 1, 1, 0, 0, 0, 1),
        datetime.datetime(9999, 12, 31, 23, 59, 59, 999999),
    ],
)
def test_datetimes_come_back_without_a_zone(engine: sa.Engine, seen: datetime.datetime) -> None:
    with Session(engine) as session:
        session.add(User(name="x", seen=seen, born=seen.date()))
        session.commit()
        session.expire_all()
        user = session.scalars(sa.select(User)).one()
        assert (user.seen, user.born) == (seen, seen.date())
        assert session.scalar(sa.select(sa.func.max(User.seen))) == seen


def test_unit_of_work(engine: sa.Engine) -> None:
    with Session(engine) as session:
        user = User(name="a", posts=[Post(title="one"), Post(title="two")])
        session.add(user)
        session.commit()
        user.posts[0].title = "changed"
        session.delete(user.posts[1])
        session.commit()
        assert [post.title for post in user.posts] == ["changed"]
        session.execute(sa.update(User).where(User.name == "a").values(weight=1.5))
        session.rollback()
        assert user.weight is None


def test_many_rows_by_insertmanyvalues(engine: sa.Engine) -> None:
    with Session(engine) as session:
        users = [User(name=str(number)) for number in range(1500)]
        session.add_all(users)
        session.commit()
        assert [user.id for user in users] == list(range(1, 1501))
    assert count(engine) == 1500


def test_core_executemany_and_counts(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        rows = [{"name": str(number)} for number in range(10)]
        assert connection.execute(sa.insert(User), rows).rowcount == 10
        assert connection.execute(sa.update(User).values(weight=1.0)).rowcount == 10
        assert connection.execute(sa.delete(User).where(User.name > "4")).rowcount == 5
        inserted = connection.execute(sa.insert(User).values(name="new"))
        assert inserted.inserted_primary_key == (6,)


def test_upsert_and_returning(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        for weight in (1.0, 2.0):
            statement = insert(User).values(name="a", weight=weight)
            statement = statement.on_conflict_do_update(
                index_elements=["name"], set_={"weight": statement.excluded.weight}
            )
            row = connection.execute(statement.returning(User.id, User.weight)).one()
            assert tuple(row) == (1, weight)


def test_rollback_and_savepoints(engine: sa.Engine) -> None:
    with Session(engine) as session:
        session.add(User(name="kept"))
        session.flush()
        with pytest.raises(sa.exc.IntegrityError) as caught, session.begin_nested():
            session.execute(sa.insert(User).values(name="kept"))
        assert isinstance(caught.value.orig, quicsql_dbapi.IntegrityError)
        assert caught.value.orig.sqlite_errorname == "SQLITE_CONSTRAINT_UNIQUE"
        with session.begin_nested():
            session.add(User(name="inner"))
        session.commit()
    assert count(engine) == 2
    with engine.connect() as connection:
        connection.execute(sa.insert(User).values(name="undone"))
        connection.rollback()
    assert count(engine) == 2


def test_ddl_is_transactional(engine: sa.Engine) -> None:
    table = sa.Table("made", sa.MetaData(), sa.Column("x", sa.Integer))
    with engine.connect() as connection:
        table.create(connection)
        connection.execute(table.insert().values(x=1))
        connection.rollback()
    assert not sa.inspect(engine).has_table("made")


def test_reflection(engine: sa.Engine) -> None:
    inspector = sa.inspect(engine)
    assert sorted(inspector.get_table_names()) == ["posts", "users"]
    columns = {column["name"]: column for column in inspector.get_columns("users")}
    assert isinstance(columns["seen"]["type"], sa.DateTime)
    assert columns["name"]["nullable"] is False
    assert inspector.get_pk_constraint("posts")["constrained_columns"] == ["id"]
    (key,) = inspector.get_foreign_keys("posts")
    assert (key["referred_table"], key["options"]) == ("users", {"ondelete": "CASCADE"})
    assert [index["name"] for index in inspector.get_indexes("posts")] == ["ix_posts_title"]
    assert inspector.get_unique_constraints("users")[0]["column_names"] == ["name"]
    reflected = sa.MetaData()
    reflected.reflect(engine)
    assert set(reflected.tables) == {"users", "posts"}


def test_temporary_tables_live_as_long_as_the_connection(engine: sa.Engine) -> None:
    table = sa.Table("scratch", sa.MetaData(), sa.Column("x", sa.Integer), prefixes=["TEMPORARY"])
    with engine.connect() as connection:
        table.create(connection)
        connection.commit()
        connection.execute(table.insert(), [{"x": 1}, {"x": 2}])
        connection.commit()
        assert connection.scalars(sa.select(table.c.x).order_by("x")).all() == [1, 2]


def test_isolation_levels(engine: sa.Engine) -> None:
    assert engine.dialect.name == "sqlite"
    with engine.connect() as connection:
        assert connection.get_isolation_level() == "SERIALIZABLE"
        assert connection.default_isolation_level == "SERIALIZABLE"
    for level in ("READ UNCOMMITTED", "AUTOCOMMIT", "SERIALIZABLE"):
        with engine.connect().execution_options(isolation_level=level) as connection:
            assert connection.get_isolation_level() == level
    with engine.connect() as connection:
        assert connection.get_isolation_level() == "SERIALIZABLE"
    with pytest.raises(sa.exc.ArgumentError, match="SERIALIZABLE"):
        engine.connect().execution_options(isolation_level="REPEATABLE READ")


@pytest.mark.parametrize("level", ["AUTOCOMMIT", "READ UNCOMMITTED", "SERIALIZABLE"])
def test_isolation_level_of_an_engine(
    quicsql_server: ReferenceServer, quicsql_db: str, level: Any
) -> None:
    engine = sa.create_engine(quicsql_server.url(quicsql_db), isolation_level=level)
    for _ in range(2):
        with engine.connect() as connection:
            assert connection.get_isolation_level() == level
    with engine.connect().execution_options(isolation_level="SERIALIZABLE") as connection:
        assert connection.get_isolation_level() == "SERIALIZABLE"
    with engine.connect() as connection:
        assert connection.get_isolation_level() == level
    engine.dispose()


def test_autocommit(engine: sa.Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.insert(User).values(name="a"))
        connection.rollback()
    assert count(engine) == 1


def test_pragmas_in_a_connect_listener(engine: sa.Engine) -> None:
    @sa.event.listens_for(engine, "connect")
    def set_pragma(connection: Any, record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    engine.dispose()
    with engine.connect() as connection:
        assert connection.scalar(sa.text("PRAGMA foreign_keys")) == 1
        insert_orphan = sa.insert(Post).values(author_id=5, title="x")
        with pytest.raises(sa.exc.IntegrityError):
            connection.execute(insert_orphan)


def test_given_client_is_used_and_stays_open(quicsql_client: Client, quicsql_db: str) -> None:
    arguments = {"client": quicsql_client, "db": quicsql_db}
    engine = sa.create_engine("quicsql://", connect_args=arguments)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE t(x)"))
        raw: Any = connection.connection.dbapi_connection
        assert raw.client is quicsql_client
    engine.dispose()
    assert quicsql_client.query(quicsql_db, "SELECT count(*) FROM t").scalar() == 0


def test_connections_of_an_engine_share_one_client(engine: sa.Engine) -> None:
    with engine.connect() as first, engine.connect() as second:
        clients = {id(one.connection.dbapi_connection.client) for one in (first, second)}  # type: ignore[union-attr]
        assert len(clients) == 1
        assert isinstance(engine.pool, sa.QueuePool)


def test_urls_of_both_names_give_the_dialect() -> None:
    for scheme in ("quicsql", "sqlite+quicsql"):
        dialect = sa.make_url(f"{scheme}://h:1/app").get_dialect()
        assert dialect is QuicsqlDialect


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("quicsql://h:1/app", "quicsql://h:1/app"),
        ("sqlite+quicsql://[::1]:7/app", "quicsql://[::1]:7/app"),
        (
            "quicsql://me:p%40ss@h:1/app?transport=h2",
            "quicsql://h:1/app?user=me&password=p%40ss&transport=h2",
        ),
        ("quicsql:///app?transport=unix&socket=/a%20b", None),
    ],
)
def test_urls_become_the_drivers(url: str, expected: str | None) -> None:
    dialect = QuicsqlDialect()
    _, arguments = dialect.create_connect_args(sa.make_url(url))
    if expected is None:
        expected = "quicsql:///app?transport=unix&socket=%2Fa+b"
    assert arguments == {"url": expected, "db": "app"}


def test_urls_that_cannot_work() -> None:
    with pytest.raises(sa.exc.ArgumentError, match="unknown in the URL: colour"):
        sa.create_engine("quicsql://h:1/app?colour=red")
    with pytest.raises(sa.exc.ArgumentError, match="no database"):
        sa.create_engine("quicsql://h:1")
    with pytest.raises(sa.exc.ArgumentError, match="names no server"):
        sa.create_engine("quicsql://").connect()


def test_disconnects_are_told_by_the_error() -> None:
    dialect = QuicsqlDialect()
    assert dialect.is_disconnect(quicsql_dbapi.Error("x", is_disconnect=True), None, None)
    assert not dialect.is_disconnect(quicsql_dbapi.OperationalError("disconnect"), None, None)
    assert not dialect.is_disconnect(ValueError("Cannot operate on a closed database."), None, None)


def restarted(server: ServerThread) -> ServerThread:
    """The same databases behind the same address, in another server."""
    (listener,) = server.config.listeners
    listener = msgspec.structs.replace(listener, address=server.addresses[listener.name])
    return ServerThread(msgspec.structs.replace(server.config, listeners=(listener,)))


def test_pre_ping_survives_a_server_restart(tmp_path: Path, quicsql_pki: EphemeralPKI) -> None:
    with ReferenceServer(tmp_path, quicsql_pki) as server:
        url = server.url(server.create_database())
        engine = sa.create_engine(url, pool_pre_ping=True)
        with engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE t(x)"))
            connection.execute(sa.text("CREATE TEMP TABLE pins_a_stream(x)"))
    query = sa.text("SELECT count(*) FROM t")
    with engine.connect() as connection, pytest.raises(sa.exc.OperationalError) as caught:
        connection.execute(query)
    assert caught.value.connection_invalidated
    with restarted(server), engine.connect() as connection:
        assert connection.scalar(query) == 0
    engine.dispose()


def test_pre_ping_after_an_unnoticed_restart(tmp_path: Path, quicsql_pki: EphemeralPKI) -> None:
    with ReferenceServer(tmp_path, quicsql_pki) as server:
        engine = sa.create_engine(server.url(server.create_database()), pool_pre_ping=True)
        with engine.begin() as connection:
            connection.execute(sa.text("CREATE TEMP TABLE pins_a_stream(x)"))
    with restarted(server):
        for _ in range(2):
            with engine.connect() as connection:
                assert connection.scalar(sa.text("SELECT 1")) == 1
        engine.dispose()
