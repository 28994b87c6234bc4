"""References to secrets: environment, files and commands."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from quicsql_client.server.config import (
    BearerMethod,
    Config,
    ConfigError,
    SecretSourceConfig,
    load_config,
    resolve,
)
from quicsql_client.server.config.secrets import SecretError, SecretSources

_HASH = "ab" * 32
_BCRYPT = "$2b$06$j/GTVmf2vjE4OVh4Ee3irOFAM8doySv4bJTSCmZPR4wys4usxJfrq"


def _write(tmp_path: Path, reference: str, source: str) -> Path:
    path = tmp_path / "q.yaml"
    path.write_text(
        f"secrets: [{source}]\n"
        "auth: {principals: [{name: x, methods: [{bearer: {token_hash: '" + reference + "'}}]}]}\n"
    )
    return path


def _token_hash(config: Config) -> str:
    bearer = config.auth.principals[0].methods[0].bearer
    assert isinstance(bearer, BearerMethod)
    return bearer.token_hash


def _problem(path: Path, environment: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, environment=environment)
    (problem,) = caught.value.problems
    return problem


def _kms(script: str, name: str = "k") -> SecretSourceConfig:
    return SecretSourceConfig(name=name, type="kms", command=(sys.executable, "-c", script))


def test_a_variable_is_read_and_trimmed(tmp_path: Path) -> None:
    path = _write(tmp_path, "env:TOKEN", "{name: env, type: env}")
    loaded = load_config(path, environment={"TOKEN": f" {_HASH.upper()}\n"})
    assert _token_hash(loaded.config) == _HASH


def test_the_process_environment_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUICSQL_TEST_TOKEN", _HASH)
    path = _write(tmp_path, "env:QUICSQL_TEST_TOKEN", "{name: env, type: env}")
    assert _token_hash(load_config(path).config) == _HASH


def test_a_variable_that_is_not_set_is_fatal(tmp_path: Path) -> None:
    path = _write(tmp_path, "env:TOKEN", "{name: env, type: env}")
    assert _problem(path, {}).startswith(
        'init auth: auth: principal "x" bearer: secret: env "TOKEN" not set ('
    )


def test_an_empty_secret_is_a_missing_one(tmp_path: Path) -> None:
    path = _write(tmp_path, "env:TOKEN", "{name: env, type: env}")
    problem = _problem(path, {"TOKEN": " \n"})
    assert problem.startswith('init auth: auth: principal "x" bearer: missing token_hash (')


def test_a_secret_of_the_wrong_form_is_refused_and_not_shown(tmp_path: Path) -> None:
    path = _write(tmp_path, "env:TOKEN", "{name: env, type: env}")
    problem = _problem(path, {"TOKEN": "sesame"})
    assert "token_hash must be 64 hex characters" in problem
    assert "sesame" not in problem


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(_HASH + "\n")
    path = _write(tmp_path, "f:token", f"{{name: f, type: file, dir: {tmp_path}}}")
    assert _token_hash(load_config(path).config) == _HASH


@pytest.mark.parametrize("name", ["../x", "a/../../x", ".."])
def test_a_file_must_stay_inside_its_directory(tmp_path: Path, name: str) -> None:
    sources = SecretSources([SecretSourceConfig(name="f", type="file", dir=str(tmp_path))])
    with pytest.raises(SecretError) as caught:
        sources.read(f"f:{name}")
    assert str(caught.value) == (f'secret: file ref "{name}" escapes source dir "{tmp_path}"')


def test_an_absolute_name_is_inside_the_directory(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "x").write_text("inside")
    sources = SecretSources([SecretSourceConfig(name="f", type="file", dir=str(tmp_path))])
    assert sources.read("f:/etc/x") == "inside"


def test_a_name_that_begins_with_dots_is_inside(tmp_path: Path) -> None:
    (tmp_path / "..data").write_text(" kept \n")
    sources = SecretSources([SecretSourceConfig(name="f", type="file", dir=str(tmp_path))])
    assert sources.read("f:..data") == " kept \n"


def test_a_file_that_cannot_be_a_secret(tmp_path: Path) -> None:
    sources = SecretSources([SecretSourceConfig(name="f", type="file", dir=str(tmp_path))])
    (tmp_path / "binary").write_bytes(b"\xff")
    (tmp_path / "large").write_bytes(b"x" * (2**20 + 1))
    with pytest.raises(SecretError, match='file ref "absent": no such file or directory'):
        sources.read("f:absent")
    with pytest.raises(SecretError, match='file ref "binary" is not UTF-8 text'):
        sources.read("f:binary")
    with pytest.raises(SecretError, match='file ref "large" is larger than 1 MiB'):
        sources.read("f:large")
    with pytest.raises(SecretError, match="escapes source dir"):
        SecretSources([SecretSourceConfig(name="f", type="file")]).read("f:x")


def test_a_command_is_told_the_name_and_gives_its_output() -> None:
    source = _kms("import os; print('<' + os.environ['QUICSQL_SECRET_NAME'] + '>')")
    assert SecretSources([source]).read("k:a:b") == "<a:b>\n"


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("", 'secret: kms source "k" command produced no output for "n"'),
        (
            "import sys; print('hunter2'); sys.exit(3)",
            'secret: kms source "k" command failed: exit status 3',
        ),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
            'secret: kms source "k" command failed: signal 15',
        ),
        ("print('x' * 2**21)", 'secret: kms source "k" command output exceeds 1 MiB'),
    ],
)
def test_a_command_that_gives_no_secret(script: str, text: str) -> None:
    with pytest.raises(SecretError) as caught:
        SecretSources([_kms(script)]).read("k:n")
    assert str(caught.value) == text


def test_a_command_that_does_not_end_is_ended() -> None:
    # The grandchild keeps the pipe open: ending only the child would not be enough.
    script = (
        "import subprocess, sys; "
        "subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    )
    sources = SecretSources([_kms(script)], command_timeout_s=0.3)
    with pytest.raises(SecretError, match=r'kms source "k" command failed: no answer within 0.3 s'):
        sources.read("k:n")


def test_a_command_that_is_not_there() -> None:
    sources = SecretSources(
        [
            SecretSourceConfig(name="k", type="kms", command=("/nonexistent/kms",)),
            SecretSourceConfig(name="none", type="kms"),
        ]
    )
    with pytest.raises(SecretError, match="command failed: no such file or directory"):
        sources.read("k:n")
    with pytest.raises(SecretError, match='kms source "none" has no command'):
        sources.read("none:n")


def test_an_unknown_type_fails_only_when_it_is_used(tmp_path: Path) -> None:
    unused = _write(tmp_path, _HASH, "{name: s, type: t}")
    assert _token_hash(load_config(unused).config) == _HASH
    used = _write(tmp_path, "s:n", "{name: s, type: t}")
    assert 'bearer: secret: source "s" unknown type "t"' in _problem(used, {})


def test_what_names_no_declared_source_is_literal() -> None:
    sources = SecretSources([SecretSourceConfig(name="env", type="env")])
    assert sources.is_reference("env:x")
    assert not sources.is_reference("other:x")
    assert not sources.is_reference("env")


def test_references_can_be_left_for_later(tmp_path: Path) -> None:
    path = _write(tmp_path, "env:TOKEN", "{name: env, type: env}")
    config = load_config(path, resolve_secrets=False).config
    assert _token_hash(config) == "env:TOKEN"
    assert _token_hash(resolve(config, environment={"TOKEN": _HASH})) == _HASH
    with pytest.raises(ConfigError) as caught:
        resolve(config, environment={})
    (problem,) = caught.value.problems
    assert problem.endswith(
        'env "TOKEN" not set (configuration, auth.principals[0].methods[0].bearer.token_hash)'
    )


def test_every_credential_field_takes_a_reference(tmp_path: Path) -> None:
    key = "AAAAC3NzaC1lZDI1NTE5AAAAIKst+wmfe/GahrBt/oCLUVc1T9QeDwA2Tr/ZNlc3llAa"
    path = tmp_path / "q.yaml"
    path.write_text(
        """
secrets: [{name: env, type: env}]
auth:
  enroll: { tokens: ["env:HASH"] }
  principals:
    - name: x
      methods:
        - password: { user: u, password_hash: "env:BCRYPT" }
        - keyring: { ed25519: "env:KEY" }
        - mtls: { spki_sha256: "env:HASH" }
"""
    )
    line = f'from="1.2.3.4" ssh-ed25519 {key} me'
    environment = {"HASH": _HASH, "BCRYPT": _BCRYPT, "KEY": line}
    auth = load_config(path, environment=environment).config.auth
    password, keyring, mtls = (
        method.password or method.keyring or method.mtls for method in auth.principals[0].methods
    )
    assert getattr(password, "password_hash", None) == _BCRYPT
    assert getattr(keyring, "ed25519", None) == line
    assert getattr(mtls, "spki_sha256", None) == _HASH
    assert auth.enroll.tokens == (_HASH,)
