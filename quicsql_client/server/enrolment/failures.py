"""Why a device was not let in, or not sent away. What to answer is not known here.

Source: protocol/auth.md, Device enrolment.
"""

from __future__ import annotations

__all__ = [
    "CapacityReached",
    "CodeSpent",
    "CodesDisabled",
    "DeviceBusy",
    "EnrolmentError",
    "ProvisionFailed",
    "TokenRefused",
    "UnknownDevice",
]


class EnrolmentError(Exception):
    """Nothing was changed."""


class TokenRefused(EnrolmentError):
    """The policy asks for a token, and this is none."""


class CapacityReached(EnrolmentError):
    """There are `max_principals` devices."""


class CodeSpent(EnrolmentError):
    """Another device was quicker with the same code, or it expired meanwhile."""


class ProvisionFailed(EnrolmentError):
    """The device's own database cannot be made."""


class CodesDisabled(EnrolmentError):
    """The configuration has no single-use codes."""


class UnknownDevice(EnrolmentError):
    """No device of that name is enrolled."""


class DeviceBusy(EnrolmentError):
    """The device's own database goes with it, and somebody is using that now."""
