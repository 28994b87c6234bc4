"""What loads with a word of warning: unwise settings, and what is not served yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from quicsql_client.pki import CertificateAuthority
from tests.fix_config import LoadYAML

_HASH = "ab" * 32
_AUTH = (
    "auth: {principals: [{name: a, methods: [{bearer: {token_hash: '" + _HASH + "'}}]}]%s}\n"
    "databases: [{name: d, backend: memory, grants: [{principal: a, level: admin}]}]\n"
)
_CLOSED = _AUTH % ""
_TLS = "tls: {p: {mode: self_signed, client_ca: ca.crt}}\n"
_LISTENER = _CLOSED + _TLS + "listeners: [{name: l, address: ':1', %s}]\n"

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
        "databases: [{name: d, backend: memory, grants: [{principal: '*', level: admin}]}]",
        "there are grants but no principals: everybody is anonymous",
        "auth.principals",
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

_CONTROL = _CLOSED + "control_plane: {enabled: true, admins: [a]}\n"
UNWISE += [
    (_CONTROL, "server.meta_store is a plain SQLite file", "server.meta_store"),
    (
        _CONTROL + "server: {meta_store: {backend: vault}}",
        "server.meta_store is a plain SQLite file",
        "server.meta_store",
    ),
]

UNWISE += [(_CLOSED + "tls: {p: {mode: qip}}", "tls mode qip is not served", "tls.p.mode")]


@pytest.mark.parametrize(("text", "warning", "key"), UNWISE, ids=[case[1][:50] for case in UNWISE])
def test_an_unwise_setting_gives_one_warning(
    load_yaml: LoadYAML, text: str, warning: str, key: str
) -> None:
    (found,) = load_yaml(text).warnings
    assert found.startswith(f"config: {warning}")
    assert found.endswith(f", {key})")


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        (
            (_AUTH % ", enroll: {enabled: true, policy: open}")
            + "control_plane: {enabled: true, admins: [a]}\n"
            + "server: {meta_store: {backend: file}}",
            ["auth.enroll.grants is empty"],
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


def test_what_is_served_gives_no_warning(load_yaml: LoadYAML) -> None:
    text = (
        (_AUTH % ", authorized_keys: keys, session: {enabled: true}")
        + _TLS
        + """
routing: { by_host: true, host_suffix: q.local }
limits: { max_concurrent_per_db: 1, rate: { per_principal_rps: 5 } }
logging: { format: json, slow_threshold: 1s }
server: { data_dir: d, meta_store: { backend: file } }
control_plane: { enabled: true, admins: [a] }
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


@pytest.mark.parametrize(("mode", "is_warned"), [(0o640, True), (0o604, True), (0o600, False)])
def test_secret_files_are_for_their_owner(
    load_yaml: LoadYAML, tmp_path: Path, mode: int, is_warned: bool
) -> None:
    secret = tmp_path / "hash"
    secret.write_text(_HASH)
    secret.chmod(mode)
    text = _CLOSED.replace(f"'{_HASH}'", "'vault:hash'").replace(
        "principals: [", "principals: [{name: b, methods: [{keyring: {ed25519: 'vault:key'}}]}, "
    )
    key = tmp_path / "key"
    key.write_text(
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKst+wmfe/GahrBt/oCLUVc1T9QeDwA2Tr/ZNlc3llAa"
    )
    key.chmod(0o600)
    found = load_yaml(
        text.replace("principal: a", "principal: '*'")
        + f"secrets: [{{name: other, type: env}}, {{name: vault, type: file, dir: {tmp_path}}}]"
    ).warnings
    assert len(found) == is_warned
    for warning in found:
        assert warning.startswith(f"config: secret file {secret} is readable by group or others: ")
        assert warning.endswith(", secrets[1].dir)")
        assert _HASH not in warning


def _warnings_of_profile(load_yaml: LoadYAML, cert: Path, client_ca: Path) -> list[str]:
    text = f"tls: {{p: {{mode: files, cert: {cert}, key: absent.key, client_ca: {client_ca}}}}}"
    return [text for text in load_yaml(_CLOSED + text).warnings if "two CAs" in text]


def test_one_authority_for_both_sides(load_yaml: LoadYAML, tmp_path: Path) -> None:
    servers, clients = (CertificateAuthority.create(name) for name in ("servers", "clients"))
    server_ca, client_ca = servers.write(tmp_path, "s-ca"), clients.write(tmp_path, "c-ca")
    leaf = servers.issue_server(["localhost"]).write(tmp_path, "server").certificate
    assert _warnings_of_profile(load_yaml, leaf, client_ca.certificate) == []
    (warning,) = _warnings_of_profile(load_yaml, leaf, server_ca.certificate)
    assert warning.startswith(
        'config: tls profile "p": client_ca signed the server\'s certificate too: '
    )
    assert warning.endswith(", tls.p.client_ca)")
    bundle = tmp_path / "bundle.crt"
    bundle.write_bytes(clients.certificate_pem + servers.certificate_pem)
    assert len(_warnings_of_profile(load_yaml, leaf, bundle)) == 1
    chain = tmp_path / "chain.crt"
    chain.write_bytes(leaf.read_bytes() + servers.certificate_pem)
    assert len(_warnings_of_profile(load_yaml, chain, server_ca.certificate)) == 1
    assert len(_warnings_of_profile(load_yaml, chain, chain)) == 1


@pytest.mark.parametrize("content", [None, "", "no certificate", "-----BEGIN CERTIFICATE-----\nx"])
def test_certificates_that_cannot_be_read_are_the_listeners_matter(
    load_yaml: LoadYAML, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "x.crt"
    if content is not None:
        path.write_text(content)
    assert _warnings_of_profile(load_yaml, path, path) == []


def test_devices_with_databases_of_their_own_may_do_something(load_yaml: LoadYAML) -> None:
    text = (
        _AUTH % ", enroll: {enabled: true, policy: open, provision: {enabled: true, backend: file}}"
    )
    control = "control_plane: {enabled: true, admins: [a]}\n"
    server = "server: {data_dir: d, meta_store: {backend: file}}"
    assert load_yaml(text + control + server).warnings == ()
