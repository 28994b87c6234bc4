"""ClientOptions and the `with_...` values that configure it, in any order.

Each option checks what it was given at once, so that a mistake is an error where it was made.
Opens no connection. Every repr is masked.
"""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from .auth import Basic, Bearer, Credential, Ed25519Key
from .certificate_sources import CertificateFiles, CertificateSource, RootCAFiles
from .certificates import ClientCertificate, PEMSource, RootCA
from .ed25519_keys import Ed25519Source, load_ed25519
from .endpoint import Endpoint
from .errors import ConfigurationError, TransportWarning

__all__ = [
    "DEFAULT_MAX_RESPONSE_BYTES",
    "ClientOptions",
    "Option",
    "with_basic_auth",
    "with_bearer",
    "with_certificate_check",
    "with_client_cert",
    "with_connect_timeout",
    "with_ed25519",
    "with_insecure_auth_allowed",
    "with_max_response",
    "with_min_tls",
    "with_root_ca",
    "with_server_pin",
    "with_timeout",
    "with_transport",
]

DEFAULT_TIMEOUT_S = 30.0
DEFAULT_CONNECT_TIMEOUT_S = 10.0
# protocol/client.md, section 1: WithMaxResponse
DEFAULT_MAX_RESPONSE_BYTES = 1_073_741_824
# Below the 10 s in which a renewed file is to be in use (design/requirements.md, C9).
DEFAULT_CERTIFICATE_CHECK_S = 5.0
_PIN = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """What a client is configured with.

    root_cas: empty means the system's; they and client_cert are what root_sources and client_source
    held when they were last read. certificate_check_s: how often those are asked for a change, None
    for never. server_pins: SPKI pins of which the server's must be one; empty: no pin.
    timeout_s: total for a call, None for no limit. connect_timeout_s: for the connection and its
    TLS handshake, inside the total. max_response_bytes: None for no cap. transport: an httpx
    transport to use instead of our own.
    """

    root_cas: tuple[RootCA, ...] = ()
    root_sources: tuple[RootCAFiles, ...] = field(default=(), repr=False)
    client_cert: ClientCertificate | None = None
    client_source: CertificateSource | None = field(default=None, repr=False)
    certificate_check_s: float | None = DEFAULT_CERTIFICATE_CHECK_S
    server_pins: tuple[str, ...] = ()
    bearer: Bearer | None = None
    basic: Basic | None = None
    ed25519: Ed25519Key | None = None
    timeout_s: float | None = DEFAULT_TIMEOUT_S
    connect_timeout_s: float | None = DEFAULT_CONNECT_TIMEOUT_S
    max_response_bytes: int | None = DEFAULT_MAX_RESPONSE_BYTES
    min_tls: Literal["1.2", "1.3"] = "1.2"
    transport: Any = None
    allow_insecure_auth: bool = False

    @classmethod
    def of(cls, options: Iterable[Option] = (), endpoint: Endpoint | None = None) -> Self:
        """The defaults, changed by each option; of two of a kind the later one holds.

        endpoint: when given, the options are checked against it, see `check_endpoint`.
        """
        configured: Self = cls()
        for option in options:
            if not isinstance(option, Option):
                raise ConfigurationError(
                    f"expected an option such as with_root_ca(...), got {type(option).__name__}"
                )
            configured = option.apply(configured)
        if endpoint is not None:
            configured.check_endpoint(endpoint)
        return configured

    @property
    def credential(self) -> Credential | None:
        """The one that goes into requests where there is no `ed25519`: Basic before bearer.

        Source: protocol/client.md, section 1.
        """
        return self.basic or self.bearer

    def without_credentials(self) -> Self:
        """The same options for requests that say themselves who asks."""
        return replace(self, basic=None, bearer=None, ed25519=None)

    def certificate_stamp(self) -> Hashable:
        """Something that differs after a source of certificates has changed; never raises."""
        stamps = tuple(source.stamp() for source in self.root_sources)
        return stamps, self.client_source.stamp() if self.client_source is not None else None

    def with_certificates_read_again(self) -> Self:
        """The same options with what the sources of certificates hold now.

        Raises ConfigurationError.
        """
        source = self.client_source
        return replace(
            self,
            root_cas=tuple(authority.load() for authority in self.root_sources),
            client_cert=source.load() if source is not None else None,
        )

    def check_endpoint(self, endpoint: Endpoint) -> None:
        """Prove that these options make sense there.

        Raises ConfigurationError when TLS material is given and it could not be used. Warns with
        TransportWarning when a credential would travel over cleartext or unverified TLS.
        """
        if self.client_cert is not None:
            self._refuse_unused("client certificate", "with_client_cert", endpoint)
        if self.root_cas:
            self._refuse_unused("root CA", "with_root_ca", endpoint)
        if self.server_pins:
            self._refuse_unused("pin", "with_server_pin", endpoint)
        is_pinned = bool(self.server_pins) and endpoint.tls
        has_credential = self.credential is not None or self.ed25519 is not None
        if has_credential and not (self.allow_insecure_auth or is_pinned):
            _warn_when_exposed(endpoint)

    def _refuse_unused(self, what: str, option: str, endpoint: Endpoint) -> None:
        if not endpoint.tls:
            raise ConfigurationError(
                f'{option}: transport "{endpoint.transport}" has no TLS, so the {what} would not '
                "be used; "
                "use h2 (Client.h2tls), or leave the option out"
            )
        if self.transport is not None:
            raise ConfigurationError(
                f"{option}: the transport given with with_transport makes its own TLS, so the "
                f"{what} would not be "
                "used; give it to that transport as an ssl.SSLContext"
            )


