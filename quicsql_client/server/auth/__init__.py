"""Who is asking: from a request's peer, certificate and headers to a principal.

One module for each method, `authenticator` for their order; `tokens` and `challenges` are what the
server itself signs. It must not know databases, grants or levels (`policy`), nor endpoints and
answers.
Source: protocol/auth.md.
"""

from .authenticator import HARD_METHODS, Authenticator, Signers
from .devices import Device, Devices, device_name
from .presented import ANONYMOUS, Presented, Principal
from .tokens import Claims, SessionTokens

__all__ = [
    "ANONYMOUS",
    "HARD_METHODS",
    "Authenticator",
    "Claims",
    "Device",
    "Devices",
    "Presented",
    "Principal",
    "SessionTokens",
    "Signers",
    "device_name",
]
