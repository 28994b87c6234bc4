"""Every Python block of the README and of docs/ runs, in order, against a server."""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
import types
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from quicsql_client.server.config import (
    AuthConfig,
    ControlPlaneConfig,
    EnrollCodesConfig,
    EnrollConfig,
    EnrollGrantConfig,
    MethodConfig,
    MTLSMethod,
    PrincipalConfig,
    SessionConfig,
)
from quicsql_client.testing.reference import ReferenceServer

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BY_KEY = ("keyring", "session")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(document: Path) -> list[tuple[int, str]]:
    """(line, code) of each block."""
    text = document.read_text(encoding="utf-8")
    return [(text.count("\n", 0, m.start(1)) + 1, m.group(1)) for m in BLOCK.finditer(text)]


PRIVATE_KEY = Ed25519PrivateKey.generate().private_bytes(
    Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()
)


def with_keys_and_admin(server: ReferenceServer) -> ReferenceServer:
    """The server, not started yet, with a control plane and a listener that takes keys."""
    config = server.config
    admin = PrincipalConfig(
        name="admin", methods=(MethodConfig(mtls=MTLSMethod(subject_cn="admin")),)
    )
    enroll = EnrollConfig(
        enabled=True,
        tokens=(hashlib.sha256(b"let me in").hexdigest(),),
        codes=EnrollCodesConfig(enabled=True),
        grants=(EnrollGrantConfig(db="app", level="read-only"),),
    )
    (by_certificate,) = config.listeners
    replace = msgspec.structs.replace
    server.config = replace(
        config,
        listeners=(by_certificate, replace(by_certificate, name="keys", auth=BY_KEY)),
        auth=AuthConfig(
            principals=(*config.auth.principals, admin),
            session=SessionConfig(enabled=True, max_ttl_s=3600.0),
            enroll=enroll,
        ),
        control_plane=ControlPlaneConfig(enabled=True, admins=("admin",)),
    )
    return server


@pytest.mark.parametrize(
    "document", [d for d in DOCUMENTS if blocks(d)], ids=lambda document: document.name
)
def test_blocks_run(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "id_ed25519").write_bytes(PRIVATE_KEY)
    (tmp_path / "id_ed25519").chmod(0o600)
    with with_keys_and_admin(ReferenceServer(tmp_path / "server")) as server:
        server.create_database("app")
        for name in ("admin", "analyst", "reporting", "stranger"):
            certificate, key = server.pki.client(name)
            shutil.copy(certificate, tmp_path / f"{name}.crt")
            shutil.copy(key, tmp_path / f"{name}.key")
        shutil.copy(server.pki.root_ca, tmp_path / "server-ca.crt")
        monkeypatch.chdir(tmp_path)
        module = types.ModuleType("document")  # SQLAlchemy looks up a class's module
        monkeypatch.setitem(sys.modules, module.__name__, module)
        for line, code in blocks(document):
            code = "\n" * (line - 1) + code.replace("db.example.com:7777", server.address)
            keys_port = server.addresses["keys"].rpartition(":")[2]
            code = code.replace("keys.example.com:7777", f"localhost:{keys_port}")
            exec(compile(code, str(document), "exec", dont_inherit=True), vars(module))


def test_links_between_documents_lead_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
