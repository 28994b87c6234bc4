"""How SQLAlchemy's own test suite provisions a quicSQL database.

SQLAlchemy loads this module by its place beside the dialect. The suite runs in the one database
of its URL: there are no files to make, attach or remove.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, Table
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import URL
from sqlalchemy.testing.provision import (
    create_db,
    drop_db,
    generate_driver_url,
    stop_test_class_outside_fixtures,
    temp_table_keyword_args,
    upsert,
)

__all__: list[str] = []


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
