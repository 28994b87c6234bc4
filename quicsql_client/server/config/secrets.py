"""Reads secrets from their declared sources: environment, files, or a command.

A reference is `source:name`, split at the first colon. No message holds what was read. It must not
know which keys hold references.
Source: protocol/config.md, secrets[].
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import IO, Final

from .model import SecretSourceConfig
from .problems import quote

__all__ = ["SecretError", "SecretSources"]

COMMAND_TIMEOUT_S: Final = 30.0
MAX_COMMAND_OUTPUT_BYTES: Final = 2**20
_MAX_FILE_BYTES: Final = 2**20


class SecretError(Exception):
    """A reference that cannot be read; the text begins `secret: ` and holds names only."""


class SecretSources:
    """The declared sources of one configuration.

    environment: what `env` reads, the process's own unless given. files_read: source and path of
    each secret that was read from a file.
    """

    def __init__(
        self,
        sources: Sequence[SecretSourceConfig],
        environment: Mapping[str, str] | None = None,
        command_timeout_s: float = COMMAND_TIMEOUT_S,
    ) -> None:
        self._sources = {source.name: source for source in sources if source.name}
        self._environment = os.environ if environment is None else environment
        self._command_timeout_s = command_timeout_s
        self.files_read: list[tuple[str, str]] = []

    def is_reference(self, text: str) -> bool:
        """Whether the text is `source:name` with a declared source; anything else is taken
        literally.
        """
        source, colon, _ = text.partition(":")
        return bool(colon) and source in self._sources

    def read(self, reference: str) -> str:
        """What the reference stands for, as it is stored, blanks and newlines included.

        A kms source runs its command, for at most 30 s: never call this in an event loop.
        Raises: SecretError.
        """
        name, _, key = reference.partition(":")
        source = self._sources[name]
        if source.type == "env":
            return self._read_variable(key)
        if source.type == "file":
            path = _path_of(source, key)
            content = _text(_read_file(path, key), f"file ref {quote(key)}")
            self.files_read.append((name, path))
            return content
        if source.type == "kms":
            return _text(self._run(source, key), _kms(source))
        raise SecretError(f"secret: source {quote(name)} unknown type {quote(source.type)}")

    def _read_variable(self, key: str) -> str:
        value = self._environment.get(key)
        if value is None:
            raise SecretError(f"secret: env {quote(key)} not set")
        return value

    def _run(self, source: SecretSourceConfig, key: str) -> bytes:
        if not source.command:
            raise SecretError(f"secret: {_kms(source)} has no command")
        try:
            output, status = _capture(
                source.command,
                {**os.environ, "QUICSQL_SECRET_NAME": key},
                self._command_timeout_s,
            )
        except (OSError, ValueError) as error:
            raise SecretError(f"secret: {_kms(source)} command failed: {_reason(error)}") from error
        if len(output) > MAX_COMMAND_OUTPUT_BYTES:
            raise SecretError(f"secret: {_kms(source)} command output exceeds 1 MiB")
        if status != 0:
            raise SecretError(f"secret: {_kms(source)} command failed: {_status(status)}")
        if not output:
            raise SecretError(f"secret: {_kms(source)} command produced no output for {quote(key)}")
        return output


def _kms(source: SecretSourceConfig) -> str:
    return f"kms source {quote(source.name)}"


def _text(content: bytes, what: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise SecretError(f"secret: {what} is not UTF-8 text") from None


def _reason(error: Exception) -> str:
    strerror = error.strerror if isinstance(error, OSError) else None
    return (strerror or str(error)).lower()


def _status(status: int) -> str:
    return f"exit status {status}" if status > 0 else f"signal {-status}"


def _path_of(source: SecretSourceConfig, name: str) -> str:
    base = os.path.normpath(source.dir or ".")
    # As upstream joins: an absolute name is inside the directory too.
    path = os.path.normpath(os.path.join(base, name.lstrip("/")))
    if not source.dir or os.path.relpath(path, base).split(os.sep)[0] == os.pardir:
        raise SecretError(f"secret: file ref {quote(name)} escapes source dir {quote(source.dir)}")
    return path


def _read_file(path: str, name: str) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise SecretError(f"secret: file ref {quote(name)}: {_reason(error)}") from error
    if len(content) > _MAX_FILE_BYTES:
        raise SecretError(f"secret: file ref {quote(name)} is larger than 1 MiB")
    return content


def _capture(
    argv: Sequence[str], environment: Mapping[str, str], timeout_s: float
) -> tuple[bytes, int]:
    """Output, cut one byte past the cap, and exit status.

    Raises: OSError when it cannot run or runs too long.
    """
    with subprocess.Popen(  # noqa: S603 - the administrator's own command, run without a shell
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=dict(environment),
        start_new_session=True,
    ) as process:
        expired = threading.Event()
        timer = threading.Timer(timeout_s, _expire, (process, expired))
        timer.start()
        try:
            output = _read_capped(process.stdout)
            if len(output) > MAX_COMMAND_OUTPUT_BYTES:
                process.kill()
            status = process.wait()
        finally:
            timer.cancel()
    if expired.is_set():
        raise TimeoutError(f"no answer within {timeout_s:g} s")
    return output, status


def _expire(process: subprocess.Popen[bytes], expired: threading.Event) -> None:
    expired.set()
    # The whole group: a grandchild that holds the pipe would keep the reader waiting.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _read_capped(stream: IO[bytes] | None) -> bytes:
    return b"" if stream is None else stream.read(MAX_COMMAND_OUTPUT_BYTES + 1)
