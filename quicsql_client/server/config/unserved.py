"""What a configuration may ask for and this version of the reference server does not serve.

The one table of such things: when the server learns one, its row goes. It must not know files or
rules.
Source: protocol/config.md, Keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from .model import Config
from .problems import Path, format_path

__all__ = ["NOT_SERVED", "Unserved", "find_unserved"]


@dataclass(frozen=True)
class Unserved:
    """One thing that is not served.

    where: the paths at which a configuration asks for it; instead: what happens.
    """

    where: Callable[[Config], Iterator[Path]]
    instead: str


def _profiles_with_mode(mode: str) -> Callable[[Config], Iterator[Path]]:
    def find(config: Config) -> Iterator[Path]:
        for name, profile in config.tls.items():
            if profile.mode == mode:
                yield ("tls", name, "mode")

    return find


def _when(condition: Callable[[Config], object], *path: str) -> Callable[[Config], Iterator[Path]]:
    def find(config: Config) -> Iterator[Path]:
        if condition(config):
            yield path

    return find


NOT_SERVED: Final = (
    Unserved(
        _profiles_with_mode("qip"),
        "tls mode qip: a listener that uses this profile is refused",
    ),
    Unserved(
        _when(lambda config: config.changefeed.enabled, "changefeed", "enabled"),
        "the change feed: nothing is recorded and nobody can subscribe",
    ),
)
"""Each thing that parses and is validated, and has no effect yet."""


def find_unserved(config: Config) -> Iterator[tuple[str, Path]]:
    """Text and path of each warning about what the configuration asks for in vain."""
    for row in NOT_SERVED:
        for path in row.where(config):
            yield f"config: {format_path(path)}: not served by this version: {row.instead}", path
