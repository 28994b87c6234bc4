"""Reads a YAML file into nodes that remember their lines, and keeps words as they were written.

Words are not turned into booleans or numbers here: the key decides what a word means. Duplicate
keys, anchors without a value, tags that ask for objects, and nesting beyond reason are refused. It
must not know any key.
Source: protocol/config.md, File rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import yaml

from .problems import ConfigError, Path, quote
from .scalars import is_null

__all__ = ["Document", "ListNode", "MapNode", "Node", "Word", "parse_document", "read_text"]

_MAX_BYTES: Final = 16 * 2**20
# The deepest key of a real file is 8 deep; the bound keeps hostile files away from the recursion
# limit.
_MAX_DEPTH: Final = 64
_STANDARD_TAGS: Final = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")
)
_MERGE_KEY: Final = "<<"


@dataclass(frozen=True, slots=True)
class Word:
    """A scalar as it was written. is_plain: it was not quoted."""

    text: str
    is_plain: bool
    line: int

    @property
    def is_null(self) -> bool:
        """Whether it says that the key is as good as absent."""
        return self.is_plain and is_null(self.text)


@dataclass(frozen=True, slots=True)
class ListNode:
    """A sequence of nodes."""

    items: list[Node] = field(default_factory=list)
    line: int = 1


@dataclass(frozen=True, slots=True)
class MapNode:
    """A mapping with text keys, in the file's order; `lines` has the line of each key."""

    entries: dict[str, Node] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    line: int = 1


Node: TypeAlias = Word | ListNode | MapNode


@dataclass(frozen=True, slots=True)
class Document:
    """A whole file: its outermost mapping, and what is wrong with its form: (line, text)."""

    root: Node
    faults: tuple[tuple[int, str], ...]

    def line_of(self, path: Path) -> int:
        """The line of the key at the path, or of the nearest thing around it in the file."""
        node, line = self.root, 1
        for step in path:
            child = _child(node, step)
            if child is None:
                break
            line, node = child
        return line


def _child(node: Node, step: str | int) -> tuple[int, Node] | None:
    if isinstance(node, MapNode) and isinstance(step, str) and step in node.entries:
        return node.lines[step], node.entries[step]
    if isinstance(node, ListNode) and isinstance(step, int) and step < len(node.items):
        return node.items[step].line, node.items[step]
    return None


