"""The control plane of a real process: what outlives a restart, a kill and a reload.

Odd-case 177.
"""

from __future__ import annotations

import hashlib
import signal
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fix_admin import described, granted
from tests.fix_server_process import WAIT_S, Serve, ServerProcess, query, write_config

NAMES = ("root", "tok")


def by_token(name: str) -> dict[str, Any]:
    digest = hashlib.sha256(f"{name}-token".encode()).hexdigest()
    return {"name": name, "methods": [{"bearer": {"token_hash": digest}}]}


def seed(name: str) -> dict[str, Any]:
    grants = [{"principal": "tok", "level": "read-write"}]
    settings = {"name": name, "backend": "file", "path": f"{name}.db", "grants": grants}
    return settings | {"pragmas_preset": "recommended"}


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    return {
        "server": {"data_dir": str(tmp_path), "meta_store": {"backend": "file", "path": "meta.db"}},
        "listeners": [
            {"name": "h1", "transport": "h1", "address": "127.0.0.1:0", "auth": ["bearer"]},
            {"name": "h2c", "transport": "h2c", "address": "127.0.0.1:0", "auth": ["bearer"]},
        ],
        "auth": {"principals": [by_token(name) for name in NAMES]},
        "databases": [seed("app")],
        "control_plane": {"enabled": True, "admins": ["root"]},
    }


def started(serve: Serve, config: dict[str, Any]) -> ServerProcess:
    process = serve(config)
    process.wait_for("ready")
    return process


def client(server: ServerProcess, name: str, listener: str = "h1") -> httpx.Client:
    return httpx.Client(
        base_url=f"http://127.0.0.1:{server.ports[listener]}",
        headers={"authorization": f"Bearer {name}-token"},
        timeout=WAIT_S,
        trust_env=False,
        http1=listener == "h1",
        http2=listener != "h1",
    )


@pytest.fixture
def server(serve: Serve, config: dict[str, Any]) -> ServerProcess:
    return started(serve, config)


@pytest.fixture
def root(server: ServerProcess) -> Iterator[httpx.Client]:
    with client(server, "root") as found:
        yield found


@pytest.fixture
def tok(server: ServerProcess) -> Iterator[httpx.Client]:
    with client(server, "tok") as found:
        yield found


def create(root: httpx.Client, name: str, /, **levels: str) -> int:
    document = {"database": described(name), "grants": granted(**levels)}
    return root.post("/_admin/create", json=document).status_code


def detach(root: httpx.Client, name: str) -> int:
    return root.post("/_admin/detach", json={"database": name}).status_code


def served(root: httpx.Client) -> dict[str, bool]:
    """Whether each database is open, by name."""
    found = root.get("/_admin/databases").json()["databases"]
    return {one["name"]: one["open"] for one in found}


def image(folder: Path, script: str) -> bytes:
    with closing(sqlite3.connect(folder / "made.sqlite")) as connection:
        connection.executescript(script)
    made = folder / "made.sqlite"
    body = made.read_bytes()
    made.unlink()
    return body


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_what_was_created_outlives_the_server(
    serve: Serve,
    config: dict[str, Any],
    server: ServerProcess,
    root: httpx.Client,
    tok: httpx.Client,
    ending: signal.Signals,
) -> None:
    assert create(root, "new", tok="read-write", ghost="admin") == 200
    assert create(root, "gone", tok="read-write") == 200
    assert query(tok, "CREATE TABLE t AS SELECT 42 AS v", "new").status_code == 200
    assert detach(root, "gone") == 200
    assert detach(root, "app") == 200
    assert query(tok, "SELECT 1").status_code == 403
    server.tell(ending)
    server.ended()
    again = started(serve, config)
    with client(again, "root") as root, client(again, "tok") as tok:
        assert served(root) == {"app": True, "new": False}  # 177
        assert query(tok, "SELECT v FROM t", "new").json()["rows"] == [[42]]
        assert served(root) == {"app": True, "new": True}
        assert query(tok, "SELECT 1").status_code == 200
        assert query(tok, "SELECT 1", "gone").status_code == 403
        assert create(root, "new") == 409


def test_a_created_database_hides_the_configurations(
    serve: Serve, config: dict[str, Any], server: ServerProcess, root: httpx.Client
) -> None:
    assert detach(root, "app") == 200
    assert create(root, "app", root="read-only") == 200
    server.tell(signal.SIGTERM)
    assert server.ended() == 0
    again = started(serve, config)
    assert any("the one made at run time hides" in line for line in again.lines)
    with client(again, "root") as root, client(again, "tok") as tok:
        assert query(root, "SELECT 1").status_code == 200
        assert query(tok, "SELECT 1").status_code == 403


