"""Read every import and fail when one goes against the layers.

    python tools/check_layers.py

The table below is the whole truth: a module that no layer names is a fault, and so is a layer
that names no module. Imports under `if TYPE_CHECKING:` count as types only and are passed over.
Only the syntax tree is read: nothing is imported.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("quicsql_client", "quicsql_dbapi")

_IO = frozenset({"asyncio", "selectors", "select", "socket", "ssl"})
_CLOCK = frozenset({"time"})


@dataclass(frozen=True)
class Layer:
    """What the modules of one layer may import, besides each other and the standard library.

    ours: "a.b" is that module, "a.b.*" also all below it. libraries: top-level names.
    not_standard: modules of the standard library that are kept out. is_pure: no async syntax.
    """

    ours: tuple[str, ...] = ()
    libraries: frozenset[str] = field(default_factory=frozenset)
    not_standard: frozenset[str] = field(default_factory=frozenset)
    is_pure: bool = False


def _layer(
    *ours: str, libraries: str = "", not_standard: frozenset[str] = frozenset(), pure: bool = False
) -> Layer:
    full = tuple(name if name.startswith("quicsql_") else f"quicsql_client.{name}" for name in ours)
    return Layer(full, frozenset(libraries.split()), not_standard, pure)


_ALL = ("quicsql_client", "*", "quicsql_dbapi.*")
_SHARED = ("wire.*", "errors", "types", "tls", "pki.*", "_version")  # what the server may see
_RULES = (
    "server.auth.*",
    "server.grants",
    "server.policy",
    "server.cors",
    "server.limits",
    "server.metrics",
    "server.routing",
)
_STORE = (
    *("server.engine.*", "server.feed", "server.registry", "server.sessions"),
    *("server.metastore.*", "server.attaching", "server.control", "server.drafts"),
)
_SHELL = (
    *("wire.*", "operations.*", "transports.*", "options", "auth", "tls", "certificates"),
    *("admin", "endpoint", "errors", "images", "renewal", "ssh_agent", "types", "url"),
)

# Name below quicsql_client (or a full name) -> what it may import; the longest name counts.
_TABLE: dict[str, Layer] = {
    "_version": _layer(),
    "errors": _layer(),
    "types": _layer("errors"),
    "admin": _layer(),
    "images": _layer("errors"),
    # 1. the wire: no socket, no clock, no library but msgspec
    "wire.*": _layer(
        "admin", "errors", "types", libraries="msgspec", not_standard=_IO | _CLOCK, pure=True
    ),
    # 2. the conversation: generators, no async, no library
    "auth": _layer("wire.*", "errors", "types", libraries="cryptography", pure=True),
    "operations.*": _layer(
        "wire.*", "admin", "auth", "errors", "types", not_standard=_IO, pure=True
    ),
    # certificates and options
    "pki.*": _layer("errors", libraries="cryptography", not_standard=_IO, pure=True),
    "certificates": _layer("pki.*", "errors", libraries="cryptography"),
    "certificate_sources": _layer("certificates", "errors", libraries="cryptography"),
    "ssh_agent": _layer("errors"),
    "ed25519_keys": _layer("auth", "certificates", "errors", "ssh_agent", libraries="cryptography"),
    "endpoint": _layer("errors"),
    "options": _layer(
        *("auth", "certificate_sources", "certificates", "endpoint", "errors", "types", "_version"),
        "ed25519_keys",
    ),
    "tls": _layer(
        *("certificates", "endpoint", "options", "pki.*", "errors"), libraries="cryptography"
    ),
    "renewal": _layer(
        *("certificates", "endpoint", "errors", "options", "pki.*", "tls"), libraries="cryptography"
    ),
    "url": _layer("auth", "certificates", "endpoint", "options", "errors"),
    # 3. sockets and network libraries
    "transports.*": _layer(
        *("wire.messages", "endpoint", "options", "tls", "certificates", "errors", "_version"),
        "renewal",
        libraries="h11 h2 hpack httpx aioquic pylsqpack service_identity OpenSSL cryptography",
    ),
    # 4. the shells: open, drive, close
    "_async.*": _layer(*_SHELL),
    "_sync.*": _layer(*_SHELL),
    # the public names
    "quicsql_client": _layer(*_SHELL, "_async.*", "_sync.*", "pki.*", "_version"),
    # 5. the driver and the dialect: public names only
    "quicsql_dbapi.*": _layer("quicsql_client", "errors", "types"),
    "quicsql_dbapi.sqlalchemy.*": _layer("quicsql_dbapi.*", libraries="sqlalchemy"),
    # 6. and 7. the server, from the bottom up; it never imports the client
    "server.config.*": _layer("errors", "pki.*", libraries="yaml msgspec", not_standard=_IO),
    "server.logs": _layer("server.config.*"),
    "server.listeners.*": _layer(
        *("errors", "types", "tls", "pki.*"),
        libraries="h11 h2 hpack hyperframe jh2 aioquic pylsqpack OpenSSL cryptography",
    ),
    "server.engine.*": _layer(*_SHARED, "server.config.*", "server.logs", libraries="apsw re2"),
    "server.feed": _layer("wire.*", "server.engine.*"),
    "server.registry": _layer(
        *(*_SHARED, "server.config.*", "server.engine.*", "server.feed"), libraries="apsw"
    ),
    "server.batons": _layer("errors", "types"),
    "server.sessions": _layer(
        *(*_SHARED, "server.batons", "server.engine.*", "server.registry"), libraries="apsw"
    ),
    "server.attaching": _layer(
        "server.config.*", "server.engine.*", "server.policy", "server.registry"
    ),
    "server.metastore.*": _layer("errors", "server.config.*", libraries="apsw msgspec"),
    "server.cors": _layer("wire.messages", "server.config.*", pure=True),
    "server.grants": _layer(),
    "server.places": _layer(),
    "server.drafts": _layer(),
    "server.control": _layer(
        *("errors", "server.config.*", "server.engine.*", "server.registry"),
        *("server.grants", "server.metastore.*", "server.places"),
    ),
    "server.limits": _layer("errors", "server.config.*"),
    "server.metrics": _layer(),
    "server.policy": _layer("errors", "server.config.*", "server.grants"),
    "server.routing": _layer("errors", "server.config.*"),
    "server.auth.*": _layer(*_SHARED, "server.config.*", libraries="bcrypt cryptography"),
    "server.alt_svc": _layer("server.config.*", "server.listeners.*"),
    "server.enrolment.*": _layer(
        *("errors", "server.config.*", "server.auth.*", "server.grants", *_STORE)
    ),
    "server.reloading": _layer(
        *("errors", "server.config.*", "server.policy"), libraries="msgspec"
    ),
    "server.api.*": _layer(
        *(*_SHARED, *_RULES, *_STORE, "server.enrolment.*", "server.config.*"), libraries="msgspec"
    ),
    "server.app": _layer(
        *(*_SHARED, *_RULES, *_STORE, "server.config.*", "server.enrolment.*", "server.api.*"),
        "server.logs",
    ),
    "server.watching": _layer("errors", "server.config.*", "server.logs"),
    "server.lifecycle": _layer(*_SHARED, "server.*", libraries="msgspec"),
    "server": _layer(*_SHARED, "server.*"),
    # 8. import anything; nothing imports them (no other line names them)
    "testing.*": _layer(*_ALL, libraries="pytest httpx cryptography msgspec"),
    "cli.*": _layer(*_ALL, libraries="click rich prompt_toolkit"),
    "__main__": _layer("cli"),
}
TABLE = {
    name if name.startswith("quicsql_") else f"quicsql_client.{name}": layer
    for name, layer in _TABLE.items()
}

# 9. Only these may be imported inside a function: libraries of optional extras, our modules that
# need one, and the commands of the command line (so that --help is quick).
LATE_LIBRARIES = frozenset(
    [
        *("aioquic", "apsw", "bcrypt", "click", "jh2", "opentelemetry", "orjson"),
        *("prompt_toolkit", "rich", "sqlalchemy", "yaml"),
    ]
)
LATE_MODULES = (
    "quicsql_client.cli.pki_commands",
    "quicsql_client.server.lifecycle",
    "quicsql_client.server.listeners.http3",
    "quicsql_client.testing.*",  # pytest loads the plugin in every run, with or without the extra
    "quicsql_client.transports.http3",
)


@dataclass(frozen=True)
class Import:
    """One import at run time: of which module or name, on which line, inside a function or not."""

    target: str
    line: int
    is_late: bool


def matches(module: str, pattern: str) -> bool:
    """True if the pattern of a layer names the module."""
    if pattern.endswith(".*"):
        return module == pattern[:-2] or module.startswith(pattern[:-1])
    return module == pattern


def find_modules(root: Path, packages: Sequence[str] = PACKAGES) -> dict[str, Path]:
    """Every module below the packages, by its dotted name."""
    paths = (path for package in packages for path in (root / package).rglob("*.py"))
    return {_dotted(path.relative_to(root)): path for path in sorted(paths)}


def _dotted(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def read_imports(module: str, path: Path, tree: ast.Module) -> list[Import]:
    """What a module imports at run time. `from a import b` is "a.b", whatever b is."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return list(_walk(tree, package, is_late=False))


