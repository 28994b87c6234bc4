"""The `serve` command: run the reference server from a configuration file."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add(commands: Commands) -> None:
    """Add `serve` to the commands."""
    parser = commands.add_parser("serve", help="run the reference server", allow_abbrev=False)
    parser.add_argument(
        "--config",
        default="quicsql.yaml",
        metavar="FILE",
        help="the configuration (default: %(default)s)",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    try:
        from quicsql_client.server.lifecycle import serve  # needs the extra `server`
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("quicsql_"):
            raise
        print(
            f"quicsql-py: serve needs the extra 'server' (no module named {error.name!r}): "
            "pip install 'quicsql-client[server]'",
            file=sys.stderr,
        )
        return 2
    return int(serve(options.config))
