"""Checks the credentials of principals and puts the secrets that they refer to in their place.

Upstream finds these faults when it starts; here they are found with all others. No message holds a
value. It must not know requests, nor how a credential is compared.
Source: protocol/config.md, secrets[] and auth; protocol/auth.md, Methods.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Final

import msgspec

from .model import (
    AuthConfig,
    BearerMethod,
    Config,
    KeyringMethod,
    MethodConfig,
    MTLSMethod,
    PasswordMethod,
    PeercredMethod,
    PrincipalConfig,
)
from .problems import Path, Problems, quote
from .secrets import SecretError, SecretSources

__all__ = ["CredentialReader", "resolve"]

_SHA256_HEX: Final = re.compile(r"[0-9a-fA-F]{64}")
_BCRYPT: Final = re.compile(r"\$2[abxy]?\$(?:0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")
_KEY_TYPE: Final = "ssh-ed25519"
# SSH wire format (RFC 8709): length and name of the type, length and 32 bytes of the key.
_KEY_BLOB_PREFIX: Final = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20"
_KEY_BLOB_BYTES: Final = len(_KEY_BLOB_PREFIX) + 32
_OR_REFERENCE: Final = "or a reference to a declared secret source"


def resolve(config: Config, *, environment: Mapping[str, str] | None = None) -> Config:
    """The configuration with each reference to a secret replaced by the secret; `load_config` does
    it by itself.

    environment: what `env` sources read, the process's own unless given. May wait up to 30 s for
    each kms command.
    Raises: ConfigError with everything that cannot be read or is not of its form.
    Source: protocol/config.md, secrets[].
    """
    problems = Problems("configuration", lambda _path: 0)
    sources = SecretSources(config.secrets, environment)
    auth = CredentialReader(sources, problems).read(config.auth)
    problems.raise_if_any()
    return msgspec.structs.replace(config, auth=auth)


class CredentialReader:
    """Reads the credentials of one configuration.

    reads_secrets: False leaves references as they are, unread.
    """

    def __init__(
        self, sources: SecretSources, problems: Problems, *, reads_secrets: bool = True
    ) -> None:
        self._sources = sources
        self._problems = problems
        self._reads_secrets = reads_secrets

    def read(self, auth: AuthConfig) -> AuthConfig:
        """The section with secrets in place, hashes in lower case; what is wrong goes to the
        problems.
        """
        principals = tuple(
            self._principal(principal, ("auth", "principals", index))
            for index, principal in enumerate(auth.principals)
        )
        path = ("auth", "enroll", "tokens")
        tokens = tuple(
            self._digest(token, (*path, index), "auth.enroll.tokens", "auth.enroll.tokens")
            for index, token in enumerate(auth.enroll.tokens)
        )
        enroll = msgspec.structs.replace(auth.enroll, tokens=tokens)
        return msgspec.structs.replace(auth, principals=principals, enroll=enroll)

    def _principal(self, principal: PrincipalConfig, path: Path) -> PrincipalConfig:
        methods = tuple(
            self._method(method, f"principal {quote(principal.name)}", (*path, "methods", index))
            for index, method in enumerate(principal.methods)
        )
        return msgspec.structs.replace(principal, methods=methods)

    def _method(self, method: MethodConfig, who: str, path: Path) -> MethodConfig:
        bearer, password, keyring = method.bearer, method.password, method.keyring
        mtls, peercred = method.mtls, method.peercred
        if peercred is not None:
            self._check_peercred(peercred, who, (*path, "peercred"))
        return MethodConfig(
            bearer=bearer and self._bearer(bearer, f"{who} bearer", (*path, "bearer")),
            password=password and self._password(password, f"{who} password", (*path, "password")),
            mtls=mtls and self._mtls(mtls, f"{who} mtls", (*path, "mtls")),
            keyring=keyring and self._keyring(keyring, f"{who} keyring", (*path, "keyring")),
            peercred=peercred,
        )

    def _bearer(self, method: BearerMethod, place: str, path: Path) -> BearerMethod:
        field = (*path, "token_hash")
        if not self._is_given(method.token_hash, "token_hash", place, field):
            return method
        return BearerMethod(token_hash=self._digest(method.token_hash, field, place, "token_hash"))

    def _password(self, method: PasswordMethod, place: str, path: Path) -> PasswordMethod:
        self._is_given(method.user, "user", place, (*path, "user"))
        field = (*path, "password_hash")
        if not self._is_given(method.password_hash, "password_hash", place, field):
            return method
        value = self._value(method.password_hash, field, place)
        if value is None:
            return method
        if not value:
            self._missing("password_hash", place, field)
        elif not _BCRYPT.fullmatch(value):
            text = (
                f"config: {place}: password_hash must be a bcrypt hash ($2b$...), {_OR_REFERENCE}"
            )
            self._problems.add(text, field)
        return msgspec.structs.replace(method, password_hash=value)

    def _mtls(self, method: MTLSMethod, place: str, path: Path) -> MTLSMethod:
        pin_path = (*path, "spki_sha256")
        if not method.subject_cn and not method.spki_sha256:
            if not self._problems.is_unreadable(pin_path):
                self._missing("subject_cn or spki_sha256", place, path)
        elif method.spki_sha256:
            pin = self._digest(method.spki_sha256, pin_path, place, "spki_sha256")
            return msgspec.structs.replace(method, spki_sha256=pin)
        return method

    def _keyring(self, method: KeyringMethod, place: str, path: Path) -> KeyringMethod:
        field = (*path, "ed25519")
        if not self._is_given(method.ed25519, "ed25519", place, field):
            return method
        value = self._value(method.ed25519, field, place)
        if value is None:
            return method
        fault = _authorized_key_fault(value)
        if fault:
            text = f"init auth: auth: {place}: auth: parse authorized key: {fault}"
            self._problems.add(text, field)
        return KeyringMethod(ed25519=value)

    def _check_peercred(self, method: PeercredMethod, who: str, path: Path) -> None:
        if method.uid is None:
            self._missing("uid", f"{who} peercred", (*path, "uid"))

    def _digest(self, text: str, path: Path, place: str, key: str) -> str:
        """A SHA-256 in hex, in lower case; the text itself where it cannot be had."""
        value = self._value(text, path, place)
        if value is None:
            return text
        if not value:
            self._missing(key, place, path)
        elif not _SHA256_HEX.fullmatch(value):
            what = key if place == key else f"{place}: {key}"
            fault = f"config: {what} must be 64 hex characters (a SHA-256), {_OR_REFERENCE}"
            self._problems.add(f"{fault}; it has {len(value)} characters", path)
        return value.lower()

    def _value(self, text: str, path: Path, place: str) -> str | None:
        """The trimmed literal, or the trimmed secret; None where it could not or was not to be
        read.
        """
        if not self._sources.is_reference(text):
            return text.strip()
        if not self._reads_secrets:
            return None
        try:
            return self._sources.read(text).strip()
        except SecretError as error:
            self._problems.add(f"init auth: auth: {place}: {error}", path)
            return None

    def _is_given(self, value: str, key: str, place: str, path: Path) -> bool:
        if not value:
            self._missing(key, place, path)
        return bool(value)

    def _missing(self, key: str, place: str, path: Path) -> None:
        self._problems.add(f"init auth: auth: {place}: missing {key}", path)


def _authorized_key_fault(line: str) -> str | None:
    """What is wrong with an authorized-keys line; options before the type and a comment after it
    are allowed.
    """
    words = line.split()
    if _KEY_TYPE not in words:
        return "want an ssh-ed25519 key: ssh-ed25519 <base64> [comment]"
    rest = words[words.index(_KEY_TYPE) + 1 :]
    if not rest:
        return "the base64 text of the key is missing"
    try:
        blob = base64.b64decode(rest[0], validate=True)
    except (binascii.Error, ValueError):
        return "the text after ssh-ed25519 is not base64"
    if len(blob) != _KEY_BLOB_BYTES or not blob.startswith(_KEY_BLOB_PREFIX):
        return "the base64 text is not an ssh-ed25519 key"
    return None
