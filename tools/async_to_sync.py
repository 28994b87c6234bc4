"""Make the synchronous modules and tests from the asynchronous ones.

    python tools/async_to_sync.py            write every made file
    python tools/async_to_sync.py --check    fail when one differs, has no source, or a rule is dead

Works on tokens, so that layout and comments stay; `ruff` then lays the result out and sorts its
imports. In strings and comments the same names are changed word by word, and the prose rules of
`TEXT` hold. A statement under a comment line `# async-only` is left out. A made file that still
has a word such as `asyncio`, `__aiter__` or `await` is an error: add a rule to the tables below, or
move what has a colour to a module of its own. Knows no module by what it does.
"""

from __future__ import annotations

import argparse
import ast
import io
import keyword
import re
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tokenize import TokenInfo

ROOT = Path(__file__).resolve().parent.parent

# Source folder -> made folder, below the root. A folder that does not exist is passed over.
PAIRS = {
    "quicsql_client/_async": "quicsql_client/_sync",
    "quicsql_dbapi/_async": "quicsql_dbapi/_sync",
    "tests/client/_async": "tests/client/_sync",
    "tests/dbapi/_async": "tests/dbapi/_sync",
}

# One whole identifier -> another, in code, strings and comments.
NAMES = {
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "StopAsyncIteration": "StopIteration",
    "aclose": "close",
    "_async": "_sync",
    "handle_async_request": "handle_request",
    "network_async": "network",
}
# Any other identifier that starts so loses it: AsyncClient -> Client.
PREFIX = re.compile(r"Async(?=[A-Z])")
# Dotted names -> another; the new one's module is imported beside the old one's.
DOTTED = {
    "pytest_asyncio.fixture": "pytest.fixture",
}
# Generic types that name something only in the asynchronous colour: Awaitable[X] -> X.
UNWRAPPED = {"Awaitable"}
# Prose and code in strings and comments, before the names.
TEXT = {
    r"\basync\b": "sync",
    r"\basynchronous\b": "synchronous",
}
# What no made file may hold: each is a rule that is missing.
LEFT_IN_CODE = re.compile(
    r".*async.*|await|__a(?:enter|exit|iter|next)__|a(?:close|iter|next)", re.I
)
LEFT_IN_TEXT = re.compile(r"\b(?:[Aa]n sync|[Aa]sync|[Aa]synchronous|await \w+[.(]\w)")

ASYNC_ONLY = re.compile(r"#\s*async-only\b")
HEADER = "# Made from {source}\n# by tools/async_to_sync.py: do not edit, change the source.\n"
_WORD = re.compile(r"\\.|\w+")  # an escape such as \n is no part of a word
_OPEN, _CLOSE = frozenset("([{"), frozenset(")]}")
_LAYOUT = {tokenize.NL, tokenize.COMMENT, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}


class ConversionError(Exception):
    """A source that the rules cannot make synchronous; the message names file and line."""


@dataclass
class Edits:
    """Changes of one source text, by offset, and which rules were used."""

    text: str
    used: Counter[str]
    changes: list[tuple[int, int, str]] = field(default_factory=list)
    modules: set[str] = field(default_factory=set)
    starts: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.starts = [0]
        for line in io.StringIO(self.text):
            self.starts.append(self.starts[-1] + len(line))

    def offset(self, position: tuple[int, int]) -> int:
        return self.starts[position[0] - 1] + position[1]

    def replace(self, start: tuple[int, int], end: tuple[int, int], new: str) -> None:
        self.changes.append((self.offset(start), self.offset(end), new))

    def result(self) -> str:
        """The text with every change made; of changes that overlap the first, longest one wins."""
        pieces, at = [], 0
        for start, end, new in sorted(self.changes, key=lambda change: (change[0], -change[1])):
            if start >= at:
                pieces += [self.text[at:start], new]
                at = end
        return "".join([*pieces, self.text[at:]])


