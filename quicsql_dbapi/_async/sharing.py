"""AsyncSharedClient: one client for all the connections of an engine, closed with the last."""

from __future__ import annotations

import threading

from quicsql_client import AsyncClient

__all__ = ["AsyncSharedClient"]


class AsyncSharedClient:
    """Lends one client by URL: it is made for the first connection and closed after the last.

    Threads may share it. A client that was closed is made anew when it is asked for again.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: AsyncClient | None = None
        self._lent = 0
        self._guard = threading.Lock()  # never held while waiting

    def lend(self) -> AsyncClient:
        """The client; each call wants its `give_back`. Raises: what `AsyncClient.from_url` does."""
        with self._guard:
            if self._client is None:
                self._client = AsyncClient.from_url(self._url)
            self._lent += 1
            return self._client

    async def give_back(self) -> None:
        """Tell that a borrower is done; the last one closes the client."""
        with self._guard:
            self._lent -= 1
            client = self._client
            if self._lent or client is None:
                return
            self._client = None
        await client.aclose()
