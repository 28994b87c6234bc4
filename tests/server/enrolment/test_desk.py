"""The desk itself: who gets in when many want to, what is kept, and who is sent away."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import pytest

from quicsql_client.server.auth import SessionTokens, device_name
from quicsql_client.server.config import EnrollCodesConfig, EnrollConfig, EnrollGrantConfig
from quicsql_client.server.control import ControlPlane
from quicsql_client.server.engine import Caps
from quicsql_client.server.enrolment import (
    CapacityReached,
    CodesDisabled,
    CodeSpent,
    Enrolment,
    OwnDatabases,
    TokenRefused,
    UnknownDevice,
)
from quicsql_client.server.enrolment.tokens import digest_of
from quicsql_client.server.grants import Level, RuntimeGrants
from quicsql_client.server.metastore import MetaStore
from quicsql_client.server.places import Places
from quicsql_client.server.registry import Registry
from tests.fix_enrolment import DeviceKey

OPEN = EnrollConfig(
    enabled=True, policy="open", grants=(EnrollGrantConfig(db="app", level="read-only"),)
)
BY_TOKEN = EnrollConfig(enabled=True, tokens=(digest_of("right"), digest_of("other")))
BY_CODE = EnrollConfig(enabled=True, codes=EnrollCodesConfig(enabled=True, ttl_s=60.0))
ANN, BEN = DeviceKey("ann").public_key, DeviceKey("ben").public_key


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Office:
    """A desk with what it changes. ended: whose things were ended."""

    def __init__(self, store: MetaStore, folder: str, config: EnrollConfig) -> None:
        self.clock = Clock()
        self.ended: list[str] = []
        self.store, self.grants = store, RuntimeGrants()
        registry = Registry([], data_dir=folder, caps=Caps())
        control = ControlPlane(store, self.grants, registry, Places(folder))
        self.desk = Enrolment(
            config,
            control,
            OwnDatabases(control, registry),
            tokens=SessionTokens(idle_ttl_s=60.0, max_ttl_s=0.0),
            end_streams=self._end,
            clock=self.clock,
        )
        self.devices = self.desk.devices

    async def _end(self, names: Collection[str]) -> None:
        for name in names:
            assert name not in self.devices, "what is ended cannot begin again"
            assert self.grants.of("app").get(name) is None
            self.ended.append(name)


OpenOffice = Callable[[EnrollConfig], Awaitable[Office]]


@pytest.fixture
async def open_office(meta_store: MetaStore, tmp_path: Path) -> AsyncIterator[OpenOffice]:
    """Opens a desk on the one meta store; any that was open is closed."""
    opened: list[Office] = []

    async def open_one(config: EnrollConfig) -> Office:
        while opened:
            await opened.pop().desk.close()
        opened.append(Office(meta_store, str(tmp_path), config))
        await opened[0].desk.open()
        return opened[0]

    yield open_one
    for office in opened:
        await office.desk.close()


async def outcomes(attempts: list[Awaitable[Any]]) -> Counter[Any]:
    """How often each came out, all begun at once: a value, or the type of an error."""
    found = await asyncio.gather(*attempts, return_exceptions=True)
    return Counter(type(one) if isinstance(one, BaseException) else one for one in found)


async def test_of_many_attempts_with_one_key_one_creates(open_office: OpenOffice) -> None:
    office = await open_office(OPEN)
    assert await outcomes([office.desk.enrol(ANN) for _ in range(20)]) == {True: 1, False: 19}
    assert len(office.devices) == 1
    assert len(office.desk.enrolled()) == 1


async def test_of_many_devices_only_as_many_as_there_are_places_get_in(
    open_office: OpenOffice,
) -> None:
    office = await open_office(EnrollConfig(enabled=True, policy="open", max_principals=3))
    keys = [DeviceKey().public_key for _ in range(12)]
    found = await outcomes([office.desk.enrol(key) for key in keys])
    assert found == {True: 3, CapacityReached: 9}
    assert len(office.devices) == 3
    (inside, *_) = office.devices.list()
    assert await office.desk.enrol(inside.public_key) is False  # even when all places are taken
    await office.desk.revoke(inside.name)
    assert await office.desk.enrol(ANN) is True


async def test_of_many_devices_with_one_code_one_gets_in(open_office: OpenOffice) -> None:
    office = await open_office(BY_CODE)
    code, _ = await office.desk.mint_code()
    keys = [DeviceKey().public_key for _ in range(12)]
    found = await outcomes([office.desk.enrol(key, code) for key in keys])
    assert found[True] == 1
    assert found[CodeSpent] + found[TokenRefused] == 11
    assert len(office.devices) == 1
    with pytest.raises(TokenRefused):
        await office.desk.enrol(ANN, code)


async def test_a_code_that_was_good_at_the_door_and_is_not_any_more(
    open_office: OpenOffice,
) -> None:
    office = await open_office(BY_CODE)
    code, expires_at = await office.desk.mint_code()
    assert expires_at == 1060
    first = asyncio.ensure_future(office.desk.enrol(ANN, code))
    second = asyncio.ensure_future(office.desk.enrol(BEN, code))
    assert await outcomes([first, second]) == {True: 1, CodeSpent: 1}


async def test_a_code_is_not_burnt_by_a_device_that_is_in(open_office: OpenOffice) -> None:
    office = await open_office(BY_CODE)
    first, _ = await office.desk.mint_code()
    second, _ = await office.desk.mint_code()
    assert first != second
    assert await office.desk.enrol(ANN, first) is True
    assert await office.desk.enrol(ANN, second) is False
    assert await office.desk.enrol(BEN, second) is True


async def test_a_code_expires(open_office: OpenOffice) -> None:
    office = await open_office(BY_CODE)
    code, _ = await office.desk.mint_code()
    office.clock.now_s += 60.0
    with pytest.raises(TokenRefused):
        await office.desk.enrol(ANN, code)


async def test_neither_codes_nor_tokens_are_kept(open_office: OpenOffice) -> None:
    office = await open_office(BY_CODE)
    code, _ = await office.desk.mint_code()

    def kept(connection: apsw.Connection) -> list[Any]:
        return connection.execute("SELECT * FROM codes").fetchall()

    assert await office.store.run(kept) == [(digest_of(code), 1060)]
    assert code.startswith("ec_")
    assert len(code) == 42


@pytest.mark.parametrize("token", ["", "wrong", "ec_" + "a" * 39, "RIGHT", "right "])
async def test_what_is_no_token_lets_nobody_in(token: str, open_office: OpenOffice) -> None:
    office = await open_office(BY_TOKEN)
    with pytest.raises(TokenRefused):
        await office.desk.enrol(ANN, token)
    assert not office.devices.list()


async def test_each_token_of_the_configuration_lets_many_in(open_office: OpenOffice) -> None:
    office = await open_office(BY_TOKEN)
    assert await office.desk.enrol(ANN, "right") is True
    assert await office.desk.enrol(BEN, "other") is True
    assert await office.desk.enrol(DeviceKey().public_key, "other") is True


async def test_an_empty_token_is_none_whatever_is_configured(open_office: OpenOffice) -> None:
    office = await open_office(EnrollConfig(enabled=True, tokens=(digest_of(""),)))
    with pytest.raises(TokenRefused):
        await office.desk.enrol(ANN, "")


async def test_codes_are_minted_only_where_they_are_configured(open_office: OpenOffice) -> None:
    office = await open_office(BY_TOKEN)
    with pytest.raises(CodesDisabled):
        await office.desk.mint_code()


async def test_the_token_is_looked_at_before_the_places(open_office: OpenOffice) -> None:
    office = await open_office(
        EnrollConfig(enabled=True, tokens=(digest_of("right"),), max_principals=1)
    )
    assert await office.desk.enrol(ANN, "right")
    with pytest.raises(TokenRefused):
        await office.desk.enrol(BEN, "wrong")  # odd-case 173
    with pytest.raises(CapacityReached):
        await office.desk.enrol(BEN, "right")


async def test_devices_are_there_after_a_restart_with_keys_and_visits(
    open_office: OpenOffice,
) -> None:
    office = await open_office(OPEN)
    await office.desk.enrol(ANN)
    office.clock.now_s += 50.0
    await office.desk.enrol(BEN)
    assert office.devices.holder_of(ANN) is not None
    before = office.desk.enrolled()
    again = await open_office(OPEN)
    assert again.desk.enrolled() == before
    assert [(row.created_at, row.last_seen) for row in before] == [(1000, 1050), (1050, 1050)]
    assert again.devices.holder_of(ANN) is not None
    assert await again.desk.enrol(ANN) is False


async def test_who_is_sent_away_loses_everything_at_once(open_office: OpenOffice) -> None:
    office = await open_office(OPEN)
    await office.desk.enrol(ANN)
    name = device_name(ANN)
    assert office.grants.of("app") == {name: Level.READ_ONLY}
    assert await outcomes([office.desk.revoke(name) for _ in range(5)]) == {
        None: 1,
        UnknownDevice: 4,
    }
    assert office.ended == [name]
    assert office.devices.holder_of(ANN) is None
    assert not office.grants
    again = await open_office(OPEN)
    assert again.desk.enrolled() == []
    assert await again.desk.enrol(ANN) is True


async def test_a_client_that_leaves_does_not_leave_halves(open_office: OpenOffice) -> None:
    office = await open_office(OPEN)
    attempt = asyncio.ensure_future(office.desk.enrol(ANN))
    await asyncio.sleep(0)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    await office.desk.close()
    assert len(office.devices) == 1  # it had begun, so it was done
    again = await open_office(OPEN)
    assert [row.name for row in again.desk.enrolled()] == [device_name(ANN)]


async def test_a_store_that_does_not_write_lets_nobody_in_and_burns_no_code(
    open_office: OpenOffice,
) -> None:
    def run(connection: apsw.Connection, sql: str) -> None:
        connection.execute(sql)

    office = await open_office(BY_CODE)
    code, _ = await office.desk.mint_code()
    refuse = "CREATE TRIGGER full BEFORE INSERT ON enrolled BEGIN SELECT RAISE(ABORT, 'full'); END"
    await office.store.run(partial(run, sql=refuse))
    with pytest.raises(apsw.ConstraintError):
        await office.desk.enrol(ANN, code)
    assert not office.devices.list()
    assert not office.grants
    await office.store.run(partial(run, sql="DROP TRIGGER full"))
    assert await office.desk.enrol(ANN, code) is True


async def test_a_row_that_cannot_be_read_lets_nobody_in_and_keeps_nobody_out(
    open_office: OpenOffice, caplog: pytest.LogCaptureFixture
) -> None:
    def spoil(connection: apsw.Connection) -> None:
        connection.execute("UPDATE enrolled SET key = 'junk' WHERE name = ?", (device_name(ANN),))

    office = await open_office(OPEN)
    await office.desk.enrol(ANN)
    await office.desk.enrol(BEN)
    await office.store.run(spoil)
    again = await open_office(OPEN)
    assert [row.name for row in again.desk.enrolled()] == [device_name(BEN)]
    assert f"enrolled principal {device_name(ANN)} is not let in" in caplog.text


async def test_visits_that_cannot_be_written_down_do_not_keep_the_server_from_ending(
    open_office: OpenOffice, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(connection: apsw.Connection) -> None:
        connection.execute(
            "CREATE TRIGGER full BEFORE UPDATE ON enrolled BEGIN SELECT RAISE(ABORT, 'full'); END"
        )

    office = await open_office(OPEN)
    await office.desk.enrol(ANN)
    await office.store.run(refuse)
    office.clock.now_s += 10.0
    assert office.devices.holder_of(ANN) is not None
    await office.desk.close()
    assert "the last visits of enrolled principals are lost: full" in caplog.text


async def test_the_greater_level_of_two_counts(open_office: OpenOffice) -> None:
    levels = ("read-write", "read-only")
    grants = tuple(EnrollGrantConfig(db="app", level=level) for level in levels)
    office = await open_office(EnrollConfig(enabled=True, policy="open", grants=grants))
    await office.desk.enrol(ANN)
    assert office.grants.of("app") == {device_name(ANN): Level.READ_WRITE}


async def test_idle_devices_are_sent_away_and_busy_ones_stay(
    open_office: OpenOffice, caplog: pytest.LogCaptureFixture
) -> None:
    office = await open_office(EnrollConfig(enabled=True, policy="open", idle_ttl_s=100.0))
    await office.desk.enrol(ANN)
    await office.desk.enrol(BEN)
    office.clock.now_s += 80.0
    assert office.devices.note_visit(device_name(BEN))
    office.clock.now_s += 20.0
    await office.desk.tend()
    assert len(office.devices) == 2
    office.clock.now_s += 1.0
    with caplog.at_level(logging.INFO, "quicsql.server"):
        await office.desk.tend()
    assert [row.name for row in office.desk.enrolled()] == [device_name(BEN)]
    assert office.ended == [device_name(ANN)]
    assert device_name(ANN) in caplog.text
    again = await open_office(OPEN)
    assert [row.last_seen for row in again.desk.enrolled()] == [1080]


async def test_without_a_term_nobody_is_sent_away(open_office: OpenOffice) -> None:
    office = await open_office(OPEN)
    await office.desk.enrol(ANN)
    office.clock.now_s += 1e9
    await office.desk.tend()
    assert len(office.devices) == 1


async def test_visits_are_written_down_together(open_office: OpenOffice) -> None:
    office = await open_office(OPEN)
    for key in (ANN, BEN):
        await office.desk.enrol(key)
    written: list[int] = []

    def count(connection: apsw.Connection) -> None:
        written.append(connection.total_changes())

    office.clock.now_s += 10.0
    await office.store.run(count)
    for _ in range(500):
        office.devices.holder_of(ANN)
        office.devices.holder_of(BEN)
    await office.store.run(count)
    await office.desk.tend()
    await office.store.run(count)
    await office.desk.tend()
    await office.store.run(count)
    assert [after - written[0] for after in written] == [0, 0, 2, 2]


async def test_another_configuration_holds_for_the_next_attempt(open_office: OpenOffice) -> None:
    office = await open_office(OPEN)
    await office.desk.enrol(ANN)
    assert office.desk.replace(BY_TOKEN) == frozenset()
    with pytest.raises(TokenRefused):
        await office.desk.enrol(BEN)
    assert office.devices.holder_of(ANN) is not None
    off = EnrollConfig(enabled=False)
    assert office.desk.replace(off) == {device_name(ANN)}
    assert office.desk.replace(off) == frozenset()
    assert office.devices.holder_of(ANN) is None
    assert office.desk.replace(OPEN) == frozenset()
    assert office.devices.holder_of(ANN) is not None
    assert office.grants.of("app") == {device_name(ANN): Level.READ_ONLY}
