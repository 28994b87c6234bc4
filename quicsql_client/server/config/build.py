"""Turns nodes into the sections of `model`: types, unknown keys, units. Every problem is kept, none
stops the reading.

What is wrong on its own is found here; what does not go together is `validate`'s. A value of the
wrong type is reported and replaced by its default. It must not know rules between keys.
Source: protocol/config.md, File rules and Keys.
"""

from __future__ import annotations

import difflib
import functools
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from .document import ListNode, MapNode, Node, Word
from .durations import parse_duration
from .model import (
    Config,
    DatabaseConfig,
    ListenerConfig,
    MethodConfig,
    PeercredMethod,
    PragmaValue,
    PrincipalConfig,
    ProvisionConfig,
    Section,
    VaultConfig,
)
from .problems import Path, Problems, format_path, quote
from .scalars import MAX_INTEGER, parse_boolean, parse_integer, parse_number

__all__ = ["PARKED_KEYS", "build_config"]

PARKED_KEYS: Final = ("observability", "wire_compression")
"""Keys of the outermost mapping that upstream knows and does not use yet: a warning, whatever is in
them.
"""

_Reader = Callable[[Node, Path, Problems], Any]
_S = TypeVar("_S", bound=Section)

_MAX_SOCKET_MODE: Final = 0o777
_VAULT_KEYS: Final = (
    "anchor",
    "authenticate",
    "cipher",
    "compression",
    "create",
    "identities",
    "key",
    "masters",
    "write_as",
)


class _Unreadable(Exception):
    """The node is not of the wanted type; the text says what was wanted and, where it is no secret,
    what was given.
    """


def build_config(root: Node, problems: Problems) -> Config:
    """The configuration of a document; an empty one is all defaults.

    What is wrong goes to `problems`.
    """
    if isinstance(root, Word) and root.is_null:
        return Config()
    if not isinstance(root, MapNode):
        problems.add_unreadable(f"config: the file must hold a mapping, not {_kind(root)}", ())
        return Config()
    entries = {key: node for key, node in root.entries.items() if key not in PARKED_KEYS}
    return _fill(Config, entries, (), problems)


def _fill(cls: type[_S], entries: Mapping[str, Node], path: Path, problems: Problems) -> _S:
    readers = _readers(cls)
    values: dict[str, Any] = {}
    for key, node in entries.items():
        if key not in readers:
            _report_unknown(key, readers, path, problems)
        elif not (isinstance(node, Word) and node.is_null):
            attribute, reader = readers[key]
            _read_into(values, attribute, reader, node, (*path, key), problems)
    return cls(**values)


def _read_into(
    values: dict[str, Any],
    attribute: str,
    reader: _Reader,
    node: Node,
    path: Path,
    problems: Problems,
) -> None:
    try:
        values[attribute] = reader(node, path, problems)
    except _Unreadable as error:
        problems.add_unreadable(f"config: {format_path(path)}: {error}", path)


def _report_unknown(key: str, known: Iterable[str], path: Path, problems: Problems) -> None:
    near = difflib.get_close_matches(key, list(known), n=1)
    hint = f", did you mean {quote(near[0])}?" if near else ""
    problems.add(f"config: unknown key {quote(key)}{hint}", (*path, key))


@functools.cache
def _readers(cls: type[Section]) -> dict[str, tuple[str, _Reader]]:
    """YAML key -> (attribute, how to read it)."""
    return {
        info.encode_name: (info.name, _field_reader(cls, info))
        for info in msgspec.structs.fields(cls)
    }


def _field_reader(cls: type[Section], info: msgspec.structs.FieldInfo) -> _Reader:
    special = _SPECIAL.get((cls, info.name))
    if special is not None:
        return special
    if info.name.endswith("_s"):
        return _read_duration
    return _type_reader(info.type)


def _type_reader(wanted: Any) -> _Reader:
    origin = typing.get_origin(wanted)
    arguments = typing.get_args(wanted)
    if origin in (types.UnionType, typing.Union):
        return _type_reader(next(each for each in arguments if each is not type(None)))
    if origin is tuple:
        return functools.partial(_read_list, _type_reader(arguments[0]), arguments[0])
    if origin is dict:
        return functools.partial(_read_map, _type_reader(arguments[1]), arguments[1])
    return _BY_TYPE.get(wanted) or functools.partial(_read_section, wanted)


