"""Every Python block of the README and of docs/ runs, in order, against a server."""

from __future__ import annotations

import re
import shutil
import sys
import types
from pathlib import Path

import pytest

from quicsql_client.testing.reference import ReferenceServer

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(document: Path) -> list[tuple[int, str]]:
    """(line, code) of each block."""
    text = document.read_text(encoding="utf-8")
    return [(text.count("\n", 0, m.start(1)) + 1, m.group(1)) for m in BLOCK.finditer(text)]


@pytest.mark.parametrize(
    "document", [d for d in DOCUMENTS if blocks(d)], ids=lambda document: document.name
)
def test_blocks_run(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ReferenceServer(tmp_path / "server") as server:
        server.create_database("app")
        for name in ("analyst", "reporting", "stranger"):
            certificate, key = server.pki.client(name)
            shutil.copy(certificate, tmp_path / f"{name}.crt")
            shutil.copy(key, tmp_path / f"{name}.key")
        shutil.copy(server.pki.root_ca, tmp_path / "server-ca.crt")
        monkeypatch.chdir(tmp_path)
        module = types.ModuleType("document")  # SQLAlchemy looks up a class's module
        monkeypatch.setitem(sys.modules, module.__name__, module)
        for line, code in blocks(document):
            code = "\n" * (line - 1) + code.replace("db.example.com:7777", server.address)
            exec(compile(code, str(document), "exec", dont_inherit=True), vars(module))


def test_links_between_documents_lead_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
