"""Server-sent events as the recordings have them: id, event and data of each, without comments."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx

Frame = dict[str, Any]


def read_frames(
    response: httpx.Response, wanted: int, *, to_the_end: bool, on_first: Callable[[], None]
) -> tuple[list[Frame], bool]:
    """The frames that came, and whether the server ended the stream.

    Reads until there are as many as wanted and, to_the_end, until the end; a read that times out
    ends it too. on_first: called once, after the first frame.
    """
    frames: list[Frame] = []
    pieces, text, is_begun = response.iter_text(), "", False
    with suppress(httpx.TransportError):
        while len(frames) < wanted or to_the_end:
            piece = next(pieces, None)
            if piece is None:
                return frames, True
            *whole, text = (text + piece).split("\n\n")
            frames += [frame for block in whole if (frame := _frame(block))]
            if frames and not is_begun:
                is_begun = True
                on_first()
    return frames, False


def relative(frames: list[Frame]) -> list[Frame]:
    """The frames with sequence numbers and ids counted from the first frame's."""
    if not frames or not isinstance(frames[0].get("data"), dict) or "seq" not in frames[0]["data"]:
        return frames
    base = frames[0]["data"]["seq"]
    return [_shifted(frame, base) for frame in frames]


def _shifted(frame: Frame, base: int) -> Frame:
    shifted = dict(frame)
    if isinstance(frame.get("data"), dict) and "seq" in frame["data"]:
        shifted["data"] = {**frame["data"], "seq": frame["data"]["seq"] - base}
    if "id" in frame:
        shifted["id"] = str(int(frame["id"]) - base)
    return shifted


def _frame(block: str) -> Frame:
    frame: Frame = {}
    for line in block.splitlines():
        name, _, value = line.partition(":")
        if name:
            value = value.removeprefix(" ")
            frame[name] = f"{frame[name]}\n{value}" if name in frame else value
    if "data" in frame:
        frame["data"] = json.loads(frame["data"])
    return frame
