"""Who is asking: from a request's certificate and headers to a principal.

Built once for each configuration and never changed, so that a reload is one assignment. It must not
know databases, grants or levels (`policy`), nor what happens on a failure: None means "not
authenticated", and nothing more is told.
Source: protocol/auth.md, Methods and Precedence.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias

import bcrypt
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from ..pki import spki_pin
from .config import AuthConfig, MethodConfig

__all__ = ["ANONYMOUS", "HARD_METHODS", "Authenticator", "Principal"]

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]
Scope: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated identity. name: "" is the anonymous one. method: what proved it, such as
    "mtls".
    """

    name: str
    method: str


ANONYMOUS: Final = Principal("", "none")


class _Absent:
    """The type of ABSENT, which says that a request holds no credential of a method."""


_ABSENT: Final = _Absent()
Verdict: TypeAlias = Principal | _Absent | None
"""What a method says: a principal, absent (ask the next one), or None (refused: ask no other)."""

# bcrypt itself reads no further; the library refuses what is longer instead of cutting it.
_BCRYPT_MAX_BYTES: Final = 72
_BCRYPT_DEFAULT_COST: Final = 10
_BCRYPT_ALPHABET: Final = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
# Password checks are pure CPU: more at once than this would only starve the statements.
_CONCURRENT_PASSWORD_CHECKS: Final = 2
_REMEMBERED_PASSWORDS: Final = 1024


class Authenticator:
    """The credentials of one configuration, by method.

    Two principals that declare the same credential: the later one wins. Secrets are kept only as
    the hashes that the configuration holds.
    Source: protocol/auth.md, Methods.
    """

    def __init__(self, config: AuthConfig) -> None:
        self._names = frozenset(principal.name for principal in config.principals)
        self._accepts_session_tokens = config.session.enabled
        self._by_cn: dict[str, Principal] = {}
        self._by_spki: dict[str, Principal] = {}
        self._by_token: dict[str, Principal] = {}
        self._by_user: dict[bytes, tuple[Principal, bytes]] = {}
        for principal in config.principals:
            for method in principal.methods:
                self._declare(principal.name, method)
        self._passwords = _PasswordChecks([stored for _, stored in self._by_user.values()])

    @property
    def names(self) -> frozenset[str]:
        """The names of the declared principals."""
        return self._names

    def _declare(self, name: str, method: MethodConfig) -> None:
        if method.mtls is not None:
            by_mtls = Principal(name, "mtls")
            if method.mtls.subject_cn:
                self._by_cn[method.mtls.subject_cn] = by_mtls
            if method.mtls.spki_sha256:
                self._by_spki[method.mtls.spki_sha256.lower()] = by_mtls
        if method.bearer is not None:
            self._by_token[method.bearer.token_hash.lower()] = Principal(name, "bearer")
        if method.password is not None:
            stored = method.password.password_hash.encode()
            self._by_user[method.password.user.encode()] = Principal(name, "password"), stored

    async def authenticate(
        self, scope: Scope, headers: Headers, methods: Collection[str]
    ) -> Principal | None:
        """The principal of a request on a listener that accepts `methods`, or None: 401.

        The first hard method whose credential is present decides; a wrong credential never falls
        through to anonymous. The order of `methods` does not matter.
        Source: protocol/auth.md, Precedence.
        """
        fields = _first_values(headers)
        for name, method in HARD_METHODS:
            if name in methods:
                verdict = await method(self, scope, fields)
                if not isinstance(verdict, _Absent):
                    return verdict
        return ANONYMOUS if "none" in methods else None

    async def _mtls(self, scope: Scope, fields: Mapping[bytes, bytes]) -> Verdict:
        """By the verified leaf: its subject CN, else its key. Unmapped counts as absent."""
        chain = (scope.get("extensions") or {}).get("tls", {}).get("client_cert_chain")
        if not chain:
            return _ABSENT
        common_name, pin = _identity_of(chain[0])
        return self._by_cn.get(common_name) or self._by_spki.get(pin) or _ABSENT

    async def _keyring(self, scope: Scope, fields: Mapping[bytes, bytes]) -> Verdict:
        """No challenge is issued by this version, so a signature that is shown is not right."""
        return None if fields.get(b"x-keyring-signature") else _ABSENT

    async def _session(self, scope: Scope, fields: Mapping[bytes, bytes]) -> Verdict:
        """Session tokens are not issued by this version, so one that is shown cannot be right."""
        if self._accepts_session_tokens and _bearer_token(fields).startswith(b"st_"):
            return None
        return _ABSENT

    async def _bearer(self, scope: Scope, fields: Mapping[bytes, bytes]) -> Verdict:
        token = _bearer_token(fields)
        if not token:
            return _ABSENT
        # The table is asked by digest: its timing tells about digests only, from which no token can
        # be built.
        return self._by_token.get(hashlib.sha256(token).hexdigest())

    async def _password(self, scope: Scope, fields: Mapping[bytes, bytes]) -> Verdict:
        credentials = _basic_credentials(fields)
        if credentials is None:
            return _ABSENT
        user, password = credentials
        known = self._by_user.get(user)
        stored = known[1] if known else None
        is_right = await self._passwords.check(user, password, stored)
        return known[0] if known and is_right else None


