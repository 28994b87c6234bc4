"""`POST /_auth/enroll` through the application: its checks in their order, what a device may do
then, and how it ends. odd-cases 113, 173, 174.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Mapping
from typing import Any

import msgspec
import pytest

from quicsql_client.server.config import (
    ChangefeedConfig,
    Config,
    KeyringMethod,
    MethodConfig,
    PrincipalConfig,
)
from quicsql_client.server.enrolment.tokens import digest_of
from quicsql_client.wire.sse import PING
from tests.fix_application import Answer, Running, Start
from tests.fix_enrolment import (
    ALL,
    BY_TOKEN,
    ENROLL,
    NO_TOKEN,
    OPEN,
    Admin,
    Device,
    DeviceKey,
    again,
    audited,
    config,
    open_stream,
    said,
)
from tests.fix_principals import grants, stored

NO_PROOF = "enrollment requires a valid signed challenge (see /_auth/challenge)"


async def test_a_device_enrols_with_a_token_and_again_without(start: Start) -> None:  # 113
    async with start(config()) as running:
        device = Device(running, "golden dev1")
        assert said(await device.enrol()) == (403, NO_TOKEN)
        assert said(await device.enrol("wrong")) == (403, NO_TOKEN)
        assert (await device.query()).status == 401
        name = "u_rr47w2gsurgrwxnf"
        assert said(await device.enrol("right")) == (200, {"created": True, "principal": name})
        assert said(await device.enrol()) == (200, {"created": False, "principal": name})
        assert said(await device.enrol("wrong")) == (200, {"created": False, "principal": name})


async def test_a_device_may_do_what_the_template_and_everybody_grant(start: Start) -> None:
    async with start(config()) as running:
        device = Device(running)
        await device.enrol("right")
        assert (await device.query()).status == 200
        assert said(await device.query("CREATE TABLE t(a)"))[0] == 403
        assert (await device.query(db="pub")).status == 200
        assert said(await device.query(db="other")) == (
            403,
            "forbidden: no access to this database",
        )
        assert said(await device.query(db="gone")) == (404, "unknown database")  # 174
        assert (await device.send("GET", "/_admin/databases")).json() == {"databases": []}


@pytest.mark.parametrize(
    "body",
    [
        b"{",  # 173
        b"",
        b"null",
        b"[]",
        b"{}",
        b'"right"',
        b'{"enroll_token":""}',
        b'{"enroll_token":5}',
        b'{"enroll_token":null}',
        b'{"enroll_token":["right"]}',
        b'{"token":"right"}',
        b'{"enroll_token":"right"} x',
        b'{"enroll_token":"\xff"}',
        b'{"enroll_token":"\\ud800"}',
        b"[" * 4096,
        b" " * 4096 + b'{"enroll_token":"right"}',
        b'{"enroll_token":"right","x":"' + b"x" * 5000 + b'"}',
    ],
)
async def test_a_body_without_a_token_that_can_be_read_holds_none(
    body: bytes, start: Start
) -> None:
    async with start(config()) as running:
        device = Device(running)
        assert said(await device.send("POST", ENROLL, body)) == (403, NO_TOKEN)
        assert running.enrolment is not None
        assert running.enrolment.enrolled() == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"enroll_token":"right","more":1}',
        b'{"ENROLL_TOKEN":"right"}',
        b'{"enroll_token":"wrong","enroll_token":"right"}',
        b'{"enroll_token":"right"}' + b" " * 9000,
    ],
)
async def test_a_token_that_can_be_read_counts(body: bytes, start: Start) -> None:
    async with start(config()) as running:
        assert (await Device(running).send("POST", ENROLL, body)).status == 200


async def test_a_body_in_pieces_counts_and_one_that_stalls_does_not(start: Start) -> None:
    async with start(config(), body_timeout_s=0.05) as running:
        device = Device(running)
        headers = await device.signed("POST", ENROLL)
        pieces = [b'{"enroll_', b'token":"ri', b'ght"}']
        answer = await device.client.send("POST", ENROLL, pieces, headers=headers)
        assert answer.status == 200
        other = Device(running)
        signed = await other.signed("POST", ENROLL)
        answer = await other.client.send("POST", ENROLL, [], headers=signed)  # nothing ever comes
        assert said(answer) == (403, NO_TOKEN)


async def test_a_client_that_leaves_in_mid_body_has_no_token(start: Start) -> None:
    async with start(config()) as running:
        device, gone = Device(running), asyncio.Event()
        gone.set()
        headers = await device.signed("POST", ENROLL)
        answer = await device.client.send("POST", ENROLL, [], headers=headers, gone=gone)
        assert said(answer) == (403, NO_TOKEN)


async def test_with_the_open_policy_the_body_is_not_looked_at(start: Start) -> None:
    async with start(config(OPEN)) as running:
        device = Device(running)
        headers = await device.signed("POST", ENROLL)
        answer = await device.client.send("POST", ENROLL, [], headers=headers)  # none ever comes
        assert answer.json()["created"] is True


async def test_the_proof_must_be_of_this_key_and_this_request(start: Start) -> None:
    async with start(config()) as running:
        device, body = Device(running), b'{"enroll_token":"right"}'
        headers = await device.signed("POST", ENROLL)
        other = await device.signed("POST", "/app/query")
        wrong: list[dict[str, str]] = [
            {},
            other,
            await device.signed("GET", ENROLL),
            await device.signed("POST", ENROLL + "?a=1"),
            {**headers, "x-keyring-key": DeviceKey().line},
            {**headers, "x-keyring-key": "ssh-rsa AAAA"},
            {**headers, "x-keyring-challenge": "A" * 75},
            {**headers, "x-keyring-signature": ""},
            {**headers, "x-keyring-signature": other["x-keyring-signature"]},
            *({k: v for k, v in headers.items() if k != missing} for missing in headers),
            {"authorization": "Bearer tok-token"},  # it proves somebody, not a device
        ]
        for shown in wrong:
            answer = await device.client.send("POST", ENROLL, body, headers=shown)
            assert said(answer) == (401, NO_PROOF), shown
            assert "www-authenticate" not in answer.headers
        assert (await device.client.send("POST", ENROLL, body, headers=headers)).status == 200


async def test_each_check_comes_before_the_next(start: Start) -> None:
    """The order of protocol/auth.md; every attempt fails all checks from its own on."""
    enroll = again(BY_TOKEN, rate_per_ip=0.001, max_principals=1)
    async with start(config(enroll)) as running:
        device, inside = Device(running), Device(running)
        assert said(await device.client.send("GET", ENROLL, peer="a")) == (405, "use POST")
        assert (await device.client.send("HEAD", ENROLL, peer="a")).status == 405
        assert (await inside.enrol("right", peer="b")).status == 200
        attempts = [  # what is sent, and the first check that refuses it
            (device.client.send("POST", ENROLL, peer="a"), (401, NO_PROOF)),
            (device.enrol("wrong", peer="a"), (403, NO_TOKEN)),  # 173: even at the cap
            (device.enrol("right", peer="a"), (429, "enrollment capacity reached")),
            (device.client.send("POST", ENROLL, peer="a"), (429, "enrollment rate limited")),
            (device.enrol("right", peer="a"), (429, "enrollment rate limited")),
            (inside.enrol("wrong", peer="a"), (429, "enrollment rate limited")),
        ]
        for attempt, expected in attempts:
            assert said(await attempt) == expected
        assert (await inside.enrol("wrong", peer="b")).json()["created"] is False  # at the cap


async def test_every_attempt_of_an_address_counts_also_of_who_is_in(start: Start) -> None:  # 173
    async with start(config(again(OPEN, rate_per_ip=0.001))) as running:
        device = Device(running)
        answers = [await device.enrol(peer="10.1.1.1") for _ in range(5)]
        assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
        assert answers[4].headers["retry-after"] == "1000"
        assert (await device.enrol(peer="10.1.1.2")).status == 200
        unix = [(await device.enrol()).status for _ in range(4)]
        assert unix == [200, 200, 200, 429]


@pytest.mark.parametrize(
    ("methods", "enabled", "expected"),
    [
        (("bearer",), True, (401, "authentication required")),
        (("bearer", "none"), True, (404, "reserved path not available")),
        (("keyring", "none"), False, (404, "reserved path not available")),
        (("keyring",), False, (401, "authentication required")),
    ],
)
async def test_elsewhere_nobody_enrols(
    methods: tuple[str, ...], enabled: bool, expected: tuple[int, str], start: Start
) -> None:
    async with start(config(again(OPEN, enabled=enabled))) as running:
        client = running.client(methods=methods)
        assert said(await client.send("POST", ENROLL)) == expected


async def test_a_code_is_good_for_one_device(start: Start) -> None:
    async with start(config()) as running:
        admin, first, second = Admin(running), Device(running), Device(running)
        answer = await admin.send("POST", "/_admin/enroll/codes", b"junk")
        assert sorted(answer.json()) == ["code", "expires_at"]
        code = answer.json()["code"]
        assert said(await first.enrol(code))[0] == 200
        assert said(await second.enrol(code)) == (403, NO_TOKEN)
        assert (await first.enrol(code)).json()["created"] is False


async def test_a_spent_code_at_the_cap_is_no_token(start: Start) -> None:  # 173
    async with start(config(again(BY_TOKEN, max_principals=1))) as running:
        code = await Admin(running).mint()
        unspent = await Admin(running).mint()
        assert (await Device(running).enrol(code)).status == 200
        late = Device(running)
        assert said(await late.enrol(code)) == (403, NO_TOKEN)
        assert said(await late.enrol(unspent)) == (429, "enrollment capacity reached")


async def outcomes(attempts: list[Awaitable[Answer]]) -> Counter[str]:
    """How often each answer came: the message of an error, else "created" or "known"."""
    words: Counter[str] = Counter()
    for answer in await asyncio.gather(*attempts):
        _, body = said(answer)
        words[body if isinstance(body, str) else "created" if body["created"] else "known"] += 1
    return words


async def test_of_many_at_once_exactly_one_gets_the_key_the_code_the_place(start: Start) -> None:
    async with start(config(again(BY_TOKEN, max_principals=3))) as running:
        same = Device(running)
        assert await outcomes([same.enrol("right") for _ in range(16)]) == {
            "created": 1,
            "known": 15,
        }
        code = await Admin(running).mint()
        found = await outcomes([Device(running).enrol(code) for _ in range(16)])
        assert found["created"] == 1
        assert found[NO_TOKEN] + found["enrollment code is no longer valid"] == 15
        found = await outcomes([Device(running).enrol("right") for _ in range(16)])
        assert found == {"created": 1, "enrollment capacity reached": 15}
        assert len(await Admin(running).principals()) == 3


async def test_a_devices_session_tokens_are_its_own_and_end_with_it(start: Start) -> None:
    async with start(config()) as running:
        device, admin = Device(running), Admin(running)
        await device.enrol("right")
        minted = (await device.send("POST", "/_auth/session")).json()
        assert minted["principal"] == device.name
        holder = running.client(minted["token"], methods=ALL)
        assert (await holder.query("SELECT 1")).status == 200
        assert (await holder.send("PUT", "/_auth/session")).status == 200
        assert said(await admin.delete(device.name)) == (200, {"deleted": device.name})
        assert (await holder.query("SELECT 1")).status == 401
        assert (await holder.query("SELECT 1", db="pub")).status == 401
        assert (await holder.send("PUT", "/_auth/session")).status == 401
        assert (await holder.send("DELETE", "/_auth/session")).status == 401
        await device.enrol("right")  # the same name: tokens of the life before stay void
        assert (await holder.query("SELECT 1")).status == 401
        assert (await device.query()).status == 200


async def test_a_revoked_device_is_out_at_once(start: Start) -> None:
    async with start(config()) as running:
        device, admin = Device(running), Admin(running)
        await device.enrol("right")
        baton = await open_stream(device)
        bystander = running.client("tok-token", methods=ALL)
        kept = (await bystander.pipeline({"type": "get_autocommit"})).json()["baton"]
        assert said(await admin.delete(device.name)) == (200, {"deleted": device.name})
        assert [one.principal for one in running.sessions.list()] == ["tok"]
        assert (await device.query()).status == 401
        assert (await bystander.pipeline({"type": "close"}, baton=kept)).status == 200
        assert said(await device.enrol()) == (403, NO_TOKEN)
        assert said(await admin.delete(device.name)) == (404, "no such enrolled principal")
        await device.enrol("right")
        body = json.dumps({"baton": baton, "requests": []}).encode()
        assert (await device.send("POST", "/app/v3/pipeline", body)).status == 400


async def test_a_session_token_keeps_its_device_from_idling(start: Start) -> None:
    now_s = 1_700_000_000.0
    async with start(config(again(BY_TOKEN, idle_ttl_s=100.0)), now=lambda: now_s) as running:
        assert running.enrolment is not None
        device, idle = Device(running), Device(running)
        for one in (device, idle):
            await one.enrol("right")
        token = (await device.send("POST", "/_auth/session")).json()["token"]
        now_s += 90.0
        assert (await running.client(token, methods=ALL).query("SELECT 1")).status == 200
        now_s += 20.0
        await running.enrolment.tend()
        assert (await device.query()).status == 200
        assert (await idle.query()).status == 401
        rows = await audited(running)
        assert ("", "principals.expire", "", idle.name) in rows


async def test_devices_enrolments_and_grants_outlive_a_restart(start: Start) -> None:
    async with start(config()) as running:
        device, revoked = Device(running, "ann"), Device(running, "ben")
        await device.enrol("right")
        await revoked.enrol("right")
        code = await Admin(running).mint()
        before = await Admin(running).principals()
        await Admin(running).delete(revoked.name)
    async with start(config()) as running:
        device, revoked = Device(running, "ann"), Device(running, "ben")
        assert (await device.query()).status == 200
        assert (await revoked.query()).status == 401
        assert [one["name"] for one in await Admin(running).principals()] == [device.name]
        assert (await Admin(running).principals())[0]["created_at"] == before[0]["created_at"]
        assert (await revoked.enrol(code)).json()["created"] is True


async def test_a_declared_key_stays_its_principals_also_when_it_enrols(start: Start) -> None:
    line = DeviceKey("ann").line
    declared = PrincipalConfig(
        name="ann", methods=(MethodConfig(keyring=KeyringMethod(ed25519=line)),)
    )
    served = config()
    auth = msgspec.structs.replace(served.auth, principals=(*served.auth.principals, declared))
    async with start(msgspec.structs.replace(served, auth=auth)) as running:
        device = Device(running, "ann")
        assert (await device.enrol("right")).json() == {"created": True, "principal": device.name}
        assert (await device.query()).status == 403  # as ann, who is granted nothing on app


async def reload(running: Running, new: Config) -> frozenset[str]:
    lost = running.application.reload(new)
    await running.sessions.end_of_principals(lost)
    return lost


async def test_devices_outlive_a_reload_and_the_new_terms_hold(start: Start) -> None:
    async with start(config()) as running:
        device, other = Device(running), Device(running)
        await device.enrol("right")
        baton = await open_stream(device)
        assert await reload(running, config(again(BY_TOKEN, tokens=(digest_of("new"),)))) == set()
        assert (await device.query()).status == 200
        body = json.dumps({"baton": baton, "requests": []}).encode()
        assert (await device.send("POST", "/app/v3/pipeline", body)).status == 200
        assert said(await other.enrol("right")) == (403, NO_TOKEN)
        assert said(await other.enrol("new"))[0] == 200


async def test_turned_off_by_a_reload_no_device_is_known_until_it_is_on_again(
    start: Start,
) -> None:
    async with start(config()) as running:
        device = Device(running)
        await device.enrol("right")
        token = (await device.send("POST", "/_auth/session")).json()["token"]
        await open_stream(device)
        lost = await reload(running, config(again(BY_TOKEN, enabled=False)))
        assert lost == {device.name}
        assert running.sessions.list() == ()
        assert (await device.query()).status == 401
        assert (await running.client(token, methods=ALL).query("SELECT 1")).status == 401
        admin = Admin(running)
        for method, path in (
            ("GET", "/_admin/principals"),
            ("POST", "/_admin/principals/delete"),
            ("POST", "/_admin/enroll/codes"),
        ):
            assert said(await admin.send(method, path)) == (404, "enrollment is not enabled")
        assert await reload(running, config()) == set()
        assert (await device.query()).status == 200
        assert (await running.client(token, methods=ALL).query("SELECT 1")).status == 401


async def test_a_device_that_loses_what_everybody_had_loses_its_streams(start: Start) -> None:
    async with start(config()) as running:
        device = Device(running)
        await device.enrol("right")
        await open_stream(device, "pub")
        served = config()
        closed = (*served.databases[:2], stored("pub", *grants(everyone="none")))
        lost = await reload(running, config(databases=closed))
        assert device.name in lost
        assert running.sessions.list() == ()


async def test_a_device_that_only_listens_is_not_idle(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quicsql_client.server.api.changes.HEARTBEAT_S", 0.01)
    feed = ChangefeedConfig(enabled=True)
    async with start(msgspec.structs.replace(config(), changefeed=feed)) as running:
        device, gone = Device(running), asyncio.Event()
        name = (await device.enrol("right")).json()["principal"]
        assert running.enrolment is not None
        known = running.enrolment.devices.get(name)
        assert known is not None
        headers = await device.signed("GET", "/app/changes")

        async def when_it_pings(message: Mapping[str, Any]) -> None:
            if message.get("body") == PING and known.last_seen > 0:
                gone.set()
            known.last_seen = 0  # long ago

        listening = device.client.send(
            "GET", "/app/changes", headers=headers, gone=gone, on_sent=when_it_pings
        )
        task = asyncio.ensure_future(listening)
        async with asyncio.timeout(30):
            await gone.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
