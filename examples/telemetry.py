"""OpenTelemetry by its DB-API integration: spans say which server, database and user.

python examples/telemetry.py db.example.com:7777 server-ca.crt app.crt app.key
"""

from __future__ import annotations

import sys
from typing import Any

from opentelemetry.instrumentation.dbapi import trace_integration
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import quicsql_dbapi
from quicsql_client import Client, with_client_cert, with_root_ca

FACTS = {
    "host": "info.host",
    "port": "info.port",
    "database": "info.database",
    "user": "info.user",
}


def main(address: str, root_ca: str, certificate: str, key: str) -> None:
    spans = InMemorySpanExporter()  # yours sends them to a collector
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    driver: Any = quicsql_dbapi  # a module, which the annotation there does not foresee
    trace_integration(
        driver, "connect", "sqlite", connection_attributes=FACTS, tracer_provider=provider
    )

    with Client.h2tls(address, with_root_ca(root_ca), with_client_cert(certificate, key)) as client:
        connection = quicsql_dbapi.connect(client=client, db="app")
        cursor = connection.cursor()
        cursor.execute("SELECT ?", ("a value that no span shows",))
        print(cursor.fetchone())
        connection.close()

    (span,) = spans.get_finished_spans()
    facts = dict(span.attributes or {})
    print(f"{span.name}: {facts['db.name']} as {facts['db.user']} at {facts['net.peer.name']}")
    print("the value is told" if "a value" in str(facts) else "the value is not told")


if __name__ == "__main__":
    main(*sys.argv[1:5])
