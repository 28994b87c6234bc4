"""Conversations as generators: yield a Request, receive its Response, return a value.

No I/O, no clock, no colour: the sync and the async client drive the same generators. An operation
that fails gets the failure thrown in at its `yield`, so that it can put its own state right.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias, TypeVar

from ..wire.messages import Request, Response

__all__ = ["Operation"]

_T = TypeVar("_T")

Operation: TypeAlias = Generator[Request, Response, _T]
"""A conversation that ends in a value."""
