"""What an HTTP version may ask of the connection that carries it."""

from __future__ import annotations

import asyncio
from typing import Protocol

from .endpoint import Endpoint
from .scope import ConnectionFacts


class Link(Protocol):
    """The carrying connection (`connection.Connection`)."""

    endpoint: Endpoint
    facts: ConnectionFacts
    transport: asyncio.Transport
    is_lost: bool

    def write(self, data: bytes) -> None:
        """Queue bytes."""

    async def wait_writable(self) -> None:
        """Wait while the peer is slow. Raises: ConnectionResetError when it is gone."""

    def linger(self) -> None:
        """Close after a final answer, so that it arrives."""

    def close(self) -> None:
        """Close when what is queued has gone out."""

    def cut(self) -> None:
        """Reset the connection: what went out must not look whole."""
