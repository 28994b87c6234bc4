"""Values that one step's answer gives to later steps: `${name}` in whatever is sent."""

from __future__ import annotations

from typing import Any


class Placeholders:
    """The values of one case, all as text."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def __setitem__(self, name: str, value: str) -> None:
        self._values[name] = value

    def fill(self, text: str) -> str:
        """The text with every known name replaced."""
        for name, value in self._values.items():
            text = text.replace(f"${{{name}}}", value)
        return text

    def fill_all(self, value: Any) -> Any:
        """A JSON value with every text in it filled."""
        if isinstance(value, str):
            return self.fill(value)
        if isinstance(value, dict):
            return {key: self.fill_all(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.fill_all(inner) for inner in value]
        return value


def dig(document: Any, path: list[str | int]) -> Any:
    """What stands at a path of keys and positions. Raises LookupError, TypeError, ValueError."""
    for part in path:
        document = document[int(part) if isinstance(document, list) else part]
    return document
