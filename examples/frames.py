"""Frames in and out: pandas over an engine, Polars over a plain connection.

python examples/frames.py db.example.com:7777 server-ca.crt app.crt app.key
"""

from __future__ import annotations

import sys

import pandas
import polars
from sqlalchemy import URL, create_engine

import quicsql_dbapi
from quicsql_client import Client, with_client_cert, with_root_ca


def main(address: str, root_ca: str, certificate: str, key: str) -> None:
    host, _, port = address.rpartition(":")
    query = {"sslrootcert": root_ca, "sslcert": certificate, "sslkey": key}
    engine = create_engine(
        URL.create("quicsql", host=host, port=int(port), database="app", query=query)
    )
    hours = pandas.date_range("2026-11-23", periods=10_000, freq="h")
    readings = pandas.DataFrame({"at": hours, "celsius": [n % 40 / 2 for n in range(10_000)]})
    readings.to_sql("readings", engine, index=False)  # one request for all rows
    back = pandas.read_sql_table("readings", engine)
    print(f"pandas: {len(back)} rows, at is {back.dtypes['at'].kind}")
    engine.dispose()

    with Client.h2tls(address, with_root_ca(root_ca), with_client_cert(certificate, key)) as client:
        connection = quicsql_dbapi.connect(
            client=client, db="app", detect_types=quicsql_dbapi.PARSE_DECLTYPES
        )
        frame = polars.read_database("SELECT * FROM readings WHERE celsius > 19", connection)
        print(f"Polars: {frame.height} rows, at is {frame.schema['at']}")
        empty = polars.read_database("SELECT * FROM readings WHERE false", connection)
        print(f"the same types without a row: {empty.schema == frame.schema}")
        connection.close()


if __name__ == "__main__":
    main(*sys.argv[1:5])
