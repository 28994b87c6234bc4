"""Keys for `with_ed25519`: objects, files as ssh-keygen writes them, and SSH agents."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from quicsql_client import (
    AuthenticationError,
    ConfigurationError,
    SSHAgent,
    TransportWarning,
    with_ed25519,
)
from quicsql_client.ed25519_keys import load_ed25519
from quicsql_client.wire.messages import Request

KEY = Ed25519PrivateKey.generate()
LINE = KEY.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
OPENSSH, PKCS8 = PrivateFormat.OpenSSH, PrivateFormat.PKCS8
ANSWER_LISTED, ANSWER_SIGNED, ANSWER_FAILURE = 12, 14, 5


def pem(form: PrivateFormat, password: bytes | None = None, key: Any = KEY) -> bytes:
    locked = BestAvailableEncryption(password) if password else NoEncryption()
    return bytes(key.private_bytes(Encoding.PEM, form, locked))


def written(folder: Path, data: bytes, mode: int = 0o600) -> Path:
    path = folder / "id_ed25519"
    path.write_bytes(data)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("form", [OPENSSH, PKCS8])
@pytest.mark.parametrize("password", [None, b"secret word"])
def test_a_private_key_file(form: PrivateFormat, password: bytes | None, tmp_path: Path) -> None:
    path = written(tmp_path, pem(form, password))
    given = password.decode() if password else None
    assert load_ed25519(path, given).line == LINE
    assert load_ed25519(str(path), password).line == LINE
    assert load_ed25519(pem(form, password), password).line == LINE
    assert load_ed25519(pem(form, password).decode(), password).line == LINE


@pytest.mark.parametrize(
    ("data", "password", "text"),
    [
        (pem(OPENSSH, b"right"), None, "is encrypted and no password was given"),
        (pem(PKCS8, b"right"), None, "is encrypted and no password was given"),
        (pem(OPENSSH, b"right"), "wrong", "the password does not open it"),
        (pem(PKCS8, b"right"), "wrong", "the password does not open it"),
        (pem(OPENSSH), "much", "is not encrypted, but password was given"),
        (pem(OPENSSH)[:150], None, "damaged or no private key"),
        (LINE.encode(), None, "damaged or no private key"),
        (b"", None, "is empty"),
        (pem(PKCS8, key=ec.generate_private_key(ec.SECP256R1())), None, "not of the kind ed25519"),
    ],
)
def test_what_is_no_key_names_the_file(
    data: bytes, password: str | None, text: str, tmp_path: Path
) -> None:
    path = written(tmp_path, data)
    with pytest.raises(ConfigurationError, match=text) as caught:
        with_ed25519(path, password=password)
    assert str(path) in str(caught.value)
    assert password is None or password not in str(caught.value).removesuffix(text)


def test_a_missing_file_and_what_is_neither() -> None:
    with pytest.raises(ConfigurationError, match="'/nowhere' does not exist"):
        with_ed25519("/nowhere")
    with pytest.raises(ConfigurationError, match="got int"):
        with_ed25519(5)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="encrypted private key file"):
        with_ed25519(KEY, password="x")


def test_a_file_that_everybody_can_read_warns(tmp_path: Path) -> None:
    with pytest.warns(TransportWarning, match="chmod 600"):
        load_ed25519(written(tmp_path, pem(OPENSSH), 0o644))


def test_no_repr_tells_the_key() -> None:
    option = with_ed25519(pem(OPENSSH))
    assert repr(option).startswith("with_ed25519(the key SHA256:")
    assert repr(load_ed25519(KEY)) == "Ed25519Key()"


@contextlib.contextmanager
def real_agent(folder: Path) -> Iterator[str]:
    """A running `ssh-agent`; the path of its socket."""
    path = str(folder / "agent")
    process = subprocess.Popen(
        ["ssh-agent", "-D", "-a", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        assert b"SSH_AUTH_SOCK" in process.stdout.readline()  # it listens
        yield path
    finally:
        process.terminate()
        process.communicate()


def added(agent: str, folder: Path, key: Any, comment: str) -> None:
    path = folder / f"key-{comment}"
    path.write_bytes(pem(OPENSSH, key=key))
    path.chmod(0o600)
    subprocess.run(
        ["ssh-keygen", "-c", "-f", path, "-C", comment, "-P", ""], check=True, capture_output=True
    )
    environment = os.environ | {"SSH_AUTH_SOCK": agent}
    subprocess.run(["ssh-add", path], env=environment, check=True, capture_output=True)


@pytest.mark.skipif(shutil.which("ssh-agent") is None, reason="this machine has no ssh-agent")
def test_a_real_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with real_agent(tmp_path) as path:
        monkeypatch.setenv("SSH_AUTH_SOCK", path)
        assert SSHAgent().identities() == ()
        with pytest.raises(ConfigurationError, match="it holds none"):
            with_ed25519(SSHAgent())
        added(path, tmp_path, KEY, "mine")
        added(path, tmp_path, ec.generate_private_key(ec.SECP256R1()), "other-kind")
        (found,) = SSHAgent().identities()
        assert (found.comment, found.path) == ("mine", path)
        KEY.public_key().verify(found.sign(b"data"), b"data")
        key = load_ed25519(SSHAgent())
        assert key.line == LINE
        assert key.headers_for(Request("GET", "/a?b"), "c") == load_ed25519(KEY).headers_for(
            Request("GET", "/a?b"), "c"
        )

        added(path, tmp_path, Ed25519PrivateKey.generate(), "second")
        with pytest.raises(ConfigurationError, match="'mine', 'second'"):
            with_ed25519(SSHAgent())
        assert load_ed25519(SSHAgent().identities()[0]).line == LINE
        environment = os.environ | {"SSH_AUTH_SOCK": path}
        subprocess.run(["ssh-add", "-D"], env=environment, check=True, capture_output=True)
        with pytest.raises(AuthenticationError, match="'mine': it refused"):
            found.sign(b"data")
    with pytest.raises(AuthenticationError, match="SSH agent at"):
        found.sign(b"data")


def test_without_an_agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(ConfigurationError, match="SSH_AUTH_SOCK is not set"):
        SSHAgent()
    with pytest.raises(ConfigurationError, match="SSH agent at"):
        SSHAgent(str(tmp_path / "nobody")).identities()


def string(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


BLOB = string(b"ssh-ed25519") + string(bytes(32))


@contextlib.contextmanager
def stub_agent(folder: Path, answer: bytes) -> Iterator[SSHAgent]:
    """An agent that gives one answer, and hangs up."""
    path = str(folder / "stub")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve() -> None:
            with listener.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield SSHAgent(path)
        finally:
            thread.join()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        string(b""),
        string(bytes([ANSWER_FAILURE])),
        (2**32 - 1).to_bytes(4),
        string(bytes([ANSWER_LISTED]))[:-1],
        string(bytes([ANSWER_LISTED]) + (1).to_bytes(4)),
        string(bytes([ANSWER_LISTED]) + (2**32 - 1).to_bytes(4) + string(BLOB) + string(b"one")),
        string(bytes([ANSWER_LISTED]) + (1).to_bytes(4) + string(BLOB + b"x") + string(b"long")),
        string(bytes([ANSWER_LISTED]) + (1).to_bytes(4) + (2**31).to_bytes(4) + BLOB),
    ],
)
def test_an_agent_that_talks_nonsense(answer: bytes, tmp_path: Path) -> None:
    with stub_agent(tmp_path, answer) as agent, pytest.raises(ConfigurationError):
        agent.identities()


@pytest.mark.parametrize(
    "signature",
    [
        string(b"ssh-rsa") + string(bytes(64)),
        string(b"ssh-ed25519") + string(bytes(63)),
        string(b"ssh-ed25519"),
        b"",
    ],
)
def test_a_signature_that_is_none(signature: bytes, tmp_path: Path) -> None:
    answer = bytes([ANSWER_LISTED]) + (1).to_bytes(4) + string(BLOB) + string(b"k")
    with stub_agent(tmp_path, string(answer)) as agent:
        (key,) = agent.identities()
    os.unlink(agent.path)
    told = string(bytes([ANSWER_SIGNED]) + string(signature))
    with stub_agent(tmp_path, told), pytest.raises(AuthenticationError, match="no signature"):
        key.sign(b"data")
