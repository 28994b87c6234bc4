"""The devices that enrolled themselves: which keys they hold, live, and when they were last seen.

Outlives reloads. Who let a device in, and where it is kept, is not known here.
Source: protocol/auth.md, Device enrolment.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from .authorized_keys import format_authorized_key
from .presented import Principal

__all__ = ["Device", "Devices", "device_name"]

_NAME_PREFIX: Final = "u_"
_NAME_BYTES: Final = 10  # 16 characters of base32


def device_name(public_key: bytes) -> str:
    """The name of the principal that a key becomes: always the same one."""
    digest = hashlib.sha256(format_authorized_key(public_key).encode()).digest()
    return _NAME_PREFIX + base64.b32encode(digest[:_NAME_BYTES]).decode().lower()


@dataclass(slots=True)
class Device:
    """An enrolled device. Times are Unix seconds."""

    name: str
    public_key: bytes
    created_at: int
    last_seen: int


class Devices:
    """Every enrolled device. is_enabled: False proves nobody, and forgets nobody.

    clock: seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.is_enabled = True
        self._clock = clock
        self._by_key: dict[bytes, Device] = {}
        self._by_name: dict[str, Device] = {}
        self._unsaved: set[str] = set()

    def __len__(self) -> int:
        return len(self._by_name)

    def __contains__(self, name: str) -> bool:
        return self.is_enabled and name in self._by_name

    def list(self) -> tuple[Device, ...]:
        """All, in the order in which they were let in."""
        return tuple(self._by_name.values())

    def get(self, name: str) -> Device | None:
        """The device of that name, accepted now or not."""
        return self._by_name.get(name)

    def add(self, device: Device) -> None:
        """Let a device in, from the next request on."""
        self._by_key[device.public_key] = self._by_name[device.name] = device

    def remove(self, name: str) -> None:
        """Let a device in no more. Raises: KeyError when there is none of that name."""
        device = self._by_name.pop(name)
        del self._by_key[device.public_key]
        self._unsaved.discard(name)

    def holder_of(self, public_key: bytes) -> Principal | None:
        """The principal of a device that has just proved to hold this key, and note its visit."""
        device = self._by_key.get(public_key)
        if device is None or not self.note_visit(device.name):
            return None
        return Principal(device.name, "keyring")

    def note_visit(self, name: str) -> bool:
        """Note that the device is here now; False when no such device is accepted."""
        if name not in self:
            return False
        device, now = self._by_name[name], int(self._clock())
        if now > device.last_seen:
            device.last_seen = now
            self._unsaved.add(name)
        return True

    def take_visits(self) -> dict[str, int]:
        """When devices were last seen, of those seen since the last call."""
        seen = {name: self._by_name[name].last_seen for name in self._unsaved}
        self._unsaved.clear()
        return seen