def read_text(path: str) -> str:
    """The text of the file. Raises: ConfigError that begins `config: read <path>: `."""
    try:
        with open(path, "rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise ConfigError([f"config: read {path}: {(reason or str(error)).lower()}"]) from error
    if len(content) > _MAX_BYTES:
        raise ConfigError([f"config: read {path}: the file is larger than {_MAX_BYTES} bytes"])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError([f"config: read {path}: not UTF-8 text (byte {error.start})"]) from error


def parse_document(text: str, file: str) -> Document:
    """The nodes of the text.

    Raises: ConfigError that begins `config: parse <path>: ` where it is not YAML.
    """
    composer = _Composer()
    try:
        for event in _events(text):
            composer.take(event)
    except yaml.MarkedYAMLError as error:
        # Only the library's sentence: its snippets of the file could hold a secret.
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        raise ConfigError([f"config: parse {file}: line {line}: {error.problem}"]) from None
    except yaml.YAMLError as error:
        reason = getattr(error, "reason", None) or "not YAML"
        raise ConfigError([f"config: parse {file}: {reason}"]) from None
    except _TooDeep as error:
        message = f"config: parse {file}: line {error.line}: nested deeper than {_MAX_DEPTH} levels"
        raise ConfigError([message]) from None
    return Document(composer.root, tuple(composer.faults))


def _events(text: str) -> Iterator[Any]:
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return iter(yaml.parse(text, Loader=loader))


class _TooDeep(Exception):
    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


class _Frame:
    """An open list or mapping; `key` is the key that waits for its value."""

    __slots__ = ("anchor", "key", "merges", "node")

    def __init__(self, node: ListNode | MapNode, anchor: str | None) -> None:
        self.node = node
        self.anchor = anchor
        self.key: tuple[str, int] | None = None
        self.merges: list[Node] = []


class _Composer:
    """Builds nodes from the library's events with a stack of its own, so that depth is bounded
    before it hurts.
    """

    def __init__(self) -> None:
        self.root: Node = Word("", True, 1)
        self.faults: list[tuple[int, str]] = []
        self._frames: list[_Frame] = []
        self._anchors: dict[str, Node] = {}
        self._documents = 0
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            yaml.DocumentStartEvent: self._start_document,
            yaml.ScalarEvent: self._take_scalar,
            yaml.AliasEvent: self._take_alias,
            yaml.SequenceStartEvent: self._open_list,
            yaml.MappingStartEvent: self._open_map,
            yaml.SequenceEndEvent: self._close,
            yaml.MappingEndEvent: self._close,
        }

    def take(self, event: Any) -> None:
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    def _start_document(self, event: Any) -> None:
        self._documents += 1
        if self._documents == 2:
            self._fault(_line(event), "a second document begins here; one file holds one document")
        self._anchors.clear()

    def _take_scalar(self, event: Any) -> None:
        self._check_tag(event)
        word = Word(event.value, not event.style and event.implicit[0], _line(event))
        self._bind(event.anchor, word)
        self._place(word)

    def _take_alias(self, event: Any) -> None:
        node = self._anchors.get(event.anchor)
        if node is None:
            self._fault(_line(event), "unknown anchor (quote a value that begins with *)")
            node = Word("", True, _line(event))
        self._place(node)

    def _open_list(self, event: Any) -> None:
        self._open(event, ListNode(line=_line(event)))

    def _open_map(self, event: Any) -> None:
        self._open(event, MapNode(line=_line(event)))

    def _open(self, event: Any, node: ListNode | MapNode) -> None:
        self._check_tag(event)
        if len(self._frames) >= _MAX_DEPTH:
            raise _TooDeep(_line(event))
        self._frames.append(_Frame(node, event.anchor))

    def _close(self, event: Any) -> None:
        frame = self._frames.pop()
        for source in frame.merges:
            self._merge(frame.node, source)
        self._bind(frame.anchor, frame.node)
        self._place(frame.node)

    def _bind(self, anchor: str | None, node: Node) -> None:
        # Bound when complete: an alias inside its own value is an unknown anchor, never a loop.
        if anchor is not None:
            self._anchors[anchor] = node

    def _place(self, node: Node) -> None:
        if not self._frames:
            if self._documents == 1:
                self.root = node
            return
        frame = self._frames[-1]
        if isinstance(frame.node, ListNode):
            frame.node.items.append(node)
        elif frame.key is None:
            frame.key = self._key(node)
        else:
            self._enter(frame, frame.node, frame.key, node)
            frame.key = None

    def _key(self, node: Node) -> tuple[str, int]:
        if isinstance(node, Word):
            return node.text, node.line
        self._fault(node.line, "a key must be a word, not a list or a mapping")
        return "", node.line

    def _enter(self, frame: _Frame, target: MapNode, key: tuple[str, int], node: Node) -> None:
        name, line = key
        if name == _MERGE_KEY:
            frame.merges.append(node)
        elif name in target.entries:
            text = f"mapping key {quote(name)} already defined at line {target.lines[name]}"
            self._fault(line, text)
        else:
            target.entries[name] = node
            target.lines[name] = line

    def _merge(self, target: ListNode | MapNode, source: Node) -> None:
        parts = source.items if isinstance(source, ListNode) else [source]
        for part in parts:
            if not isinstance(part, MapNode) or not isinstance(target, MapNode):
                self._fault(part.line, 'the value of "<<" must be a mapping or a list of mappings')
                continue
            for name, node in part.entries.items():
                target.entries.setdefault(name, node)
                target.lines.setdefault(name, part.lines[name])

    def _check_tag(self, event: Any) -> None:
        if event.tag not in (None, "!") and event.tag not in _STANDARD_TAGS:
            self._fault(_line(event), "unknown tag (quote a value that begins with !)")

    def _fault(self, line: int, text: str) -> None:
        self.faults.append((line, text))


def _line(event: Any) -> int:
    line: int = event.start_mark.line
    return line + 1
