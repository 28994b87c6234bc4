"""A database of its own for each device: made, capped, kept or dropped, and never a half."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import pytest

from quicsql_client.server.config import (
    Config,
    EnrollConfig,
    LimitsConfig,
    ProvisionConfig,
    RateConfig,
)
from tests.fix_application import Running, Start
from tests.fix_enrolment import (
    OPEN,
    Admin,
    Device,
    again,
    audited,
    config,
    open_stream,
    said,
)
from tests.fix_principals import memory

NO_DATABASE = "enrollment could not provision a database"
BUSY = "the principal's database is busy (has active users); retry when idle"


def provision(**keys: Any) -> EnrollConfig:
    terms = {
        "enabled": True,
        "backend": "file",
        "name_template": "{principal}-db",
        "pragmas_preset": "recommended",
        "on_revoke": "drop",
        **keys,
    }
    return again(OPEN, grants=(), provision=ProvisionConfig(**terms))


def own(device: Device) -> str:
    return f"{device.name}-db"


def files_of(device: Device, folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob(f"{own(device)}*"))


async def count(device: Device) -> Any:
    """How many rows there are in its table t."""
    answer = await device.query("SELECT count(*) FROM t", own(device))
    return answer.json().get("rows", answer.json())


async def fill(device: Device) -> None:
    for sql in ("CREATE TABLE t(x)", "INSERT INTO t VALUES (1)"):
        answer = await device.query(sql, own(device))
        assert "error" not in answer.json(), answer.body


async def test_each_device_has_a_database_of_its_own(start: Start) -> None:
    async with start(config(provision())) as running:
        device, other = Device(running), Device(running)
        for one in (device, other):
            assert (await one.enrol()).json()["created"] is True
            await fill(one)
        assert await count(device) == [[1]]
        pragmas = await device.query("PRAGMA journal_mode", own(device))
        assert pragmas.json()["rows"] == [["wal"]]
        for stranger in (
            await other.query(db=own(device)),
            await running.client("tok-token").query("SELECT 1", db=own(device)),
            await running.client("root-token").query("SELECT 1", db=own(device)),
        ):
            assert said(stranger) == (403, "forbidden: no access to this database")
        listed = (await Admin(running).send("GET", "/_admin/databases")).json()["databases"]
        entry = {"kind": "file", "name": own(device), "open": True, "refs": 0}
        assert entry in listed
        assert (await audited(running))[0] == (device.name, "enroll", own(device), "")


async def test_it_is_there_after_a_restart(start: Start) -> None:
    async with start(config(provision())) as running:
        device = Device(running, "ann")
        await device.enrol()
        await fill(device)
    async with start(config(provision())) as running:
        device = Device(running, "ann")
        assert await count(device) == [[1]]
        assert (await device.enrol()).json()["created"] is False
        assert said(await Admin(running).delete(device.name))[0] == 200


async def test_its_level_is_that_of_the_template(start: Start) -> None:
    async with start(config(provision(level="read-only"))) as running:
        device = Device(running)
        await device.enrol()
        assert (await device.query("CREATE TABLE t(x)", own(device))).status == 403
        assert (await device.query(db=own(device))).status == 200


async def test_it_may_be_in_memory(start: Start, tmp_path: Path) -> None:
    async with start(config(provision(backend="memory", pragmas_preset=""))) as running:
        device, other = Device(running), Device(running)
        for one in (device, other):
            await one.enrol()
            await fill(one)
        assert await count(device) == [[1]]
        assert said(await Admin(running).delete(device.name))[0] == 200
        assert files_of(device, tmp_path) == []
        await device.enrol()
        assert said(await device.query("SELECT * FROM t", own(device)))[1] == "no such table: t"


@pytest.mark.parametrize("pragmas", [{}, {"page_size": 1024}, {"PAGE_SIZE": 777}])
async def test_it_holds_no_more_than_its_cap(pragmas: dict[str, int], start: Start) -> None:
    cap = 100_000
    async with start(config(provision(max_bytes=cap, pragmas=pragmas))) as running:
        device = Device(running)
        await device.enrol()
        await fill(device)
        insert = "INSERT INTO t VALUES (zeroblob(9000))"
        for _ in range(20):
            answer = await device.query(insert, own(device))
            if "error" in answer.json():
                break
        assert answer.json()["error"]["code"] == apsw.SQLITE_FULL
        lifted = await device.query(f"PRAGMA max_page_count = 99999; {insert}", own(device))
        assert lifted.status == 403
        size = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
        ((found,),) = (await device.query(size, own(device))).json()["rows"]
        assert cap / 2 < found <= cap
        assert said(await device.query("DELETE FROM t", own(device)))[0] == 200


async def test_what_is_dropped_is_gone_with_its_files(start: Start, tmp_path: Path) -> None:
    async with start(config(provision())) as running:
        device, admin = Device(running), Admin(running)
        await device.enrol()
        await fill(device)
        assert f"{own(device)}.db-wal" in files_of(device, tmp_path)
        assert said(await admin.delete(device.name)) == (200, {"deleted": device.name})
        assert files_of(device, tmp_path) == []
        listed = (await admin.send("GET", "/_admin/databases")).json()["databases"]
        assert own(device) not in {entry["name"] for entry in listed}
        await device.enrol()
        assert said(await device.query("SELECT * FROM t", own(device)))[1] == "no such table: t"


async def test_nothing_is_counted_any_more_for_what_is_gone(start: Start) -> None:
    limits = LimitsConfig(rate=RateConfig(per_principal_rps=0.001))
    async with start(config(provision(), limits=limits)) as running:
        device, scraper = Device(running), running.client("root-token")
        await device.enrol()
        assert (await device.query(db=own(device))).status == 200
        assert (await device.query(db=own(device))).status == 429
        assert own(device).encode() in (await scraper.send("GET", "/_metrics")).body
        await Admin(running).delete(device.name)
        assert own(device).encode() not in (await scraper.send("GET", "/_metrics")).body
        await device.enrol()
        assert (
            await device.query(db=own(device))
        ).status == 200  # as a new one, with a full bucket


async def test_what_is_kept_is_the_devices_again_when_it_comes_back(
    start: Start, tmp_path: Path
) -> None:
    async with start(config(provision(on_revoke="keep"))) as running:
        device, admin = Device(running, "ann"), Admin(running)
        await device.enrol()
        await fill(device)
        baton = await open_stream(device, own(device))
        assert said(await admin.delete(device.name)) == (200, {"deleted": device.name})
        assert running.sessions.list() == ()  # its stream keeps nobody from sending it away
        assert f"{own(device)}.db" in files_of(device, tmp_path)
        assert (await device.query(db=own(device))).status == 401
        assert (await device.enrol()).json()["created"] is True
        assert await count(device) == [[1]]
        body = json.dumps({"baton": baton, "requests": []}).encode()
        assert (await device.send("POST", f"/{own(device)}/v3/pipeline", body)).status == 400
        await admin.delete(device.name)
    async with start(config(provision(on_revoke="keep"))) as running:
        device = Device(running, "ann")
        await device.enrol()
        assert await count(device) == [[1]]


async def test_while_it_is_used_its_device_stays(start: Start) -> None:
    async with start(config(provision())) as running:
        device, admin = Device(running), Admin(running)
        await device.enrol()
        baton = await open_stream(device, own(device))
        assert said(await admin.delete(device.name)) == (409, BUSY)
        assert running.enrolment is not None
        await running.enrolment.tend()
        assert (await device.query(db=own(device))).status == 200
        body = json.dumps({"baton": baton, "requests": [{"type": "close"}]}).encode()
        assert (await device.send("POST", f"/{own(device)}/v3/pipeline", body)).status == 200
        assert said(await admin.delete(device.name)) == (200, {"deleted": device.name})


async def test_an_idle_device_goes_with_its_database_and_a_busy_one_later(
    start: Start, tmp_path: Path
) -> None:
    now_s = 1_700_000_000.0
    terms = again(provision(), idle_ttl_s=60.0)
    async with start(config(terms), now=lambda: now_s) as running:
        assert running.enrolment is not None
        idle, busy = Device(running), Device(running)
        for device in (idle, busy):
            await device.enrol()
        await open_stream(busy, own(busy))
        now_s += 61.0
        await running.enrolment.tend()
        assert [one["name"] for one in await Admin(running).principals()] == [busy.name]
        assert files_of(idle, tmp_path) == []
        await running.sessions.end_of_principals([busy.name])
        await running.enrolment.tend()
        assert await Admin(running).principals() == []


async def test_a_code_is_not_burnt_when_the_database_cannot_be_made(
    start: Start, tmp_path: Path
) -> None:
    terms = again(provision(), policy="token")
    async with start(config(terms)) as running:
        admin, device = Admin(running), Device(running)
        code = await admin.mint()
        obstacle = tmp_path / f"{own(device)}.db"
        obstacle.write_bytes(b"no database, and long enough to be looked at" * 30)
        assert said(await device.enrol(code)) == (500, NO_DATABASE)
        assert obstacle.exists(), "what was there before is not ours to delete"
        assert await admin.principals() == []
        assert (device.name, "enroll.failed", "", "ProvisionFailed") in await audited(running)
        obstacle.unlink()
        assert (await device.enrol(code)).json()["created"] is True


async def test_a_database_of_the_configuration_is_never_a_devices(start: Start) -> None:
    device_of_all = provision(name_template="taken-{principal}")
    async with start(config(device_of_all)) as running:
        name = f"taken-{Device(running, 'ann').name}"
    served: Config = config(device_of_all)
    taken = config(device_of_all, databases=(*served.databases, memory(name)))
    async with start(taken) as running:
        device = Device(running, "ann")
        assert said(await device.enrol()) == (500, NO_DATABASE)
        assert (await device.query(db=name)).status == 401
        assert name in running.registry.names()


async def run_sql(running: Running, sql: str) -> None:
    def work(connection: apsw.Connection, text: str) -> None:
        connection.execute(text)

    assert running.control is not None
    await running.control.store.run(partial(work, text=sql))


@pytest.mark.parametrize("had_file", [False, True])
async def test_a_device_that_cannot_be_kept_leaves_no_database(
    had_file: bool, start: Start, tmp_path: Path
) -> None:
    refuse = "CREATE TRIGGER full BEFORE INSERT ON enrolled BEGIN SELECT RAISE(ABORT, 'full'); END"
    async with start(config(provision())) as running:
        device = Device(running)
        if had_file:
            (tmp_path / f"{own(device)}.db").touch()
        await run_sql(running, refuse)
        assert said(await device.enrol()) == (500, "internal error")
        assert own(device) not in running.registry.names()
        assert files_of(device, tmp_path) == [f"{own(device)}.db"] * had_file
        assert await Admin(running).principals() == []
        await run_sql(running, "DROP TRIGGER full")
        assert (await device.enrol()).json()["created"] is True
        await fill(device)


async def test_one_that_was_detached_meanwhile_keeps_nobody(start: Start, tmp_path: Path) -> None:
    async with start(config(provision())) as running:
        device, admin = Device(running), Admin(running)
        await device.enrol()
        body = json.dumps({"database": own(device)}).encode()
        assert (await admin.send("POST", "/_admin/detach", body)).status == 200
        assert (await device.query(db=own(device))).status == 403
        assert said(await admin.delete(device.name)) == (200, {"deleted": device.name})
        assert files_of(device, tmp_path) == [f"{own(device)}.db"]  # an admin took it away


async def test_another_template_does_not_change_whose_database_goes(
    start: Start, tmp_path: Path
) -> None:
    async with start(config(provision())) as running:
        device = Device(running, "ann")
        await device.enrol()
    async with start(config(provision(name_template="new-{principal}"))) as running:
        assert said(await Admin(running).delete(device.name))[0] == 200
        assert own(device) not in running.registry.names()
    assert files_of(device, tmp_path) == []


async def test_many_attempts_of_one_device_make_one_database(start: Start) -> None:
    async with start(config(provision())) as running:
        device = Device(running)
        answers = await asyncio.gather(*(device.enrol() for _ in range(12)))
        assert sorted(answer.json()["created"] for answer in answers) == [False] * 11 + [True]
        await fill(device)
        assert await count(device) == [[1]]


async def test_of_rivals_for_one_code_only_the_first_keeps_a_database(
    start: Start, tmp_path: Path
) -> None:
    async with start(config(again(provision(), policy="token"))) as running:
        code = await Admin(running).mint()
        rivals = [Device(running) for _ in range(6)]
        answers = await asyncio.gather(*(device.enrol(code) for device in rivals))
        assert sorted(answer.status for answer in answers) == [200] + [403] * 5
        (winner,) = await Admin(running).principals()
        kept = [device for device in rivals if files_of(device, tmp_path)]
        assert [device.name for device in kept] == [winner["name"]]
        assert [name for name in running.registry.names() if name.startswith("u_")] == [
            own(kept[0])
        ]


async def test_two_databases_of_one_file_are_not_dropped_by_one(
    start: Start, tmp_path: Path
) -> None:
    async with start(config(provision())) as running:
        device, admin = Device(running), Admin(running)
        await device.enrol()
        await fill(device)
        spec = {"name": "copy", "backend": "file", "path": f"{own(device)}.db"}
        body = json.dumps({"database": spec}).encode()
        assert (await admin.send("POST", "/_admin/create", body)).status == 200
        assert said(await admin.delete(device.name))[0] == 200
        assert f"{own(device)}.db" in files_of(device, tmp_path)
