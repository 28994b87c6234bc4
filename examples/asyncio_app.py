"""The asynchronous client, and SQLAlchemy's asynchronous engine, in one event loop.

python examples/asyncio_app.py db.example.com:7777 server-ca.crt app.crt app.key
"""

from __future__ import annotations

import asyncio
import sys

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from quicsql_client import AsyncClient, with_client_cert, with_root_ca


async def main(address: str, root_ca: str, certificate: str, key: str) -> None:
    identity = (with_root_ca(root_ca), with_client_cert(certificate, key))
    async with AsyncClient.h2tls(address, *identity) as client:
        await client.execute("app", "CREATE TABLE IF NOT EXISTS visits(page TEXT, n INTEGER)")
        async with client.transaction("app") as tx:
            await tx.batch(("INSERT INTO visits VALUES (?, ?)", [f"/{n}", n]) for n in range(10))

        # Many at once: each task has its answer, no thread waits.
        select = "SELECT n FROM visits WHERE page = ?"
        results = await asyncio.gather(*(client.query("app", select, [f"/{n}"]) for n in range(10)))
        print("visits:", [result.scalar() for result in results])

    url = (
        f"quicsql+aio://{address}/app?transport=h2"
        f"&sslrootcert={root_ca}&sslcert={certificate}&sslkey={key}"
    )
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        total = await connection.scalar(text("SELECT sum(n) FROM visits"))
        print("total:", total)
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5]))
