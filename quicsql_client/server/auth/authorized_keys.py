"""Lines and files of SSH authorized keys; ssh-ed25519 only.

It must not know requests or signatures.
Source: protocol/auth.md, Keyring; RFC 8709 for the form of a key.
"""

from __future__ import annotations

import base64
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ...errors import ConfigurationError
from .encoding import decode_base64

__all__ = ["AuthorizedKey", "format_authorized_key", "parse_authorized_key", "read_roster"]

_log = logging.getLogger("quicsql.server")

_TYPE: Final = "ssh-ed25519"
_BLANKS: Final = " \t"
_OPTIONS: Final = re.compile(r'(?:[^\s"]|"(?:[^"\\]|\\.)*+")++[ \t]+')
# Length and name of the type, length of the key (RFC 8709, section 4).
_BLOB_PREFIX: Final = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20"
_KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class AuthorizedKey:
    """A public key of 32 bytes and the comment behind it, "" when there is none."""

    public_key: bytes
    comment: str


def parse_authorized_key(line: str) -> AuthorizedKey:
    """The key of one line; options before the type are passed over.

    Raises: ValueError with what is wrong, without the line.
    """
    rest = line.strip(_BLANKS)
    options = None if _names_type(rest) else _OPTIONS.match(rest)
    if options is not None:
        rest = rest[options.end() :]
    if not _names_type(rest):
        raise ValueError("want an ssh-ed25519 key: ssh-ed25519 <base64> [comment]")
    encoded, comment = _split(rest.removeprefix(_TYPE).lstrip(_BLANKS))
    blob = decode_base64(encoded.encode())
    if blob is None:
        raise ValueError(f"the text after {_TYPE} is not base64")
    if len(blob) != len(_BLOB_PREFIX) + _KEY_BYTES or not blob.startswith(_BLOB_PREFIX):
        raise ValueError(f"the base64 text is not an {_TYPE} key")
    return AuthorizedKey(blob[len(_BLOB_PREFIX) :], comment)


def format_authorized_key(public_key: bytes) -> str:
    """The canonical line of a key: its type and base64, without options and comment."""
    return f"{_TYPE} {base64.b64encode(_BLOB_PREFIX + public_key).decode()}"


def _names_type(text: str) -> bool:
    return text.startswith(_TYPE) and text[len(_TYPE) : len(_TYPE) + 1] in (" ", "\t")


def _split(text: str) -> tuple[str, str]:
    """The first word and what follows it, trimmed."""
    word = re.match(r"[^ \t]*", text)
    assert word is not None, "the pattern matches anything"  # noqa: S101
    return word[0], text[word.end() :].strip(_BLANKS)


def read_roster(path: str) -> dict[bytes, str]:
    """The principals of a file of authorized keys, by public key; a name is a key's whole comment.

    Blank and `#` lines are skipped, a key without a comment too, with a warning.
    Raises: ConfigurationError when the file cannot be read or a line is no ssh-ed25519 key.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
        raise ConfigurationError(f"init auth: open {path}: {reason}") from exc
    names: dict[bytes, str] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        content = line.strip()
        if not content or content.startswith("#"):
            continue
        key = _parse_line(content, number)
        if key.comment:
            names[key.public_key] = key.comment
        else:
            _log.warning(
                "authorized_keys line %d: skipped, a key without a comment names nobody", number
            )
    return names


def _parse_line(content: str, number: int) -> AuthorizedKey:
    try:
        return parse_authorized_key(content)
    except ValueError as exc:
        text = f"init auth: keyring: authorized_keys line {number}: {exc}"
        raise ConfigurationError(text) from exc
