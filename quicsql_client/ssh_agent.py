"""Ed25519 keys of an SSH agent: which ones it holds, and signatures by them.

One connection for each request, over the agent's unix socket; the private keys stay with the agent.
Knows nothing of quicSQL. Source: draft-ietf-sshm-ssh-agent, sections 3 and 4; RFC 4251, 5;
RFC 8709, 4 and 6.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field

from .errors import AuthenticationError, ConfigurationError

__all__ = ["AgentKey", "SSHAgent"]

_TIMEOUT_S = 10.0  # an agent may ask its owner first
_MAX_ANSWER_BYTES = 262_144
_KIND = b"ssh-ed25519"
_LIST, _LISTED = 11, 12
_SIGN, _SIGNED = 13, 14


@dataclass(frozen=True, slots=True)
class SSHAgent:
    """The agent behind a unix socket; without a path the one of SSH_AUTH_SOCK.

    Raises ConfigurationError when there is neither.
    """

    path: str = ""

    def __post_init__(self) -> None:
        path = self.path or os.environ.get("SSH_AUTH_SOCK", "")
        if not path:
            raise ConfigurationError(
                "SSH agent: SSH_AUTH_SOCK is not set; start ssh-agent, or give the socket's path"
            )
        object.__setattr__(self, "path", path)

    def identities(self) -> tuple[AgentKey, ...]:
        """Its Ed25519 keys, in the agent's order. Raises ConfigurationError when it fails."""
        try:
            body = _ask(self.path, bytes([_LIST]), _LISTED)
            count, body = int.from_bytes(body[:4]), body[4:]
            keys = []
            for _ in range(count):
                blob, body = _take(body)
                comment, body = _take(body)
                if (public := _payload(blob, 32)) is not None:
                    keys.append(AgentKey(public, comment.decode("utf-8", "replace"), self.path))
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"SSH agent at {self.path!r}: {error}") from error
        return tuple(keys)


@dataclass(frozen=True, slots=True)
class AgentKey:
    """One Ed25519 key that an agent holds. comment: as the key was added with."""

    public_key_bytes: bytes = field(repr=False)
    comment: str
    path: str

    def sign(self, data: bytes) -> bytes:
        """The signature, 64 bytes; waits for the agent, 10 s at most, and blocks meanwhile.

        Raises AuthenticationError when the agent is gone, locked, or will not sign with this key.
        """
        message = bytes([_SIGN]) + _string(_blob(self.public_key_bytes)) + _string(data) + bytes(4)
        try:
            blob, _ = _take(_ask(self.path, message, _SIGNED))
            signature = _payload(blob, 64)
            if signature is None:
                raise ValueError("it signed with a key of another kind")
        except (OSError, ValueError) as error:
            raise AuthenticationError(
                f"SSH agent at {self.path!r}: no signature by the key {self.comment!r}: {error}"
            ) from error
        return signature


def _ask(path: str, message: bytes, wanted: int) -> bytes:
    """The body of the answer of the wanted type. Raises: OSError, ValueError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_TIMEOUT_S)
        connection.connect(path)
        connection.sendall(_string(message))
        size = int.from_bytes(_read(connection, 4))
        if not 1 <= size <= _MAX_ANSWER_BYTES:
            raise ValueError(f"an answer of {size} bytes")
        answer = _read(connection, size)
    if answer[0] != wanted:
        raise ValueError("it refused; it may be locked, or no longer hold the key")
    return answer[1:]


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise ValueError("the answer is cut")
        data += more
    return data


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


def _take(data: bytes) -> tuple[bytes, bytes]:
    """A string at the beginning, and the rest. Raises ValueError."""
    end = 4 + int.from_bytes(data[:4])
    if len(data) < max(end, 4):
        raise ValueError("the answer is cut")
    return data[4:end], data[end:]


def _blob(public_key: bytes) -> bytes:
    return _string(_KIND) + _string(public_key)


def _payload(blob: bytes, size: int) -> bytes | None:
    """The key or signature in an Ed25519 blob; None for another kind. Raises ValueError."""
    kind, rest = _take(blob)
    if kind != _KIND:
        return None
    payload, rest = _take(rest)
    if rest or len(payload) != size:
        raise ValueError("a malformed Ed25519 blob")
    return payload
