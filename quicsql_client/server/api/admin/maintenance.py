"""`/_admin/maintenance`: checkpoints and snapshots of a database.

What upstream does to vaults is refused by its name: this server has none.
Source: protocol/operations.md, POST /_admin/maintenance.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final, TypeAlias

from ....wire.document import Number
from ....wire.messages import Response
from ...drafts import Draft, in_thread
from ...engine import Access, CannotOpen, DatabaseUnavailable, EngineError
from ...engine.checkpoints import CHECKPOINT_MODES, checkpoint
from ...engine.images import ImageCopy
from ...registry import Database
from ..exchange import ClientGone, Exchange, Refusal, unavailable
from .errand import Errand, answer_with, invalid_body

__all__ = ["maintain"]

Body: TypeAlias = Mapping[str, Any]
Operation: TypeAlias = Callable[[Errand, Database, Body], Awaitable[Response]]

_BODY: Final = {"database": str, "op": str, "max_bytes": Number, "dest": str, "mode": str}
_MAX_OP: Final = 64  # characters of an unknown operation that the audit keeps
_NO_PLACE: Final = "snapshot dest must be a path within data_dir"
_TAKEN: Final = "snapshot dest already exists or cannot be created"


async def maintain(errand: Errand) -> Response:
    """Run one operation on a database. Raises: Refusal; the body is read before anything else."""
    body = await errand.read_body(_BODY)
    if not body.get("max_bytes", "0").lstrip("-").isdecimal():
        raise invalid_body()
    name, operation = body.get("database", ""), body.get("op", "")
    errand.database, errand.action = name, operation[:_MAX_OP] or errand.action
    if not errand.administers(name):
        raise Refusal(403, "admin capability required for this database")
    database = errand.exchange.served_database(name)
    if operation not in _OPERATIONS:
        raise Refusal(400, "unknown maintenance op")
    return await _OPERATIONS[operation](errand, database, body)


async def _checkpoint(errand: Errand, database: Database, body: Body) -> Response:
    mode = errand.detail = body.get("mode") or "passive"
    if mode not in CHECKPOINT_MODES:
        raise Refusal(400, "checkpoint mode must be passive|full|restart|truncate")
    deadline = time.monotonic() + errand.exchange.settings.statement_timeout_s
    work = partial(checkpoint, mode=mode)
    with _words(errand, "checkpoint failed (is the database in WAL mode?)"):
        used = errand.exchange.opened_database(database.name)
        done = await errand.exchange.while_connected(used.call(work, Access.READ_WRITE, deadline))
    return answer_with(**done._asdict(), database=database.name, mode=mode, status="checkpointed")


async def _snapshot(errand: Errand, database: Database, body: Body) -> Response:
    """A plain image in a new file, which is there as a whole or not at all."""
    target = _place(errand, body)
    errand.detail = target
    with _words(errand, "snapshot failed"):
        used = errand.exchange.opened_database(database.name)
        size_bytes = await _copy_to(target, errand.exchange, used)
    return answer_with(bytes=size_bytes, database=database.name, dest=target, status="snapshot")


def _place(errand: Errand, body: Body) -> str:
    target = errand.control.places.inside(body.get("dest", ""))
    if target is None:
        raise Refusal(400, _NO_PLACE)
    return target


async def _copy_to(target: str, exchange: Exchange, database: Database) -> int:
    try:
        draft = await in_thread(partial(_new_draft, target))
    except OSError as error:
        raise Refusal(409, _TAKEN) from error
    copy = ImageCopy(draft.path)
    try:
        await exchange.while_connected(database.call(copy.run, Access.READ_ONLY, math.inf))
        size_bytes = await in_thread(draft.sync)
        await in_thread(draft.publish)
    except FileExistsError:
        raise Refusal(409, _TAKEN) from None
    except OSError as error:
        raise Refusal(500, "snapshot write failed") from error
    finally:
        copy.stop()  # nobody waits for it any more: SQLite's interrupt does not reach a backup
        await in_thread(draft.discard)
    return size_bytes


def _new_draft(target: str) -> Draft:
    if os.path.lexists(target):
        raise FileExistsError
    return Draft(target)


@contextlib.contextmanager
def _words(errand: Errand, failed: str) -> Iterator[None]:
    """Around work on the database of the errand: its failures as refusals, with their texts."""
    try:
        yield
    except CannotOpen as error:
        errand.log("database %s does not open: %s", errand.database, error)
        raise Refusal(500, "cannot acquire a connection") from error
    except DatabaseUnavailable:
        raise unavailable("database temporarily unavailable") from None
    except (EngineError, ClientGone) as error:
        errand.log("%s: database %s: %s", failed, errand.database, error.__cause__ or error)
        raise Refusal(500, failed) from error


def _for_vaults(text: str) -> Operation:
    async def refuse(errand: Errand, database: Database, body: Body) -> Response:
        raise Refusal(400, text)

    return refuse


async def _sealed_snapshot(errand: Errand, database: Database, body: Body) -> Response:
    _place(errand, body)
    raise Refusal(400, "encrypted snapshot is only supported for vault databases")


async def _change_keys(errand: Errand, database: Database, body: Body) -> Response:
    if not errand.is_server_admin:
        raise Refusal(403, "rewrap/rekey require server-admin capability")
    raise Refusal(400, _NO_KEYS)


_NO_KEYS: Final = "vault key management is only supported for recipient-mode vaults"
_RECLAIM: Final = _for_vaults("online reclaim is only supported for vault databases")
_LOGICAL: Final = _for_vaults("logical reclaim is only supported for vault databases")

_OPERATIONS: Final[Mapping[str, Operation]] = {
    "checkpoint": _checkpoint,
    "snapshot": _snapshot,
    "compact": _for_vaults("offline compact is only supported for vault databases"),
    "compact_online": _RECLAIM,
    "trim": _RECLAIM,
    "compact_logical": _LOGICAL,
    "reclaimable": _LOGICAL,
    "snapshot_encrypted": _sealed_snapshot,
    "members": _for_vaults(_NO_KEYS),
    "rewrap": _change_keys,
    "rekey": _change_keys,
}
