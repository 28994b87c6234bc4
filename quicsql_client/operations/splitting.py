"""Batches in as few requests as the server's cap on a body allows. Knows no stream and no state.

Source: protocol/config.md, limits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ..types import Statement
from ..wire import hrana

__all__ = ["MAX_REQUEST_BYTES", "split"]

MAX_REQUEST_BYTES = 8 * 1024 * 1024
"""The server's default cap on a body."""

# A baton, the frame of a pipeline and its BEGIN; the first condition of a part may be the longest.
_FRAME_BYTES = 1024


def split(
    statements: Sequence[Statement],
    as_batch: Callable[[Sequence[Statement]], hrana.Batch],
    max_bytes: int,
) -> list[Sequence[Statement]]:
    """The statements in parts whose requests are of at most `max_bytes`, in order.

    as_batch: makes the request of a part. One statement that is too large is a part of its own,
    for the server to refuse. Raises: where an argument cannot be bound, before any part is made.
    """
    if not statements:
        return []
    batch = as_batch(statements)
    if _size((batch,)) <= max_bytes:
        return [statements]
    steps = batch.steps or ()
    before = len(steps) - len(statements)
    frame_bytes = _size((hrana.Batch(()),)) - 1  # and the comma behind each step
    sizes = (_size((hrana.Batch((step,)),)) - frame_bytes for step in steps[before:])
    return list(_packed(statements, sizes, max_bytes - _FRAME_BYTES))


def _packed(
    statements: Sequence[Statement], sizes: Iterable[int], max_bytes: int
) -> Iterable[Sequence[Statement]]:
    start, filled = 0, 0
    for position, size in enumerate(sizes):
        if position > start and filled + size > max_bytes:
            yield statements[start:position]
            start, filled = position, 0
        filled += size
    yield statements[start:]


def _size(requests: tuple[hrana.StreamRequest, ...]) -> int:
    return len(hrana.encode_pipeline(hrana.Pipeline(None, requests)))