def rename(name: str, used: Counter[str]) -> str:
    """The synchronous form of one identifier; the same when no rule is for it."""
    if name in NAMES:
        used[name] += 1
        return NAMES[name]
    if PREFIX.match(name):
        used[PREFIX.pattern] += 1
        return PREFIX.sub("", name, count=1)
    return name


def convert_text(text: str, used: Counter[str]) -> str:
    """The synchronous form of a string literal or a comment."""
    for pattern, new in TEXT.items():
        text, count = re.subn(pattern, new, text)
        used[pattern] += count
    for old, new in DOTTED.items():
        text, count = re.subn(rf"\b{re.escape(old)}\b", new, text)
        used[old] += count
    return _WORD.sub(lambda match: rename(match.group(), used), text)


def _tokens(text: str) -> list[TokenInfo]:
    """The tokens without pure layout; an f-string is one STRING, as it was before Python 3.12."""
    result: list[TokenInfo] = []
    starts: list[TokenInfo] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind = tokenize.tok_name[token.type]
        if kind in ("FSTRING_START", "TSTRING_START"):
            starts.append(token)
        elif kind in ("FSTRING_END", "TSTRING_END"):
            first = starts.pop()
            if not starts:
                whole = _between(text, first.start, token.end)
                result.append(TokenInfo(tokenize.STRING, whole, first.start, token.end, first.line))
        elif not starts:
            result.append(token)
    return result


def _between(text: str, start: tuple[int, int], end: tuple[int, int]) -> str:
    edits = Edits(text, Counter())
    return text[edits.offset(start) : edits.offset(end)]


def _closing(tokens: Sequence[TokenInfo], opening: int) -> int:
    """The index of the bracket that closes the one at `opening`."""
    depth = 0
    for index in range(opening, len(tokens)):
        depth += (tokens[index].string in _OPEN) - (tokens[index].string in _CLOSE)
        if not depth:
            return index
    raise ConversionError(f"line {tokens[opening].start[0]}: bracket is not closed")


def _commas(tokens: Sequence[TokenInfo], opening: int, closing: int) -> int:
    """How many commas stand directly inside a pair of brackets, a trailing one not counted."""
    depth, count = 0, 0
    for index in range(opening + 1, closing):
        string = tokens[index].string
        depth += (string in _OPEN) - (string in _CLOSE)
        count += string == "," and not depth and index + 1 < closing
    return count


def _drop_word(edits: Edits, tokens: Sequence[TokenInfo], index: int) -> None:
    """Remove `async` or `await` and the blanks behind it, and parentheses that it needed."""
    edits.replace(tokens[index].start, tokens[index + 1].start, "")
    if tokens[index].string == "await" and index and tokens[index - 1].string == "(":
        _drop_parentheses(edits, tokens, index - 1)


def _drop_parentheses(edits: Edits, tokens: Sequence[TokenInfo], opening: int) -> None:
    """(await a.b(c)).d -> a.b(c).d; a call's own parentheses and any operator are left alone."""
    before = tokens[opening - 1].string if opening else ""
    is_call = before in _CLOSE or (before.isidentifier() and not keyword.iskeyword(before))
    closing = _closing(tokens, opening)
    depth = 0
    for token in tokens[opening + 2 : closing]:
        depth -= token.string in _CLOSE
        is_primary = token.type == tokenize.NAME and not keyword.iskeyword(token.string)
        if not (depth or is_primary or token.string in ".()[]"):
            return
        depth += token.string in _OPEN
    if not is_call and tokens[closing + 1].string in (".", "["):
        edits.replace(tokens[opening].start, tokens[opening].end, "")
        edits.replace(tokens[closing].start, tokens[closing].end, "")


