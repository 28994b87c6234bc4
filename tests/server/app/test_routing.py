"""From path and host to database and endpoint.

Odd-cases 7, 9, 10, 13, 164.
"""

from __future__ import annotations

import pytest

from quicsql_client.server.config import RoutingConfig
from quicsql_client.server.routing import NoRoute, Target, resolve

BY_PATH = RoutingConfig()
BY_HOST = RoutingConfig(by_host=True, host_suffix=".q.local")
BOTH = RoutingConfig(by_path=True, by_host=True, host_suffix=".q.local", default_db="home")
DEFAULT = RoutingConfig(default_db="home")

NO_DATABASE = "no database in request (name it in the path, host, or set a default)"
INVALID = "invalid or reserved database name"


@pytest.mark.parametrize(
    ("routing", "path", "host", "database", "endpoint"),
    [
        (BY_PATH, "/app/query", "", "app", "/query"),
        (BY_PATH, "//app//query/", "", "app", "/query"),
        (BY_PATH, "/app/v3/pipeline", "", "app", "/v3/pipeline"),
        (BY_PATH, "/app", "", "app", "/"),
        (BY_PATH, "/app/", "", "app", "/"),
        (BY_PATH, "/Query/query", "", "Query", "/query"),
        (BY_PATH, "/app/query", "other.q.local", "app", "/query"),
        (BY_HOST, "/query", "app.q.local", "app", "/query"),
        (BY_HOST, "/query", "app.q.local:7777", "app", "/query"),
        (BY_HOST, "/query/", "app.q.local", "app", "/query/"),
        (BY_HOST, "//query", "app.q.local", "app", "//query"),
        (BY_HOST, "/query", "a.b.q.local", "a.b", "/query"),
        (BOTH, "/app/query", "other.q.local", "app", "/query"),
        (BOTH, "/query", "other.q.local", "other", "/query"),
        (BOTH, "/query", "other.Q.local", "home", "/query"),
        (BOTH, "/query", "q.local", "home", "/query"),
        (BOTH, "/query", ".q.local", "home", "/query"),
        (BOTH, "/query", "", "home", "/query"),
        (DEFAULT, "/query", "other.q.local", "home", "/query"),
        (DEFAULT, "/v3/pipeline", "", "home", "/v3/pipeline"),
        (DEFAULT, "/", "", "home", "/"),
        (RoutingConfig(by_host=True, host_suffix="q.local"), "/x", "app.q.local", "app", "/x"),
    ],
)
def test_targets(
    routing: RoutingConfig, path: str, host: str, database: str, endpoint: str
) -> None:
    assert resolve(routing, path, host) == Target(database, endpoint)


@pytest.mark.parametrize(
    ("routing", "path", "host", "text"),
    [
        (BY_PATH, "/", "", NO_DATABASE),
        (BY_PATH, "", "", NO_DATABASE),
        (BY_PATH, "/query", "", NO_DATABASE),
        (BY_PATH, "/changes", "app.q.local", NO_DATABASE),
        (BY_HOST, "/app/query", "localhost", NO_DATABASE),
        (RoutingConfig(by_host=True), "/query", "app.q.local", NO_DATABASE),
        (BY_PATH, "/../secret/query", "", INVALID),
        (BY_PATH, "/./query", "", INVALID),
        (BY_PATH, "//_meta/query", "", INVALID),
        (BY_PATH, "/a b/query", "", INVALID),
        (BY_PATH, "/\u00e9/query", "", INVALID),
        (BY_PATH, "/a\n/query", "", INVALID),
        (BY_HOST, "/query", "_meta.q.local", INVALID),
        (BY_HOST, "/query", "query.q.local", INVALID),
        (RoutingConfig(default_db="_x"), "/query", "", INVALID),
    ],
)
def test_requests_without_a_possible_database(
    routing: RoutingConfig, path: str, host: str, text: str
) -> None:
    with pytest.raises(NoRoute) as caught:
        resolve(routing, path, host)
    assert str(caught.value) == text


@pytest.mark.parametrize("name", ["app", "-x", "a..b", "Query", "5", "a_b", ".a", "..."])
def test_possible_names(name: str) -> None:
    assert resolve(BY_PATH, f"/{name}/query", "").database == name
