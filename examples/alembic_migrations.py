"""Alembic on quicSQL: a migration takes effect as a whole, or not at all.

python examples/alembic_migrations.py db.example.com:7777 server-ca.crt app.crt app.key
"""

from __future__ import annotations

import sys
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import URL, create_engine, inspect, text

FOLDER = Path(__file__).with_name("migrations")


def main(address: str, root_ca: str, certificate: str, key: str) -> None:
    host, _, port = address.rpartition(":")
    query = {"sslrootcert": root_ca, "sslcert": certificate, "sslkey": key}
    url = URL.create("quicsql", host=host, port=int(port), database="app", query=query)

    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.attributes["url"] = url

    engine = create_engine(url)
    command.upgrade(config, "accounts")
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO account(id, name) VALUES (1, 'ada')"))
        connection.execute(text("INSERT INTO entry(account_id, cents) VALUES (1, 100)"))

    try:
        command.upgrade(config, "broken")  # adds a table, then fails
    except ZeroDivisionError:
        print(f"as before: {', '.join(sorted(inspect(engine).get_table_names()))}")

    command.upgrade(config, "emails")  # rebuilds a table that another one refers to
    with engine.connect() as connection:
        columns = [column["name"] for column in inspect(connection).get_columns("account")]
        kept = connection.scalar(text("SELECT count(*) FROM entry"))
        print(f"account has {', '.join(columns)}; {kept} entry kept")
    engine.dispose()


if __name__ == "__main__":
    main(*sys.argv[1:5])
