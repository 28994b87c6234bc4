"""What the files that a configuration names deserve a word for: who can read secrets, and who
signs for both sides. Never fatal; a file that cannot be read is the matter of whoever needs it.

It must not know rules or YAML, and tells no content.
Source: protocol/config.md, tls.<profile> and secrets[].
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator

from ...errors import ConfigurationError
from ...pki.inspection import is_issued_by, load_certificates
from .model import Config, TLSProfile
from .problems import Path, quote

__all__ = ["find_file_warnings"]

_Found = Iterator[tuple[str, Path]]


def find_file_warnings(config: Config, secret_files: Iterable[tuple[str, str]]) -> _Found:
    """Text and path of each warning. secret_files: source and path of each secret that was read."""
    yield from _readable_keys(config)
    yield from _readable_secrets(config, secret_files)
    yield from _one_authority(config)


def _readable_keys(config: Config) -> _Found:
    for name, profile in config.tls.items():
        if profile.mode == "files" and _is_open_to_others(profile.key):
            yield _exposed("key", profile.key), ("tls", name, "key")


def _readable_secrets(config: Config, secret_files: Iterable[tuple[str, str]]) -> _Found:
    places = {source.name: index for index, source in enumerate(config.secrets)}
    for source, path in dict.fromkeys(secret_files):
        if _is_open_to_others(path):
            yield _exposed("secret", path), ("secrets", places[source], "dir")


def _exposed(what: str, path: str) -> str:
    return f"config: {what} file {path} is readable by group or others: run chmod 600 on it"


def _is_open_to_others(path: str) -> bool:
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False  # the listener that needs it says so when it starts
    return bool(mode & (stat.S_IRGRP | stat.S_IROTH))


def _one_authority(config: Config) -> _Found:
    for name, profile in config.tls.items():
        if profile.mode == "files" and profile.client_ca and _signs_for_both(profile):
            text = (
                f"config: tls profile {quote(name)}: client_ca signed the server's certificate "
                "too: whoever gets certificates for servers could be a client; use two CAs"
            )
            yield text, ("tls", name, "client_ca")


def _signs_for_both(profile: TLSProfile) -> bool:
    """Whether a CA of clients signed a certificate of the server's chain, which may be itself."""
    try:
        chain = load_certificates(profile.cert)
        authorities = load_certificates(profile.client_ca or "")
    except ConfigurationError:
        return False
    return any(is_issued_by(one, authority) for one in chain for authority in authorities)