def _warn_when_exposed(endpoint: Endpoint) -> None:
    if endpoint.is_cleartext:
        where = f'a cleartext transport "{endpoint.transport}"'
    elif endpoint.insecure:
        where = "unverified TLS (insecure)"
    else:
        return
    warnings.warn(
        f"a credential will travel over {where} to {endpoint}: use h2 over verified TLS or a unix "
        "socket",
        TransportWarning,
        stacklevel=5,
    )


@dataclass(frozen=True, slots=True)
class Option:
    """One setting for a client, made by a `with_...` function.

    Shown: what repr says, without secrets.
    """

    shown: str
    apply: Callable[[Any], Any] = field(repr=False, compare=False)

    def __repr__(self) -> str:
        return self.shown


def _setting(shown: str, **changes: Any) -> Option:
    return Option(shown, lambda options: replace(options, **changes))


def with_root_ca(*sources: PEMSource) -> Option:
    """Trust only servers whose certificate one of these CAs issued;

    The system's CAs are then not used.

    sources: paths or PEM text, each with one or many certificates; a file that changes is read
    anew (`with_certificate_check`). Raises ConfigurationError naming the file.
    """
    if not sources:
        raise ConfigurationError("with_root_ca: no CA was given; give a path or PEM text")
    places = tuple(RootCAFiles(source) for source in sources)
    loaded = tuple(place.load() for place in places)
    names = ", ".join(repr(authority.source) for authority in loaded)
    return _setting(f"with_root_ca({names})", root_cas=loaded, root_sources=places)


def with_client_cert(
    cert: PEMSource | CertificateSource,
    key: PEMSource | None = None,
    *,
    password: str | bytes | None = None,
) -> Option:
    """Identify with this client certificate (mTLS). Source: protocol/auth.md, "mTLS".

    cert: path or PEM, with its chain; or a CertificateSource, such as PKCS12File. key: path or
    PEM; None when `cert` holds it too. password: of an encrypted key. Files that change are read
    anew (`with_certificate_check`). Raises ConfigurationError naming the file and what to do; warns
    when the key file is readable by everyone.
    """
    if isinstance(cert, str | bytes | bytearray | os.PathLike):
        source: CertificateSource = CertificateFiles(cert, key, password)
    elif key is None and password is None:
        source = cert
    else:
        raise ConfigurationError(
            "with_client_cert: a CertificateSource brings its own key and password; leave key= and "
            "password= out"
        )
    loaded = source.load()
    return _setting(
        f"with_client_cert({loaded.source!r}: {loaded.facts})",
        client_cert=loaded,
        client_source=source,
    )


def with_certificate_check(seconds: float | None) -> Option:
    """How often the sources of certificates are asked whether they have changed, in seconds;

    Default 5, None for never (then `reload_certificates()` alone renews).

    A changed source is read, proved to match and put in use for new connections; old ones are
    closed when their call ends. What is bad is warned of in the log, and the old material stays.
    """
    value = _seconds("with_certificate_check", seconds)
    return _setting(f"with_certificate_check({value})", certificate_check_s=value)


