"""Whole files: what upstream's own configurations load as, what YAML may do, and errors with their
lines.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from quicsql_client.errors import ConfigurationError
from quicsql_client.server.config import ConfigError, LoadedConfig, load_config
from tests.fix_config import FindProblems, LoadYAML

_PIN = "3b0c" * 16
_BCRYPT = "$2b$06$j/GTVmf2vjE4OVh4Ee3irOFAM8doySv4bJTSCmZPR4wys4usxJfrq"
_KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIKst+wmfe/GahrBt/oCLUVc1T9QeDwA2Tr/ZNlc3llAa"

# The production recipe for mutual TLS, its four sections; the pin there is only hinted at.
_GUIDE = f"""
tls:
  prod:
    mode: files
    cert: /etc/quicsql/tls/server.crt
    key:  /etc/quicsql/tls/server.key
    client_ca: /etc/quicsql/tls/client-ca.crt    # whom clients must be signed by
    min_version: "1.3"

listeners:
  - name: h2
    transport: h2
    address: 0.0.0.0:7777
    tls: prod
    auth: [mtls]

auth:
  principals:
    - name: analyst
      methods:
        - mtls: {{ subject_cn: analyst }}
    - name: reporting
      methods:
        - mtls: {{ spki_sha256: "{_PIN}" }}

databases:
  - name: app
    backend: file
    path: /var/lib/quicsql/app.db
    mode: rwc
    grants:
      - {{ principal: analyst,   level: read-write }}
      - {{ principal: reporting, level: read-only }}
"""

# A file with every listener, method and section that upstream's recorded exchanges were made with.
_EVERYTHING = f"""
server:
  data_dir: /data
  meta_store: {{ backend: file, path: /data/meta.db }}
routing: {{ by_host: true, host_suffix: .q.local, default_db: app }}
secrets: [{{ name: env, type: env }}]
tls:
  prod: {{ mode: files, cert: s.crt, key: s.key, client_ca: c.crt, min_version: "1.3" }}
listeners:
  - {{ name: h1, transport: h1, address: 127.0.0.1:1, auth: [bearer, password] }}
  - {{ name: h2, transport: h2, address: 127.0.0.1:2, tls: prod, auth: [mtls] }}
  - {{ name: h3, transport: h3, address: 127.0.0.1:2, tls: prod, auth: [mtls], advertise: true }}
  - {{ name: m, transport: h2, address: 127.0.0.1:4, tls: prod, auth: [mtls, keyring, session] }}
  - {{ name: any, transport: h2c, address: 127.0.0.1:5 }}
  - {{ name: unix, transport: unix, address: s.sock, socket_mode: "0600", auth: [peercred, none] }}
auth:
  authorized_keys: keys
  session: {{ enabled: true, idle_ttl: 10m, max_ttl: 2h }}
  sql_policy: {{ allow_attach: true }}
  enroll:
    enabled: true
    policy: token
    tokens: ["{"ab" * 32}"]
    rate_per_ip: 1000
    idle_ttl: 1h
    codes: {{ enabled: true, ttl: 1h }}
    grants: [ {{ db: app, level: read-only }}, {{ db: gone, level: read-only }} ]
    provision:
      enabled: true
      backend: file
      name_template: "{{principal}}-db"
      on_revoke: drop
  principals:
    - {{ name: analyst, methods: [ {{ mtls: {{ subject_cn: analyst }} }} ] }}
    - {{ name: tok, methods: [ {{ bearer: {{ token_hash: "{"cd" * 32}" }} }} ] }}
    - {{ name: user, methods: [ {{ password: {{ user: user, password_hash: "{_BCRYPT}" }} }} ] }}
    - {{ name: kr, methods: [ {{ keyring: {{ ed25519: "ssh-ed25519 {_KEY} kr@host" }} }} ] }}
    - {{ name: roster, methods: [] }}
    - {{ name: local, methods: [ {{ peercred: {{ uid: "0" }} }} ] }}
databases:
  - name: app
    backend: file
    path: app.db
    pragmas_preset: recommended
    pool: {{ busy_timeout: 150ms, tx_lock: immediate, max_open: 4 }}
    grants: &grants
      - {{ principal: analyst, level: read-write }}
      - {{ principal: roster, level: none }}
  - {{ name: app2, backend: memory-shared, grants: *grants }}
  - {{ name: mem, backend: memdb, grants: [ {{ principal: "*", level: admin }} ] }}
