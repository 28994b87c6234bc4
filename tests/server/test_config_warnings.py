"""What loads with a word of warning: unwise settings, and what is not served yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from quicsql_client.server.config.unserved import NOT_SERVED
from tests.fix_config import LoadYAML

_HASH = "ab" * 32
_AUTH = (
    "auth: {principals: [{name: a, methods: [{bearer: {token_hash: '" + _HASH + "'}}]}]%s}\n"
    "databases: [{name: d, backend: memory, grants: [{principal: a, level: admin}]}]\n"
)
_CLOSED = _AUTH % ""
_TLS = "tls: {p: {mode: self_signed, client_ca: ca.crt}}\n"
_LISTENER = _CLOSED + _TLS + "listeners: [{name: l, address: ':1', %s}]\n"
_UNSERVED = "not served by this version: "

# (file, the beginning of each warning's text, the key it is at)
UNWISE = [
    ("", "no auth configured (no principals and no grants): open mode", "auth"),
    (
        _LISTENER % "transport: h1, auth: [none, bearer]",
        'listener "l" accepts bearer over cleartext h1',
        "listeners[0].auth[1]",
    ),
    (
        _LISTENER % "transport: h2c, auth: [password]",
        'listener "l" accepts password over cleartext h2c',
        "listeners[0].auth[0]",
    ),
    (
        _CLOSED + "tls: {p: {mode: self_signed}}\n"
        "listeners: [{name: l, transport: h2, address: ':1', tls: p, auth: [mtls]}]",
        'listener "l" accepts mtls but its tls profile has no client_ca',
        "listeners[0].auth[0]",
    ),
    (
        _LISTENER % "transport: h1, tls: p, auth: [mtls]",
        'listener "l" accepts mtls but h1 has no TLS',
        "listeners[0].auth[0]",
    ),
    (
        _AUTH % ", sql_policy: {allow_attach: true}",
        "auth.sql_policy.allow_attach is for development only",
        "auth.sql_policy.allow_attach",
    ),
    (
        _AUTH % ", session: {idle_ttl: 25h}",
        "auth.session.idle_ttl is longer than 24h",
        "auth.session.idle_ttl",
    ),
    (
        _CLOSED.replace("principal: a, level: admin", "principal: a, level: none"),
        'principal "a" has no grant on any database',
        "auth.principals[0]",
    ),
    (
        _CLOSED.replace("[{bearer: {token_hash: '" + _HASH + "'}}]", "[]"),
        'principal "a" has no methods',
        "auth.principals[0]",
    ),
    (
        _CLOSED.replace("[{name: d,", "[{name: e, backend: memory}, {name: d,"),
        'database "e" has no grants',
        "databases[0]",
    ),
    (
        _CLOSED.replace(
            "[{name: a,",
            "[{name: b, methods: [{bearer: {token_hash: '" + _HASH + "'}}]}, {name: a,",
        ).replace("principal: a", "principal: '*'"),
        'principals "b" and "a" declare the same bearer token_hash: the later one gets it',
        "auth.principals[1].methods[0]",
    ),
    (
        _CLOSED + "logging: {slow_threshold: 1s, expand_params: true}",
        "logging.expand_params writes the values of parameters into the log",
        "logging.expand_params",
    ),
    (
        _CLOSED + "wire_compression: {x: 1}",
        '"wire_compression" is present but not active yet \u2014 ',
        "wire_compression",
    ),
    (
        _CLOSED + "observability: []",
        '"observability" is present but not active yet \u2014 ',
        "observability",
    ),
]

UNSERVED = [
    (
        _LISTENER % "transport: h3, tls: p",
        "transport h3: the listener is",
        "listeners[0].transport",
    ),
    (_CLOSED + "tls: {p: {mode: qip}}", "tls mode qip: ", "tls.p.mode"),
    (
        _CLOSED + "control_plane: {enabled: true, admins: [a]}",
        "the /_admin surface: ",
        "control_plane.enabled",
    ),
    (_CLOSED + "changefeed: {enabled: true}", "the change feed: ", "changefeed.enabled"),
    (_CLOSED + "server: {meta_store: {backend: file}}", "the meta store: ", "server.meta_store"),
]


@pytest.mark.parametrize(("text", "warning", "key"), UNWISE, ids=[case[1][:50] for case in UNWISE])
def test_an_unwise_setting_gives_one_warning(
    load_yaml: LoadYAML, text: str, warning: str, key: str
) -> None:
    (found,) = load_yaml(text).warnings
    assert found.startswith(f"config: {warning}")
    assert found.endswith(f", {key})")


@pytest.mark.parametrize(
    ("text", "warning", "key"), UNSERVED, ids=[case[1][:50] for case in UNSERVED]
)
def test_what_is_not_served_gives_one_warning(
    load_yaml: LoadYAML, text: str, warning: str, key: str
) -> None:
    (found,) = load_yaml(text).warnings
    assert found.startswith(f"config: {key}: {_UNSERVED}{warning}")
    assert found.endswith(f", {key})")


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        (
            (_AUTH % ", enroll: {enabled: true, policy: open}")
            + "control_plane: {enabled: true, admins: [a]}",
            ["auth.enroll.grants is empty", "device enrolment: ", "the /_admin surface: "],
        ),
        (
            _CLOSED + "server: {meta_store: {backend: vault}}",
            ["server.meta_store has no key", "the meta store: "],
        ),
    ],
)
def test_settings_that_give_several_warnings(
    load_yaml: LoadYAML, text: str, warnings: list[str]
) -> None:
    found = load_yaml(text).warnings
    assert len(found) == len(warnings)
    for have, want in zip(found, warnings, strict=True):
        assert want in have


def test_each_row_of_what_is_not_served_has_a_case() -> None:
    with_others = ["enrolment"]
    assert len(UNSERVED) + len(with_others) == len(NOT_SERVED)


def test_what_is_served_gives_no_warning(load_yaml: LoadYAML) -> None:
    text = (
        (_AUTH % ", authorized_keys: keys, session: {enabled: true}")
        + _TLS
        + """
routing: { by_host: true, host_suffix: q.local }
limits: { max_concurrent_per_db: 1, rate: { per_principal_rps: 5 } }
logging: { format: json, slow_threshold: 1s }
server: { data_dir: d }
cors: { enabled: true, allow_headers: [X-A], max_age: 1h }
listeners:
  - { name: a, transport: h2, address: ":1", tls: p, auth: [mtls, keyring, session, bearer] }
  - { name: b, transport: unix, address: s, auth: [peercred, bearer] }
  - { name: c, transport: h1, address: ":2" }
"""
    )
    assert load_yaml(text).warnings == ()


def test_a_server_admin_needs_no_grant(load_yaml: LoadYAML) -> None:
    text = _CLOSED.replace("principal: a", "principal: '*'") + ("control_plane: {admins: [a]}")
    assert load_yaml(text).warnings == ()


@pytest.mark.parametrize(("mode", "is_warned"), [(0o640, True), (0o604, True), (0o600, False)])
def test_key_files_are_for_their_owner(
    load_yaml: LoadYAML, tmp_path: Path, mode: int, is_warned: bool
) -> None:
    key = tmp_path / "server.key"
    key.write_text("key")
    key.chmod(mode)
    text = _CLOSED + f"tls: {{p: {{mode: files, cert: c.crt, key: {key}}}}}"
    found = load_yaml(text).warnings
    assert [str(key) in warning for warning in found] == ([True] if is_warned else [])
