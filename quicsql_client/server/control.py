"""The control plane: what is made at run time, in force at once and kept over a restart.

It holds the order in which a database becomes known to the registry, the meta store and the
grants, so that a failure leaves none of them alone with it. It must not know requests, nor who may
ask.
Source: protocol/operations.md, Admin; protocol/config.md, Reconcile with the meta store.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from functools import partial

from .config import DatabaseConfig, database_faults
from .engine import CannotOpen
from .grants import Level, RuntimeGrants
from .metastore import MetaStore
from .metastore.databases import (
    delete_database,
    read_databases,
    read_grants,
    save_database,
)
from .places import Places
from .registry import Registry

__all__ = ["ControlPlane", "DatabaseExists", "InvalidDatabase", "OutsideDataDir"]

_log = logging.getLogger("quicsql.server")


class InvalidDatabase(Exception):
    """The rules of a configuration's databases refuse it; the message is theirs."""


class OutsideDataDir(Exception):
    """The path is not for what is made at run time: outside data_dir, or the server's own."""


class DatabaseExists(Exception):
    """A database of that name is served."""


class ControlPlane:
    """Databases and grants of the run time.

    store: open. grants: what policies look up. places: where files may be. Its methods belong to
    one event loop.
    """

    def __init__(
        self, store: MetaStore, grants: RuntimeGrants, registry: Registry, places: Places
    ) -> None:
        self.store = store
        self.grants = grants
        self.places = places
        self.started_at = time.monotonic()
        self._registry = registry
        self._changing = asyncio.Lock()  # one at a time: each looks, then acts
        self._created: set[str] = set()

    @property
    def created(self) -> frozenset[str]:
        """The names of the served databases that were made at run time."""
        return frozenset(self._created)

    async def load(self) -> None:
        """Serves what the store holds, each from its first use on, in place of databases of the
        configuration with the same name; what is no longer valid is skipped and said.
        """
        stored, grants = await self.store.run(lambda c: (read_databases(c), read_grants(c)))
        for name, settings in stored:
            fault = self._fault(settings)
            if fault is not None or settings is None:
                _log.warning("database %s of the meta store is not served: %s", name, fault)
                continue
            if name in self._registry.names():
                _log.warning(
                    "database %s: the one made at run time hides the configuration's", name
                )
            self._registry.declare(settings)
            self._created.add(name)
            self.grants.overrule(name)
        for grant in grants:
            self.grants.set(grant.database, grant.principal, Level.named(grant.level))

    def _fault(self, settings: DatabaseConfig | None) -> str | None:
        if settings is None:
            return "its row cannot be read"
        try:
            self._check(settings)
        except InvalidDatabase as error:
            return str(error)
        except OutsideDataDir:
            return "its path is outside data_dir"
        return None

    async def create(self, settings: DatabaseConfig, levels: Mapping[str, Level]) -> None:
        """Serves and keeps one more database, with these levels and no others on it.

        Raises: InvalidDatabase, OutsideDataDir, DatabaseExists; CannotOpen; StoreError when it
        cannot be kept. Nothing is served or kept then.
        """
        async with self._changing:
            self._check(settings)
            if settings.name in self._registry.names():
                raise DatabaseExists
            try:
                await self._registry.add(settings)
            except ValueError as error:
                raise CannotOpen(str(error)) from error
            words = {principal: level.word for principal, level in levels.items()}
            try:
                await self.store.run(
                    partial(save_database, settings=settings, levels=words, now=int(time.time()))
                )
            except BaseException:
                await self._registry.remove(settings.name)
                raise
            self._created.add(settings.name)
            self.grants.overrule(settings.name)
            self.grants.replace_database(settings.name, levels)

    async def detach(self, name: str) -> None:
        """Stops serving a database and revokes every grant on it; its file stays. One that the
        configuration declares is served again after a restart.

        Raises: UnknownDatabase, DatabaseBusy; StoreError, and it is still served.
        """
        async with self._changing:
            database = self._registry.get(name)
            database.usage.reserve()
            try:
                await self.store.run(partial(delete_database, name=name))
            except BaseException:
                database.usage.free()
                raise
            self._created.discard(name)
            self.grants.overrule(name)
            self.grants.replace_database(name, {})
            await self._registry.remove(name)

    def _check(self, settings: DatabaseConfig) -> None:
        fault = next(iter(database_faults(settings)), None)
        if fault is not None:
            raise InvalidDatabase(fault)
        if settings.backend == "file" and self.places.inside(settings.path) is None:
            raise OutsideDataDir
