"""The devices that enrolled, for server-admins: `/_admin/principals`, codes, and the audit."""

from __future__ import annotations

import json
import logging

import pytest

from quicsql_client.server.config import EnrollCodesConfig
from quicsql_client.server.enrolment.tokens import digest_of
from tests.fix_application import Start
from tests.fix_enrolment import BY_TOKEN, ENROLL, Admin, Device, again, audited, config, said


async def test_the_list_shows_the_devices_oldest_first(start: Start) -> None:
    now_s = 1_700_000_000.9
    async with start(config(), now=lambda: now_s) as running:
        first, second = Device(running), Device(running)
        await first.enrol("right")
        now_s += 10.0
        await second.enrol("right")
        now_s += 10.0
        await first.query()
        listed = await Admin(running).principals()
        assert listed == [
            {
                "name": first.name,
                "key": first.key.line,
                "created_at": 1_700_000_000,
                "last_seen": 1_700_000_020,
            },
            {
                "name": second.name,
                "key": second.key.line,
                "created_at": 1_700_000_010,
                "last_seen": 1_700_000_010,
            },
        ]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/_admin/principals"),
        ("POST", "/_admin/principals/delete"),
        ("POST", "/_admin/enroll/codes"),
    ],
)
async def test_only_server_admins_administer_devices(method: str, path: str, start: Start) -> None:
    wrong = "POST" if method == "GET" else "GET"
    async with start(config()) as running:
        device = Device(running)
        await device.enrol("right")
        for token in ("tok-token", None):
            admin = Admin(running, token)
            assert said(await admin.send(method, path)) == (403, "server admin required")
            assert said(await admin.send(wrong, path)) == (405, f"use {method}")
        assert said(await device.send(method, path)) == (403, "server admin required")
    async with start(config(again(BY_TOKEN, enabled=False))) as running:
        refused = await Admin(running).send(method, path)
        assert said(refused) == (404, "enrollment is not enabled")
        denied = await Admin(running, "tok-token").send(method, path)
        assert said(denied) == (403, "server admin required")


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"null", b"{}", b"[]", b" " * 4097),
        *(b'{"name":""}', b'{"name":5}', b'{"name":"u_' + b"a" * 5000 + b'"}'),
    ],
)
async def test_a_deletion_must_name_its_principal(body: bytes, start: Start) -> None:
    async with start(config()) as running:
        answer = await Admin(running).send("POST", "/_admin/principals/delete", body)
        assert said(answer) == (400, 'body must be {"name": "u_\u2026"}')


async def test_a_deletion_passes_other_keys_over_and_takes_no_declared_principal(
    start: Start,
) -> None:
    async with start(config()) as running:
        device, admin = Device(running), Admin(running)
        await device.enrol("right")
        body = json.dumps({"NAME": device.name, "why": "lost"}).encode()
        answer = await admin.send("POST", "/_admin/principals/delete", body)
        assert said(answer) == (200, {"deleted": device.name})
        assert said(await admin.delete("tok")) == (404, "no such enrolled principal")


async def test_codes_must_be_configured(start: Start) -> None:
    async with start(config(again(BY_TOKEN, codes=EnrollCodesConfig()))) as running:
        answer = await Admin(running).send("POST", "/_admin/enroll/codes")
        text = "enroll: single-use codes are not enabled (auth.enroll.codes.enabled)"
        assert said(answer) == (400, text)


async def test_the_audit_hears_of_it_and_nobody_of_secrets(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with start(config()) as running:
        device, admin = Device(running), Admin(running)
        code = await admin.mint()
        await device.enrol("wrong-secret")
        await device.enrol(code)
        await device.enrol(code)  # nothing to be done, nothing to be said
        await device.client.send("POST", ENROLL)
        await Admin(running, "tok-token").send("POST", "/_admin/enroll/codes")
        await admin.delete(device.name)
        await admin.delete(device.name)
        assert await audited(running) == [
            ("root", "enroll.codes", "", ""),
            (device.name, "enroll.denied", "", "TokenRefused"),
            (device.name, "enroll", "", ""),
            ("tok", "enroll.codes.denied", "", "server admin required"),
            ("root", "principals.delete", "", device.name),
            ("root", "principals.delete.failed", "", "no such enrolled principal"),
        ]
        written = f"{await audited(running)} {caplog.text}"
        for secret in (code, "wrong-secret", digest_of(code), digest_of("right")):
            assert secret not in written
