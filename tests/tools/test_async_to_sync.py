"""What becomes of code, strings and comments, and what `--check` fails on."""

import ast
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tools import async_to_sync
from tools.async_to_sync import ConversionError, convert, convert_text, main

ROOT = Path(__file__).resolve().parents[2]
SOURCE = "quicsql_client/_async/client.py"
MADE = "quicsql_client/_sync/client.py"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree with one source, and tables that it uses wholly."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    source = tmp_path / SOURCE
    source.parent.mkdir(parents=True)
    source.write_text("class AsyncClient:\n    async def aclose(self) -> None:\n        return\n")
    (source.parent / "__init__.py").touch()
    monkeypatch.setattr(async_to_sync, "NAMES", {"aclose": "close"})
    for table in ("DOTTED", "TEXT"):
        monkeypatch.setattr(async_to_sync, table, {})
    monkeypatch.setattr(async_to_sync, "UNWRAPPED", set())
    return tmp_path


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules for the samples, whatever today's sources need."""
    names = {"__aenter__": "__enter__", "aclose": "close", "_async": "_sync"}
    monkeypatch.setattr(async_to_sync, "NAMES", names)
    dotted = {"asyncio.Lock": "threading.Lock", "asyncio.sleep": "time.sleep"}
    monkeypatch.setattr(async_to_sync, "DOTTED", dotted)
    monkeypatch.setattr(async_to_sync, "UNWRAPPED", {"Awaitable"})
    text = {
        r"\b([Aa])n(?= `*[Aa]sync)": r"\1",
        r"\basync (?=(?:with|for|def)\b)": "",
        r"\bawait (?=[A-Za-z_]\w*(?:\.\w|\(|\[))": "",
        r"\basync\b": "sync",
        r"\basynchronous\b": "synchronous",
    }
    monkeypatch.setattr(async_to_sync, "TEXT", text)


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("async def f(): await g()", "def f(): g()"),
        ("async def f():\n    async with a, b: pass", "def f():\n    with a, b: pass"),
        ("async def f():\n    async for x in y: pass", "def f():\n    for x in y: pass"),
        ("async def f(): return [x async for x in y]", "def f(): return [x for x in y]"),
        ("async def f(): return (await g(1)).rows", "def f(): return g(1).rows"),
        ("async def f(): return (await self.g[0](1))[2]", "def f(): return self.g[0](1)[2]"),
        ("async def f(): return (await g() or h).rows", "def f(): return (g() or h).rows"),
        ("async def f(): return g(await h()).rows", "def f(): return g(h()).rows"),
        ("async def f(): return a[0](await h()).rows", "def f(): return a[0](h()).rows"),
        ("async def f(): return (await g(), 1)", "def f(): return (g(), 1)"),
        ("class AsyncPool(AsyncBase): pass", "class Pool(Base): pass"),
        ("Asynchrony = AsyncX", "Asynchrony = X"),
        ("async def __aenter__(self): pass", "def __enter__(self): pass"),
        ("from a._async.b import AsyncPool", "from a._sync.b import Pool"),
        ("x: AsyncIterator[int]", "x: Iterator[int]"),
        ("x: AsyncGenerator[int]", "x: Generator[int, None, None]"),
        ("x: AsyncGenerator[int, None]", "x: Generator[int, None, None]"),
        ("x: AsyncGenerator[dict[a, b], None,]", "x: Generator[dict[a, b], None, None]"),
        ("x: AsyncGenerator", "x: Generator"),
        ("x: Callable[[], Awaitable[list[int]]]", "x: Callable[[], list[int]]"),
        ("x: AsyncGenerator[AsyncPool, None]", "x: Generator[Pool, None, None]"),
        ("y = 'é'; x = AsyncPool('é', AsyncPool)", "y = 'é'; x = Pool('é', Pool)"),
        ("'\f'\nasync def f(): await g()", "'\f'\ndef f(): g()"),
    ],
)
def test_code(source: str, expected: str) -> None:
    assert convert(source + "\n", Counter()) == expected + "\n"
    ast.parse(expected)


@pytest.mark.usefixtures("tables")
def test_dotted_names_bring_their_import() -> None:
    source = "import asyncio\nlock = asyncio.Lock()\nasync def f(): await asyncio.sleep(1)\n"
    made = convert(source, Counter())
    assert made.endswith("lock = threading.Lock()\ndef f(): time.sleep(1)\n")
    assert {"import threading", "import time"} <= set(made.splitlines())


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"""An async client."""', '"""A sync client."""'),
        ('"""An `AsyncClient` is good."""', '"""A `Client` is good."""'),
        ('"""Await the answer, then await completion."""', None),
        ('"""`await client.query(...)`"""', '"""`client.query(...)`"""'),
        ("# async with pool: await f(x)", "# with pool: f(x)"),
        ("# asynchronous", "# synchronous"),
        ('"quicsql_client._async.pool"', '"quicsql_client._sync.pool"'),
        ('["AsyncClient", "aclose"]', '["Client", "close"]'),
        ('f"{await self.q(1)!r} of {AsyncPool}"', 'f"{self.q(1)!r} of {Pool}"'),
        ('"disclosed aclosed"', None),
        (r'"a\naclose"', r'"a\nclose"'),
    ],
)
def test_strings_and_comments(text: str, expected: str | None) -> None:
    assert convert_text(text, Counter()) == (text if expected is None else expected)
    assert convert(text + "\n", Counter()) == (text if expected is None else expected) + "\n"