def _read_section(cls: type[Section], node: Node, path: Path, problems: Problems) -> Section:
    return _fill(cls, _mapping(node), path, problems)


def _read_list(
    reader: _Reader, empty: Callable[[], Any], node: Node, path: Path, problems: Problems
) -> tuple[Any, ...]:
    """An item that cannot be read leaves an empty one, so that the others keep their positions."""
    if not isinstance(node, ListNode):
        raise _Unreadable(f"want a list, not {_kind(node)}")
    values: dict[str, Any] = {str(index): empty() for index in range(len(node.items))}
    for index, item in enumerate(node.items):
        _read_into(values, str(index), reader, item, (*path, index), problems)
    return tuple(values.values())


def _read_map(
    reader: _Reader, empty: Callable[[], Any], node: Node, path: Path, problems: Problems
) -> dict[str, Any]:
    entries = _mapping(node)
    values: dict[str, Any] = {key: empty() for key in entries}
    for key, item in entries.items():
        _read_into(values, key, reader, item, (*path, key), problems)
    return values


def _mapping(node: Node) -> dict[str, Node]:
    if isinstance(node, MapNode):
        return node.entries
    if isinstance(node, Word) and node.is_null:
        return {}
    raise _Unreadable(f"want a mapping, not {_kind(node)}")


def _word(node: Node, wanted: str) -> Word:
    if not isinstance(node, Word):
        raise _Unreadable(f"want {wanted}, not {_kind(node)}")
    return node


def _plain(node: Node, wanted: str) -> str:
    word = _word(node, wanted)
    if not word.is_plain:
        raise _Unreadable(f"want {wanted} without quotes, not {quote(word.text)}")
    return word.text


def _kind(node: Node) -> str:
    if isinstance(node, ListNode):
        return "a list"
    if isinstance(node, MapNode):
        return "a mapping"
    return "nothing" if node.is_null else "a single value"


def _read_text(node: Node, path: Path, problems: Problems) -> str:
    word = _word(node, "text")
    return "" if word.is_null else word.text


def _read_boolean(node: Node, path: Path, problems: Problems) -> bool:
    text = _plain(node, "true or false")
    try:
        return parse_boolean(text)
    except ValueError:
        raise _Unreadable(f"want true or false, not {quote(text)}") from None


def _read_integer(node: Node, path: Path, problems: Problems) -> int:
    text = _plain(node, "a whole number")
    try:
        return parse_integer(text)
    except ValueError:
        hint = "; sizes are plain bytes, such as 8388608" if text[:1].isdigit() else ""
        raise _Unreadable(f"want a whole number, not {quote(text)}{hint}") from None


def _read_number(node: Node, path: Path, problems: Problems) -> float:
    text = _plain(node, "a number")
    try:
        return parse_number(text)
    except ValueError:
        raise _Unreadable(f"want a number, not {quote(text)}") from None


def _read_duration(node: Node, path: Path, problems: Problems) -> float:
    text = _word(node, 'a duration such as "30s"').text
    try:
        return parse_duration(text) / 1e9
    except ValueError:
        raise _Unreadable(
            f"{quote(text)} is not a duration; write a number with a unit "
            '(ns, us, ms, s, m or h), such as "30s"'
        ) from None


def _read_socket_mode(node: Node, path: Path, problems: Problems) -> int | None:
    text = _word(node, 'an octal mode such as "0600"').text
    if not text:
        return None
    is_octal = text.isascii() and text.isdigit() and not set(text) & {"8", "9"}
    mode = int(text, 8) if is_octal and len(text) <= 10 else -1
    if not 0 <= mode <= _MAX_SOCKET_MODE:
        raise _Unreadable(f'invalid socket_mode {quote(text)} (want octal, such as "0600")')
    return mode


def _read_uid(node: Node, path: Path, problems: Problems) -> int | None:
    text = _word(node, "a user id").text
    try:
        uid = parse_integer(text)
    except ValueError:
        return None  # a user name counts as missing, as upstream
    return uid if 0 <= uid <= MAX_INTEGER else None


