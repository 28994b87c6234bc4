"""Ed25519 keys for `with_ed25519`: key objects, private key files, SSH agents.

Reads files and asks the agent which keys it has; signs nothing. No message holds key material.
Source: protocol/client.md, "Keyring caching"; protocol/auth.md, Keyring.
"""

from __future__ import annotations

import os
from typing import TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from .auth import Ed25519Key, Ed25519Signer
from .certificates import PEMSource, is_path, read_source, warn_when_key_is_public
from .errors import ConfigurationError
from .ssh_agent import SSHAgent

__all__ = ["Ed25519Source", "load_ed25519"]

Ed25519Source: TypeAlias = Ed25519PrivateKey | SSHAgent | Ed25519Signer | PEMSource
"""A key object, the path or text of a private key file, an agent, or one of its keys."""

_OPENSSH = b"-----BEGIN OPENSSH PRIVATE KEY-----"


class _PrivateKey:
    """A key object as what signs."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self.public_key_bytes = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self._key = key

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


def load_ed25519(source: Ed25519Source, password: str | bytes | None = None) -> Ed25519Key:
    """The key to sign with. Raises ConfigurationError, naming the file or the agent."""
    if isinstance(source, str | bytes | os.PathLike):
        return _of_file(source, password.encode() if isinstance(password, str) else password)
    if password is not None:
        raise ConfigurationError("with_ed25519: password= is for an encrypted private key file")
    if isinstance(source, Ed25519PrivateKey):
        return Ed25519Key(_PrivateKey(source))
    if isinstance(source, SSHAgent):
        return Ed25519Key(_only_key(source))
    if callable(getattr(source, "sign", None)) and hasattr(source, "public_key_bytes"):
        return Ed25519Key(source)
    raise ConfigurationError(
        "with_ed25519: expected an Ed25519PrivateKey, a private key file, an SSHAgent or one of "
        f"its identities, got {type(source).__name__}"
    )


def _only_key(agent: SSHAgent) -> Ed25519Signer:
    keys = agent.identities()
    if len(keys) != 1:
        names = ", ".join(repr(key.comment) for key in keys) or "none"
        raise ConfigurationError(
            f"SSH agent at {agent.path!r}: expected one Ed25519 key, it holds {names}; give the "
            "one you mean of SSHAgent().identities()"
        )
    return keys[0]


def _of_file(source: PEMSource, password: bytes | None) -> Ed25519Key:
    name, data = read_source(source, "private key file")
    try:
        load = load_ssh_private_key if data.lstrip().startswith(_OPENSSH) else load_pem_private_key
        key = load(data.strip() + b"\n", password)
    except TypeError:  # a password too many, or none where one is needed; nothing else says so
        needed = "is not encrypted, but" if password is not None else "is encrypted and no"
        raise ConfigurationError(f"the key in {name!r} {needed} password was given") from None
    except UnsupportedAlgorithm:
        raise ConfigurationError(
            f"the key in {name!r} cannot be read here: an encrypted OpenSSH key needs the package "
            "bcrypt (pip install bcrypt)"
        ) from None
    except ValueError:  # the cause is dropped: its text may quote what was being decrypted
        fault = "the password does not open it" if password else "it is damaged or no private key"
        raise ConfigurationError(f"the key in {name!r} cannot be read: {fault}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(
            f"the key in {name!r} is not of the kind ed25519; make one with ssh-keygen -t ed25519"
        )
    if is_path(source):
        warn_when_key_is_public(name)
    return Ed25519Key(_PrivateKey(key))
