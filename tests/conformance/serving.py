"""Runs the server on a variant, as a process, and plays cases on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.fix_server_process import ServerProcess, write_config

from .player import Outcome, play
from .recording import load_cases
from .variants import Identities, configuration, tls_listeners
from .ways import Ways


@dataclass(frozen=True)
class VariantServer:
    """A running server. addresses: where each listener is, by its name."""

    addresses: Mapping[str, str]
    ways: Ways


@contextlib.contextmanager
def serving(variant: str, folder: Path, identities: Identities) -> Iterator[VariantServer]:
    """A server of the variant on fresh data in the folder."""
    (folder / "data").mkdir(parents=True)
    document = configuration(variant, folder, identities)
    write_config(folder / "quicsql.yaml", document)
    with contextlib.closing(ServerProcess(folder / "quicsql.yaml")) as server:
        server.wait_for("ready")
        ways = Ways(server.addresses, tls_listeners(document), identities.folder)
        with contextlib.closing(ways):
            yield VariantServer(server.addresses, ways)


def play_variant(
    variant: str, wanted: Iterable[str], folder: Path, identities: Identities
) -> dict[str, Outcome]:
    """The outcomes of the wanted cases of a variant, played in file order on fresh data."""
    chosen = frozenset(wanted)
    with serving(variant, folder, identities) as server:
        cases = [case for case in load_cases(variant) if case.id in chosen]
        return {case.id: play(case, server.ways) for case in cases}