control_plane: {{ enabled: true, admins: [analyst] }}
changefeed: {{ enabled: true, buffer: 4, max_subscribers: 2 }}
cors:
  enabled: true
  origins: ["https://app.example.com", "http://localhost:3000", "*"]
  allow_headers: [X-Extra]
  expose_headers: [X-Seen]
  max_age: 1h
logging: {{ format: json, slow_threshold: 250ms, expand_params: true }}
limits: {{ statement_timeout: 2s, max_rows: 50000, max_concurrent_per_db: 1 }}
wire_compression: {{ anything: [goes] }}
observability: true
"""


def test_the_guides_file_loads(load_yaml: LoadYAML) -> None:
    config = load_yaml(_GUIDE).config
    profile = config.tls["prod"]
    assert (profile.mode, profile.min_version) == ("files", "1.3")
    assert profile.client_ca == "/etc/quicsql/tls/client-ca.crt"
    listener = config.listeners[0]
    assert (listener.transport, listener.address, listener.tls) == ("h2", "0.0.0.0:7777", "prod")
    assert listener.auth == ("mtls",)
    names = [principal.name for principal in config.auth.principals]
    assert names == ["analyst", "reporting"]
    pin = config.auth.principals[1].methods[0].mtls
    assert pin is not None
    assert pin.spki_sha256 == _PIN
    assert [(grant.principal, grant.level) for grant in config.databases[0].grants] == [
        ("analyst", "read-write"),
        ("reporting", "read-only"),
    ]
    assert not config.is_open_mode


def test_the_guides_file_gives_no_warning(load_yaml: LoadYAML) -> None:
    assert load_yaml(_GUIDE).warnings == ()


def test_a_file_with_everything_loads(load_yaml: LoadYAML) -> None:
    config = load_yaml(_EVERYTHING).config
    assert [database.backend for database in config.databases] == [
        "file",
        "memory-shared",
        "memdb",
    ]
    assert config.databases[1].grants == config.databases[0].grants
    assert config.databases[0].pool.busy_timeout_s == 0.15
    assert config.databases[0].effective_pragmas["busy_timeout"] == 150
    assert config.listeners[4].auth == ("none",)
    assert config.listeners[5].socket_mode == 0o600
    assert config.auth.session.max_ttl_s == 7200.0
    assert config.auth.enroll.provision.on_revoke == "drop"
    assert (config.routing.by_path, config.routing.by_host) == (False, True)
    assert config.logging.slow_threshold_s == 0.25
    assert config.limits.statement_timeout_s == 2.0
    assert config.cors.max_age_s == 3600.0


def test_every_problem_is_told_at_once_with_its_line(find_problems: FindProblems) -> None:
    problems = find_problems(
        """\
databases:
  - name: app
    backend: file
    path: app.db
    mode: rwx
    grants:
      - principal: bob
        level: ro
listeners:
  - name: h2
    transport: h2
limits:
  statement_timeout: 30
  max_row: 5
