"""Devices enrol and are sent away: who is let in, what is kept of it, and what ends with it.

What enrols, or goes, does so wholly or not at all, one after the other: of two that want the same
key, code or last place exactly one gets it, and a client that leaves meanwhile changes nothing. It
must not know requests or answers.
Source: protocol/auth.md, Device enrolment; protocol/operations.md, Admin.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from functools import partial
from typing import Any, Final, TypeVar

from ..auth import Device, Devices, SessionTokens, device_name
from ..auth.authorized_keys import format_authorized_key, parse_authorized_key
from ..config import EnrollConfig
from ..control import ControlPlane
from ..grants import Level
from ..metastore import StoreError
from ..metastore.audit import DENIED, FAILED, record
from ..metastore.codes import add_code, is_code_usable
from ..metastore.enrolled import (
    EnrolledRow,
    add_enrolled,
    list_enrolled,
    note_seen,
    remove_enrolled,
)
from .addresses import AddressRate
from .failures import (
    CapacityReached,
    CodesDisabled,
    CodeSpent,
    DeviceBusy,
    EnrolmentError,
    ProvisionFailed,
    TokenRefused,
    UnknownDevice,
)
from .own import OwnDatabases
from .tokens import CODE_PREFIX, digest_of, is_configured, new_code

__all__ = ["Enrolment"]

_log = logging.getLogger("quicsql.server")

TEND_INTERVAL_S: Final = 15.0
"""How often visits are written down, and idle devices looked for."""

T = TypeVar("T")
EndStreams = Callable[[Collection[str]], Awaitable[None]]


class Enrolment:
    """The desk where devices enrol, for as long as the server runs.

    control: keeps what must outlive a restart. tokens: session tokens, of devices among others.
    end_streams: ends what principals have open. clock: seconds since 1970. devices: who is in.
    departures: called with each device that was sent away and the database that was dropped with
    it, "" for none. `open` comes first, `close` last.
    """

    def __init__(
        self,
        config: EnrollConfig,
        control: ControlPlane,
        own: OwnDatabases,
        *,
        tokens: SessionTokens,
        end_streams: EndStreams,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.addresses = AddressRate(config.rate_per_ip)
        self.devices = Devices(clock)
        self.devices.is_enabled = config.enabled
        self.departures: list[Callable[[str, str], None]] = []
        self._config = config
        self._store = control.store
        self._grants = control.grants
        self._own = own
        self._own_names: dict[str, str] = {}
        self._tokens = tokens
        self._end_streams = end_streams
        self._clock = clock
        self._turn = asyncio.Lock()
        self._at_work: set[asyncio.Task[Any]] = set()
        self._tending: asyncio.Task[None] | None = None

    @property
    def is_enabled(self) -> bool:
        """Whether the configuration lets devices enrol; without it, none is known either."""
        return self._config.enabled

    async def open(self) -> None:
        """Let in whoever enrolled before this start; a row that cannot be read is skipped and said.

        Raises: StoreError.
        """
        for row in await self._store.run(list_enrolled):
            try:
                key = parse_authorized_key(row.key).public_key
            except ValueError as error:
                _log.warning("enrolled principal %s is not let in: %s", row.name, error)
                continue
            self.devices.add(Device(row.name, key, row.created_at, row.last_seen))
            self._own_names[row.name] = row.database
        self._tending = asyncio.get_running_loop().create_task(self._tend_forever())

    def replace(self, config: EnrollConfig) -> frozenset[str]:
        """Take over another configuration, for the next attempt.

        Gives the devices that are no longer accepted: all, when enrolment was turned off.
        """
        was_enabled, self._config = self._config.enabled, config
        self.addresses.replace(config.rate_per_ip)
        self.devices.is_enabled = config.enabled
        if config.enabled or not was_enabled:
            return frozenset()
        return frozenset(device.name for device in self.devices.list())

    async def close(self) -> None:
        """Finish what was begun, and write the last visits down."""
        if self._tending is not None:
            self._tending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._tending
            self._tending = None
        await asyncio.gather(*self._at_work, return_exceptions=True)
        try:
            await self._save_visits()
        except StoreError as error:  # the rest of the server has to end, too
            _log.error("the last visits of enrolled principals are lost: %s", error)

    def wants_token(self, public_key: bytes) -> bool:
        """Whether this key needs a token to get in."""
        return self._config.policy == "token" and not self._is_enrolled(public_key)

    async def enrol(self, public_key: bytes, token: str = "") -> bool:
        """Let a device in that has proved to hold this key; False when it was in before.

        Raises: TokenRefused, CapacityReached, CodeSpent, ProvisionFailed.
        """
        if self._is_enrolled(public_key):
            return False
        return await self._finish(self._attend(public_key, token, self._config))

    async def revoke(self, name: str) -> None:
        """Send a device away: its key, grants, tokens, streams and feeds end now.

        Raises: UnknownDevice, DeviceBusy.
        """
        await self._finish(self._send_away(name))

    async def mint_code(self) -> tuple[str, int]:
        """A new single-use code, and when it expires, in Unix seconds. Raises: CodesDisabled."""
        codes = self._config.codes
        if not codes.enabled:
            raise CodesDisabled
        code, now = new_code(), int(self._clock())
        expires_at = now + math.ceil(codes.ttl_s)
        await self._store.run(
            partial(add_code, digest=digest_of(code), now=now, expires_at=expires_at)
        )
        return code, expires_at

    def enrolled(self) -> list[EnrolledRow]:
        """Every device, oldest first."""
        rows = [_row(device, self._own_names[device.name]) for device in self.devices.list()]
        return sorted(rows, key=lambda row: row.created_at)

    async def tend(self) -> None:
        """Write visits down, and send devices away that were idle for `idle_ttl`."""
        await self._save_visits()
        idle_ttl_s = self._config.idle_ttl_s
        if idle_ttl_s <= 0 or not self.is_enabled:
            return
        for device in self.devices.list():
            if self._clock() - device.last_seen <= idle_ttl_s:
                continue
            with contextlib.suppress(DeviceBusy, UnknownDevice):
                await self.revoke(device.name)
                await record(self._store, "", "principals.expire", detail=device.name)
                _log.info("enrolled principal %s removed after idle_ttl", device.name)

    async def _attend(self, public_key: bytes, token: str, config: EnrollConfig) -> bool:
        """What becomes of one attempt; the audit hears of it, unless nothing was to be done."""
        name = device_name(public_key)
        try:
            code = None if config.policy == "open" else await self._code_of(token, config)
            is_new = await self._let_in(public_key, code, config)
        except EnrolmentError as error:
            ending = FAILED if isinstance(error, ProvisionFailed) else DENIED
            await record(self._store, name, f"enroll{ending}", detail=type(error).__name__)
            raise
        if is_new:
            await record(self._store, name, "enroll", self._own_names.get(name, ""))
        return is_new

    # One after the other

    async def _let_in(self, public_key: bytes, code: str | None, config: EnrollConfig) -> bool:
        async with self._turn:
            if self._is_enrolled(public_key):
                return False
            if len(self.devices) >= config.max_principals:
                raise CapacityReached
            now = int(self._clock())
            device = Device(device_name(public_key), public_key, now, now)
            async with self._own.made_for(device.name, config.provision) as own:
                levels = _levels(config, own)
                await self._keep(_row(device, own), levels, code)
            for database, level in levels.items():
                self._grants.set(database, device.name, level)
            self._own_names[device.name] = own
            self.devices.add(device)
            return True

    async def _keep(self, row: EnrolledRow, levels: Mapping[str, Level], code: str | None) -> None:
        """All of it or nothing. Raises: CodeSpent."""
        words = [(database, level.word) for database, level in levels.items()]
        work = partial(add_enrolled, row=row, levels=words, code=code)
        if not await self._store.run(work):
            raise CodeSpent

    async def _send_away(self, name: str) -> None:
        async with self._turn:
            if self.devices.get(name) is None:
                raise UnknownDevice
            own = self._own_names[name]
            is_dropped = self._config.provision.on_revoke == "drop" and await self._own.drop(own)
            await self._store.run(partial(remove_enrolled, name=name))
            self.devices.remove(name)
            del self._own_names[name]
            self._grants.revoke_principal(name)
            self._tokens.revoke_all_of(name)
            await self._end_streams((name,))
            for forget in self.departures:
                forget(name, own if is_dropped else "")

    async def _finish(self, work: Coroutine[Any, Any, T]) -> T:
        """What work gives; it is done to its end even when nobody waits for it any more."""
        task = asyncio.get_running_loop().create_task(work)
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)
        return await asyncio.shield(task)

    def _is_enrolled(self, public_key: bytes) -> bool:
        return self.devices.get(device_name(public_key)) is not None

    async def _code_of(self, token: str, config: EnrollConfig) -> str | None:
        """The digest of the code that the token is; None for a token of the configuration.

        Raises: TokenRefused.
        """
        digest = digest_of(token)
        if token and is_configured(digest, config.tokens):
            return None
        is_code = config.codes.enabled and token.startswith(CODE_PREFIX)
        if is_code and await self._is_usable(digest):
            return digest
        raise TokenRefused

    async def _is_usable(self, code: str) -> bool:
        return await self._store.run(partial(is_code_usable, digest=code, now=int(self._clock())))

    async def _save_visits(self) -> None:
        seen = self.devices.take_visits()
        if seen:
            await self._store.run(partial(note_seen, seen=seen))

    async def _tend_forever(self) -> None:
        while True:
            await asyncio.sleep(TEND_INTERVAL_S)
            try:
                await self.tend()
            except Exception:  # the border of the task: it tries again next time
                _log.exception("enrolled principals could not be looked after")


def _levels(config: EnrollConfig, own: str) -> dict[str, Level]:
    """What a device is granted, the greater level where a database is named twice. own: its own
    database, "" for none.
    """
    granted = [(grant.db, grant.level) for grant in config.grants]
    if own:
        granted.append((own, config.provision.level))
    levels: dict[str, Level] = {}
    for database, word in granted:
        levels[database] = max(Level.named(word), levels.get(database, Level.NONE))
    return levels


def _row(device: Device, own: str) -> EnrolledRow:
    key = format_authorized_key(device.public_key)
    return EnrolledRow(device.name, key, device.created_at, device.last_seen, own)
