"""How SQLAlchemy's own test suite provisions a quicSQL database.

SQLAlchemy loads this module by its place beside the dialect. The suite runs in the one database
of its URL. Where QUICSQL_TEST_SCHEMA names a file in the server's data folder, each connection
attaches it as `test_schema`.
"""

from __future__ import annotations

import os
from typing import Any

from sqlalchemy import Engine, Table, event
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import URL
from sqlalchemy.testing.provision import (
    create_db,
    drop_db,
    generate_driver_url,
    post_configure_testing_engine,
    stop_test_class_outside_fixtures,
    temp_table_keyword_args,
    upsert,
)

__all__ = ["SCHEMA_FILE"]

SCHEMA_FILE = os.environ.get("QUICSQL_TEST_SCHEMA")
"""What each connection attaches as `test_schema`; None: nothing."""


@generate_driver_url.for_db("sqlite")  # type: ignore[untyped-decorator]
def _driver_url(url: URL, driver: str, query_str: str) -> URL:
    return url.set(drivername=f"sqlite+{driver}") if driver else url


@create_db.for_db("sqlite")  # type: ignore[untyped-decorator]
def _create_nothing(cfg: Any, engine: Engine, ident: str) -> None:
    """The database is the server's."""


@drop_db.for_db("sqlite")  # type: ignore[untyped-decorator]
def _drop_nothing(cfg: Any, engine: Engine, ident: str) -> None:
    """The database is the server's."""


@stop_test_class_outside_fixtures.for_db("sqlite")  # type: ignore[untyped-decorator]
def _let_streams_go(config: Any, db: Engine, cls: type) -> None:
    db.dispose()


@post_configure_testing_engine.for_db("sqlite")  # type: ignore[untyped-decorator]
def _attach_schema(url: URL, engine: Any, options: dict[str, Any], scope: str) -> None:
    if SCHEMA_FILE is None:
        return
    name = SCHEMA_FILE.replace("'", "''")

    @event.listens_for(getattr(engine, "sync_engine", engine), "connect")
    def attach(dbapi_connection: Any, record: Any) -> None:
        cursor = dbapi_connection.cursor()
        # The server wants the name as a text in the statement, not as a parameter.
        cursor.execute(f"ATTACH DATABASE '{name}' AS test_schema")
        cursor.close()


@temp_table_keyword_args.for_db("sqlite")  # type: ignore[untyped-decorator]
def _temp_table_arguments(cfg: Any, engine: Engine) -> dict[str, list[str]]:
    return {"prefixes": ["TEMPORARY"]}


@upsert.for_db("sqlite")  # type: ignore[untyped-decorator]
def _upsert(
    cfg: Any,
    table: Table,
    returning: Any,
    *,
    set_lambda: Any = None,
    sort_by_parameter_order: bool = False,
    index_elements: Any = None,
) -> Any:
    statement = insert(table)
    if set_lambda:
        statement = statement.on_conflict_do_update(set_=set_lambda(statement.excluded))
    else:
        statement = statement.on_conflict_do_nothing()
    return statement.returning(*returning, sort_by_parameter_order=sort_by_parameter_order)
