"""Collects everything that is wrong with a configuration, each with the file, the line and the key.

It must not know what is right or wrong, nor YAML.
Source: protocol/config.md, Keys (the texts).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from ...errors import ConfigurationError

__all__ = ["ConfigError", "Path", "Problems", "format_path", "quote"]

Path: TypeAlias = tuple[str | int, ...]
"""Where something stands in the document: keys and, in lists, positions from 0."""


class ConfigError(ConfigurationError):
    """A configuration that cannot be used.

    problems: every problem that was found, not only the first, each a line of text that ends with
    where it is, such as `config: database "app" missing backend (quicsql.yaml:12, databases[0])`.
    str() joins them, one a line.
    """

    problems: tuple[str, ...]

    def __init__(self, problems: Iterable[str]) -> None:
        lines = tuple(problems)
        super().__init__("\n".join(lines), problems=lines)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problems,)


class Problems:
    """The problems of one file, in the order in which they were found. file: "" when what is
    checked stands in no file; its problems then say no place.
    """

    def __init__(self, file: str, line_of: Callable[[Path], int]) -> None:
        self._file = file
        self._line_of = line_of
        self._lines: list[str] = []
        self._unreadable: set[Path] = set()

    def add(self, text: str, path: Path) -> None:
        """Keep a problem, unless the value at the path could not be read: that was said already."""
        if not self.is_unreadable(path):
            self._lines.append(self.located(text, path))

    def add_unreadable(self, text: str, path: Path) -> None:
        """Keep a problem of a value that is not of the wanted type; later rules about it are
        silent.
        """
        self.add(text, path)
        self._unreadable.add(path)

    def add_unplaced(self, text: str) -> None:
        """Keep a problem whose text says already where it is."""
        self._lines.append(text)

    def is_unreadable(self, path: Path) -> bool:
        """Whether the value at the path, or something that it stands in, could not be read."""
        return any(path[:length] in self._unreadable for length in range(len(path) + 1))

    def located(self, text: str, path: Path) -> str:
        """The text with the place after it: `text (quicsql.yaml:12, databases[0].mode)`; line 0 is
        no line.
        """
        if not self._file:
            return text
        line = self._line_of(path)
        place = f"{self._file}:{line}" if line else self._file
        return f"{text} ({place}, {format_path(path)})" if path else f"{text} ({place})"

    @property
    def lines(self) -> tuple[str, ...]:
        """Every problem, a line each."""
        return tuple(self._lines)

    def raise_if_any(self) -> None:
        """Raises: ConfigError with all problems, if there is one."""
        if self._lines:
            raise ConfigError(self._lines)


def format_path(path: Path) -> str:
    """A path as people write it: `databases[0].grants[1].level`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            key = step if step.isprintable() else quote(step)
            text += f".{key}" if text else key
    return text


def quote(text: str) -> str:
    """The text in double quotes, with control characters and quotes escaped."""
    return json.dumps(text, ensure_ascii=False)
