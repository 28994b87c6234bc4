"""Plays cases on a running server and says of each step what differs.

Knows how a step is sent and when; how answers are compared is `rules`.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx

from .frames import read_frames
from .keyring import signed_headers
from .leniency import picked
from .placeholders import Placeholders, dig
from .recording import ABSENT, Case, Send, Step, read_lines
from .rules import Difference, difference
from .ways import NO_ANSWER, Answer, Ways

IN_FLIGHT_S = 0.4  # after sending, until a step's `during` is played: as it was recorded
_WRONG_FORM = (ValueError, LookupError, TypeError, AttributeError)

Outcome = dict[int, Difference]


def play(case: Case, ways: Ways) -> Outcome:
    """What differs in each step, by its number; None where nothing does.

    Steps after a difference are played too: they close and delete what earlier ones opened.
    """
    player = _Player(ways)
    outcome = {number: player.play(step) for number, step in enumerate(case.steps)}
    if any(outcome.values()):
        player.close_streams()
    return outcome


class _Player:
    """Plays the steps of one case."""

    def __init__(self, ways: Ways) -> None:
        self._ways = ways
        self._names = Placeholders()
        self._streams: list[tuple[Send, str]] = []

    def play(self, step: Step) -> Difference:
        """What differs in a step or in one that is played during it."""
        found: list[str] = []

        def play_within() -> None:
            found.extend(d for inner in step.during if (d := self.play(inner)))

        time.sleep(step.send.wait)
        try:
            answer = self._exchange(step, play_within)
        except NO_ANSWER as error:
            return None if step.answer is None else f"no answer: {type(error).__name__}: {error}"
        except _WRONG_FORM as error:  # what an earlier step should have saved is missing
            return f"cannot be played: {type(error).__name__}: {error}"
        if found:
            return "during it: " + found[0]
        return self._judge(step, answer)

    def _judge(self, step: Step, answer: Answer) -> Difference:
        if step.answer is None:
            return f"answered {answer.status}, recorded a refused connection"
        try:
            found = difference(step.send, step.answer, answer, self._names)
            if answer.status < 300:
                self._keep(step.send, answer)
        except _WRONG_FORM as error:  # the answer's, not ours: the recording passes every rule
            return f"an answer of another form: {type(error).__name__}: {error}: {answer.text}"
        return found

    def close_streams(self) -> None:
        """Ends what a differing case may have left open: its locks would fail the next cases."""
        for send, baton in self._streams:
            body = {"baton": baton, "requests": [{"type": "close"}]}
            self._request(
                self._ways.client(send.listener, send.identity),
                "POST",
                send.target.replace("/cursor", "/pipeline"),
                headers=self._headers(send),
                content=json.dumps(body).encode(),
            )

    def _exchange(self, step: Step, play_within: Callable[[], None]) -> Answer:
        send = step.send
        if send.compare == "sse":
            return self._read_stream(send, play_within)
        if not step.during:
            return self._send(self._ways.client(send.listener, send.identity), send)
        answers: list[Answer | Exception] = []

        def send_apart() -> None:
            try:
                with self._ways.fresh(send.listener, send.identity) as client:
                    answers.append(self._send(client, send))
            except NO_ANSWER as error:
                answers.append(error)

        thread = threading.Thread(target=send_apart)
        thread.start()
        time.sleep(IN_FLIGHT_S)
        play_within()
        thread.join()
        if isinstance(answers[0], Exception):
            raise answers[0]
        return answers[0]

    def _read_stream(self, send: Send, play_within: Callable[[], None]) -> Answer:
        with self._ways.fresh(send.listener, send.identity) as client:
            request = self._built(
                client,
                send.method,
                self._names.fill(send.target),
                headers=self._headers(send),
                content=self._content(send),
                timeout=httpx.Timeout(10.0, read=send.timeout),
            )
            response = client.send(request, stream=True)
            try:
                if response.status_code != 200:
                    return Answer(response.status_code, response.headers, response.read())
                frames, ended = read_frames(
                    response, send.frames, to_the_end=send.ends, on_first=play_within
                )
            finally:
                response.close()
        return Answer(response.status_code, response.headers, frames=frames, ended=ended)

    def _send(self, client: httpx.Client, send: Send) -> Answer:
        target = self._names.fill(send.target)
        headers, content = self._headers(send), self._content(send)
        return self._request(client, send.method, target, headers=headers, content=content)

    def _request(self, client: httpx.Client, method: str, target: str, **parts: Any) -> Answer:
        response = client.send(self._built(client, method, target, **parts))
        return Answer(response.status_code, response.headers, response.content)

    def _built(self, client: httpx.Client, method: str, target: str, **parts: Any) -> httpx.Request:
        """A request with its target exactly as written."""
        extensions = {"target": target.encode()}
        return client.build_request(method, "/", extensions=extensions, **parts)

    def _headers(self, send: Send) -> dict[str, str]:
        headers = {name: self._names.fill(value) for name, value in send.headers.items()}
        if send.json is not ABSENT:
            headers.setdefault("content-type", "application/json")
        return headers | self._proof(send)

    def _proof(self, send: Send) -> dict[str, str]:
        """Keyring headers, over a challenge of the same listener unless the step has one."""
        if send.sign is None:
            return {}
        challenge = send.sign.challenge
        if challenge is None:
            client = self._ways.client(send.listener, "anon")
            challenge = str(client.get("/_auth/challenge").json()["challenge"])
        target = self._names.fill(send.target)
        return signed_headers(send.sign, self._names.fill(challenge), send.method, target)

    def _content(self, send: Send) -> bytes | None:
        if send.json is not ABSENT:
            return json.dumps(self._names.fill_all(send.json)).encode()
        if send.text is not None:
            return self._names.fill(send.text).encode()
        if send.b64 is not None:
            return base64.b64decode(self._names.fill(send.b64))
        return None if send.fill is None else (send.fill[0] * send.fill[1]).encode()

    def _keep(self, send: Send, answer: Answer) -> None:
        """Takes the values that later steps use."""
        if send.save_b64 is not None:
            self._names[send.save_b64] = base64.b64encode(answer.content).decode()
        for name, path in send.save.items():
            value = self._value_at(send, answer, path)
            self._names[name] = value
            if path[-1] == "baton":
                self._streams.append((send, value))

    def _value_at(self, send: Send, answer: Answer, path: list[str | int]) -> str:
        if path[0] == "header":
            return str(answer.headers.get(str(path[1])))
        if send.compare == "sse":
            return str(dig(answer.frames, path))
        if send.compare == "ndjson":
            return str(dig(read_lines(answer.text), path))
        document = answer.document()
        if send.pick is not None:
            name, field, value = send.pick
            document = picked(document, (name, field, self._names.fill(value)))
        return str(dig(document, path))
