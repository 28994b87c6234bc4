"""Devices: their keys and signed requests; a meta store."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from quicsql_client.server.metastore import MetaStore


class DeviceKey:
    """A device's key; of the same seed the same one, without a seed a new one."""

    def __init__(self, seed: str = "") -> None:
        if seed:
            raw = hashlib.sha256(seed.encode()).digest()
            self._key = Ed25519PrivateKey.from_private_bytes(raw)
        else:
            self._key = Ed25519PrivateKey.generate()

    @property
    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    @property
    def line(self) -> str:
        """As `ssh-keygen` writes it, without a comment."""
        return self._key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()

    def sign(self, challenge: str, method: str, target: str) -> dict[str, str]:
        """The headers of a request that is signed with it."""
        path, _, query = target.partition("?")
        text = "\n".join((challenge, method, unquote(path), query))
        return {
            "x-keyring-key": self.line,
            "x-keyring-challenge": challenge,
            "x-keyring-signature": base64.b64encode(self._key.sign(text.encode())).decode(),
        }


@pytest.fixture
async def meta_store(tmp_path: Path) -> AsyncIterator[MetaStore]:
    """A new store in the temporary folder."""
    opened = MetaStore(str(tmp_path / "meta.db"))
    await opened.open()
    yield opened
    await opened.close()