def with_server_pin(*pins: str) -> Option:
    """Accept only a server whose public key has one of these pins, besides all other verification.

    pins: SPKI SHA-256 in hex, as `quicsql-py pki pin server.crt` prints; give the next key's too
    before it is taken into use. With `insecure=True` the pin alone proves the server. Raises
    ConfigurationError for what is no pin.
    """
    wanted = tuple(pin.lower() if isinstance(pin, str) else "" for pin in pins)
    if not wanted or not all(_PIN.fullmatch(pin) for pin in wanted):
        raise ConfigurationError(
            "with_server_pin: expected SHA-256 pins of 64 hexadecimal digits; "
            "`quicsql-py pki pin server.crt` prints one"
        )
    return _setting(f"with_server_pin({', '.join(map(repr, wanted))})", server_pins=wanted)


def with_bearer(token: str) -> Option:
    """Identify with a bearer token. Raises ConfigurationError when it could not be sent as it "
    "is."""
    return _setting("with_bearer('***')", bearer=Bearer(token))


def with_basic_auth(user: str, password: str) -> Option:
    """Identify with a user name and a password (HTTP Basic). Raises ConfigurationError."""
    return _setting(f"with_basic_auth({user!r}, '***')", basic=Basic(user, password))


def with_ed25519(key: Ed25519Source, *, password: str | bytes | None = None) -> Option:
    """Identify by signing each request with an Ed25519 key (method keyring of the server).

    key: an Ed25519PrivateKey; path or text of a private key file, OpenSSH's or PKCS#8; an
    `SSHAgent` with one such key, or one of its `identities()`. password: of an encrypted file.
    It goes before a user or a token. Raises ConfigurationError naming the file or the agent; warns
    when the file is readable by everyone. Source: protocol/auth.md, Keyring.
    """
    loaded = load_ed25519(key, password)
    return _setting(f"with_ed25519({loaded})", ed25519=loaded)


def with_timeout(seconds: float | None) -> Option:
    """The total time of one call, from waiting for a connection to the last byte;

    Default 30, None for no limit.
    """
    value = _seconds("with_timeout", seconds)
    return _setting(f"with_timeout({value})", timeout_s=value)


def with_connect_timeout(seconds: float | None) -> Option:
    """The time to connect and finish the TLS handshake, inside the call's total;

    Default 10, None for no limit.
    """
    value = _seconds("with_connect_timeout", seconds)
    return _setting(f"with_connect_timeout({value})", connect_timeout_s=value)


def with_max_response(n_bytes: int) -> Option:
    """The largest answer that is read, in bytes; default 1073741824, 0 or less for no cap.

    A larger one raises ResponseTooLarge before it is held in memory. Source: protocol/client.md,
    section 1.
    """
    if isinstance(n_bytes, bool) or not isinstance(n_bytes, int):
        raise ConfigurationError(
            f"with_max_response: expected a whole number of bytes, got {type(n_bytes).__name__}"
        )
    cap = n_bytes if n_bytes > 0 else None
    return _setting(f"with_max_response({n_bytes})", max_response_bytes=cap)


def with_min_tls(version: Literal["1.2", "1.3"]) -> Option:
    """The oldest TLS version to speak: "1.2" (the default) or "1.3"."""
    if version not in ("1.2", "1.3"):
        raise ConfigurationError(f'with_min_tls: expected "1.2" or "1.3", got {version!r}')
    return _setting(f"with_min_tls({version!r})", min_tls=version)


def with_transport(transport: Any) -> Option:
    """Send requests through this `httpx.BaseTransport` (for an async client an
    `httpx.AsyncBaseTransport`).

    The client does not close it. Timeouts and the response cap still hold as far as the transport
    keeps to them.
    """
    is_transport = any(
        callable(getattr(transport, name, None))
        for name in ("handle_request", "handle_async_request")
    )
    if not is_transport or isinstance(transport, type):
        raise ConfigurationError(
            "with_transport: expected an httpx.BaseTransport or httpx.AsyncBaseTransport, "
            f"got {transport!r:.80}"
        )
    return _setting(f"with_transport({type(transport).__name__})", transport=transport)


def with_insecure_auth_allowed() -> Option:
    """Do not warn about a credential over cleartext or unverified TLS:

    It is wanted (`allow_insecure_auth=1`).
    """
    return _setting("with_insecure_auth_allowed()", allow_insecure_auth=True)


def _seconds(option: str, seconds: float | None) -> float | None:
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise ConfigurationError(
            f"{option}: expected seconds or None, got {type(seconds).__name__}"
        )
    if not (math.isfinite(seconds) and seconds > 0):
        raise ConfigurationError(
            f"{option}: expected more than 0 seconds, or None for no limit, got {seconds!r}"
        )
    return float(seconds)