Method: TypeAlias = Callable[[Authenticator, Scope, Mapping[bytes, bytes]], Awaitable[Verdict]]

HARD_METHODS: Final[tuple[tuple[str, Method], ...]] = (
    ("mtls", Authenticator._mtls),
    ("keyring", Authenticator._keyring),
    ("session", Authenticator._session),
    ("bearer", Authenticator._bearer),
    ("password", Authenticator._password),
)
"""The order in which methods are asked, whatever order a listener lists them in. The soft `none`
comes after all.
Source: protocol/auth.md, Precedence."""


class _PasswordChecks:
    """bcrypt off the event loop, of equal cost for known and unknown users.

    A right password is remembered as a keyed digest under a random key, for as long as the
    configuration lives, so that a connection does not pay bcrypt for each request; a wrong one is
    never remembered.
    """

    def __init__(self, stored: Iterable[bytes]) -> None:
        self._dummy = _dummy_hash(max(map(_cost_of, stored), default=_BCRYPT_DEFAULT_COST))
        self._slots = asyncio.Semaphore(_CONCURRENT_PASSWORD_CHECKS)
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, None] = OrderedDict()

    async def check(self, user: bytes, password: bytes, stored: bytes | None) -> bool:
        """Whether the password belongs to the stored hash.

        stored: None is an unknown user, who gets False after the time of a comparison.
        """
        seal = self._seal(user, password)
        if stored is not None and seal in self._right:
            self._right.move_to_end(seal)
            return True
        async with self._slots:
            is_equal = await asyncio.to_thread(_matches, password, stored or self._dummy)
        if stored is None or not is_equal:
            return False
        self._right[seal] = None
        if len(self._right) > _REMEMBERED_PASSWORDS:
            self._right.popitem(last=False)
        return True

    def _seal(self, user: bytes, password: bytes) -> bytes:
        # A colon cannot stand in the user's name (it ends there), so the pair has one spelling.
        return hmac.digest(self._key, user + b":" + password, "sha256")


def _matches(password: bytes, stored: bytes) -> bool:
    try:
        return bcrypt.checkpw(password[:_BCRYPT_MAX_BYTES], stored)
    except ValueError:  # not a bcrypt hash, or a NUL in the password: nobody's password
        return False


def _cost_of(stored: bytes) -> int:
    parts = stored.split(b"$")
    if len(parts) == 4 and parts[2].isdigit() and 4 <= int(parts[2]) <= 31:
        return int(parts[2])
    return _BCRYPT_DEFAULT_COST


def _dummy_hash(cost: int) -> bytes:
    """A well-formed bcrypt hash of no known password.

    It is drawn at random: computing one would slow every reload.
    """
    digest = "".join(secrets.choice(_BCRYPT_ALPHABET) for _ in range(31))
    return bcrypt.gensalt(cost) + digest.encode()


def _first_values(headers: Headers) -> dict[bytes, bytes]:
    """Header fields by name. Of repeated ones the first counts (protocol/auth.md, Precedence)."""
    fields: dict[bytes, bytes] = {}
    for name, value in headers:
        fields.setdefault(name, value)
    return fields


def _bearer_token(fields: Mapping[bytes, bytes]) -> bytes:
    """The token of `Authorization: Bearer `: exactly that scheme and one blank; b"" is absent."""
    scheme, _, rest = fields.get(b"authorization", b"").partition(b" ")
    return rest.strip() if scheme == b"Bearer" else b""


def _basic_credentials(fields: Mapping[bytes, bytes]) -> tuple[bytes, bytes] | None:
    """(user, password) of `Authorization: Basic`, or None where it cannot be parsed: that counts as
    absent.
    """
    scheme, _, rest = fields.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        user, colon, password = base64.b64decode(rest, validate=True).partition(b":")
    except binascii.Error:
        return None
    return (user, password) if colon else None


@lru_cache(maxsize=1024)
def _identity_of(pem: str) -> tuple[str, str]:
    """(subject CN, hex SHA-256 of the SubjectPublicKeyInfo) of a leaf; "" for what it lacks. SANs
    are ignored.
    """
    leaf = x509.load_pem_x509_certificate(pem.encode())
    names = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    common_name = names[-1].value if names else ""
    try:
        pin = spki_pin(leaf)
    except (
        ValueError,
        UnsupportedAlgorithm,
    ):  # a key type unknown here has no pin, its CN still counts
        return str(common_name), ""
    return str(common_name), pin
