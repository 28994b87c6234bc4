"""The guide "Configuring mTLS in production", from two CAs to the kill switch, on this machine.

    make demo

Each step says what is expected and what happened; the exit code is 0 when all of them agree.
"""

from __future__ import annotations

import http.client
import shlex
import signal
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy

import quicsql_dbapi
from quicsql_client import (
    Client,
    Error,
    TLSError,
    with_client_cert,
    with_root_ca,
)
from quicsql_client.pki import CertificateAuthority

CONFIG = """\
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
ANALYST_PRINCIPAL = "    - name: analyst\n      methods:\n        - mtls: { subject_cn: analyst }\n"
ANALYST_GRANT = "      - { principal: analyst,   level: read-write }\n"


class Report:
    """Prints the steps and remembers whether all went as expected."""

    def __init__(self) -> None:
        self.number = 0
        self.failures = 0

    def step(self, title: str) -> None:
        self.number += 1
        print(f"\n{self.number:2}. {title}")

    def expect(self, expected: str, happened: str) -> None:
        """`expected` must be found in `happened`."""
        agrees = expected in happened
        self.failures += not agrees
        print(f"      expected: {expected}")
        print(f"      happened: {happened}{'' if agrees else '   <-- NOT AS EXPECTED'}")


def outcome(call: Callable[[], object]) -> str:
    """What a call gave, or how it failed, in one line."""
    try:
        value = call()
    except TLSError as exc:
        return f"handshake refused ({exc.reason}): {exc}"
    except Error as exc:
        return f"{exc.http_status} {type(exc).__name__}: {exc}"
    return f"200 {value}"


def make_pki(tls: Path) -> str:
    """Steps 1 to 3 of the guide. Returns the pin of "reporting"."""
    server_ca = CertificateAuthority.create("quicsql server CA")
    client_ca = CertificateAuthority.create("quicsql client CA")
    other_ca = CertificateAuthority.create("somebody else's CA")
    server_ca.write(tls, "server-ca")
    client_ca.write(tls, "client-ca")
    server_ca.issue_server(["db.example.com", "*.db.internal", "localhost"]).write(tls, "server")
    for name in ("analyst", "stranger"):
        client_ca.issue_client(name).write(tls, name)
    other_ca.issue_client("analyst").write(tls, "forged-analyst")
    reporting = client_ca.issue_client("reporting")
    reporting.write(tls, "reporting")
    return reporting.pin


class Server:
    """The reference server as its own process, started from a configuration file."""

    def __init__(self, config: Path) -> None:
        command = [sys.executable, "-m", "quicsql_client", "serve", "--config", str(config)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)  # noqa: S603
        listening = self.wait_for("listening ")
        self.port = int(listening.rsplit(":", 1)[1])
        self.wait_for("ready")

    def wait_for(self, text: str) -> str:
        """The next line of the server's log that holds `text`."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if text in line:
                return line.strip()
        raise SystemExit(f"the server ended without saying {text!r}")

    def reload(self) -> str:
        self.process.send_signal(signal.SIGHUP)
        return self.wait_for("reload done")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=30)
        return self.process.returncode


@contextmanager
def serving(config: Path) -> Iterator[Server]:
    server = Server(config)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


def show_identities(report: Report, tls: Path, port: int) -> None:
    def client(name: str | None, host: str = "localhost") -> Client:
        identity = [with_client_cert(tls / f"{name}.crt", tls / f"{name}.key")] if name else []
        return Client.h2tls(f"{host}:{port}", with_root_ca(tls / "server-ca.crt"), *identity)

    report.step("analyst, mapped by its CN, reads and writes")
    with client("analyst") as analyst:
        create = "CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT NOT NULL)"
        report.expect("200", outcome(lambda: analyst.execute("app", create)))
        insert = "INSERT INTO users(name) VALUES ('ada'), ('grace')"
        report.expect("200 2", outcome(lambda: analyst.execute("app", insert).rows_affected))
        select = "SELECT count(*) FROM users"
        report.expect("200 2", outcome(lambda: analyst.query("app", select).scalar()))

    report.step("reporting, pinned by its public key (SPKI), reads; its write is refused")
    with client("reporting") as reporting:
        report.expect("200 2", outcome(lambda: reporting.query("app", select).scalar()))
        report.expect("403", outcome(lambda: reporting.execute("app", insert)))

    report.step("a stranger: the certificate verifies, but maps to no principal")
    with client("stranger") as stranger:
        report.expect("401", outcome(lambda: stranger.query("app", select)))

    report.step("no certificate: refused in the handshake")
    with client(None) as nobody:
        report.expect("client_certificate_required", outcome(nobody.health))

    report.step('a certificate for "analyst" of another CA: refused in the handshake')
    with client("forged-analyst") as forged:
        report.expect("client_certificate_unknown_ca", outcome(forged.health))

    report.step("dialling a name that is not in the server's leaf: refused by the client")
    with client("analyst", host="127.0.0.1") as misdialled:
        refused = outcome(misdialled.health)
        report.expect("name_mismatch", refused)
        report.expect("127.0.0.1", refused)
        report.expect("db.example.com", refused)