"""
    )
    assert [text.rpartition("(")[2] for text in problems] == [
        "quicsql.yaml:13, limits.statement_timeout)",
        "quicsql.yaml:14, limits.max_row)",
        "quicsql.yaml:5, databases[0].mode)",
        "quicsql.yaml:10, listeners[0].tls)",
        "quicsql.yaml:7, databases[0].grants[0].principal)",
        "quicsql.yaml:8, databases[0].grants[0].level)",
    ]


def test_the_error_joins_its_problems_and_pickles(load_yaml: LoadYAML) -> None:
    with pytest.raises(ConfigError) as caught:
        load_yaml("logging: {format: xml}\nchangefeed: {buffer: -1}")
    error = caught.value
    assert isinstance(error, ConfigurationError)
    assert len(error.problems) == 2
    assert str(error) == "\n".join(error.problems)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is ConfigError
    assert again.problems == error.problems
    assert str(again) == str(error)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [", "config: parse quicsql.yaml: line "),
        ("a: b\n c: d", "config: parse quicsql.yaml: line 2: mapping values are not allowed"),
        ("\tx: 1", "config: parse quicsql.yaml: line 1: "),
        ("[1]", "config: the file must hold a mapping, not a list (quicsql.yaml:1)"),
        ("word", "config: the file must hold a mapping, not a single value (quicsql.yaml:1)"),
        ("a\0b: 1", "config: parse quicsql.yaml: control characters are not allowed"),
        ("limits: &a [*a]", "config: parse quicsql.yaml: line 1: unknown anchor"),
        ("limits: *a", "config: parse quicsql.yaml: line 1: unknown anchor"),
        (
            "limits: {}\n---\nlimits: {}",
            "config: parse quicsql.yaml: line 2: a second document begins here",
        ),
        (
            "limits: {max_rows: 1}\nserver: {}\nlimits: {}",
            'config: parse quicsql.yaml: line 3: mapping key "limits" already defined at line 1',
        ),
        (
            "limits:\n  max_rows: 1\n  max_rows: 2",
            'config: parse quicsql.yaml: line 3: mapping key "max_rows" already defined at line 2',
        ),
        (
            "limits: !!python/object:os.system {}",
            "config: parse quicsql.yaml: line 1: unknown tag",
        ),
        (
            "limits: {<<: 5}",
            'config: parse quicsql.yaml: line 1: the value of "<<" must be a mapping',
        ),
        ("[" * 70 + "]" * 70, "config: parse quicsql.yaml: line 1: nested deeper than 64 levels"),
    ],
    ids=lambda value: value[:40],
)
def test_what_yaml_must_not_do(find_problems: FindProblems, text: str, problem: str) -> None:
    problems = find_problems(text)
    assert problems, "loaded"
    assert problems[0].startswith(problem)


def test_a_file_that_is_nothing_but_depth_is_refused(find_problems: FindProblems) -> None:
    """Newer versions of the YAML library stop before we do, in their own words."""
    (problem,) = find_problems("[" * 400_000 + "]" * 400_000)
    assert problem.startswith("config: parse quicsql.yaml: line 1: ")
    assert "nest" in problem


def test_a_key_that_is_a_list_is_refused(find_problems: FindProblems) -> None:
    problems = find_problems("limits: {[1, 2]: 3}")
    assert "a key must be a word, not a list or a mapping" in problems[0]


def test_a_problem_is_one_line_whatever_the_key(find_problems: FindProblems) -> None:
    (problem,) = find_problems('limits: {"a\\nb": 1}')
    assert problem == ('config: unknown key "a\\nb" (quicsql.yaml:1, limits."a\\nb")')


def test_merged_mappings_give_what_is_not_said(load_yaml: LoadYAML) -> None:
    text = """
    databases:
      - &base { name: a, backend: memory, mode: ro }
      - { <<: *base, name: b }
      - { <<: [{ mode: rw }, *base], name: c }
    """
    found = [(each.name, each.backend, each.mode) for each in load_yaml(text).config.databases]
    assert found == [("a", "memory", "ro"), ("b", "memory", "ro"), ("c", "memory", "rw")]


def test_a_byte_order_mark_is_ignored(load_yaml: LoadYAML) -> None:
    assert load_yaml("\ufefflimits: {max_rows: 7}").config.limits.max_rows == 7


def test_null_is_as_good_as_absent(load_yaml: LoadYAML) -> None:
    text = "server:\nlimits: ~\nlisteners: null\nauth: {principals: , session: {idle_ttl: }}"
    assert load_yaml(text).config == load_yaml("").config


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "absent.yaml"
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert caught.value.problems == (f"config: read {path}: no such file or directory",)


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config: read .*: is a directory"):
        load_config(tmp_path)


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "q.yaml"
    path.write_bytes(b"a: \xff")
    with pytest.raises(ConfigError, match=r"config: read .*: not UTF-8 text \(byte 3\)"):
        load_config(path)


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "q.yaml"
    path.write_bytes(b"#" * (16 * 2**20 + 1))
    with pytest.raises(ConfigError, match="the file is larger than 16777216 bytes"):
        load_config(path)


def test_one_unreadable_value_gives_no_problems_that_follow_from_it(
    find_problems: FindProblems,
) -> None:
    problems = find_problems(
        """
