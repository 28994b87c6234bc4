"""Options: defaults, any order, checked when given, masked; endpoints and credentials."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Callable
from itertools import permutations

import httpx
import pytest

from quicsql_client.auth import Basic, Bearer
from quicsql_client.endpoint import Endpoint
from quicsql_client.errors import ConfigurationError, TransportWarning
from quicsql_client.options import (
    DEFAULT_MAX_RESPONSE_BYTES,
    ClientOptions,
    Option,
    with_basic_auth,
    with_bearer,
    with_client_cert,
    with_connect_timeout,
    with_insecure_auth_allowed,
    with_max_response,
    with_min_tls,
    with_root_ca,
    with_timeout,
    with_transport,
)
from quicsql_client.tls import client_context
from quicsql_client.wire.messages import Request
from tests.fix_peers import PKI

H1 = Endpoint.parse("db:7775", transport="h1")
H2 = Endpoint.parse("db:7777", transport="h2")
UNIX = Endpoint.unix("/run/q.sock")


def test_defaults() -> None:
    options = ClientOptions.of()
    assert options == ClientOptions()
    assert (options.timeout_s, options.connect_timeout_s) == (30.0, 10.0)
    assert options.max_response_bytes == DEFAULT_MAX_RESPONSE_BYTES == 2**30
    assert (options.min_tls, options.root_cas, options.credential) == ("1.2", (), None)


def test_any_order_gives_the_same() -> None:
    given = with_timeout(5), with_bearer("t"), with_max_response(9), with_min_tls("1.3")
    results = {ClientOptions.of(order) for order in permutations(given)}
    assert len(results) == 1
    (only,) = results
    assert (only.timeout_s, only.max_response_bytes, only.min_tls) == (5.0, 9, "1.3")


def test_the_later_of_two_holds() -> None:
    assert ClientOptions.of([with_timeout(5), with_timeout(None)]).timeout_s is None
    assert ClientOptions.of([with_connect_timeout(1)]).connect_timeout_s == 1.0


@pytest.mark.parametrize("n_bytes", [0, -1])
def test_response_cap_can_be_switched_off(n_bytes: int) -> None:
    assert ClientOptions.of([with_max_response(n_bytes)]).max_response_bytes is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: with_timeout(0),
        lambda: with_timeout(-1),
        lambda: with_timeout(float("nan")),
        lambda: with_timeout(float("inf")),
        lambda: with_timeout("30"),  # type: ignore[arg-type]
        lambda: with_timeout(True),
        lambda: with_connect_timeout(0),
        lambda: with_max_response(1.5),  # type: ignore[arg-type]
        lambda: with_min_tls("1.1"),  # type: ignore[arg-type]
        lambda: with_root_ca(),
        lambda: with_transport(httpx.HTTPTransport),
        lambda: with_transport("x"),
        lambda: ClientOptions.of([with_bearer]),  # type: ignore[list-item]
    ],
)
def test_wrong_values_are_refused_at_once(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError):
        make()


@pytest.mark.parametrize("token", ["", "a b", "S3CRET\r\nx: y", "S3CRET\0", "S3CRET\u20ac", "\xe9"])
def test_token_that_cannot_be_sent(token: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        with_bearer(token)
    assert "S3CRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("user", "password"), [("", "p"), ("a:b", "p"), ("a\n", "p"), ("a", "S3CRET\r"), ("a", 7)]
)
def test_basic_auth_that_cannot_be_sent(user: str, password: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        with_basic_auth(user, password)
    assert "S3CRET" not in str(caught.value)


def test_headers_and_precedence() -> None:
    request = Request("GET", "/")
    assert Bearer("st_x").headers_for(request) == (("authorization", "Bearer st_x"),)
    ((name, value),) = Basic("ünï", "p:w").headers_for(request)
    assert name == "authorization"
    assert base64.b64decode(value.removeprefix("Basic ")).decode() == "ünï:p:w"
    both = ClientOptions.of([with_basic_auth("u", "p"), with_bearer("t")])
    assert both.credential == Basic("u", "p")
    assert ClientOptions.of([with_bearer("t")]).credential == Bearer("t")


def test_nothing_shows_a_secret(peer_pki: PKI) -> None:
    ours = peer_pki.client
    given: list[Option] = [
        with_bearer("S3CRET"),
        with_basic_auth("user", "S3CRET"),
        with_client_cert(ours.cert_pem, ours.key_pem(b"S3CRET"), password="S3CRET"),
        with_root_ca(peer_pki.server_ca.cert_pem),
    ]
    shown = "".join(f"{o!r}{o}" for o in given) + repr(ClientOptions.of(given))
    assert "S3CRET" not in shown
    assert "-----BEGIN" not in shown
    assert "CN=analyst" in shown


@pytest.mark.parametrize("endpoint", [H1, UNIX, Endpoint.parse("db:1", transport="h2c")])
def test_tls_material_without_tls_is_refused(endpoint: Endpoint, peer_pki: PKI) -> None:
    ours = peer_pki.client
    for option in (
        with_client_cert(ours.cert_pem + ours.key_pem()),
        with_root_ca(peer_pki.server_ca.cert_pem),
    ):
        with pytest.raises(ConfigurationError, match="has no TLS"):
            ClientOptions.of([option], endpoint)


def test_tls_material_beside_a_transport_is_refused(peer_pki: PKI) -> None:
    given = [with_transport(httpx.HTTPTransport()), with_root_ca(peer_pki.server_ca.cert_pem)]
    with pytest.raises(ConfigurationError, match="makes its own TLS"):
        ClientOptions.of(given, H2)


@pytest.mark.parametrize("endpoint", [H1, Endpoint.parse("db:1", transport="h2", insecure=True)])
def test_exposed_credential_is_warned_about(endpoint: Endpoint) -> None:
    with pytest.warns(TransportWarning, match="credential will travel"):
        ClientOptions.of([with_bearer("t")], endpoint)
    ClientOptions.of([with_bearer("t"), with_insecure_auth_allowed()], endpoint)


@pytest.mark.parametrize("endpoint", [H2, UNIX])
def test_protected_credential_is_not(endpoint: Endpoint) -> None:
    assert ClientOptions.of([with_bearer("t")], endpoint).bearer == Bearer("t")


# Endpoints


@pytest.mark.parametrize(
    ("address", "transport", "authority", "base_url"),
    [
        ("db.example.com:7777", "h2", "db.example.com:7777", "https://db.example.com:7777"),
        ("[::1]:7777", "h1", "[::1]:7777", "http://[::1]:7777"),
        ("127.0.0.1:1", "h2c", "127.0.0.1:1", "http://127.0.0.1:1"),
        ("/run/a b.sock", "unix", "unix", "http://unix"),
    ],
)
def test_endpoint(address: str, transport: str, authority: str, base_url: str) -> None:
    endpoint = Endpoint.parse(address, transport=transport)
    assert (endpoint.authority, endpoint.base_url) == (authority, base_url)
    assert endpoint.tls == base_url.startswith("https")


def test_endpoint_facts() -> None:
    assert Endpoint.parse("[::1]:7", transport="h1").host == "::1"
    assert Endpoint.parse("db:7", transport="h1", insecure=True).insecure is False
    assert str(UNIX) == "/run/q.sock"
    assert not UNIX.is_cleartext


@pytest.mark.parametrize(
    "address",
    [
        "db",
        ":7777",
        "db:",
        "db:0",
        "db:65536",
        "db:7x",
        "::1:7777",
        "[::1]",
        "[x]:1",
        "https://db:1",
        "a b:1",
        "user:S3CRET@db:1",
        "db/x:1",
        "",
    ],
)
def test_address_that_cannot_work(address: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Endpoint.parse(address, transport="h2")
    assert "S3CRET" not in str(caught.value)


@pytest.mark.parametrize("path", ["", "a\0b", "/" + "x" * 108])
def test_socket_path_that_cannot_work(path: str) -> None:
    with pytest.raises(ConfigurationError, match="unix socket"):
        Endpoint.unix(path)


def test_unknown_transport() -> None:
    with pytest.raises(ConfigurationError, match=r'unknown transport "ftp" \(want h1\|h2c'):
        Endpoint.parse("db:1", transport="ftp")


# Contexts


def test_context_verifies(peer_pki: PKI) -> None:
    options = ClientOptions.of([with_root_ca(peer_pki.server_ca.cert_pem)])
    context = client_context(options, H2)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert not context.hostname_checks_common_name
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert [c["subject"] for c in context.get_ca_certs()] == [
        ((("commonName", "test server CA"),),)
    ]
    assert client_context(options, H2) is not context


def test_context_of_options() -> None:
    context = client_context(ClientOptions.of([with_min_tls("1.3")]), H2)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    insecure = Endpoint.parse("db:1", transport="h2", insecure=True)
    assert client_context(ClientOptions(), insecure).verify_mode is ssl.CERT_NONE
