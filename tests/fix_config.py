"""Configurations from text: what they load as, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from quicsql_client.server.config import ConfigError, LoadedConfig, load_config

LoadYAML: TypeAlias = Callable[[str], LoadedConfig]
FindProblems: TypeAlias = Callable[[str], tuple[str, ...]]


@pytest.fixture
def load_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadYAML:
    """Loads a text as quicsql.yaml of the working directory."""
    monkeypatch.chdir(tmp_path)

    def load(text: str) -> LoadedConfig:
        Path("quicsql.yaml").write_text(text, encoding="utf-8")
        return load_config("quicsql.yaml")

    return load


@pytest.fixture
def find_problems(load_yaml: LoadYAML) -> FindProblems:
    """The problems of a text; none when it loads."""

    def find(text: str) -> tuple[str, ...]:
        try:
            load_yaml(text)
        except ConfigError as error:
            return error.problems
        return ()

    return find
