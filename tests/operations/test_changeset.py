"""Changesets and exports: what is asked, and what is refused unasked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from quicsql_client import errors
from quicsql_client.operations import Operation
from quicsql_client.operations.changeset import (
    apply_changeset,
    concat_changesets,
    invert_changeset,
)
from quicsql_client.operations.transfer import export
from quicsql_client.wire.messages import Response

from .script import Script, play, refuse, reply

APPLIED = reply({"status": "ok"})


@pytest.mark.parametrize(
    ("arguments", "query"),
    [
        ((), "on_conflict=abort"),
        (("omit",), "on_conflict=omit"),
        (("replace", ["a", "b c&d"]), "on_conflict=replace&tables=a%2Cb%20c%26d"),
    ],
)
def test_apply_sends_the_bytes_as_they_are(arguments: Any, query: str) -> None:
    script = Script(APPLIED)
    script.play(apply_changeset("my db", b"T\0", *arguments))
    (request,) = script.requests
    assert (request.target, request.body) == (f"/my%20db/changeset/apply?{query}", b"T\0")
    assert request.headers == (("content-type", "application/octet-stream"),)


def test_invert_and_concat() -> None:
    assert play(invert_changeset("app", b"T"), Response(200, (), b"U")) == b"U"
    script = Script(Response(200, (), b"TU"))
    assert script.play(concat_changesets("app", b"T", b"")) == b"TU"
    assert script.bodies() == [{"a": "VA==", "b": ""}]


def test_nothing_is_asked_for_an_empty_changeset() -> None:
    play(apply_changeset("app", b""))
    assert play(invert_changeset("app", b"")) == b""


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: apply_changeset("app", "T"),  # type: ignore[arg-type]
        lambda: apply_changeset("app", b"T", "ignore"),  # type: ignore[arg-type]
        lambda: apply_changeset("app", b"T", "abort", "t"),
        lambda: apply_changeset("app", b"T", "abort", ["a,b"]),
        lambda: apply_changeset("app", b"T", "abort", [" a"]),
        lambda: apply_changeset("app", b"T", "abort", [""]),
        lambda: apply_changeset("", b""),
        lambda: invert_changeset("app", None),  # type: ignore[arg-type]
        lambda: concat_changesets("app", b"T", 5),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_asked(wrong: Callable[[], Operation[Any]]) -> None:
    with pytest.raises(errors.ProgrammingError):
        play(wrong())


def test_a_conflict_is_a_database_error() -> None:
    with pytest.raises(errors.DatabaseError, match="query aborted"):
        play(apply_changeset("app", b"T"), refuse(422, "apply changeset: query aborted"))


def test_an_export_is_a_database_file() -> None:
    image = b"SQLite format 3\0" + bytes(84)
    for body in (image, b""):
        assert play(export("app"), Response(200, (), body)) == body
    with pytest.raises(errors.RemoteProtocolError, match="not a SQLite database"):
        play(export("app"), Response(200, (), b"<html>"))
    with pytest.raises(errors.DataError, match="too large to export"):
        play(export("app"), refuse(413, "database too large to export"))
