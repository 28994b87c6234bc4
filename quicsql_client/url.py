"""quicsql:// URLs, in and out.

Follows the driver's DSN in what it takes, in the order of its checks and in its texts, and is
stricter where the original lets a mistake pass: unknown and repeated parameters and bad percent
escapes are refused. No error and no repr holds a secret. Source: protocol/client.md, section 2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from .endpoint import Endpoint
from .errors import ConfigurationError, Error, UnsafeCredentialError
from .options import (
    Option,
    with_basic_auth,
    with_bearer,
    with_client_cert,
    with_insecure_auth_allowed,
    with_root_ca,
    with_timeout,
)

__all__ = ["URL_PARAMETERS", "ConnectionURL", "parse_url", "redact_url"]

_TRUE, _FALSE = frozenset({"1", "true"}), frozenset({"0", "false"})
_SECRET = frozenset({"token", "password", "sslpassword"})
_TEXT_PARAMETERS = (
    "socket",
    "token",
    "user",
    "password",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslpassword",
)
URL_PARAMETERS = ("transport", *_TEXT_PARAMETERS, "insecure", "timeout", "allow_insecure_auth")
"""What may stand behind the ? of a quicsql:// URL. Source: protocol/client.md, section 2."""
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ESCAPES = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_MASK = "***"
_NOTHING = "<redacted DSN>"


@dataclass(frozen=True, slots=True, repr=False)
class ConnectionURL:
    """The parts of a quicsql:// URL, decoded; None or False where it says nothing.

    port: 0 when the URL has none (unix). timeout: seconds. str() and repr() hide secrets,
    `render` can show them.
    """

    host: str
    port: int
    database: str
    transport: str = "h1"
    socket: str | None = None
    token: str | None = None
    user: str | None = None
    password: str | None = None
    sslrootcert: str | None = None
    sslcert: str | None = None
    sslkey: str | None = None
    sslpassword: str | None = None
    insecure: bool = False
    timeout: float | None = None
    allow_insecure_auth: bool = False
    endpoint: Endpoint = field(init=False, compare=False)
    """Where it leads. Making the URL raises ConfigurationError when the address cannot be one."""

    def __post_init__(self) -> None:
        if self.transport == "unix":
            endpoint = Endpoint.unix(self.socket or "")
        else:
            host = f"[{self.host}]" if ":" in self.host else self.host
            address = f"{host}:{self.port}" if self.port else host
            endpoint = Endpoint.parse(address, transport=self.transport, insecure=self.insecure)
        object.__setattr__(self, "endpoint", endpoint)

    @property
    def options(self) -> tuple[Option, ...]:
        """The URL's settings as options;

        Files are read now. Raises ConfigurationError naming the file.
        """
        options: list[Option] = []
        if self.sslrootcert:
            options.append(with_root_ca(self.sslrootcert))
        if self.sslcert:
            options.append(with_client_cert(self.sslcert, self.sslkey, password=self.sslpassword))
        if self.token:
            options.append(with_bearer(self.token))
        if self.user:
            options.append(with_basic_auth(self.user, self.password or ""))
        if self.timeout is not None:
            options.append(with_timeout(self.timeout))
        if self.allow_insecure_auth:
            options.append(with_insecure_auth_allowed())
        return tuple(options)

    def render(self, *, hide_secrets: bool = True) -> str:
        """The URL as text; `parse_url(url.render(hide_secrets=False))` gives it back."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        address = f"{host}:{self.port}" if self.port else host
        given = ((name, getattr(self, name)) for name in URL_PARAMETERS)
        pairs = [
            f"{name}={_shown(name, value, hide_secrets)}"
            for name, value in given
            if value not in (None, False)
        ]
        return f"quicsql://{address}/{quote(self.database)}?{'&'.join(pairs)}"

    def __str__(self) -> str:
        return self.render()

    def __repr__(self) -> str:
        return f"ConnectionURL({self.render()!r})"


def parse_url(url: str) -> ConnectionURL:
    """Read a quicsql:// URL:

    `quicsql://host:port/DB?params`, or `quicsql:///DB?transport=unix&socket=/path`.

    transport is h1 unless the URL names one, or has sslrootcert or sslcert: then h2. Boolean
    parameters take 1, true, 0, false. Reads no file. Raises UnsafeCredentialError for a
    credential over cleartext or unverified TLS without allow_insecure_auth=1, ConfigurationError
    for everything else that is wrong, in the driver's order and words.
    """
    if not isinstance(url, str):
        raise ConfigurationError(f"quicsql: expected the URL as a str, got {type(url).__name__}")
    parts = _split(url)
    shown = redact_url(url)
    if parts.scheme != "quicsql":
        raise ConfigurationError(f'quicsql: DSN scheme must be "quicsql", got "{parts.scheme}"')
    if "@" in parts.netloc:
        raise ConfigurationError(
            "quicsql: put credentials in query params (?token= or ?user=&password=), not the URL "
            "userinfo (user:pw@host)"
        )
    database = _decode(parts.path.removeprefix("/"), "the database name", shown)
    if not database:
        raise ConfigurationError("quicsql: DSN is missing the database name (quicsql://host/DB?…)")
    parameters = _parameters(parts.query, shown)
    if parts.fragment:
        raise _bad(shown, "it has a #fragment; write # in a value as %23")
    return _build(parts.netloc, database, parameters, shown)


def redact_url(url: str) -> str:
    """The URL with userinfo password, token, password, key and secret values masked;

    Never a secret, never an error.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return _NOTHING
    if not parts.scheme or any(ord(c) < 0x20 for c in url):
        return _NOTHING
    _, at, host = parts.netloc.rpartition("@")
    netloc = f"{_MASK}@{host}" if at else host
    query = "&".join(_mask_pair(pair) for pair in parts.query.split("&") if pair)
    text = f"{parts.scheme}://{netloc}{parts.path}"
    return f"{text}?{query}" if query else text


