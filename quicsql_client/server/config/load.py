"""From a file to a checked configuration: read, parse, build, validate, put secrets in place.

It holds no rule of its own.
Source: protocol/config.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import msgspec

from .build import PARKED_KEYS, build_config
from .cautions import find_warnings
from .credentials import CredentialReader
from .document import Document, MapNode, parse_document, read_text
from .file_cautions import find_file_warnings
from .model import Config
from .problems import Path, Problems
from .secrets import SecretSources
from .validate import validate

__all__ = ["LoadedConfig", "load_config"]


class LoadedConfig(msgspec.Struct, frozen=True):
    """What a file gave.

    warnings: one line each, for the log: allowed, but unwise, or not served by this version.
    """

    config: Config
    warnings: tuple[str, ...]


def load_config(
    path: str | os.PathLike[str],
    *,
    resolve_secrets: bool = True,
    environment: Mapping[str, str] | None = None,
) -> LoadedConfig:
    """The configuration of a YAML file, complete: defaults are filled in and secrets are read.

    resolve_secrets: False leaves references to secrets as they are and reads no source; `resolve`
    does it later.
    environment: what `env` sources read, the process's own unless given. It reads files, and waits
    up to 30 s for each kms command: never call it in an event loop.
    Raises: ConfigError with every problem, each with file, line and key; a file that is not YAML
    gives one.
    Source: protocol/config.md.
    """
    file = os.fsdecode(path)
    document = parse_document(read_text(file), file)
    problems = Problems(file, document.line_of)
    for line, text in document.faults:
        problems.add_unplaced(f"config: parse {file}: line {line}: {text}")
    config = build_config(document.root, problems)
    validate(config, problems)
    sources = SecretSources(config.secrets, environment)
    reader = CredentialReader(sources, problems, reads_secrets=resolve_secrets)
    config = msgspec.structs.replace(config, auth=reader.read(config.auth))
    problems.raise_if_any()
    found = (*_find_all(config, document), *find_file_warnings(config, sources.files_read))
    return LoadedConfig(config, tuple(problems.located(text, place) for text, place in found))


def _find_all(config: Config, document: Document) -> Iterator[tuple[str, Path]]:
    root = document.root
    for key in PARKED_KEYS:
        if isinstance(root, MapNode) and key in root.entries:
            yield f'config: "{key}" is present but not active yet \u2014 it has no effect', (key,)
    yield from find_warnings(config)