def _read_pragmas(node: Node, path: Path, problems: Problems) -> dict[str, PragmaValue]:
    values: dict[str, PragmaValue] = {}
    for key, item in _mapping(node).items():
        if not (isinstance(item, Word) and item.is_null):
            reader = _PRAGMAS.get(key.lower(), _read_pragma)
            _read_into(values, key, reader, item, (*path, key), problems)
    return values


def _read_pragma(node: Node, path: Path, problems: Problems) -> PragmaValue:
    word = _word(node, "a single value")
    if not word.is_plain:
        return word.text
    parsers: tuple[Callable[[str], PragmaValue], ...] = (parse_integer, parse_number)
    for parse in parsers:
        try:
            return parse(word.text)
        except ValueError:
            continue
    return {"true": 1, "false": 0}.get(word.text.lower(), word.text)


def _read_switch(node: Node, path: Path, problems: Problems) -> int:
    text = _word(node, "true or false").text
    return int(text == "1" if text in ("0", "1") else _read_boolean(node, path, problems))


def _read_principal(node: Node, path: Path, problems: Problems) -> PrincipalConfig:
    principal = _fill(PrincipalConfig, _mapping(node), path, problems)
    methods = _mapping(node).get("methods")
    for index, entry in enumerate(methods.items if isinstance(methods, ListNode) else ()):
        names = list(entry.entries) if isinstance(entry, MapNode) else []
        where = f"config: principal {quote(principal.name)}:"
        if len(names) != 1:
            text = f"{where} each method entry needs exactly one method name"
            problems.add(text, (*path, "methods", index))
        for name in names:
            if name not in _readers(MethodConfig):
                text = f"{where} unknown credential method {quote(name)}"
                problems.add(text, (*path, "methods", index, name))
    return principal


def _read_method(node: Node, path: Path, problems: Problems) -> MethodConfig:
    """The known parts only (`_read_principal` has the words about others); a null block is one
    without parameters.
    """
    values: dict[str, Any] = {}
    readers = _readers(MethodConfig)
    for key, item in _mapping(node).items():
        if key in readers:
            attribute, reader = readers[key]
            _read_into(values, attribute, reader, item, (*path, key), problems)
    return MethodConfig(**values)


def _read_vault(node: Node, path: Path, problems: Problems) -> VaultConfig:
    entries = _mapping(node)
    for key in entries:
        if key not in _VAULT_KEYS:
            _report_unknown(key, _VAULT_KEYS, path, problems)
    texts: dict[str, Any] = {}
    for key in ("compression", "cipher"):
        if key in entries:
            _read_into(texts, key, _read_text, entries[key], (*path, key), problems)
    if "anchor" in entries:
        anchor = (*path, "anchor")
        _read_into(texts, "anchor_type", _read_anchor_type, entries["anchor"], anchor, problems)
    return VaultConfig(
        **texts,
        has_key=_is_given(entries.get("key")),
        has_identities=_is_given(entries.get("identities")),
    )


def _read_anchor_type(node: Node, path: Path, problems: Problems) -> str:
    kind = _mapping(node).get("type")
    return "" if kind is None else _read_text(kind, path, problems)


def _is_given(node: Node | None) -> bool:
    if isinstance(node, Word):
        return bool(node.text) and not node.is_null
    if isinstance(node, ListNode):
        return bool(node.items)
    return node is not None


_BY_TYPE: Final[dict[Any, _Reader]] = {
    str: _read_text,
    bool: _read_boolean,
    int: _read_integer,
    float: _read_number,
    MethodConfig: _read_method,
    PrincipalConfig: _read_principal,
    VaultConfig: _read_vault,
}
_SPECIAL: Final[dict[tuple[type[Section], str], _Reader]] = {
    (ListenerConfig, "socket_mode"): _read_socket_mode,
    (PeercredMethod, "uid"): _read_uid,
    (DatabaseConfig, "pragmas"): _read_pragmas,
    (ProvisionConfig, "pragmas"): _read_pragmas,
}
# The pragmas whose values have a type of their own; others are taken as they are written.
_PRAGMAS: Final[dict[str, _Reader]] = {
    "busy_timeout": _read_integer,
    "cache_size": _read_integer,
    "foreign_keys": _read_switch,
}
