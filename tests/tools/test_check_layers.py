"""Breaches that must be found, and what must be let through."""

from pathlib import Path

import pytest

from tools import check_layers
from tools.check_layers import check, find_cycle, main

ROOT = Path(__file__).resolve().parents[2]


def plant(root: Path, module: str, text: str) -> None:
    path = root / (module.replace(".", "/") + ".py")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Modules that others are imported from."""
    for module in (
        *("quicsql_client.errors", "quicsql_client.types", "quicsql_client.wire.native"),
        *("quicsql_client.wire.messages", "quicsql_client._async.client"),
        *("quicsql_client.server.engine.access", "quicsql_client.server.lifecycle"),
        *("quicsql_client.server.app", "quicsql_client.cli.__init__", "quicsql_client.pki.files"),
        *("quicsql_client.__init__", "quicsql_client.transports.base"),
    ):
        plant(tmp_path, module, "")
    return tmp_path


def faults(root: Path) -> list[str]:
    """The faults of a planted tree, which cannot have a module for each layer."""
    return [fault for fault in check(root) if not fault.endswith("names no module: remove it")]


@pytest.mark.parametrize(
    ("module", "line", "text"),
    [
        ("wire.values", "import socket", "imports socket"),
        ("wire.values", "import time", "imports time"),
        ("wire.values", "import httpx", "the library httpx"),
        ("wire.values", "from ..transports import base", "imports quicsql_client.transports.base"),
        ("wire.values", "async def f() -> None: ...", "async syntax"),
        ("operations.query", "async def f() -> None: ...", "async syntax"),
        ("operations.query", "import h11", "the library h11"),
        ("operations.query", "import asyncio", "imports asyncio"),
        ("operations.query", "from quicsql_client.transports.base import X", "transports.base"),
        ("transports.http1", "from ..wire.native import x", "imports quicsql_client.wire.native"),
        ("transports.http1", "from .._async import client", "quicsql_client._async.client"),
        ("_async.pool", "import h11", "the library h11"),
        ("_async.pool", "from ..server.app import X", "imports quicsql_client.server.app"),
        ("server.api.native", "from ..._async.client import X", "quicsql_client._async.client"),
        ("server.api.native", "import apsw", "the library apsw"),
        ("server.app", "import h11", "the library h11"),
        ("server.listeners.h", "from ..app import X", "imports quicsql_client.server.app"),
        ("server.engine.x", "from ..app import X", "imports quicsql_client.server.app"),
        ("server.config.x", "from ..engine.access import X", "server.engine.access"),
        ("server.registry", "from .lifecycle import X", "server.lifecycle"),
        ("pki.files", "from quicsql_client import cli", "imports quicsql_client.cli"),
        ("server.lifecycle", "from quicsql_client.cli import x", "imports quicsql_client.cli"),
        ("errors", "import quicsql_client.types", "imports quicsql_client.types"),
        ("new_part", "", "no layer in tools/check_layers.py names it"),
        ("pki.files", "def f() -> None:\n    import json", "json inside a function"),
        ("pki.files", "def f() -> None:\n    from . import names", "inside a function"),
        ("wire.values", "def f() -> None:\n    import requests", "the library requests"),
        ("certificates", "try:\n    import requests\nexcept ImportError: ...", "requests"),
    ],
)
def test_a_breach_is_found(tree: Path, module: str, line: str, text: str) -> None:
    plant(tree, "quicsql_client.pki.names", "")
    plant(tree, f"quicsql_client.{module}", line)
    found = faults(tree)
    assert len(found) == 1
    assert found[0].startswith(f"quicsql_client.{module}:")
    assert text in found[0]


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("connection", "from quicsql_client._async.client import AsyncClient"),
        ("connection", "import quicsql_client.wire.native"),
        ("connection", "import sqlalchemy"),
        ("sqlalchemy.dialect", "from quicsql_client import Client"),
    ],
)
def test_the_driver_sees_public_names_only(tree: Path, module: str, line: str) -> None:
    plant(tree, f"quicsql_dbapi.{module}", line)
    assert len(faults(tree)) == 1


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("quicsql_client.wire.values", "import msgspec\nfrom ..errors import DataError"),
        ("quicsql_client.wire.values", "from .messages import Request"),
        ("quicsql_client.operations.query", "from ..wire import native\nfrom .. import errors"),
        ("quicsql_client.transports.http1", "import h11\nfrom ..wire.messages import Request"),
        ("quicsql_client.transports.http1", "def f() -> None:\n    import aioquic.h3"),
        ("quicsql_client.server.engine.x", "import apsw\nfrom .access import Access"),
        ("quicsql_client.cli.serve", "def f() -> None:\n    from ..server.lifecycle import serve"),
        ("quicsql_dbapi.connection", "from quicsql_client import Client"),
        ("quicsql_dbapi.connection", "from quicsql_client.errors import Error"),
        ("quicsql_dbapi.sqlalchemy.dialect", "import sqlalchemy\nfrom quicsql_dbapi import x"),
        (
            "quicsql_client.wire.values",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import ssl\n",
        ),
        (
            "quicsql_client.wire.values",
            "import typing\nif typing.TYPE_CHECKING:\n    from ..server.app import X\n",
        ),
    ],
)
def test_what_is_allowed_is_let_through(tree: Path, module: str, text: str) -> None:
    plant(tree, "quicsql_dbapi.__init__", "")
    plant(tree, module, text)
    assert faults(tree) == []


def test_a_cycle_is_found_also_through_a_package_and_a_function(tree: Path) -> None:
    plant(tree, "quicsql_client.wire.hrana.__init__", "from .a import f")
    plant(tree, "quicsql_client.wire.hrana.a", "from . import g")
    assert faults(tree) == [
        "cycle: quicsql_client.wire.hrana -> quicsql_client.wire.hrana.a -> "
        "quicsql_client.wire.hrana"
    ]
    plant(tree, "quicsql_client.wire.hrana.a", "def f() -> None:\n    from . import g")
    assert any(fault.startswith("cycle: ") for fault in faults(tree))


def test_a_ring_is_told_without_the_way_to_it() -> None:
    edges = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set[str]()}
    assert find_cycle(edges) == ["b", "c", "b"]
    assert find_cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None


def test_a_layer_that_names_no_module_is_a_fault(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = {"quicsql_client.gone": check_layers.Layer()}
    monkeypatch.setattr(check_layers, "TABLE", check_layers.TABLE | layer)
    assert "layer quicsql_client.gone names no module: remove it" in check(tree)


def test_the_program_prints_the_faults_and_fails(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(tree, "quicsql_client.errors", "import httpx")
    assert main(tree) == 1
    assert "quicsql_client.errors:1: imports the library httpx" in capsys.readouterr().out


def test_this_repository_keeps_to_its_layers() -> None:
    assert check(ROOT) == []
