"""HTTP messages as plain data: what operations yield and transports carry. No library's types."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["JSON_HEADERS", "OCTET_HEADERS", "Headers", "Request", "Response"]

Headers = tuple[tuple[str, str], ...]
"""Header fields in order; names in lower case."""

JSON_HEADERS: Headers = (("content-type", "application/json"),)
OCTET_HEADERS: Headers = (("content-type", "application/octet-stream"),)


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    target: path and query, percent-encoded. headers: without host, framing and credentials.
    """

    method: str
    target: str
    headers: Headers = ()
    body: bytes = b""

    def with_headers(self, extra: Iterable[tuple[str, str]]) -> Request:
        """The same request with these header fields after its own."""
        return Request(self.method, self.target, (*self.headers, *extra), self.body)

    def __str__(self) -> str:
        return f"{self.method} {self.target}"


@dataclass(frozen=True, slots=True)
class Response:
    """One whole answer.

    headers: names in lower case, in the order received. body: as sent (never compressed).
    """

    status: int
    headers: Headers = ()
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """The first value of the field of this lower-case name, or None."""
        return next((value for key, value in self.headers if key == name), None)
