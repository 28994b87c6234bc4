"""Run h2spec, the HTTP/2 conformance suite, against the reference server: over h2c and over TLS.

    python -m tools.h2spec

Takes the h2spec of $H2SPEC, of the PATH, or of .h2spec/, where it is built with `go install` when
there is none yet. Ports are the system's, certificates are made in the run. Exit code 0: every case
passes on both; 1: some do not, and they are printed; 2: there is no h2spec, and no Go to build it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from quicsql_client.server.config import Config, DatabaseConfig, ListenerConfig, TLSProfile
from quicsql_client.testing.pki import EphemeralPKI
from quicsql_client.testing.reference import ServerThread

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".h2spec"
MODULE = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible"  # the newest that Go finds
CASES = 145
OPTIONS = {"h2c": (), "h2": ("--tls", "--insecure")}

_SUMMARY = re.compile(rb"(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed")
_TIMEOUT_S = 300.0


def find_h2spec() -> str | None:
    """The program to run, built now if it must be; None when it cannot be."""
    found = (
        os.environ.get("H2SPEC") or shutil.which("h2spec") or shutil.which("h2spec", path=FOLDER)
    )
    if found:
        return found
    go = shutil.which("go")
    if go is None:
        return None
    print(f"== building h2spec in {FOLDER.name}/: go install {MODULE}", flush=True)
    # The module has no go.mod: its dependencies are looked up when it is built.
    environment = {**os.environ, "GOBIN": str(FOLDER), "GOFLAGS": "-mod=mod"}
    built = subprocess.run([go, "install", MODULE], cwd=ROOT, env=environment)
    return shutil.which("h2spec", path=FOLDER) if built.returncode == 0 else None


def configuration(pki: EphemeralPKI) -> Config:
    """A server with a listener for each run, which lets everyone in."""
    profile = TLSProfile(
        mode="files", cert=str(pki.server_certificate), key=str(pki.server_key), min_version="1.2"
    )
    return Config(
        tls={"made": profile},
        listeners=tuple(
            ListenerConfig(
                name=transport,
                transport=transport,
                address="127.0.0.1:0",
                tls="made" if transport == "h2" else None,
                auth=("none",),
            )
            for transport in OPTIONS
        ),
        databases=(DatabaseConfig(name="app", backend="memory"),),
    )


def run(program: str, transport: str, address: str) -> bool:
    """One run: whether every case passed. Prints the figures, and what failed."""
    host, _, port = address.rpartition(":")
    command = [program, "--host", host, "--port", port, *OPTIONS[transport]]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=_TIMEOUT_S)
    summary = _SUMMARY.search(done.stdout)
    print(f"== {transport}: {summary[0].decode() if summary else 'no result'}", flush=True)
    is_well = summary is not None and [int(n) for n in summary.groups()] == [CASES, CASES, 0, 0]
    if not is_well:
        print(done.stdout[done.stdout.find(b"Failures:") :].decode("utf-8", "replace"))
    return is_well


def main() -> int:
    """The exit code."""
    program = find_h2spec()
    if program is None:
        print(f"h2spec is needed: install Go and run this again, or set H2SPEC\n  ({MODULE})")
        return 2
    with (
        tempfile.TemporaryDirectory() as folder,
        ServerThread(configuration(EphemeralPKI(Path(folder)))) as server,
    ):
        outcomes = [run(program, name, server.addresses[name]) for name in OPTIONS]
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
