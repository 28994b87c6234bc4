"""Operations driven by hand: each request is answered by the next line of a script."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from quicsql_client.operations import Operation
from quicsql_client.wire.messages import Request, Response

T = TypeVar("T")
Line = Response | BaseException | Callable[[Request], Response]


class Script:
    """Answers in order: a Response, an exception to throw in, or a function of the request."""

    def __init__(self, *lines: Line) -> None:
        self.lines = list(lines)
        self.requests: list[Request] = []

    def play(self, operation: Operation[T]) -> T:
        """Drive the operation to its value. Every line must be used."""
        try:
            request = next(operation)
            while True:
                self.requests.append(request)
                assert self.lines, f"the operation asked more than was scripted: {request}"
                line = self.lines.pop(0)
                if isinstance(line, BaseException):
                    request = operation.throw(line)
                else:
                    request = operation.send(line if isinstance(line, Response) else line(request))
        except StopIteration as finished:
            assert not self.lines, "the operation asked less than was scripted"
            value: T = finished.value
            return value

    def bodies(self) -> list[Any]:
        return [json.loads(request.body) for request in self.requests]


def play(operation: Operation[T], *lines: Line) -> T:
    return Script(*lines).play(operation)


def reply(body: object, status: int = 200, **headers: str) -> Response:
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Response(status, named, json.dumps(body).encode())


def refuse(status: int, message: str = "no", **headers: str) -> Response:
    return reply({"error": {"message": message}}, status, **headers)


EMPTY = {"cols": [], "rows": [], "affected_row_count": 1, "last_insert_rowid": None}
CLOSED = {"type": "ok", "response": {"type": "close"}}
EXECUTED = {"type": "ok", "response": {"type": "execute", "result": EMPTY}}


def scalar(value: int) -> dict[str, Any]:
    cell = {"type": "integer", "value": str(value)}
    return EMPTY | {"cols": [{"name": "n", "decltype": None}], "rows": [[cell]]}


def executed(value: int) -> dict[str, Any]:
    return {"type": "ok", "response": {"type": "execute", "result": scalar(value)}}


def failed(message: str = "no", code: str | None = "SQLITE_ERROR") -> dict[str, Any]:
    return {"type": "error", "error": {"message": message, "code": code}}


def batched(*steps: object) -> dict[str, Any]:
    """A batch's outcome: a step is a result (dict), an error (str, its code) or None, skipped."""
    results = [step if isinstance(step, dict) else None for step in steps]
    errors = [{"message": "no", "code": s} if isinstance(s, str) else None for s in steps]
    result = {"step_results": results, "step_errors": errors}
    return {"type": "ok", "response": {"type": "batch", "result": result}}


def pipeline(*outcomes: object, baton: str | None = "b1") -> Response:
    return reply({"baton": baton, "base_url": None, "results": outcomes})
