"""The arguments of the `pki` commands; `pki_commands`, imported when one runs, does them."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add(commands: Commands) -> None:
    """Add `pki` and its own commands."""
    parser = commands.add_parser(
        "pki", help="make, issue and inspect certificates for mutual TLS", allow_abbrev=False
    )
    own = parser.add_subparsers(title="pki commands", metavar="COMMAND", required=True)
    _add_init(own)
    _add_ca(own)
    _add_server(own)
    _add_client(own)
    _add_show(own)
    _add_pin(own)


def _command(commands: Commands, name: str, text: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
    parser.set_defaults(run=_run, pki_command=name)
    return parser


def _run(options: argparse.Namespace) -> int:
    from quicsql_client.cli.pki_commands import COMMANDS  # loads cryptography: not for --help

    return COMMANDS[options.pki_command](options)


def _environment(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise argparse.ArgumentTypeError(f"the environment variable {name} is not set, or empty")
    return value


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write to")
    parser.add_argument("--force", action="store_true", help="replace files that are there")


def _add_password(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument(
        "--ca-key-password-env",
        dest="password",
        type=_environment,
        metavar="NAME",
        help=f"environment variable with the password {text}",
    )


def _add_days(parser: argparse.ArgumentParser, days: int, flag: str = "--days") -> None:
    parser.add_argument(
        flag, type=float, default=days, metavar="N", help=f"lifetime in days (default: {days})"
    )


def _add_issuer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ca", required=True, metavar="FILE", help="the CA's certificate")
    parser.add_argument("--ca-key", required=True, metavar="FILE", help="the CA's private key")
    _add_password(parser, "of the CA's key")


def _add_names(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--san",
        action="append",
        required=True,
        metavar="NAME",
        help="host name, *.domain or IP address that clients dial; may be repeated",
    )


def _add_init(commands: Commands) -> None:
    parser = _command(commands, "init", "both CAs, the server's leaf and the clients', at once")
    _add_names(parser)
    parser.add_argument(
        "--cn", action="append", default=[], metavar="NAME", help="a client; may be repeated"
    )
    _add_days(parser, 3650, "--ca-days")
    _add_days(parser, 825, "--server-days")
    _add_days(parser, 90, "--client-days")
    _add_password(parser, "to encrypt the CA keys with")
    _add_output(parser)


def _add_ca(commands: Commands) -> None:
    parser = _command(commands, "ca", "a new certificate authority (guide, step 1)")
    parser.add_argument(
        "--name", default="quicsql client CA", help="its common name (default: %(default)s)"
    )
    parser.add_argument(
        "--file", metavar="NAME", help="file name without ending (default: from the name)"
    )
    _add_days(parser, 3650)
    _add_password(parser, "to encrypt the CA key with")
    _add_output(parser)


def _add_server(commands: Commands) -> None:
    parser = _command(commands, "server", "a server's leaf (guide, step 2)")
    _add_issuer(parser)
    _add_names(parser)
    parser.add_argument("--file", default="server", metavar="NAME", help="file name without ending")
    _add_days(parser, 825)
    _add_output(parser)


def _add_client(commands: Commands) -> None:
    parser = _command(commands, "client", "a client's leaf (guide, step 3)")
    _add_issuer(parser)
    parser.add_argument("--cn", required=True, metavar="NAME", help="common name: the identity")
    parser.add_argument(
        "--file", metavar="NAME", help="file name without ending (default: the common name)"
    )
    _add_days(parser, 90)
    _add_output(parser)


def _add_show(commands: Commands) -> None:
    parser = _command(commands, "show", "what certificates say; bundles are read whole")
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--json", action="store_true", help="one JSON array")


def _add_pin(commands: Commands) -> None:
    parser = _command(commands, "pin", "the pin of a certificate's key: its spki_sha256")
    parser.add_argument("file", metavar="FILE")
