"""Device enrolment: devices that hold a key become principals by themselves.

    desk        who is let in and sent away, one after the other
    own         a database of its own for each
    addresses   how often an address may try
    tokens      what lets a device in
    failures    why it was not let in

It must not know requests or answers.
Source: protocol/auth.md, Device enrolment.
"""

from .desk import Enrolment
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

__all__ = [
    "CapacityReached",
    "CodeSpent",
    "CodesDisabled",
    "DeviceBusy",
    "Enrolment",
    "EnrolmentError",
    "OwnDatabases",
    "ProvisionFailed",
    "TokenRefused",
    "UnknownDevice",
]