def test_a_reload_takes_admins_and_refuses_the_name_of_a_created_database(
    config: dict[str, Any], config_path: Path, server: ServerProcess, root: httpx.Client
) -> None:
    assert create(root, "new", tok="read-write") == 200
    config["control_plane"]["admins"] = ["tok"]
    write_config(config_path, config)
    server.tell(signal.SIGHUP)
    server.wait_for("server-admin tok added")
    server.wait_for("reload done")
    assert root.get("/_admin/info").status_code == 403
    with client(server, "tok") as tok:
        assert served(tok) == {"app": True, "new": True}
        config["databases"].append(seed("new"))
        config["control_plane"]["admins"] = ["root"]
        write_config(config_path, config)
        server.tell(signal.SIGHUP)
        line = server.wait_for("reload refused")
        assert 'open database "new": one of this name was created at run time' in line
        assert tok.get("/_admin/info").status_code == 200  # nothing was taken over
        assert detach(tok, "new") == 200
        server.tell(signal.SIGHUP)
        server.wait_for("reload done")
        assert tok.get("/_admin/info").status_code == 403


def test_the_store_is_its_owners_alone(server: ServerProcess, tmp_path: Path) -> None:
    for path in tmp_path.glob("meta.db*"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077


def test_an_encrypted_store_is_refused(serve: Serve, config: dict[str, Any]) -> None:
    config["secrets"] = [{"name": "env", "type": "env"}]
    config["server"]["meta_store"] = {"key": "env:STORE"}
    process = serve(config)
    assert process.ended() == 1
    assert any("meta_store key asks for an encrypted store" in line for line in process.lines)


def test_a_store_without_a_name_is_made_where_upstream_has_it(
    serve: Serve, config: dict[str, Any], tmp_path: Path
) -> None:
    del config["server"]["meta_store"]
    process = started(serve, config)
    assert any("server.meta_store is a plain SQLite file" in line for line in process.lines)
    assert (tmp_path / "_meta.vault").exists()


def test_a_store_that_does_not_open_ends_the_start(
    serve: Serve, config: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "meta.db").write_text("no database, " * 100)
    process = serve(config)
    assert process.ended() == 1
    assert "open meta store: " in process.lines[-1]


@pytest.mark.parametrize("listener", ["h1", "h2c"])
def test_a_large_image_over_the_wire(
    server: ServerProcess, tok: httpx.Client, tmp_path: Path, listener: str
) -> None:
    body = image(tmp_path, "CREATE TABLE t AS SELECT zeroblob(20000000) AS v")
    with client(server, "root", listener) as root:
        answer = root.post("/_admin/restore?database=app", content=iter([body]))
        assert answer.json() == {"bytes": len(body), "database": "app", "status": "restored"}
        refused = root.post("/_admin/restore?database=app", content=body[:-1])
        assert refused.status_code == 400
    assert query(tok, "SELECT length(v) FROM t").json()["rows"] == [[20_000_000]]


def test_a_restore_under_load_gives_no_wrong_row(
    server: ServerProcess, root: httpx.Client, tmp_path: Path
) -> None:
    many = "WITH RECURSIVE n(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM n WHERE x<500)"
    images = [image(tmp_path, f"CREATE TABLE t AS {many} SELECT {m} v FROM n") for m in (1, 2)]
    assert root.post("/_admin/restore?database=app", content=images[0]).status_code == 200
    is_over = threading.Event()
    seen: set[int] = set()
    wrong: list[str] = []

    def read() -> None:
        with client(server, "tok") as tok:
            while not is_over.wait(0.005):
                answer = query(tok, "SELECT count(*), min(v), max(v) FROM t")
                if answer.status_code == 503:
                    continue
                ((count, least, greatest),) = answer.json().get("rows", [[0, 0, 0]])
                seen.add(least)
                if (count, least) != (500, greatest):
                    wrong.append(answer.text)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        done = 0
        while done < 6 or seen != {1, 2}:
            answer = root.post("/_admin/restore?database=app", content=images[1 - done % 2])
            assert answer.status_code in (200, 409), answer.text
            done += answer.status_code == 200
    finally:
        is_over.set()
        for reader in readers:
            reader.join()
    assert wrong == []


def test_a_draft_of_a_killed_server_is_swept(
    serve: Serve, config: dict[str, Any], tmp_path: Path
) -> None:
    draft = tmp_path / ".app.db.0123456789abcdef.draft"
    draft.touch()
    started(serve, config)
    assert not draft.exists()
