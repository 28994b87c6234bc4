"""A database of its own for each device, as the configuration asks for it.

It must not know keys, tokens, or who may have one.
Source: protocol/config.md, auth (enroll.provision); protocol/auth.md, Device enrolment, 8.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator
from typing import Final

from ..config import DatabaseConfig, PragmaValue, ProvisionConfig
from ..control import ControlPlane, DatabaseExists, InvalidDatabase, OutsideDataDir
from ..engine import DatabaseBusy, DatabaseUnavailable
from ..metastore.store import StoreError
from ..registry import Registry
from .failures import DeviceBusy, ProvisionFailed

__all__ = ["OwnDatabases"]

_log = logging.getLogger("quicsql.server")

_DEFAULT_PAGE_BYTES: Final = 4096
_FILES: Final = ("", "-wal", "-shm", "-journal")


class OwnDatabases:
    """Makes and drops them. Its methods are for one caller at a time."""

    def __init__(self, control: ControlPlane, registry: Registry) -> None:
        self._control = control
        self._registry = registry

    @contextlib.asynccontextmanager
    async def made_for(self, device: str, config: ProvisionConfig) -> AsyncIterator[str]:
        """The name of the device's database, "" when it gets none; nobody is granted it yet.

        One that was kept for the device is taken up again. If the block fails, one that was made is
        gone again. Raises: ProvisionFailed.
        """
        if not config.enabled:
            yield ""
            return
        settings = _settings_for(device, config)
        if settings.name in self._control.created:
            yield settings.name
            return
        had_file = self._has_file(settings)
        await self._make(settings)
        try:
            yield settings.name
        except BaseException:
            with contextlib.suppress(DeviceBusy, StoreError):
                await self.drop(settings.name, keep_file=had_file)
            raise

    async def drop(self, name: str, *, keep_file: bool = False) -> bool:
        """Stop serving a database, and delete it; False when it was gone before.

        Raises: DeviceBusy while somebody uses it, and nothing is done.
        """
        if name not in self._control.created:
            return False
        file = self._registry.get(name).file
        try:
            await self._control.detach(name)
        except DatabaseBusy:
            raise DeviceBusy from None
        if file is not None and not keep_file and not self._is_shared(file):
            await asyncio.to_thread(_delete, file)
        return True

    async def _make(self, settings: DatabaseConfig) -> None:
        try:
            await self._control.create(settings, {})
        except (DatabaseExists, InvalidDatabase, OutsideDataDir) as error:
            reason = type(error).__name__
            _log.error("no database %s for a device: %s %s", settings.name, reason, error)
            raise ProvisionFailed from error
        except (DatabaseUnavailable, StoreError) as error:
            _log.exception("no database %s for a device", settings.name)
            raise ProvisionFailed from error

    def _has_file(self, settings: DatabaseConfig) -> bool:
        path = self._control.places.inside(settings.path)
        return path is not None and os.path.exists(path)

    def _is_shared(self, file: str) -> bool:
        """Whether another database is served from the same file."""
        real = os.path.realpath(file)
        served = (database.file for database in self._registry.list())
        return any(other is not None and os.path.realpath(other) == real for other in served)


def _settings_for(device: str, config: ProvisionConfig) -> DatabaseConfig:
    name = config.name_template.replace("{principal}", device)
    pragmas = {key.lower(): value for key, value in config.pragmas.items()}
    if config.max_bytes:
        page_bytes = _page_bytes(pragmas.get("page_size", ""))
        pragmas["max_page_count"] = max(config.max_bytes // page_bytes, 1)
    return DatabaseConfig(
        name=name,
        backend=config.backend,
        path=f"{name}.db" if config.backend == "file" else "",
        pragmas_preset=config.pragmas_preset,
        pragmas=pragmas,
    )


def _page_bytes(setting: PragmaValue) -> int:
    """The size of a page that SQLite takes for this setting: it ignores what is none."""
    sizes = [2**exponent for exponent in range(9, 17)]
    return next((size for size in sizes if str(size) == str(setting)), _DEFAULT_PAGE_BYTES)


def _delete(file: str) -> None:
    for suffix in _FILES:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(file + suffix)
