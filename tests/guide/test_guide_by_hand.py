"""The guide "Configuring mTLS in production" as an administrator follows it: openssl, YAML, curl.

Its own commands make the certificates, its YAML starts the server as a process, its curl line asks.
Only paths, port and address differ, and `localhost` joins the leaf's names.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

SERVER_EXT = """\
subjectAltName = DNS:db.example.com, DNS:*.db.internal, IP:203.0.113.10, DNS:localhost
extendedKeyUsage = serverAuth
"""

OPENSSL = """\
openssl ecparam -name prime256v1 -genkey -noout -out server-ca.key
openssl req -x509 -new -key server-ca.key -sha256 -days 3650 \
  -subj "/CN=quicsql server CA" -out server-ca.crt
openssl ecparam -name prime256v1 -genkey -noout -out client-ca.key
openssl req -x509 -new -key client-ca.key -sha256 -days 3650 \
  -subj "/CN=quicsql client CA" -out client-ca.crt
openssl ecparam -name prime256v1 -genkey -noout -out server.key
openssl req -new -key server.key -subj "/CN=db.example.com" -out server.csr
openssl x509 -req -in server.csr -CA server-ca.crt -CAkey server-ca.key -CAcreateserial \
  -days 825 -sha256 -extfile server.ext -out server.crt
"""

OPENSSL_CLIENT = """\
openssl ecparam -name prime256v1 -genkey -noout -out {name}.key
openssl req -new -key {name}.key -subj "/CN={name}" -out {name}.csr
openssl x509 -req -in {name}.csr -CA client-ca.crt -CAkey client-ca.key -CAcreateserial \
  -days 90 -sha256 -extfile client.ext -out {name}.crt
"""

OPENSSL_PIN = (
    "openssl x509 -in {name}.crt -pubkey -noout | openssl pkey -pubin -outform DER"
    " | openssl dgst -sha256"
)

YAML = """\
tls:
  prod:
    mode: files
    cert: {tls}/server.crt
    key:  {tls}/server.key
    client_ca: {tls}/client-ca.crt
    min_version: "1.3"

listeners:
  - name: h2
    transport: h2
    address: 127.0.0.1:0
    tls: prod
    auth: [mtls]

auth:
  principals:
    - name: analyst
      methods:
        - mtls: {{ subject_cn: analyst }}
    - name: reporting
      methods:
        - mtls: {{ spki_sha256: "{pin}" }}

databases:
  - name: app
    backend: file
    path: {data}/app.db
    mode: rwc
    grants:
      - {{ principal: analyst,   level: read-write }}
      - {{ principal: reporting, level: read-only }}
"""


def shell(commands: str, folder: Path) -> str:
    script = "set -euo pipefail\n" + commands
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class Deployment(NamedTuple):
    tls: Path
    port: int


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The guide's steps 1 to 4, and the server on its YAML."""
    tls, data = tmp_path_factory.mktemp("tls"), tmp_path_factory.mktemp("data")
    (tls / "server.ext").write_text(SERVER_EXT)
    (tls / "client.ext").write_text("extendedKeyUsage = clientAuth\n")
    shell(OPENSSL, tls)
    for name in ("analyst", "reporting", "stranger"):
        shell(OPENSSL_CLIENT.format(name=name), tls)
    pin = shell(OPENSSL_PIN.format(name="reporting"), tls).split()[-1]
    shell("chmod 600 *.key", tls)

    config = data / "quicsql.yaml"
    config.write_text(YAML.format(tls=tls, data=data, pin=pin))
    command = [sys.executable, "-m", "quicsql_client", "serve", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        log = []
        for line in server.stderr:
            log.append(line)
            if line.strip() == "ready":
                break
        listening = [line for line in log if line.startswith("listening ")]
        assert listening, "".join(log)
        yield Deployment(tls, int(listening[0].rsplit(":", 1)[1]))
        server.send_signal(signal.SIGTERM)
        server.stderr.read()
        assert server.wait(30) == 0


def curl(deployment: Deployment, sql: str, identity: str | None) -> tuple[int, str, str]:
    """The guide's curl line. Returns (status or 0, body, what curl says of a failure)."""
    command = ["curl", "--silent", "--show-error", "--write-out", "\n%{http_code}"]
    command += ["--cacert", "server-ca.crt"]
    if identity:
        command += ["--cert", f"{identity}.crt", "--key", f"{identity}.key"]
    command += [f"https://localhost:{deployment.port}/app/query"]
    command += ["-H", "content-type: application/json", "-d", json.dumps({"sql": sql})]
    done = subprocess.run(command, cwd=deployment.tls, capture_output=True, text=True, timeout=30)
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body.strip(), done.stderr


def test_analyst_reads_and_writes(deployment: Deployment) -> None:
    status, body, _ = curl(deployment, "CREATE TABLE IF NOT EXISTS guide(x)", "analyst")
    assert (status, json.loads(body)["columns"]) == (200, [])
    status, body, _ = curl(deployment, "SELECT 1", "analyst")
    assert status == 200
    assert body == '{"columns":["1"],"rows":[[1]],"rows_affected":0,"last_insert_id":0}'


def test_reporting_is_mapped_by_its_pin_and_only_reads(deployment: Deployment) -> None:
    assert curl(deployment, "SELECT 1", "reporting")[0] == 200
    status, body, _ = curl(deployment, "CREATE TABLE refused(x)", "reporting")
    assert (status, json.loads(body)) == (
        403,
        {"error": {"message": "forbidden: read-only (write not permitted)"}},
    )


def test_a_stranger_verifies_and_maps_to_nobody(deployment: Deployment) -> None:
    status, body, _ = curl(deployment, "SELECT 1", "stranger")
    assert (status, json.loads(body)) == (401, {"error": {"message": "authentication required"}})


def test_nobody_fails_in_the_handshake_and_is_told_why(deployment: Deployment) -> None:
    status, body, complaint = curl(deployment, "SELECT 1", None)
    assert (status, body) == (0, "")
    assert "certificate required" in complaint
