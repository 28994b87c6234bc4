"""The recorded exchanges as values: cases of steps, each what is sent and what was answered.

Knows the format of `recorded/*.json` (README.md beside it), no server and no comparison. A key that
it does not know is an error, so that no part of a recording is passed over.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

FOLDER = Path(__file__).with_name("recorded")
VARIANTS = ("first", "main", "tight", "rate", "open", "edge")
ABSENT = msgspec.UNSET
JSON_TYPE = {"content-type": "application/json"}


class Signing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How keyring headers are made. None: the real thing."""

    key: str
    challenge: str | None = None
    method: str | None = None
    target: str | None = None
    present: str | None = None
    drop: tuple[str, ...] = ()
    spoil: bool = False


class Send(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    rename={"listener": "on", "identity": "as"},
):
    """A request, and how its answer is read and compared; names in `${}` are not filled in yet."""

    listener: str
    identity: str
    method: str = "POST"
    target: str
    headers: Mapping[str, str] = {}
    json: Any = ABSENT
    text: str | None = None
    b64: str | None = None
    fill: tuple[str, int] | None = None
    wait: float = 0.0
    sign: Signing | None = None
    frames: int = 1
    timeout: float = 5.0
    ends: bool = False
    save: Mapping[str, list[str | int]] = {}
    save_b64: str | None = None
    compare: str = "exact"
    head: tuple[str, ...] = ()
    mask: frozenset[str] = frozenset()
    pick: tuple[str, str, str] | None = None
    match: str = ""


class Recorded(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What upstream answered. json: the document; text, b64: the body where it is none."""

    status: int
    headers: Mapping[str, str] = msgspec.field(default_factory=lambda: dict(JSON_TYPE))
    json: Any = ABSENT
    text: str = ""
    b64: str | None = None
    lines: list[Any] | None = None
    frames: list[dict[str, Any]] = []
    ended: bool = False

    @property
    def content(self) -> bytes:
        """The body of a recording that is no document."""
        return self.text.encode() if self.b64 is None else base64.b64decode(self.b64)

    @property
    def is_empty(self) -> bool:
        """Whether there was no body."""
        return self.json is ABSENT and not self.content

    def document(self) -> Any:
        """The JSON value that was answered, a copy of its own."""
        return json.loads(self.content if self.json is ABSENT else json.dumps(self.json))

    def document_lines(self) -> list[Any]:
        """The JSON values of an answer of lines, copies of their own."""
        if self.lines is None:
            return read_lines(self.text)
        copied: list[Any] = json.loads(json.dumps(self.lines))
        return copied


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One request with its answer. answer: None where the connection was refused."""

    send: Send
    answer: Recorded | None = None
    during: tuple[Step, ...] = ()


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Steps on tables and databases of their own."""

    id: str
    area: str
    steps: tuple[Step, ...]

    @property
    def is_timed(self) -> bool:
        """Whether it waits, so that its answers depend on how quickly it is played."""
        return any(step.send.wait or step.during for step in self.steps)


@cache
def load_cases(variant: str) -> tuple[Case, ...]:
    """The cases of a variant in the order in which they are played."""
    document = json.loads((FOLDER / f"{variant}.json").read_text(encoding="utf-8"))
    return msgspec.convert(document, tuple[Case, ...])


def every_step(steps: tuple[Step, ...]) -> Iterator[Step]:
    """Steps and those within them."""
    for step in steps:
        yield step
        yield from every_step(step.during)


def read_lines(text: str) -> list[Any]:
    """The JSON values of lines. Raises ValueError."""
    return [json.loads(line) for line in text.splitlines() if line.strip()]