auth: { principals: 5 }
tls: 7
listeners: [{ name: l, transport: h2, address: ":1", tls: p, auth: [session] }, 9]
databases: [{ name: d, backend: memory, grants: [{ principal: a, level: admin }] }, oops]
control_plane: { admins: [a] }
"""
    )
    assert [text.partition(" (")[0] for text in problems] == [
        "config: auth.principals: want a list, not a single value",
        "config: tls: want a mapping, not a single value",
        "config: listeners[1]: want a mapping, not a single value",
        "config: databases[1]: want a mapping, not a single value",
        'config: listener "l" accepts session auth but auth.session.enabled is false',
    ]


_SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    "text",
    [
        "auth: {principals: [{name: x, methods: [{bearer: %s}]}]}",
        "auth: {principals: [{name: x, methods: [{bearer: {token_hash: [%s]}}]}]}",
        "auth: {principals: [{name: x, methods: [{bearer: {token_hash: %s}}]}]}",
        "auth: {principals: [{name: x, methods: [{bearer: {token: %s}}]}]}",
        "auth: {principals: [{name: x, methods: [{password: {user: u, password_hash: %s}}]}]}",
        "auth: {principals: [{name: x, methods: [{keyring: {ed25519: %s}}]}]}",
        "auth: {principals: [{name: x, methods: [{bearer: {token_hash: *%s }}]}]}",
        "auth: {principals: [{name: x, methods: [{bearer: {token_hash: !%s }}]}]}",
        "auth: {enroll: {tokens: [%s]}}",
        "server: {meta_store: {key: %s}}",
        "auth: {principals: [{name: x, methods: [%s]}]}",
        "auth: {principals: [{name: x, methods: [{bearer: {token_hash: '%s\n]}",
    ],
)
def test_no_problem_shows_a_secret(find_problems: FindProblems, text: str) -> None:
    problems = find_problems(text % _SECRET)
    assert problems
    assert _SECRET not in "\n".join(problems)


_WORDS = st.sampled_from(
    [
        *("name", "auth", "listeners", "databases", "limits", "tls", "5", "0s", "-1s", "no", "~"),
        *("*", "<<", "backend", "memory", "principals", "methods", "bearer", "grants", "level"),
        *("cors", "pragmas", "origins", "enabled", "true", "secrets", "vault", "anchor", "enroll"),
        ".inf",
    ]
)
_TREES = st.recursive(
    _WORDS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_WORDS, inner, max_size=4),
    max_leaves=25,
)


def _load(path: Path, content: bytes) -> LoadedConfig | ConfigError:
    path.write_bytes(content)
    try:
        return load_config(path, environment={})
    except ConfigError as error:
        return error


def _flow(tree: object) -> str:
    if isinstance(tree, list):
        return "[" + ", ".join(map(_flow, tree)) + "]"
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{key}: {_flow(value)}" for key, value in tree.items()) + "}"
    return str(tree)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(_WORDS, _TREES, max_size=5))
def test_any_tree_loads_or_is_refused_with_reasons(tmp_path: Path, tree: dict[str, object]) -> None:
    outcome = _load(tmp_path / "q.yaml", _flow(tree).encode(errors="replace"))
    if isinstance(outcome, ConfigError):
        assert outcome.problems
    else:
        assert isinstance(outcome, LoadedConfig)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8")))
@example(b"a: &a {b: *a}")
@example(b"? [a]\n: b")
@example(b"databases: [{vault: {anchor: x}}]")
@example(b"<<: {limits: 5}")
def test_any_bytes_load_or_are_refused_with_reasons(tmp_path: Path, content: bytes) -> None:
    outcome = _load(tmp_path / "q.yaml", content)
    assert isinstance(outcome, LoadedConfig) or outcome.problems


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_file_with_a_line_missing_never_fails_otherwise(
    tmp_path: Path, data: st.DataObject
) -> None:
    lines = _EVERYTHING.splitlines()
    del lines[data.draw(st.integers(0, len(lines) - 1))]
    outcome = _load(tmp_path / "q.yaml", "\n".join(lines).encode())
    assert isinstance(outcome, LoadedConfig) or outcome.problems


def test_any_number_of_listeners_take_a_port_of_the_system(load_yaml: LoadYAML) -> None:
    listeners = [{"name": n, "transport": "h1", "address": "127.0.0.1:0"} for n in "ab"]
    loaded = load_yaml(json.dumps({"listeners": listeners}))
    assert [listener.name for listener in loaded.config.listeners] == ["a", "b"]