def _convert_generic(edits: Edits, tokens: Sequence[TokenInfo], index: int) -> None:
    """AsyncGenerator[Y, S] -> Generator[Y, S, None]; Awaitable[X] -> X."""
    name = tokens[index]
    closing = _closing(tokens, index + 1)
    if name.string == "AsyncGenerator":
        missing = ", None" * (2 - _commas(tokens, index + 1, closing))
        last = tokens[closing - 1]
        if last.string == ",":
            edits.replace(last.start, last.end, missing)
        else:
            edits.replace(last.end, last.end, missing)
        return
    edits.used[name.string] += 1
    edits.replace(name.start, tokens[index + 1].end, "")
    edits.replace(tokens[closing].start, tokens[closing].end, "")


def _convert_name(edits: Edits, tokens: Sequence[TokenInfo], index: int) -> None:
    token = tokens[index]
    after = tokens[index + 1].string
    dotted = ".".join((token.string, tokens[index + 2].string)) if after == "." else ""
    if token.string in ("async", "await"):
        _drop_word(edits, tokens, index)
    elif dotted in DOTTED:
        edits.used[dotted] += 1
        edits.modules.add(DOTTED[dotted].partition(".")[0])
        edits.replace(token.start, tokens[index + 2].end, DOTTED[dotted])
    else:
        if after == "[" and (token.string == "AsyncGenerator" or token.string in UNWRAPPED):
            _convert_generic(edits, tokens, index)
        new = rename(token.string, edits.used)
        if new != token.string:
            edits.replace(token.start, token.end, new)


def _drop_async_only(edits: Edits, tokens: Sequence[TokenInfo], tree: ast.Module) -> None:
    """Remove the statements that stand right under a comment line `# async-only`."""
    first_lines = dict(_statements(tree))
    for token in tokens:
        if token.type == tokenize.COMMENT and ASYNC_ONLY.match(token.string):
            line = token.start[0]
            if line + 1 not in first_lines or token.line[: token.start[1]].strip():
                raise ConversionError(f"line {line}: # async-only stands above no statement")
            edits.replace((line, 0), (first_lines[line + 1] + 1, 0), "")


