"""What a stream and a pipeline offer, over every transport, against the reference server."""

from __future__ import annotations

import pytest

from quicsql_client import (
    AsyncClient,
    DatabaseError,
    Description,
    IntegrityError,
    OperationalError,
    Result,
)
from tests.fix_server import TRANSPORTS, EveryTransport

# By pytest's order a database may be asked before or after other tests: names of this module's own.
SCRIPT = """
CREATE TABLE IF NOT EXISTS streamed(id INTEGER PRIMARY KEY, name TEXT NOT NULL, "when" DATE);
DELETE FROM streamed;
INSERT INTO streamed(name) VALUES ('a;b');
SELECT * FROM streamed;
"""


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_stream_runs_scripts_and_describes(
    every_transport: EveryTransport, transport: str
) -> None:
    endpoint, options = every_transport.way(transport)
    db = f"{transport}-{AsyncClient.__name__}"
    async with AsyncClient(endpoint, *options) as client, client.stream(db) as stream:
        await stream.sequence(SCRIPT)
        assert (await stream.execute("SELECT name FROM streamed")).scalar() == "a;b"
        with pytest.raises(OperationalError) as caught:
            await stream.sequence("INSERT INTO streamed(name) VALUES ('kept'); SELEC; SELECT 1")
        assert caught.value.sql is not None
        assert (await stream.execute("SELECT count(*) FROM streamed")).scalar() == 2

        told = await stream.describe('SELECT id, "when", name || ? AS n FROM streamed WHERE id=:id')
        columns = (("id", "INTEGER"), ("when", "DATE"), ("n", None))
        assert told == Description((None, ":id"), columns, is_explain=False, is_readonly=True)
        assert (await stream.describe("EXPLAIN SELECT 1")).is_explain
        assert not (await stream.describe("DELETE FROM streamed")).is_readonly
        with pytest.raises(OperationalError, match="no such table") as caught:
            await stream.describe("SELECT * FROM nowhere")
        assert caught.value.sql == "SELECT * FROM nowhere"

        await stream.execute("BEGIN")
        assert not await stream.is_autocommit()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_pipeline_hides_nothing(every_transport: EveryTransport, transport: str) -> None:
    endpoint, options = every_transport.way(transport)
    db = f"{transport}-{AsyncClient.__name__}"
    async with AsyncClient(endpoint, *options) as client:
        create = "CREATE TABLE IF NOT EXISTS piped(id INTEGER PRIMARY KEY)"
        insert = ("INSERT INTO piped VALUES (:id)", {"id": 1})
        outcomes = await client.pipeline(
            db, [create, "DELETE FROM piped", insert, insert, ("SELECT ?", [7]), "SELEC"]
        )
        assert [isinstance(outcome, DatabaseError) for outcome in outcomes] == [
            *(False, False, False, True, False, True)
        ]
        selected, refused = outcomes[4], outcomes[3]
        assert isinstance(selected, Result)
        assert selected.scalar() == 7
        assert isinstance(refused, IntegrityError)
        assert (refused.failed_index, refused.sql) == (3, "INSERT INTO piped VALUES (:id)")
        assert (await client.query(db, "SELECT count(*) FROM piped")).scalar() == 1
        assert await client.pipeline(db, []) == []
