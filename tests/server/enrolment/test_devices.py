"""Devices and the names that their keys become."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quicsql_client.server.auth import Device, Devices, device_name
from quicsql_client.server.auth.authorized_keys import format_authorized_key, parse_authorized_key
from tests.fix_enrolment import DeviceKey


@pytest.mark.parametrize(
    ("seed", "name"),
    [  # as upstream named the devices of the recorded exchanges
        ("golden dev1", "u_rr47w2gsurgrwxnf"),
        ("golden dev5", "u_mxujd32acwwww2kc"),
        ("golden dev10", "u_7f7edmzdsmbooka2"),
        ("golden dev18", "u_gqjclnucydmdafr4"),
    ],
)
def test_names_are_those_of_upstream(seed: str, name: str) -> None:
    assert device_name(DeviceKey(seed).public_key) == name


@given(st.binary(min_size=32, max_size=32), st.sampled_from(["", " c", " a b  c"]))
def test_a_name_is_made_of_the_canonical_line_alone(key: bytes, comment: str) -> None:
    line = format_authorized_key(key)
    parsed = parse_authorized_key(f'no-pty,command="x y" {line}{comment}').public_key
    name = device_name(parsed)
    assert parsed == key
    assert len(name) == 18
    assert name.startswith("u_")
    digest = base64.b32decode(name.removeprefix("u_").upper())
    assert digest == hashlib.sha256(line.encode()).digest()[:10]


def test_the_canonical_line_is_that_of_ssh_keygen() -> None:
    key = DeviceKey()
    assert format_authorized_key(key.public_key) == key.line


def device(seed: str = "ann", at: int = 100) -> Device:
    key = DeviceKey(seed).public_key
    return Device(device_name(key), key, at, at)


class Clock:
    def __init__(self, now_s: float = 100.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def test_a_key_is_its_devices_until_it_is_removed() -> None:
    devices, ann = Devices(Clock()), device()
    assert devices.holder_of(ann.public_key) is None
    devices.add(ann)
    principal = devices.holder_of(ann.public_key)
    assert principal is not None
    assert (principal.name, principal.method) == (ann.name, "keyring")
    assert ann.name in devices
    devices.remove(ann.name)
    assert devices.holder_of(ann.public_key) is None
    assert ann.name not in devices
    assert len(devices) == 0
    with pytest.raises(KeyError):
        devices.remove(ann.name)


def test_turned_off_nobody_is_known_and_nobody_forgotten() -> None:
    devices, ann = Devices(Clock()), device()
    devices.add(ann)
    devices.is_enabled = False
    assert devices.holder_of(ann.public_key) is None
    assert not devices.note_visit(ann.name)
    assert ann.name not in devices
    assert devices.list() == (ann,)
    devices.is_enabled = True
    assert devices.holder_of(ann.public_key) is not None


def test_visits_are_collected_once_and_the_latest_counts() -> None:
    clock = Clock()
    devices, ann, ben = Devices(clock), device(), device("ben")
    devices.add(ann)
    devices.add(ben)
    assert devices.take_visits() == {}
    assert devices.note_visit(ann.name)
    assert devices.take_visits() == {}  # the same second as before: nothing new to write down
    clock.now_s = 150.9
    for _ in range(1000):
        devices.holder_of(ann.public_key)
    clock.now_s = 140.0  # a clock that was set back
    devices.note_visit(ann.name)
    assert devices.take_visits() == {ann.name: 150}
    assert devices.take_visits() == {}
    clock.now_s = 160.0
    devices.note_visit(ann.name)
    devices.note_visit(ben.name)
    devices.remove(ben.name)
    assert devices.take_visits() == {ann.name: 160}
    assert not devices.note_visit("u_nobody")