def _statements(tree: ast.Module) -> Iterator[tuple[int, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt):
            decorators = getattr(node, "decorator_list", [])
            yield min([node.lineno, *(d.lineno for d in decorators)]), node.end_lineno or 0


def _add_imports(edits: Edits, tree: ast.Module) -> None:
    """Import what the dotted rules brought, beside the import of what they took away."""
    for node in tree.body:
        if isinstance(node, ast.Import) and edits.modules:
            names = {alias.name for alias in node.names}
            if names & {old.partition(".")[0] for old in DOTTED}:
                new = "".join(f"import {module}\n" for module in sorted(edits.modules))
                edits.replace((node.lineno, 0), (node.lineno, 0), new)
                return


def convert(source: str, used: Counter[str]) -> str:
    """The synchronous form of one module, not yet laid out. used: counts the rules that matched."""
    edits = Edits(source, used)
    tree = ast.parse(source)
    tokens = _tokens(source)
    _drop_async_only(edits, tokens, tree)
    names = [token for token in tokens if token.type not in _LAYOUT]
    for index, token in enumerate(names):
        if token.type == tokenize.NAME:
            _convert_name(edits, names, index)
    for token in tokens:
        if token.type in (tokenize.STRING, tokenize.COMMENT):
            new = convert_text(token.string, used)
            if new != token.string:
                edits.replace(token.start, token.end, new)
    _add_imports(edits, tree)
    return edits.result()


def _run_ruff(root: Path, target: Path, text: str) -> str:
    for step in (["check", "--fix", "--quiet", "--select", "I,F401"], ["format", "--quiet"]):
        command = [sys.executable, "-m", "ruff", *step, "--stdin-filename", str(target), "-"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, cwd=root)
        if done.returncode not in (0, 1) or not done.stdout.strip():
            raise ConversionError(f"{target}: ruff {step[0]}: {done.stderr.strip()}")
        text = done.stdout
    return text


def _prove_synchronous(text: str) -> None:
    """Raises: ConversionError at the first word that a rule should have changed."""
    for token in _tokens(text):
        is_prose = token.type in (tokenize.STRING, tokenize.COMMENT)
        if token.type == tokenize.NAME or is_prose:
            match = LEFT_IN_TEXT.search if is_prose else LEFT_IN_CODE.fullmatch
            found = match(token.string)
            if found and token.start[0] > HEADER.count("\n"):
                line = token.line.splitlines()[0].strip()
                raise ConversionError(
                    f"no rule for {found.group()!r} in: {line}\n"
                    "    add it to the tables of tools/async_to_sync.py"
                )


def make(root: Path, source: Path, target: Path, used: Counter[str]) -> str:
    """The whole text of the made file `target`."""
    name = source.relative_to(root).as_posix()
    try:
        text = HEADER.format(source=name) + convert(source.read_text(encoding="utf-8"), used)
        text = _run_ruff(root, target, text)
        _prove_synchronous(text)
    except (ConversionError, SyntaxError, tokenize.TokenError) as error:
        raise ConversionError(f"{name}: {error}") from error
    return text


def pairs(root: Path) -> Iterator[tuple[Path, Path]]:
    """Each source file with the file that is made from it."""
    for source_folder, made_folder in PAIRS.items():
        for source in sorted((root / source_folder).rglob("*.py")):
            yield source, root / made_folder / source.relative_to(root / source_folder)


def orphans(root: Path) -> list[Path]:
    """Files in the made folders that no source is for."""
    made = {target for _, target in pairs(root)}
    found = (path for folder in PAIRS.values() for path in (root / folder).rglob("*.py"))
    return sorted(path for path in found if path not in made)


def dead_rules(used: Counter[str]) -> list[str]:
    """The rules of the tables that matched nothing."""
    rules = [*NAMES, PREFIX.pattern, *DOTTED, *UNWRAPPED, *TEXT]
    return [rule for rule in rules if not used[rule]]


def make_all(root: Path, used: Counter[str]) -> tuple[dict[Path, str], list[str]]:
    """The text of every made file, and what is wrong with the sources that cannot be made."""
    made, faults = {}, []
    for source, target in pairs(root):
        try:
            made[target] = make(root, source, target, used)
        except ConversionError as error:
            faults.append(str(error))
    return made, faults


def check(root: Path) -> list[str]:
    """Everything that is not as it should be, one line each."""
    used: Counter[str] = Counter()
    made, faults = make_all(root, used)
    faults += [
        f"{target.relative_to(root)}: differs from what its source makes; run async_to_sync"
        for target, text in made.items()
        if not target.exists() or target.read_text(encoding="utf-8") != text
    ]
    faults += [f"{path.relative_to(root)}: has no source" for path in orphans(root)]
    if any(source.name != "__init__.py" for source, _ in pairs(root)):
        faults += [f"rule {rule!r} matches nothing: remove it" for rule in dead_rules(used)]
    return faults


def write(root: Path) -> list[str]:
    """Write each made file that is not yet so; what comes back are the sources that cannot be."""
    made, faults = make_all(root, Counter())
    for target, text in made.items():
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
            print(f"made {target.relative_to(root)}")
    for path in orphans(root):
        if path.read_text(encoding="utf-8").startswith(HEADER.partition("{")[0]):
            path.unlink()
            print(f"removed {path.relative_to(root)}")
    return faults


def main(argv: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Exit code 0: all is in order; 1: --check found something, or a source cannot be made."""
    parser = argparse.ArgumentParser(prog="async_to_sync", description="make _sync from _async")
    parser.add_argument("--check", action="store_true", help="change nothing, fail on a difference")
    options = parser.parse_args(argv)
    faults = check(root) if options.check else write(root)
    if faults:
        print("\n".join(faults), file=sys.stderr)
    else:
        print("async_to_sync: all made files are up to date")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
