"""The player sends what a step says, keeps what later steps need, and never passes a fault over."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from .keyring import public_line
from .player import play
from .recording import Case, Recorded, Send, Signing, Step
from .ways import Ways

Handler = Callable[[httpx.Request], httpx.Response]


class Scripted(Ways):
    """Leads to a function instead of a server."""

    def __init__(self, handler: Handler) -> None:
        super().__init__({}, frozenset(), Path())
        self._transport = httpx.MockTransport(handler)

    def _open(self, listener: str, identity: str) -> httpx.Client:
        return httpx.Client(transport=self._transport, base_url=f"http://{listener}")


@pytest.fixture
def outcome() -> Iterator[Callable[..., dict[int, str | None]]]:
    """What the player says of steps that a function answers."""
    with contextlib.ExitStack() as stack:

        def play_steps(handler: Handler, *steps: Step) -> dict[int, str | None]:
            ways = stack.enter_context(contextlib.closing(Scripted(handler)))
            return play(Case(id="x", area="x", steps=steps), ways)

        yield play_steps


def step(answer: Any = None, *during: Step, status: int = 200, **keys: Any) -> Step:
    """A step; answer: the document that is recorded, None for a refused connection."""
    send = Send(**({"listener": "h1", "identity": "tok", "target": "/app/query"} | keys))
    if answer is None:
        return Step(send=send, during=during)
    return Step(send=send, answer=Recorded(status=status, json=answer), during=during)


def echo(request: httpx.Request) -> httpx.Response:
    target = request.extensions["target"].decode()
    return httpx.Response(200, json={"target": target, "body": request.content.decode()})


def test_bodies_and_targets_are_sent_as_written(outcome: Any) -> None:
    found = outcome(
        echo,
        step({"target": "/a//b%2f?x", "body": '{"a": 1.0}'}, target="/a//b%2f?x", json={"a": 1.0}),
        step({"target": "/app/query", "body": "{"}, text="{"),
        step({"target": "/app/query", "body": "hi"}, b64=base64.b64encode(b"hi").decode()),
        step({"target": "/app/query", "body": "zzz"}, fill=("z", 3)),
        step({"target": "/app/query", "body": "other"}, text="{"),
    )
    assert [number for number, said in found.items() if said] == [4]


def test_saved_values_are_sent_later(outcome: Any) -> None:
    found = outcome(
        echo,
        step({"target": "/one", "body": "two"}, target="/one", text="two", save={"a": ["body"]}),
        step({"target": "/two", "body": '{"x": ["two"]}'}, target="/${a}", json={"x": ["${a}"]}),
    )
    assert found == {0: None, 1: None}


def test_a_missing_value_is_a_difference(outcome: Any) -> None:
    found = outcome(echo, step({"a": 1}, save={"img": ["nothing"]}), step({}, b64="${img}"))
    assert "KeyError" in found[0]
    assert "cannot be played" in found[1]


def test_an_answer_of_another_form_is_a_difference(outcome: Any) -> None:
    def cut(_request: httpx.Request) -> httpx.Response:
        headers = {"content-type": "application/json"}
        return httpx.Response(200, content=b'{"a": ', headers=headers)

    assert "another form" in outcome(cut, step({"a": 1}))[0]


def test_no_answer_is_a_difference_unless_it_was_refused(outcome: Any) -> None:
    def refuse(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no")

    assert "no answer" in outcome(refuse, step({"a": 1}))[0]
    assert outcome(refuse, step()) == {0: None}
    assert "refused" in outcome(echo, step())[0]


def test_differences_within_a_step_are_its_own(outcome: Any) -> None:
    good = step({"target": "/app/query", "body": ""})
    bad = step({"target": "/other", "body": ""})
    answer = {"target": "/app/query", "body": ""}
    assert outcome(echo, step(answer, good)) == {0: None}
    assert "during it" in outcome(echo, step(answer, good, bad))[0]


def test_streams_of_a_case_that_differs_are_closed(outcome: Any) -> None:
    closed: list[Any] = []

    def answer(request: httpx.Request) -> httpx.Response:
        closed.append(json.loads(request.content))
        return httpx.Response(200, json={"baton": "b1"})

    def opening(recorded: str) -> Step:
        return step({"baton": recorded}, json={"requests": []}, save={"s": ["baton"]})

    outcome(answer, opening("b0"))
    assert [body.get("baton") for body in closed] == [None]
    outcome(answer, opening("b0"), step({"other": 1}, json={}))
    assert closed[-1] == {"baton": "b1", "requests": [{"type": "close"}]}


def test_an_event_stream_is_read_frame_by_frame(outcome: Any) -> None:
    frame = 'id: 4\nevent: change\ndata: {"seq": 4}\n\n'

    def stream(_request: httpx.Request) -> httpx.Response:
        headers = {"content-type": "text/event-stream"}
        return httpx.Response(200, text=": ping\n\n" + frame, headers=headers)

    recorded = Recorded(
        status=200,
        headers={"content-type": "text/event-stream"},
        frames=[{"id": "9", "event": "change", "data": {"seq": 9}}],
        ended=True,
    )
    played: list[str] = []

    def note(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            played.append("during")
            return echo(request)
        return stream(request)

    within = step({"target": "/app/query", "body": ""})
    send: dict[str, Any] = {"listener": "h1", "identity": "tok", "target": "/app/changes"}
    for frames, wrong in ((2, None), (1, "ended")):
        one = Step(
            send=Send(**send, method="GET", compare="sse", frames=frames),
            answer=recorded,
            during=(within,),
        )
        found = outcome(note, one)[0]
        assert found is None if wrong is None else wrong in found
    assert played == ["during", "during"]


def test_signatures_cover_the_request_and_can_be_spoilt(outcome: Any) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/_auth/challenge":
            return httpx.Response(200, json={"challenge": "ch"})
        names = sorted(name for name in request.headers if name.startswith("x-keyring"))
        key = request.headers.get("x-keyring-key")
        return httpx.Response(200, json={"names": names, "key": key})

    every = ["x-keyring-challenge", "x-keyring-key", "x-keyring-signature"]
    whole = step({"names": every, "key": public_line("kr")}, sign=Signing(key="kr"))
    less = step(
        {"names": every[:2], "key": public_line("dev")},
        sign=Signing(key="kr", present="dev", drop=("x-keyring-signature",)),
    )
    assert outcome(answer, whole, less) == {0: None, 1: None}
