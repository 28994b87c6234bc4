"""`/_admin/databases`, `stats`, `create`, `detach`: which databases there are.

Source: protocol/operations.md, Admin.
"""

from __future__ import annotations

from typing import Final

from ....errors import RemoteProtocolError
from ....wire.document import Pairs
from ....wire.messages import Response
from ...config import DatabaseConfig
from ...control import DatabaseExists, InvalidDatabase, OutsideDataDir
from ...engine import CannotOpen, DatabaseBusy, UnknownDatabase
from ...grants import Level
from ...metastore import StoreError
from ..exchange import Refusal
from .errand import BUSY, Errand, answer_with, invalid_body
from .spec import read_database, read_levels

__all__ = ["create", "detach", "list_databases"]

_CREATE: Final = {"database": Pairs, "grants": list}
_DETACH: Final = {"database": str}


async def list_databases(errand: Errand) -> Response:
    """Each database that the caller administers, and who uses it; an empty list for others."""
    databases = errand.exchange.services.registry.list()
    return answer_with(
        databases=[
            {"kind": one.kind, "name": one.name, "open": one.is_open, "refs": one.usage.count}
            for one in databases
            if errand.administers(one.name)
        ]
    )


async def create(errand: Errand) -> Response:
    """Serve one more database, from now on and after restarts. Raises: Refusal, 400, 409, 500."""
    body = await errand.read_body(_CREATE)
    try:
        settings = read_database(body.get("database"))
        levels = read_levels(body.get("grants", ()))
    except RemoteProtocolError:
        raise invalid_body() from None
    errand.database, errand.detail = settings.name, settings.backend
    await _create(errand, settings, dict(levels))
    return answer_with(database=settings.name, status="created")


async def _create(errand: Errand, settings: DatabaseConfig, levels: dict[str, Level]) -> None:
    try:
        await errand.control.create(settings, levels)
    except InvalidDatabase as error:
        raise Refusal(400, str(error)) from error
    except OutsideDataDir:
        raise Refusal(400, "database path must be relative and within data_dir") from None
    except DatabaseExists:
        raise Refusal(409, "database already exists") from None
    except CannotOpen as error:
        errand.log("database %s could not be created: %s", settings.name, error)
        text = "database could not be created (invalid or unopenable spec)"
        raise Refusal(400, text) from error
    except StoreError as error:
        errand.log("database %s could not be created: %s", settings.name, error)
        raise Refusal(500, "database could not be created") from error


async def detach(errand: Errand) -> Response:
    """Serve a database no longer, and revoke every grant on it; its file stays.

    Raises: Refusal, 404, 409, 500.
    """
    name = errand.database = (await errand.read_body(_DETACH)).get("database", "")
    try:
        await errand.control.detach(name)
    except UnknownDatabase:
        raise Refusal(404, "unknown database") from None
    except DatabaseBusy:
        raise Refusal(409, BUSY) from None
    except StoreError as error:
        errand.log("database %s could not be detached: %s", name, error)
        raise Refusal(500, "cannot detach database") from error
    errand.exchange.services.metrics.forget(name)
    return answer_with(database=name, status="detached")
