"""The command line: `quicsql-py` and `python -m quicsql_client`.

Holds the parser's top and the border where errors become one line on stderr. A command's own code
is imported only when it runs, so that `--help` is quick and the base install needs no extra.
Exit codes: 0 well, 1 the thing checked is wrong, 2 usage.
Imports anything; nothing imports it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from quicsql_client._version import __version__
from quicsql_client.cli import pki_arguments, serve
from quicsql_client.errors import Error

__all__ = ["main"]

_PROGRAM = "quicsql-py"
_INTERRUPTED = 130  # what shells report for SIGINT


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code is what comes back.

    argv: the arguments without the program's name; None takes them from the process.
    """
    try:
        options = _parser().parse_args(argv)
    except SystemExit as stop:  # argparse has printed help, the version or what is wrong
        return stop.code if isinstance(stop.code, int) else 2
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except Error as error:
        print(f"{_PROGRAM}: {'; '.join(str(error).splitlines())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # `quicsql-py pki show ... | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Tools of the quicSQL client: certificates and the reference server.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{_PROGRAM} {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    pki_arguments.add(commands)
    serve.add(commands)
    return parser
