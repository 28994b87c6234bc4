"""Rows for readers of Arrow: here pyarrow; the driver needs nothing installed for it.

python examples/arrow_out.py db.example.com:7777 server-ca.crt app.crt app.key
"""

from __future__ import annotations

import sys

import pyarrow

import quicsql_dbapi
from quicsql_client import Client, with_client_cert, with_root_ca


def main(address: str, root_ca: str, certificate: str, key: str) -> None:
    with Client.h2tls(address, with_root_ca(root_ca), with_client_cert(certificate, key)) as client:
        connection = quicsql_dbapi.connect(client=client, db="app")
        connection.execute("CREATE TABLE samples(n INTEGER, x REAL, name TEXT, raw BLOB)")
        samples = [(n, n / 2, f"sample {n}", bytes([n])) for n in range(1, 4)]
        connection.executemany("INSERT INTO samples VALUES (?, ?, ?, ?)", samples)
        connection.commit()

        table = pyarrow.table(connection.execute("SELECT * FROM samples").fetch_arrow())
        print(", ".join(str(field.type) for field in table.schema))
        print(f"{table.num_rows} rows, sum of n {sum(table['n'].to_pylist())}")
        connection.close()


if __name__ == "__main__":
    main(*sys.argv[1:5])