def _mask_pair(pair: str) -> str:
    """A known parameter that is no secret stays;

    A name that nobody knows may be the rest of a cut secret.
    """
    name, _, _ = pair.partition("=")
    if name not in URL_PARAMETERS:
        return _MASK
    return f"{name}={_MASK}" if name in _SECRET else pair


def _bad(shown: str, reason: str) -> ConfigurationError:
    return ConfigurationError(f'quicsql: bad DSN "{shown}": {reason}')


def _split(url: str) -> _Parts:
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in url):
        raise _bad(_NOTHING, "it holds a line break or control character")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _bad(_NOTHING, "the address is malformed") from None
    if not parts.scheme:
        raise ConfigurationError('quicsql: DSN scheme must be "quicsql", got ""')
    return _Parts(parts.scheme, parts.netloc, parts.path, parts.query, parts.fragment)


@dataclass(frozen=True, slots=True)
class _Parts:
    scheme: str
    netloc: str
    path: str
    query: str
    fragment: str


def _parameters(query: str, shown: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in filter(None, query.split("&")):
        raw_name, _, raw_value = pair.partition("=")
        name = _decode(raw_name.replace("+", " "), "a parameter name", shown)
        if name not in URL_PARAMETERS:
            raise _unknown_parameter(name, found, shown)
        if name in found:
            raise _bad(shown, f'parameter "{name}" is given twice')
        found[name] = _decode(raw_value.replace("+", " "), f'parameter "{name}"', shown)
    return found


def _unknown_parameter(name: str, found: dict[str, str], shown: str) -> ConfigurationError:
    if _SECRET & found.keys():  # it may be the rest of a secret that holds a bare &: not repeated
        what = "an unknown parameter; in a value write & as %26"
    else:
        what = f'unknown parameter "{name[:40]}"'
    return _bad(shown, f"{what}; known are {', '.join(URL_PARAMETERS)}")


def _decode(text: str, what: str, shown: str) -> str:
    if _BAD_ESCAPE.search(text):
        raise _bad(shown, f"bad percent escape in {what}; write % as %25")
    try:
        return _ESCAPES.sub(lambda m: bytes.fromhex(m[0].replace("%", "")).decode("utf-8"), text)
    except UnicodeDecodeError:
        # No cause: it carries the bytes, and they may be a secret.
        raise _bad(shown, f"{what} is not UTF-8 behind its percent escapes") from None


def _build(netloc: str, database: str, parameters: dict[str, str], shown: str) -> ConnectionURL:
    has_tls_files = parameters.get("sslrootcert") or parameters.get("sslcert")
    transport = parameters.get("transport") or ("h2" if has_tls_files else "h1")
    insecure = _boolean("insecure", parameters, shown)
    allow = _boolean("allow_insecure_auth", parameters, shown)
    if (parameters.get("token") or parameters.get("user")) and not allow:
        _refuse_exposed_credential(transport, insecure)
    if transport == "unix" and not parameters.get("socket"):
        raise ConfigurationError("quicsql: unix transport needs ?socket=<path>")
    _check_tls_files(parameters, transport, shown)
    host, port = _address(netloc, transport)
    return ConnectionURL(
        host,
        port,
        database,
        transport=transport,
        insecure=insecure,
        allow_insecure_auth=allow,
        timeout=_timeout(parameters, shown),
        **{name: parameters.get(name) or None for name in _TEXT_PARAMETERS},
    )


def _address(netloc: str, transport: str) -> tuple[str, int]:
    if transport == "unix":
        if netloc:
            raise ConfigurationError(
                "quicsql: unix transport takes no host; write "
                "quicsql:///DB?transport=unix&socket=<path>"
            )
        return "", 0
    endpoint = Endpoint.parse(netloc, transport=transport)
    return endpoint.host, endpoint.port


def _refuse_exposed_credential(transport: str, insecure: bool) -> None:
    if transport in ("h1", "h2c"):
        raise UnsafeCredentialError(
            f'quicsql: refusing to send a credential over cleartext transport="{transport}"; use '
            "h2/h3 over verified TLS "
            "or a unix socket, or set allow_insecure_auth=1 to override"
        )
    if transport in ("h2", "h3") and insecure:
        raise UnsafeCredentialError(
            f'quicsql: refusing to send a credential over transport="{transport}" with insecure=1 '
            "(unverified TLS); use a "
            "verified certificate (WithRootCA) or set allow_insecure_auth=1 to override"
        )


def _check_tls_files(parameters: dict[str, str], transport: str, shown: str) -> None:
    given = [
        name for name in ("sslrootcert", "sslcert", "sslkey", "sslpassword") if parameters.get(name)
    ]
    if given and transport in ("h1", "h2c", "unix"):
        raise _bad(
            shown,
            f'{", ".join(given)} cannot be used over transport="{transport}", which has no TLS; '
            "use transport=h2",
        )
    if "sslcert" not in given and ("sslkey" in given or "sslpassword" in given):
        raise _bad(shown, "sslkey and sslpassword need sslcert")


def _boolean(name: str, parameters: dict[str, str], shown: str) -> bool:
    value = parameters.get(name, "0").lower()
    if value not in _TRUE | _FALSE:
        raise _bad(shown, f'parameter "{name}" must be 1, true, 0 or false')
    return value in _TRUE


def _timeout(parameters: dict[str, str], shown: str) -> float | None:
    text = parameters.get("timeout")
    if text is None:
        return None
    try:
        seconds = float(text)
        with_timeout(seconds)
    except (ValueError, Error):
        raise _bad(shown, 'parameter "timeout" must be a number of seconds above 0') from None
    return seconds


def _shown(name: str, value: object, hide_secrets: bool) -> str:
    if value is True:
        return "1"
    if hide_secrets and name in _SECRET:
        return _MASK
    return quote(str(value), safe="/")