def show_drivers(report: Report, tls: Path, port: int) -> None:
    report.step("the same through DB-API and SQLAlchemy")
    url = (
        f"quicsql://localhost:{port}/app?transport=h2&sslrootcert={tls}/server-ca.crt"
        f"&sslcert={tls}/analyst.crt&sslkey={tls}/analyst.key"
    )
    connection = quicsql_dbapi.connect(url)
    cursor = connection.cursor()
    cursor.execute("INSERT INTO users(name) VALUES (?)", ["edith"])
    connection.commit()
    cursor.execute("SELECT name FROM users WHERE id = ?", [cursor.lastrowid])
    report.expect("edith", f"DB-API: {cursor.fetchone()}")
    connection.close()

    engine = sqlalchemy.create_engine(url)
    with engine.begin() as transaction:
        names = transaction.execute(sqlalchemy.text("SELECT name FROM users ORDER BY id"))
        report.expect("ada, grace, edith", f"SQLAlchemy: {', '.join(names.scalars())}")
    engine.dispose()


def show_curl(report: Report, tls: Path, port: int) -> None:
    report.step("the equivalent curl line")
    command = ["curl", "--silent", "--show-error", "--cacert", f"{tls}/server-ca.crt"]
    command += ["--cert", f"{tls}/analyst.crt", "--key", f"{tls}/analyst.key"]
    command += [f"https://localhost:{port}/app/query", "-H", "content-type: application/json"]
    command += ["-d", '{"sql":"SELECT 1"}']
    print("      $", shlex.join(command))
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)  # noqa: S603
    report.expect('"rows":[[1]]', done.stdout.strip() or done.stderr.strip())


def show_kill_switch(report: Report, tls: Path, config: Path, server: Server) -> None:
    report.step("the kill switch: analyst is taken out of the YAML, and the server reloads it")
    analyst = Client.h2tls(
        f"localhost:{server.port}",
        with_root_ca(tls / "server-ca.crt"),
        with_client_cert(tls / "analyst.crt", tls / "analyst.key"),
    )
    with analyst:
        # Beside it a connection that cannot be opened twice, to prove that it stays.
        context = ssl.create_default_context(cafile=tls / "server-ca.crt")
        context.load_cert_chain(tls / "analyst.crt", tls / "analyst.key")
        raw = http.client.HTTPSConnection("localhost", server.port, context=context)
        raw.connect()
        raw.auto_open = 0
        report.expect("200", outcome(lambda: analyst.query("app", "SELECT 1").scalar()))
        report.expect("200", f"{ask(raw)} on a connection that stays open")

        text = config.read_text()
        config.write_text(text.replace(ANALYST_PRINCIPAL, "").replace(ANALYST_GRANT, ""))
        print(f"      {server.reload()}")

        report.expect("401", outcome(lambda: analyst.query("app", "SELECT 1")))
        report.expect("401", f"{ask(raw)} on the connection that stayed open")
        raw.close()


def ask(connection: http.client.HTTPSConnection) -> int:
    connection.request("POST", "/app/query", b'{"sql":"SELECT 1"}')
    response = connection.getresponse()
    response.read()
    return response.status


def main() -> int:
    report = Report()
    with tempfile.TemporaryDirectory(prefix="quicsql-demo-") as folder:
        tls, data, config = (Path(folder, name) for name in ("tls", "data", "quicsql.yaml"))
        data.mkdir()

        report.step("two CAs, a server leaf, a certificate for each identity")
        pin = make_pki(tls)
        made = sorted(path.name for path in tls.iterdir())
        report.expect("server-ca.crt, server-ca.key", ", ".join(made))
        print(f"      pin of reporting (spki_sha256): {pin}")

        report.step("the server, on the guide's YAML")
        config.write_text(CONFIG.format(tls=tls, data=data, pin=pin))
        with serving(config) as server:
            report.expect("listening on a port", f"listening on a port: {server.port}")
            show_identities(report, tls, server.port)
            show_drivers(report, tls, server.port)
            show_curl(report, tls, server.port)
            show_kill_switch(report, tls, config, server)
            report.step("SIGTERM: the server drains and ends")
            report.expect("exit code 0", f"exit code {server.stop()}")
    print(f"\n{report.number} steps, {report.failures} not as expected")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
