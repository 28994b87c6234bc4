"""The methods of one configuration, and the order in which they are asked.

Built once for each configuration and never changed, so that a reload is one assignment. What the
server signs with keys of its own outlives it (`Signers`).
Source: protocol/auth.md, Precedence.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final

from ..config import AuthConfig, MethodConfig
from .authorized_keys import read_roster
from .bearer import BearerTokens
from .challenges import Challenges
from .devices import Devices
from .keyring import Keyring
from .mtls import Certificates
from .password import Passwords
from .peercred import Peers
from .presented import ANONYMOUS, Absent, Headers, Method, Presented, Principal, Scope
from .session import TokenHolders
from .tokens import SessionTokens

__all__ = ["HARD_METHODS", "Authenticator", "Signers"]

HARD_METHODS: Final = ("mtls", "keyring", "session", "bearer", "password")
"""The order in which methods are asked, whatever order a listener lists them in; the soft
`peercred` and `none` come after all.
Source: protocol/auth.md, Precedence."""

_ORDER: Final = (*HARD_METHODS, "peercred")


@dataclass(frozen=True, slots=True)
class Signers:
    """What is signed with random keys of this process, and therefore outlives reloads."""

    challenges: Challenges
    tokens: SessionTokens

    @classmethod
    def of(cls, config: AuthConfig, clock_ns: Callable[[], int] = time.time_ns) -> Signers:
        """New keys, with the lifetimes of a configuration. clock_ns: nanoseconds since 1970."""
        session = config.session
        tokens = SessionTokens(
            idle_ttl_s=session.idle_ttl_s,
            max_ttl_s=session.max_ttl_s,
            is_enabled=session.enabled,
            clock_ns=clock_ns,
        )
        return cls(Challenges(clock_ns), tokens)


class Authenticator:
    """The credentials of one configuration, by method.

    Two principals that declare the same credential: the later one wins. Secrets are kept only as
    the hashes that the configuration holds. signers, devices: those of the process; new ones when
    not given. Reads the key roster, if there is one. Raises: ConfigurationError for a roster or a
    key that cannot be read.
    Source: protocol/auth.md, Methods.
    """

    def __init__(
        self,
        config: AuthConfig,
        signers: Signers | None = None,
        devices: Devices | None = None,
    ) -> None:
        self.signers = signers or Signers.of(config)
        self._devices = devices = devices if devices is not None else Devices()
        roster = read_roster(config.authorized_keys) if config.authorized_keys else {}
        declared = frozenset(principal.name for principal in config.principals)
        self._names = declared | frozenset(roster.values())
        certificates, bearers, peers = Certificates(), BearerTokens(), Peers()
        keyring = Keyring(self.signers.challenges, roster, devices)
        for name, method in _methods(config):
            if method.mtls is not None:
                certificates.declare(name, method.mtls)
            if method.bearer is not None:
                bearers.declare(name, method.bearer)
            if method.keyring is not None:
                keyring.declare(name, method.keyring)
            if method.peercred is not None:
                peers.declare(name, method.peercred)
        passwords = Passwords((name, m.password) for name, m in _methods(config) if m.password)
        self._methods: dict[str, Method] = {
            "mtls": certificates,
            "keyring": keyring,
            "session": TokenHolders(self.signers.tokens, self._names, devices),
            "bearer": bearers,
            "password": passwords,
            "peercred": peers,
        }

    @property
    def names(self) -> frozenset[str]:
        """The names of the principals: the declared ones and those of the key roster."""
        return self._names

    def knows(self, name: str) -> bool:
        """Whether there is such a principal now, of the configuration or enrolled."""
        return name in self._names or name in self._devices

    async def authenticate(
        self, scope: Scope, headers: Headers, methods: Collection[str]
    ) -> Principal | None:
        """The principal of a request on a listener that accepts `methods`, or None: 401.

        The first hard method whose credential is present decides; a wrong credential never falls
        through to anonymous. The order of `methods` does not matter.
        Source: protocol/auth.md, Precedence.
        """
        presented = Presented.by(scope, headers)
        for name in _ORDER:
            if name in methods:
                verdict = await self._methods[name].judge(presented)
                if not isinstance(verdict, Absent):
                    return verdict
        return ANONYMOUS if "none" in methods else None


def _methods(config: AuthConfig) -> Iterator[tuple[str, MethodConfig]]:
    for principal in config.principals:
        for method in principal.methods:
            yield principal.name, method
