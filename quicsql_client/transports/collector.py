"""ResponseCollector: the events of one exchange become an answer, within the cap. Does no I/O."""

from __future__ import annotations

from ..errors import ResponseTooLarge
from ..wire.messages import Headers, Request, Response
from . import failures
from .events import BodyPart, Event, ResponseEnded, ResponseStarted

__all__ = ["ResponseCollector"]


class ResponseCollector:
    """Takes events in their order. limit: of the body in bytes, None for no cap."""

    def __init__(self, request: Request, limit: int | None) -> None:
        self._request = request
        self._limit = limit
        self._started: ResponseStarted | None = None
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def has_started(self) -> bool:
        """True when the head of the answer has come."""
        return self._started is not None

    def take(self, event: Event) -> Response | None:
        """The answer with its last event, None before.

        Raises ResponseTooLarge before what is too large is kept, RemoteProtocolError for a body in
        a content coding.
        """
        if isinstance(event, ResponseStarted):
            self._started = event
            self._check_head(event.headers)
        elif isinstance(event, BodyPart):
            self._size += len(event.data)
            self._check_size(self._size)
            self._parts.append(event.data)
        elif isinstance(event, ResponseEnded) and self._started is not None:
            return Response(self._started.status, self._started.headers, b"".join(self._parts))
        return None

    def _check_head(self, headers: Headers) -> None:
        for name, value in headers:
            if name == "content-encoding" and value.strip().lower() not in ("", "identity"):
                raise failures.refuse_encoded(value, str(self._request))
            if name == "content-length" and value.isdigit():
                self._check_size(int(value))

    def _check_size(self, size: int) -> None:
        limit = self._limit
        if limit is not None and size > limit and self._request.method != "HEAD":
            raise ResponseTooLarge(
                f"quicsql: server response exceeds the {limit}-byte client cap (raise it with "
                "with_max_response)",
                limit_bytes=limit,
                request=str(self._request),
                may_have_run=True,
            )
