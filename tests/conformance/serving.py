"""Runs the server on a variant, as a process, and plays cases on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from tests.fix_server_process import ServerProcess, write_config

from .player import Outcome, play
from .recording import load_cases
from .variants import Identities, configuration, tls_listeners
from .ways import Ways


def play_variant(
    variant: str, wanted: Iterable[str], folder: Path, identities: Identities
) -> dict[str, Outcome]:
    """The outcomes of the wanted cases of a variant, played in file order on fresh data."""
    (folder / "data").mkdir(parents=True)
    document = configuration(variant, folder, identities)
    write_config(folder / "quicsql.yaml", document)
    chosen = frozenset(wanted)
    with contextlib.closing(ServerProcess(folder / "quicsql.yaml")) as server:
        server.wait_for("ready")
        ways = Ways(server.addresses, tls_listeners(document), identities.folder)
        with contextlib.closing(ways):
            return {case.id: play(case, ways) for case in load_cases(variant) if case.id in chosen}
