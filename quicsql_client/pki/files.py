"""PEM sources and the files of a certificate and its key.

A key is never readable by others, not even for a moment, and no file is replaced unasked.
Knows nothing of what a PEM text holds.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ..errors import ConfigurationError

PEMSource = str | bytes | os.PathLike[str]
"""A path, or the PEM text itself: a str or bytes with a BEGIN line is the text."""

_BEGIN = "-----BEGIN "
_KEY_MODE, _CERTIFICATE_MODE, _FOLDER_MODE = 0o600, 0o644, 0o700
_MAX_PEM_BYTES = 16 * 1024 * 1024  # system bundles are a quarter of a megabyte


class WrittenPair(NamedTuple):
    """Where a certificate and its key were written."""

    certificate: Path
    key: Path


def label_of(source: PEMSource, what: str) -> str:
    """How to name a source in a message: its role and its path."""
    if isinstance(source, bytes) or (isinstance(source, str) and _BEGIN in source):
        return f"{what} (PEM text)"
    return f"{what} {os.fspath(source)!r}"


def read_pem(source: PEMSource, what: str) -> bytes:
    """The PEM bytes of a source.

    what: its role, such as "CA key". Raises: ConfigurationError, naming the file.
    """
    if isinstance(source, bytes):
        return source
    if isinstance(source, str) and _BEGIN in source:
        return source.encode()
    label = label_of(source, what)
    try:
        with Path(source).open("rb") as file:
            content = file.read(_MAX_PEM_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(f"{label}: cannot be read: {reason}") from error
    if len(content) > _MAX_PEM_BYTES:
        raise ConfigurationError(f"{label}: larger than {_MAX_PEM_BYTES} bytes, so no PEM file")
    return content


def pair_paths(folder: str | os.PathLike[str], name: str) -> WrittenPair:
    """`folder/name.crt` and `folder/name.key`.

    Raises: ConfigurationError if name is no file name.
    """
    is_plain = name == Path(name).name and name not in ("", ".", "..") and name.isprintable()
    if not is_plain or name.startswith((".", "-")) or "\\" in name:
        raise ConfigurationError(f"{name!r} cannot be a file name: give another one for the files")
    return WrittenPair(Path(folder) / f"{name}.crt", Path(folder) / f"{name}.key")


def refuse_existing(paths: Iterable[Path]) -> None:
    """Raises: ConfigurationError if one of the paths is there already."""
    for path in paths:
        if path.exists() or path.is_symlink():
            raise ConfigurationError(
                f"{str(path)!r} is there already and is not replaced unasked: "
                "choose another folder or name, or force it"
            )


def write_pair(pair: WrittenPair, certificate: bytes, key: bytes, *, force: bool) -> WrittenPair:
    """Write both files; folders that are missing are made with mode 0700.

    The key has mode 0600 from its first byte. force: replace existing files, each at once by a
    rename, the key first. Raises: ConfigurationError, naming the file.
    """
    if not force:
        refuse_existing(pair)
    try:
        pair.key.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        for path, content, mode in (
            (pair.key, key, _KEY_MODE),
            (pair.certificate, certificate, _CERTIFICATE_MODE),
        ):
            _write(path, content, mode, force=force)
    except OSError as error:
        where = str(error.filename or pair.key)
        raise ConfigurationError(f"{where!r}: cannot be written: {error.strerror}") from error
    return pair


def _write(path: Path, content: bytes, mode: int, *, force: bool) -> None:
    target = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp") if force else path
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if force:
            os.replace(target, path)
    except OSError:
        target.unlink(missing_ok=True)
        raise