def _walk(node: ast.AST, package: str, *, is_late: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, node.lineno, is_late)
    elif isinstance(node, ast.ImportFrom):
        base = _base(node, package)
        for alias in node.names:
            yield Import(f"{base}.{alias.name}", node.lineno, is_late)
    else:
        inner = is_late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in _run_time_children(node):
            yield from _walk(child, package, is_late=inner)


def _base(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    above = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


def _run_time_children(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        yield from node.orelse
    else:
        yield from ast.iter_child_nodes(node)


def _resolve(target: str, modules: Mapping[str, Path]) -> str:
    """The module that an import of "a.b" loads: a.b if that is a module, else a."""
    return target if target in modules else target.rpartition(".")[0]


def _own_layer(module: str) -> str | None:
    names = [pattern for pattern in TABLE if matches(module, pattern)]
    return max(names, key=len, default=None)


def _fault_of(found: Import, own: str, modules: Mapping[str, Path]) -> str | None:
    """Why this import may not be, or None."""
    layer = TABLE[own]
    top = found.target.partition(".")[0]
    if top in PACKAGES:
        target = _resolve(found.target, modules)
        if not (_own_layer(target) == own or any(matches(target, p) for p in layer.ours)):
            return f"imports {target}, which is not below {own}"
        if found.is_late and not any(matches(target, p) for p in LATE_MODULES):
            return f"imports {target} inside a function, and that needs no optional extra"
    elif top in sys.stdlib_module_names:
        if top in layer.not_standard:
            return f"imports {top}, which {own} must not know"
        if found.is_late:
            return f"imports {top} inside a function"
    elif top not in layer.libraries and not (found.is_late and top in LATE_LIBRARIES):
        return f"imports the library {top}, which is not for {own}"
    elif found.is_late and top not in LATE_LIBRARIES:
        return f"imports the library {top} inside a function, and it is no optional extra"
    return None


def _check_module(
    module: str, path: Path, modules: Mapping[str, Path]
) -> tuple[list[str], set[str]]:
    """The faults of one module, and which of our modules it loads."""
    own = _own_layer(module)
    if own is None:
        return [f"{module}: no layer in tools/check_layers.py names it: add it to the table"], set()
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    imports = read_imports(module, path, tree)
    found = ((item, _fault_of(item, own, modules)) for item in imports)
    faults = [f"{module}:{item.line}: {fault}" for item, fault in found if fault]
    if TABLE[own].is_pure:
        faults += [f"{module}:{line}: async syntax in {own}" for line in _async_lines(tree)]
    ours = {_resolve(item.target, modules) for item in imports}
    return faults, (ours & modules.keys()) - {module}


def _async_lines(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith | ast.Await):
            yield node.lineno


def find_cycle(edges: Mapping[str, set[str]]) -> list[str] | None:
    """One ring of modules that load each other, first and last the same; None without one."""
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str] | None:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return None
        for target in sorted(edges.get(module, ())):
            ring = visit(target, [*path, module])
            if ring:
                return ring
        done.add(module)
        return None

    return next((ring for module in sorted(edges) if (ring := visit(module, []))), None)


def check(root: Path) -> list[str]:
    """Every fault of the tree, one line each."""
    modules = find_modules(root)
    faults, edges = [], {}
    for module, path in modules.items():
        own_faults, edges[module] = _check_module(module, path, modules)
        faults += own_faults
    ring = find_cycle(edges)
    if ring:
        faults.append("cycle: " + " -> ".join(ring))
    used = {_own_layer(module) for module in modules}
    faults += [f"layer {name} names no module: remove it" for name in TABLE if name not in used]
    return faults


def main(root: Path = ROOT) -> int:
    """Exit code 0: in order; 1: the faults are printed."""
    faults = check(root)
    print("\n".join(faults) or "check_layers: in order")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
