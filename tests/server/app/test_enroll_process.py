"""Enrolment by real clients of a real process: many at once, over restarts, kills and reloads."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import stat
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from quicsql_client.server.auth import device_name
from tests.fix_enrolment import DeviceKey
from tests.fix_server_process import WAIT_S, Serve, ServerProcess, write_config

ENROLL = "/_auth/enroll"
ROOT = {"authorization": "Bearer root-token"}
CALLERS = 8
DOCUMENT = Path(__file__).parents[3] / "docs" / "server.md"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    listening = {"transport": "h1", "auth": ["keyring", "bearer", "session", "none"]}
    root = {"name": "root", "methods": [{"bearer": {"token_hash": digest("root-token")}}]}
    return {
        "server": {
            "data_dir": str(tmp_path / "data"),
            "meta_store": {"backend": "file", "path": "meta.db"},
        },
        "listeners": [
            {"name": "h1", "address": "127.0.0.1:0", **listening},
            {**listening, "name": "unix", "transport": "unix", "address": str(tmp_path / "s")},
        ],
        "auth": {
            "session": {"enabled": True},
            "principals": [root],
            "enroll": {
                "enabled": True,
                "tokens": [digest("right")],
                "rate_per_ip": 1_000_000,
                "max_principals": 5,
                "codes": {"enabled": True},
                "grants": [{"db": "app", "level": "read-write"}],
                "provision": {"enabled": True, "backend": "file", "pragmas_preset": "recommended"},
            },
        },
        "databases": [{"name": "app", "backend": "file", "path": "app.db"}],
        "control_plane": {"enabled": True, "admins": ["root"]},
    }


class Device:
    """A device with connections of its own."""

    def __init__(self, base: str, seed: str = "", **keys: Any) -> None:
        self.key = DeviceKey(seed)
        self.name = device_name(self.key.public_key)
        self.client = httpx.Client(base_url=base, timeout=30.0, **keys)

    def post(self, path: str, document: object) -> httpx.Response:
        challenge = self.client.get("/_auth/challenge").json()["challenge"]
        headers = self.key.sign(challenge, "POST", path)
        return self.client.post(path, json=document, headers=headers)

    def enrol(self, token: str = "right") -> httpx.Response:
        return self.post(ENROLL, {"enroll_token": token})

    def query(self, sql: str = "SELECT 1", db: str = "app") -> httpx.Response:
        return self.post(f"/{db}/query", {"sql": sql})


NewDevice = Callable[..., Device]


@pytest.fixture
def new_device(tmp_path: Path) -> Iterator[NewDevice]:
    """Makes devices of a server, which are closed after the test; socket: on the Unix socket."""
    made: list[Device] = []

    def make(process: ServerProcess, seed: str = "", *, socket: bool = False) -> Device:
        keys = {"transport": httpx.HTTPTransport(uds=str(tmp_path / "s"))} if socket else {}
        made.append(Device(f"http://127.0.0.1:{process.ports['h1']}", seed, **keys))
        return made[-1]

    yield make
    for device in made:
        device.client.close()


def started(serve: Serve, config: dict[str, Any]) -> ServerProcess:
    Path(config["server"]["data_dir"]).mkdir(exist_ok=True)
    process = serve(config)
    process.wait_for("ready")
    return process


def principals(process: ServerProcess) -> list[dict[str, Any]]:
    base = f"http://127.0.0.1:{process.ports['h1']}"
    listed: list[dict[str, Any]] = httpx.get(f"{base}/_admin/principals", headers=ROOT).json()[
        "principals"
    ]
    return listed


def at_once(calls: list[Callable[[], httpx.Response]]) -> Counter[str]:
    """How often each answer came, from threads of their own."""
    words: Counter[str] = Counter()
    with ThreadPoolExecutor(CALLERS) as pool:
        for answer in pool.map(lambda call: call(), calls):
            body = answer.json()
            if "error" in body:
                words[body["error"]["message"]] += 1
            else:
                words["created" if body["created"] else "known"] += 1
    return words


def test_of_many_clients_at_once_exactly_one_wins(
    serve: Serve, config: dict[str, Any], new_device: NewDevice
) -> None:
    process = started(serve, config)
    same = [new_device(process, "same") for _ in range(CALLERS)]
    assert at_once([device.enrol for device in same]) == {"created": 1, "known": CALLERS - 1}

    base = f"http://127.0.0.1:{process.ports['h1']}"
    code = httpx.post(f"{base}/_admin/enroll/codes", headers=ROOT).json()["code"]
    rivals = [new_device(process) for _ in range(CALLERS)]
    found = at_once([lambda device=device: device.enrol(code) for device in rivals])  # type: ignore[misc]
    assert found["created"] == 1
    assert sum(found.values()) == CALLERS
    assert len(principals(process)) == 2

    others = [new_device(process) for _ in range(CALLERS)]  # three places are left
    found = at_once([device.enrol for device in others])
    assert found == {"created": 3, "enrollment capacity reached": CALLERS - 3}
    assert len(principals(process)) == 5


def test_what_was_answered_survives_a_kill(
    serve: Serve, config: dict[str, Any], new_device: NewDevice
) -> None:
    process = started(serve, config)
    device = new_device(process, "ann")
    assert device.enrol().json()["created"] is True
    assert device.query("CREATE TABLE t(x)", device.name).status_code == 200
    process.tell(signal.SIGKILL)
    process.ended()
    process = started(serve, config)
    device = new_device(process, "ann")
    assert device.query("SELECT * FROM t", device.name).json()["rows"] == []
    assert device.enrol("wrong").json()["created"] is False


def test_a_visit_is_written_down_at_a_drain_at_the_latest(
    serve: Serve, config: dict[str, Any], new_device: NewDevice
) -> None:
    process = started(serve, config)
    device = new_device(process, "ann")
    device.enrol()
    created_at = principals(process)[0]["created_at"]
    deadline = time.monotonic() + WAIT_S
    (seen,) = principals(process)
    while seen["last_seen"] == created_at:  # until a later second than that of the enrolment
        assert time.monotonic() < deadline
        assert device.query().status_code == 200
        (seen,) = principals(process)
    process.tell(signal.SIGTERM)
    assert process.ended() == 0
    assert principals(started(serve, config)) == [seen]


def test_a_reload_keeps_devices_and_takes_the_new_token(
    serve: Serve, config: dict[str, Any], config_path: Path, new_device: NewDevice
) -> None:
    process = started(serve, config)
    device, late = new_device(process), new_device(process)
    device.enrol()
    config["auth"]["enroll"]["tokens"] = [digest("new")]
    write_config(config_path, config)
    process.tell(signal.SIGHUP)
    process.wait_for("reloaded: auth.enroll.tokens changed")
    process.wait_for("reload done")
    assert device.query().status_code == 200
    assert late.enrol("right").status_code == 403
    assert late.enrol("new").status_code == 200
    config["auth"]["enroll"]["enabled"] = False
    write_config(config_path, config)
    process.tell(signal.SIGHUP)
    process.wait_for("reload done")
    assert device.query().status_code == 401
    assert not any(digest(token) in line for line in process.lines for token in ("right", "new"))


def test_peers_of_a_unix_socket_share_a_bucket_of_their_own(
    serve: Serve, config: dict[str, Any], new_device: NewDevice
) -> None:
    config["auth"]["enroll"]["rate_per_ip"] = 0.0001
    process = started(serve, config)
    first, second = (new_device(process, socket=True) for _ in range(2))
    outcomes = [device.enrol().status_code for device in (first, second, first, second)]
    assert outcomes == [200, 200, 200, 429]
    assert new_device(process).enrol().status_code == 200


def block(language: str) -> str:
    """The first block of a language in the document's chapter about enrolment."""
    chapter = DOCUMENT.read_text(encoding="utf-8").partition("## Device enrolment")[2]
    found = re.search(rf"^```{language}\n(.*?)^```$", chapter, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def test_the_document_shows_how_with_openssl_and_curl(
    serve: Serve, config: dict[str, Any], tmp_path: Path
) -> None:
    shown = yaml.safe_load(block("yaml"))
    enroll = {**shown["auth"]["enroll"], "tokens": [digest("right")]}
    config = {**config, "control_plane": shown["control_plane"]}
    config["auth"] = {**config["auth"], "enroll": enroll}
    process = started(serve, config)
    environment = {
        "PATH": os.environ["PATH"],
        "SERVER": f"http://127.0.0.1:{process.ports['h1']}",
        "ADMIN_TOKEN": "root-token",
    }
    ran = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", block("sh")],
        capture_output=True,
        cwd=tmp_path,
        env=environment,
        text=True,
        timeout=WAIT_S,
    )
    assert json.loads(ran.stdout)["created"] is True, ran
    assert [one["name"] for one in principals(process)] == [json.loads(ran.stdout)["principal"]]


def test_what_it_makes_is_its_owners_alone(
    serve: Serve, config: dict[str, Any], new_device: NewDevice
) -> None:
    process = started(serve, config)
    assert new_device(process).enrol().status_code == 200
    files = list(Path(config["server"]["data_dir"]).iterdir())
    assert len(files) > 2
    assert [path.name for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077] == []