def test_async_only_statements_are_left_out_with_their_decorators() -> None:
    source = "a = 1\n# async-only\n@b\nasync def c():\n    await d()\ne = 2\n"
    assert convert(source, Counter()) == "a = 1\ne = 2\n"


@pytest.mark.parametrize("source", ["# async-only\n\na = 1\n", "a = 1  # async-only\nb = 1\n"])
def test_async_only_above_nothing_is_an_error(source: str) -> None:
    with pytest.raises(ConversionError, match="above no statement"):
        convert(source, Counter())


def test_a_made_file_is_laid_out_sorted_and_names_its_source(tree: Path) -> None:
    (tree / SOURCE).write_text(
        "import typing\nimport abc\nclass AsyncClient(abc.ABC):\n"
        "    async def aclose(self) -> None: return\n"
    )
    assert main([], tree) == 0
    made = (tree / MADE).read_text()
    assert made.startswith(f"# Made from {SOURCE}\n# by tools/async_to_sync.py: do not edit")
    assert made.partition("source.\n")[2] == (
        "import abc\n\n\nclass Client(abc.ABC):\n    def close(self) -> None:\n        return\n"
    )
    assert (tree / "quicsql_client/_sync/__init__.py").read_text().startswith("# Made from")
    assert main(["--check"], tree) == 0


def test_nothing_is_written_when_nothing_changed(tree: Path) -> None:
    assert main([], tree) == 0
    before = (tree / MADE).stat().st_mtime_ns
    assert main([], tree) == 0
    assert (tree / MADE).stat().st_mtime_ns == before


def test_check_fails_when_a_made_file_is_missing_or_differs(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--check"], tree) == 1
    assert not (tree / MADE).exists()
    assert main([], tree) == 0
    with (tree / MADE).open("a") as file:
        file.write("# by hand\n")
    capsys.readouterr()
    assert main(["--check"], tree) == 1
    assert f"{MADE}: differs" in capsys.readouterr().err


def test_check_fails_on_a_made_file_without_source_and_writing_removes_it(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([], tree) == 0
    orphan = tree / "quicsql_client/_sync/old.py"
    shutil.copy(tree / MADE, orphan)
    assert main(["--check"], tree) == 1
    assert "_sync/old.py: has no source" in capsys.readouterr().err
    assert main([], tree) == 0
    assert not orphan.exists()


def test_a_file_in_the_made_folder_that_was_not_made_is_never_removed(tree: Path) -> None:
    assert main([], tree) == 0
    (tree / "quicsql_client/_sync/mine.py").write_text("x = 1\n")
    assert main([], tree) == 0
    assert (tree / "quicsql_client/_sync/mine.py").exists()
    assert main(["--check"], tree) == 1


@pytest.mark.parametrize("table", ["NAMES", "DOTTED", "TEXT"])
def test_check_fails_on_a_rule_that_matches_nothing(
    tree: Path, table: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([], tree) == 0
    rules = {**getattr(async_to_sync, table), "never.seen": "x.y"}
    monkeypatch.setattr(async_to_sync, table, rules)
    assert main(["--check"], tree) == 1
    assert "rule 'never.seen' matches nothing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("async def f(): await asyncio.gather()", "no rule for 'asyncio' in: import asyncio"),
        ("def __aiter__(self): ...", "no rule for '__aiter__'"),
        ("await_ = aiter(is_async)", "no rule for 'aiter'"),
        ("'an async client'", "no rule for 'async'"),
        ("# await f(x)", "no rule for 'await f(x'"),
        ("async def f(:", "client.py"),
        ("x = (", "client.py"),
    ],
)
def test_a_source_that_cannot_be_made_is_an_error_that_names_it(
    tree: Path, line: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / SOURCE).write_text(f"{'import asyncio' if 'asyncio' in line else ''}\n{line}\n")
    assert main([], tree) == 1
    error = capsys.readouterr().err
    assert error.startswith(SOURCE)
    assert text in error
    assert not (tree / MADE).exists()


def test_a_source_that_cannot_be_made_does_not_hold_up_the_others(tree: Path) -> None:
    (tree / "quicsql_client/_async/bad.py").write_text("async def f(:\n")
    assert main([], tree) == 1
    assert (tree / MADE).exists()
    assert not (tree / "quicsql_client/_sync/bad.py").exists()


def test_folders_without_sources_are_fine(tmp_path: Path) -> None:
    assert main(["--check"], tmp_path) == 0
    (tmp_path / "quicsql_client/_async").mkdir(parents=True)
    (tmp_path / "quicsql_client/_async/__init__.py").touch()
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0


def test_the_made_files_of_this_repository_are_up_to_date() -> None:
    assert async_to_sync.check(ROOT) == []
