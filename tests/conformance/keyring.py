"""The Ed25519 keys of the recordings, and what a client signs with one.

The key of a name has the seed SHA-256("golden " + name): keys for tests alone.
Source: protocol/auth.md, keyring.
"""

from __future__ import annotations

import base64
import hashlib
import urllib.parse

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .recording import Signing


def public_line(name: str) -> str:
    """The key's line of an authorized_keys file, without comment."""
    public = _key(name).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return public.decode()


def signed_headers(how: Signing, challenge: str, method: str, target: str) -> dict[str, str]:
    """The headers that prove a key for one request. challenge, method, target: the real ones."""
    path, _, query = (how.target or target).partition("?")
    parts = (challenge, how.method or method, urllib.parse.unquote(path), query)
    signature = _key(how.key).sign("\n".join(parts).encode())
    if how.spoil:
        signature = signature[:-1] + bytes([signature[-1] ^ 1])
    headers = {
        "x-keyring-key": public_line(how.present or how.key),
        "x-keyring-challenge": challenge,
        "x-keyring-signature": base64.b64encode(signature).decode(),
    }
    return {name: value for name, value in headers.items() if name not in how.drop}


def _key(name: str) -> Ed25519PrivateKey:
    seed = hashlib.sha256(b"golden " + name.encode()).digest()
    return Ed25519PrivateKey.from_private_bytes(seed)
