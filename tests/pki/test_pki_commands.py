"""The command line: as a program of its own, and by `main`."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import quicsql_client.server
from quicsql_client._version import __version__
from quicsql_client.cli import main
from quicsql_client.pki import CertificateAuthority, inspect_certificate, spki_pin


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "quicsql_client", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def issue_all(folder: Path) -> Path:
    """What `pki init` makes, in `folder/tls`."""
    out = folder / "tls"
    names = ("--san", "db.example.com", "--san", "203.0.113.10", "--cn", "analyst")
    assert main(["pki", "init", "--out", str(out), *names, "--cn", "reporting"]) == 0
    return out


def test_the_guides_steps_one_by_one_as_a_program(tmp_path: Path) -> None:
    for side in ("server", "client"):
        done = run(tmp_path, "pki", "ca", "--out", "tls", "--name", f"quicsql {side} CA")
        assert (done.returncode, done.stderr) == (0, "")
    server = ("--ca", "tls/server-ca.crt", "--ca-key", "tls/server-ca.key", "--out", "tls")
    names = ("--san", "db.example.com", "--san", "*.db.internal", "--san", "203.0.113.10")
    assert run(tmp_path, "pki", "server", *server, *names).returncode == 0
    client = ("--ca", "tls/client-ca.crt", "--ca-key", "tls/client-ca.key", "--out", "tls")
    done = run(tmp_path, "pki", "client", *client, "--cn", "analyst")
    assert done.returncode == 0
    facts = inspect_certificate(tmp_path / "tls/analyst.crt")
    assert (facts.common_name, facts.issuer) == ("analyst", "CN=quicsql client CA")
    assert facts.pin in done.stdout
    pin = run(tmp_path, "pki", "pin", "tls/analyst.crt")
    assert pin.stdout == facts.pin + "\n"
    names_of_server = inspect_certificate(tmp_path / "tls/server.crt").subject_alternative_names
    assert names_of_server == ("DNS:db.example.com", "DNS:*.db.internal", "IP:203.0.113.10")


def test_init_makes_everything_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = issue_all(tmp_path)
    stems = ("analyst", "client-ca", "reporting", "server", "server-ca")
    expected = [f"{stem}.{end}" for stem in stems for end in ("crt", "key")]
    assert sorted(path.name for path in out.iterdir()) == sorted(expected)
    assert {stat.S_IMODE(path.stat().st_mode) for path in out.glob("*.key")} == {0o600}
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    issuers = {stem: inspect_certificate(out / f"{stem}.crt").issuer for stem in stems}
    assert issuers["server"] == issuers["server-ca"] == "CN=quicsql server CA"
    assert issuers["analyst"] == issuers["reporting"] == "CN=quicsql client CA"
    text = capsys.readouterr().out
    for stem in ("server", "analyst", "reporting"):
        assert spki_pin(out / f"{stem}.crt") in text
    assert "subject_cn: reporting" in text
    assert "Client.h2tls('db.example.com:7777'" in text


def test_init_twice_changes_nothing_and_force_replaces(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = issue_all(tmp_path)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (out / "server-ca.crt").unlink()  # the first file is free, a later one is not
    again = ["pki", "init", "--out", str(out), "--san", "localhost", "--cn", "analyst"]
    assert main(again) == 1
    assert capsys.readouterr().err.startswith("quicsql-py: ")
    assert not (out / "server-ca.crt").exists()
    assert main([*again, "--force"]) == 0
    assert (out / "analyst.key").read_bytes() != before["analyst.key"]
    assert (out / "reporting.key").read_bytes() == before["reporting.key"]


@pytest.mark.parametrize("name", ["server", "client-ca", "a/b", ".."])
def test_init_refuses_a_client_whose_files_would_hide_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    out = tmp_path / "tls"
    assert main(["pki", "init", "--out", str(out), "--san", "localhost", "--cn", name]) == 1
    assert repr(name) in capsys.readouterr().err
    assert not out.exists()


def test_an_ipv6_address_is_bracketed_in_the_next_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("--san", "::1", "--cn", "analyst")
    assert main(["pki", "init", "--out", str(tmp_path / "tls"), *names]) == 0
    assert "'[::1]:7777'" in capsys.readouterr().out


def test_show_tells_what_is_in_files_and_bundles(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = issue_all(tmp_path)
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(b"".join((out / f"{s}-ca.crt").read_bytes() for s in ("server", "client")))
    capsys.readouterr()
    files = [str(out / "server.crt"), str(out / "analyst.crt"), str(bundle)]
    assert main(["pki", "show", *files]) == 0
    text = capsys.readouterr().out
    for part in (
        *("CN=db.example.com", "DNS:db.example.com, IP:203.0.113.10", "serverAuth", "clientAuth"),
        *("CN=quicsql client CA (CA)", "(825.0 days left)", spki_pin(out / "analyst.crt")),
    ):
        assert part in text
    assert main(["pki", "show", "--json", *files]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [entry["file"] for entry in shown] == [*files, str(bundle)]
    assert [entry["is_ca"] for entry in shown] == [False, False, True, True]
    assert shown[1]["common_name"] == "analyst"
    assert shown[1]["pin"] == spki_pin(out / "analyst.crt")
    assert shown[1]["not_after"].endswith("+00:00")
    assert shown[1]["days_left"] == pytest.approx(90, abs=0.1)


def test_show_says_when_one_has_expired(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    authority = CertificateAuthority.create("a CA")
    start = authority.certificate.not_valid_before_utc.replace(year=2020)
    pair = authority.issue_client("c", 1, valid_from=start).write(tmp_path, "c")
    assert main(["pki", "show", str(pair.certificate)]) == 0
    assert "EXPIRED" in capsys.readouterr().out


def test_the_password_of_a_ca_key_comes_from_the_environment(tmp_path: Path) -> None:
    secret = ("--ca-key-password-env", "CA_PASSWORD")
    done = run(tmp_path, "pki", "ca", "--out", "tls", *secret, CA_PASSWORD="open sesame")
    assert done.returncode == 0
    assert "ENCRYPTED" in (tmp_path / "tls/client-ca.key").read_text()
    authority = ("--ca", "tls/client-ca.crt", "--ca-key", "tls/client-ca.key")
    issue = ("pki", "client", *authority, "--cn", "analyst", "--out", "tls")
    without = run(tmp_path, *issue)
    assert without.returncode == 1
    assert without.stderr.startswith("quicsql-py: CA key 'tls/client-ca.key': is encrypted")
    wrong = run(tmp_path, *issue, *secret, CA_PASSWORD="wrong")
    assert wrong.returncode == 1
    unset = run(tmp_path, *issue, "--ca-key-password-env", "NO_SUCH_VARIABLE")
    assert unset.returncode == 2
    assert "NO_SUCH_VARIABLE" in unset.stderr
    assert run(tmp_path, *issue, *secret, CA_PASSWORD="open sesame").returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [
        *([], ["pki"], ["nonsense"], ["pki", "ca"], ["pki", "init", "--out", "x"]),
        ["pki", "client", "--out", "x", "--cn", "a"],
        ["pki", "ca", "--out", "x", "--days", "many"],
    ],
)
def test_wrong_usage_is_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert "usage: quicsql-py" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["pki", "pin", "no-such-file.crt"],
        ["pki", "show", __file__],
        ["pki", "ca", "--out", "x", "--days", "0"],
        ["pki", "init", "--out", "x", "--san", "https://db"],
        ["pki", "init", "--out", "x", "--san", "db", "--ca-days", "5", "--cn", "a"],
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_1(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("quicsql-py: ")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_version_and_help(tmp_path: Path) -> None:
    done = run(tmp_path, "--version")
    assert (done.returncode, done.stdout) == (0, f"quicsql-py {__version__}\n")
    done = run(tmp_path, "pki", "--help")
    assert done.returncode == 0
    assert "init" in done.stdout


def test_the_script_is_the_same_program(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("quicsql-py")
    done = subprocess.run([script, "--version"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == f"quicsql-py {__version__}\n"


def test_serve_says_how_to_install_the_extra_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # An import binds the module to its package, too: the old binding comes back with the module.
    monkeypatch.setattr(quicsql_client, "server", quicsql_client.server)
    for name in [name for name in sys.modules if name.startswith("quicsql_client.server")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("apsw", "yaml", "bcrypt"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["serve"]) == 2
    assert "pip install 'quicsql-client[server]'" in capsys.readouterr().err


def test_output_that_nobody_reads_is_no_traceback(tmp_path: Path) -> None:
    out = issue_all(tmp_path)
    files = [str(out / "server.crt")] * 400
    command = [sys.executable, "-m", "quicsql_client", "pki", "show", *files]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1
