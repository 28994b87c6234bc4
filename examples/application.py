"""An application's ten minutes: three certificate files, a client, a table, a transaction.

python examples/application.py db.example.com:7777 server-ca.crt app.crt app.key
"""

from __future__ import annotations

import sys

from quicsql_client import Client, IntegrityError, with_client_cert, with_root_ca

DATABASE = "app"


def main(address: str, root_ca: str, certificate: str, key: str) -> None:
    with Client.h2tls(address, with_root_ca(root_ca), with_client_cert(certificate, key)) as client:
        client.execute(
            DATABASE,
            "CREATE TABLE IF NOT EXISTS accounts"
            "(name TEXT PRIMARY KEY, balance INTEGER NOT NULL CHECK (balance >= 0))",
        )

        # One request, one transaction: all of it or nothing.
        client.batch(
            DATABASE,
            [
                ("INSERT OR REPLACE INTO accounts VALUES (?, ?)", ["ada", 100]),
                ("INSERT OR REPLACE INTO accounts VALUES (?, ?)", ["grace", 20]),
            ],
        )

        # Read, decide, write: a transaction on one pinned connection of the server.
        with client.transaction(DATABASE, "immediate") as tx:
            (balance,) = tx.execute("SELECT balance FROM accounts WHERE name = ?", ["ada"]).one()
            print("ada has", balance)
            tx.execute("UPDATE accounts SET balance = balance - 30 WHERE name = 'ada'")
            tx.execute("UPDATE accounts SET balance = balance + 30 WHERE name = 'grace'")

        # An exception rolls back, and says which rule was broken.
        try:
            with client.transaction(DATABASE) as tx:
                tx.execute("UPDATE accounts SET balance = balance + 999 WHERE name = 'grace'")
                tx.execute("UPDATE accounts SET balance = balance - 999 WHERE name = 'ada'")
        except IntegrityError as exc:
            print(f"refused: {exc} ({exc.name})")

        select = "SELECT name, balance FROM accounts WHERE balance > :least ORDER BY name"
        for name, balance in client.query(DATABASE, select, {"least": 10}):
            print(name, balance)


if __name__ == "__main__":
    main(*sys.argv[1:5])
