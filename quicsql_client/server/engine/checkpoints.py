"""Checkpoints of a database's write-ahead log.

Work for `Database.call`. It knows no HTTP and not who asks.
Source: protocol/operations.md, POST /_admin/maintenance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import apsw

from .access import MaskedFailure

__all__ = ["CHECKPOINT_MODES", "Checkpoint", "checkpoint"]

CHECKPOINT_MODES: Final[Mapping[str, int]] = {
    "passive": apsw.SQLITE_CHECKPOINT_PASSIVE,
    "full": apsw.SQLITE_CHECKPOINT_FULL,
    "restart": apsw.SQLITE_CHECKPOINT_RESTART,
    "truncate": apsw.SQLITE_CHECKPOINT_TRUNCATE,
}


class Checkpoint(NamedTuple):
    """Frames in the log, and how many of them are in the database file; both -1 without a log."""

    wal_frames: int
    checkpointed_frames: int


def checkpoint(connection: apsw.Connection, *, mode: str) -> Checkpoint:
    """Moves the log into the database file. mode: of CHECKPOINT_MODES; all but passive wait for
    other connections. Raises: MaskedFailure.
    """
    try:
        return Checkpoint(*connection.wal_checkpoint("main", CHECKPOINT_MODES[mode]))
    except apsw.Error as error:
        raise MaskedFailure("the checkpoint failed") from error
