"""The DB-API driver: the `sqlite3` module's habits, over mutual TLS.

python examples/dbapi.py db.example.com:7777 server-ca.crt app.crt app.key
"""

from __future__ import annotations

import sys

import quicsql_dbapi
from quicsql_client import Client, with_client_cert, with_root_ca


def main(address: str, root_ca: str, certificate: str, key: str) -> None:
    # A DSN can carry paths, but no keys: hand over a client, or use a URL with sslcert and sslkey.
    client = Client.h2tls(address, with_root_ca(root_ca), with_client_cert(certificate, key))
    with client:
        connection = quicsql_dbapi.connect(client=client, db="app")
        cursor = connection.cursor()

        cursor.execute("CREATE TABLE IF NOT EXISTS readings(at TEXT, celsius REAL)")
        readings = [(f"2026-11-23T{hour:02}:00:00", 4.5 + hour / 2) for hour in range(24)]
        cursor.executemany("INSERT INTO readings VALUES (?, ?)", readings)  # one request
        print(f"{cursor.rowcount} rows")
        connection.commit()

        cursor.execute("DELETE FROM readings")
        connection.rollback()

        cursor.execute("SELECT count(*) AS n, max(celsius) AS warmest FROM readings")
        print([column[0] for column in cursor.description or ()], cursor.fetchone())
        connection.close()


if __name__ == "__main__":
    main(*sys.argv[1:5])
