"""quicsql:// URLs: what they mean, the order and words of refusals, and that no secret is shown.

Odd-cases 143, 144, 186.
"""

from __future__ import annotations

import traceback

import pytest

from quicsql_client.errors import ConfigurationError, UnsafeCredentialError
from quicsql_client.options import ClientOptions
from quicsql_client.url import ConnectionURL, parse_url, redact_url
from tests.fix_peers import PKI

HOST = "quicsql://db.example.com:7777"


def test_plain() -> None:
    url = parse_url(f"{HOST}/app")
    assert (url.host, url.port, url.database) == ("db.example.com", 7777, "app")
    assert (url.transport, url.timeout, url.insecure) == ("h1", None, False)
    assert url.endpoint.base_url == "http://db.example.com:7777"
    assert url.options == ()


def test_everything() -> None:
    url = parse_url(
        "quicsql://[::1]:7777/my%20db%2Fx?transport=h2&token=a%26b&timeout=2.5&insecure=1"
        "&allow_insecure_auth=TRUE"
    )
    assert (url.host, url.port, url.database) == ("::1", 7777, "my db/x")
    assert (url.token, url.timeout, url.insecure) == ("a&b", 2.5, True)
    assert url.endpoint.insecure
    options = ClientOptions.of(url.options, url.endpoint)
    assert options.timeout_s == 2.5
    assert options.allow_insecure_auth


def test_unix() -> None:
    url = parse_url("quicsql:///app?transport=unix&socket=/run/a%20b.sock&token=t")
    assert url.endpoint.path == "/run/a b.sock"
    assert ClientOptions.of(url.options, url.endpoint).bearer is not None


def test_tls_files_mean_h2(peer_pki: PKI) -> None:
    folder = peer_pki.folder
    (folder / "ca.pem").write_bytes(peer_pki.server_ca.cert_pem)
    bundle = folder / "client.pem"
    bundle.touch(mode=0o600)
    bundle.write_bytes(peer_pki.client.cert_pem + peer_pki.client.key_pem(b"pw"))
    url = parse_url(f"{HOST}/app?sslrootcert={folder}/ca.pem&sslcert={bundle}&sslpassword=pw")
    assert url.transport == "h2"
    options = ClientOptions.of(url.options, url.endpoint)
    assert options.client_cert is not None
    assert options.client_cert.facts.common_name == "analyst"
    assert len(options.root_cas) == 1


@pytest.mark.parametrize(
    "text",
    [
        f"{HOST}/app?",
        f"{HOST}/a%20b?transport=h2&token=a%26b%25&timeout=2.5",
        f"{HOST}/a?transport=h2&user=u&password=p%20%2B",
        "quicsql:///app?transport=unix&socket=/run/x",
        "quicsql://[::1]:1/app?transport=h2&insecure=1",
    ],
)
def test_out_and_in_again(text: str) -> None:
    url = parse_url(text)
    assert parse_url(url.render(hide_secrets=False)) == url


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("quicsql://[::1/app?token=S3CRET", ConfigurationError, 'bad DSN "<redacted DSN>"'),
        (f"{HOST}/app?token=S3CRET\n", ConfigurationError, 'bad DSN "<redacted DSN>"'),
        ("postgres://u:S3CRET@h/d", ConfigurationError, 'must be "quicsql", got "postgres"'),
        ("S3CRET", ConfigurationError, 'must be "quicsql", got ""'),
        ("quicsql://u:S3CRET@h:1/app", ConfigurationError, "not the URL userinfo"),
        (f"{HOST}?token=S3CRET", ConfigurationError, "missing the database name"),
        (f"{HOST}/?token=S3CRET", ConfigurationError, "missing the database name"),
        (f"{HOST}/app?token=S3CRET", UnsafeCredentialError, 'cleartext transport="h1"'),
        (f"{HOST}/app?transport=h2c&user=u", UnsafeCredentialError, 'transport="h2c"'),
        (
            f"{HOST}/app?transport=h2&insecure=1&token=S3CRET",
            UnsafeCredentialError,
            "with insecure=1 (unverified TLS)",
        ),
        ("quicsql:///app?transport=unix&token=S3CRET", ConfigurationError, "needs ?socket="),
        (f"{HOST}/app?transport=ftp&token=S3CRET", ConfigurationError, 'transport "ftp" (want h1'),
        (f"{HOST}/app?nosuch=S3CRET", ConfigurationError, 'unknown parameter "nosuch"; known are'),
        (f"{HOST}/app?token=ab&S3CRET=1", ConfigurationError, "write & as %26"),
        (f"{HOST}/app?token=S3CRET%zz", ConfigurationError, 'escape in parameter "token"'),
        (f"{HOST}/app?token=S3CRET%ff", ConfigurationError, "not UTF-8"),
        (f"{HOST}/ap%zp", ConfigurationError, "escape in the database name"),
        (f"{HOST}/app?token=a&token=S3CRET", ConfigurationError, '"token" is given twice'),
        (f"{HOST}/app?insecure=yes", ConfigurationError, "1, true, 0 or false"),
        (f"{HOST}/app?timeout=soon", ConfigurationError, "number of seconds"),
        (f"{HOST}/app?timeout=0", ConfigurationError, "number of seconds"),
        (f"{HOST}/app?transport=h1&sslcert=x.pem", ConfigurationError, "use transport=h2"),
        (f"{HOST}/app?transport=h2&sslkey=x.pem", ConfigurationError, "need sslcert"),
        (f"{HOST}/app#S3CRET", ConfigurationError, "%23"),
        ("quicsql://db/app", ConfigurationError, "has no port"),
        ("quicsql://db:7x/app?allow_insecure_auth=1&token=S3CRET", ConfigurationError, "port"),
        ("quicsql://h:1/app?transport=unix&socket=/x", ConfigurationError, "takes no host"),
    ],
)
def test_refusals(text: str, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as caught:
        parse_url(text)
    assert words in str(caught.value)
    shown = "".join(traceback.format_exception_only(caught.value)) + repr(caught.value)
    assert "S3CRET" not in shown
    assert caught.value.__cause__ is None or "S3CRET" not in repr(caught.value.__cause__)


def test_refusal_order() -> None:
    """Scheme before userinfo before database before credential."""
    with pytest.raises(ConfigurationError, match="scheme"):
        parse_url("x://u:p@h/?token=t")
    with pytest.raises(ConfigurationError, match="userinfo"):
        parse_url("quicsql://u:p@h/?token=t")
    with pytest.raises(ConfigurationError, match="database name"):
        parse_url("quicsql://h/?token=t")


def test_a_refused_value_is_no_str() -> None:
    with pytest.raises(ConfigurationError, match="as a str"):
        parse_url(b"quicsql://h/d")  # type: ignore[arg-type]


def test_masked() -> None:
    url = parse_url(f"{HOST}/app?transport=h2&token=S3CRET&user=u&password=S3CRET")
    assert isinstance(url, ConnectionURL)
    assert "S3CRET" not in f"{url} {url!r} {url.options!r}"
    assert "token=***" in str(url)
    assert redact_url("quicsql://u:S3CRET@h/d?password=S3CRET&transport=h2&x=S3CRET&S3CRET") == (
        "quicsql://***@h/d?password=***&transport=h2&***&***"
    )
