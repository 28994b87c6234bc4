"""What single words and whole sections mean: durations, numbers, defaults, pragmas.

Odd-cases 13, 140, 193.
"""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quicsql_client.server.config import (
    BearerMethod,
    Config,
    CORSConfig,
    DatabaseConfig,
    EnrollConfig,
    LimitsConfig,
    ListenerConfig,
    MetaStoreConfig,
    PoolConfig,
    RateConfig,
    RoutingConfig,
    is_valid_database_name,
)
from quicsql_client.server.config.durations import (
    format_duration,
    parse_duration,
    to_nanoseconds,
)
from quicsql_client.server.config.scalars import parse_boolean, parse_integer, parse_number
from tests.fix_config import LoadYAML

_SECOND_NS = 1_000_000_000


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("30s", 30 * _SECOND_NS),
        ("1h30m", 5400 * _SECOND_NS),
        ("1.5h", 5400 * _SECOND_NS),
        ("0s", 0),
        ("-2s", -2 * _SECOND_NS),
        ("+2s", 2 * _SECOND_NS),
        (".5s", _SECOND_NS // 2),
        ("1.s", _SECOND_NS),
        ("150ms", 150_000_000),
        ("1us1ns", 1001),
        ("2\u00b5s", 2000),
        ("2\u03bcs", 2000),
        ("1.0000000009s", _SECOND_NS),
    ],
)
def test_a_duration_is_whole_nanoseconds(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    "text",
    [
        *("", "0", "30", "1d", "s", ".s", "-", "1 s", "1s ", "1h30", "1e3s", "\u0661s"),
        *("300000000h", "9" * 5000 + "s", "1m" * 5000),
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|292 years"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (3600, "1h0m0s"),
        (60, "1m0s"),
        (900, "15m0s"),
        (1.5, "1.5s"),
        (0.1, "100ms"),
        (0.0015, "1.5ms"),
        (0.000002, "2\u00b5s"),
        (0.000000007, "7ns"),
        (0, "0s"),
        (-1, "-1s"),
        (3661.25, "1h1m1.25s"),
    ],
)
def test_durations_are_shown_in_upstreams_style(seconds: float, text: str) -> None:
    assert format_duration(to_nanoseconds(seconds)) == text


@given(st.integers(min_value=-(2**63) + 1, max_value=2**63 - 1))
def test_a_duration_survives_the_round_trip(nanoseconds: int) -> None:
    assert parse_duration(format_duration(nanoseconds)) == nanoseconds


@pytest.mark.parametrize(
    ("word", "number"),
    [
        ("8", 8),
        ("-8", -8),
        ("+8", 8),
        ("0", 0),
        ("1_000", 1000),
        ("0x10", 16),
        ("0o17", 15),
        ("017", 15),
        ("0b101", 5),
        ("8e6", 8_000_000),
        ("1.5e3", 1500),
        ("2.0", 2),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
    ],
)
def test_whole_numbers_have_many_spellings(word: str, number: int) -> None:
    assert parse_integer(word) == number


@pytest.mark.parametrize(
    "word",
    [
        *("", "x", "8MiB", "1.5", "9223372036854775808", "1e999999999", "1:30", "0x", ".inf"),
        *("_1", "1" * 5000, "0x" + "f" * 17, "0o9"),
    ],
)
def test_what_is_no_whole_number_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_integer(word)


@pytest.mark.parametrize("word", [".inf", "nan", "-.inf", "x", "", "1e400", "1e-400"])
def test_what_is_no_finite_number_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match=r"number|range"):
        parse_number(word)


def test_numbers_may_have_fractions() -> None:
    assert parse_number("0.5") == 0.5
    assert parse_number("1_000") == 1000.0


@pytest.mark.parametrize("word", ["true", "yes", "on", "y", "True", "ON"])
def test_yes_is_true_where_a_boolean_is_wanted(word: str) -> None:
    assert parse_boolean(word) is True


@pytest.mark.parametrize("word", ["false", "no", "off", "n", "No"])
def test_no_is_false_where_a_boolean_is_wanted(word: str) -> None:
    assert parse_boolean(word) is False


def test_an_empty_file_has_all_defaults(load_yaml: LoadYAML) -> None:
    config = load_yaml("").config
    assert config == Config()
    assert config.is_open_mode
    assert config.routing == RoutingConfig(by_path=True)
    assert config.auth.session.idle_ttl_s == 900.0
    assert config.auth.enroll.max_principals == 1000
    assert config.auth.enroll.codes.ttl_s == 86400.0
    assert config.cors.origins == ("*",)
    assert config.changefeed.buffer == 1024
    assert config.logging.format == "text"


_DEFAULTS = {
    "server.data_dir": "",
    "server.meta_store.backend": "vault",
    "server.meta_store.path": "_meta.vault",
    "server.meta_store.key": "",
    "routing.by_path": True,
    "routing.by_host": False,
    "routing.host_suffix": "",
    "routing.default_db": "",
    "tls.p.min_version": "1.2",
    "tls.p.subdomain": "i.qip.sh",
    "tls.p.refresh_s": 12 * 3600,
    "auth.authorized_keys": "",
    "auth.session.enabled": False,
    "auth.session.idle_ttl_s": 15 * 60,
    "auth.session.max_ttl_s": 0,
    "auth.sql_policy.allow_attach": False,
    "auth.enroll.enabled": False,
    "auth.enroll.policy": "token",
    "auth.enroll.max_principals": 1000,
    "auth.enroll.rate_per_ip": 0.1,
    "auth.enroll.idle_ttl_s": 0,
    "auth.enroll.codes.enabled": False,
    "auth.enroll.codes.ttl_s": 24 * 3600,
    "auth.enroll.provision.enabled": False,
    "auth.enroll.provision.name_template": "{principal}",
    "auth.enroll.provision.backend": "vault",
    "auth.enroll.provision.level": "read-write",
    "auth.enroll.provision.max_bytes": 0,
    "auth.enroll.provision.on_revoke": "keep",
    "control_plane.enabled": False,
    "control_plane.admins": (),
    "limits.max_rows": 100_000,
    "limits.max_result_bytes": 67_108_864,
    "limits.max_request_bytes": 8_388_608,
    "limits.max_blob_bytes": 1_073_741_824,
    "limits.max_export_bytes": 1_073_741_824,
    "limits.max_restore_bytes": 4_294_967_296,
    "limits.statement_timeout_s": 30,
    "limits.tx_idle_timeout_s": 30,
    "limits.max_tx_lifetime_s": 5 * 60,
    "limits.max_sessions_per_db": 64,
    "limits.max_concurrent_per_db": 0,
    "limits.idle_handle_timeout_s": 0,
    "limits.rate.per_principal_rps": 0,
    "logging.format": "text",
    "logging.slow_threshold_s": 0,
    "logging.expand_params": False,
    "cors.enabled": False,
    "cors.origins": ("*",),
    "cors.allow_headers": (),
    "cors.expose_headers": (),
    "cors.max_age_s": 2 * 3600,
    "changefeed.enabled": False,
    "changefeed.buffer": 1024,
    "changefeed.max_subscribers": 128,
}


@pytest.mark.parametrize("path", _DEFAULTS)
def test_the_default_of_every_key(load_yaml: LoadYAML, path: str) -> None:
    """Source: protocol/config.md, Keys."""
    found: object = load_yaml(
        "server: {meta_store: {backend: ''}}\ntls: {p: {mode: self_signed, min_version: ''}}"
    ).config
    for step in path.split("."):
        found = found[step] if isinstance(found, dict) else getattr(found, step)
    assert found == _DEFAULTS[path]
    assert type(found) is type(_DEFAULTS[path]) or isinstance(found, float)


def test_no_buffer_and_no_subscribers_are_the_defaults(load_yaml: LoadYAML) -> None:
    feed = load_yaml("changefeed: {buffer: 0, max_subscribers: 0}").config.changefeed
    assert (feed.buffer, feed.max_subscribers) == (1024, 128)


def test_what_is_not_positive_in_limits_is_the_default(load_yaml: LoadYAML) -> None:
    text = """
    limits:
      max_rows: 0
      max_result_bytes: -5
      max_request_bytes: 8e6
      max_restore_bytes: -7
      max_concurrent_per_db: -1
      statement_timeout: 0s
      tx_idle_timeout: -1s
      idle_handle_timeout: 1m
      rate: { per_principal_rps: 0.5 }
    """
    assert load_yaml(text).config.limits == LimitsConfig(
        max_rows=100_000,
        max_result_bytes=67_108_864,
        max_request_bytes=8_000_000,
        max_restore_bytes=-1,
        max_concurrent_per_db=0,
        statement_timeout_s=30.0,
        tx_idle_timeout_s=30.0,
        idle_handle_timeout_s=60.0,
        rate=RateConfig(per_principal_rps=0.5),
    )


def test_an_unlimited_restore_stays_apart_from_the_default() -> None:
    assert LimitsConfig(max_restore_bytes=-7).max_restore_bytes == -1
    assert LimitsConfig(max_restore_bytes=0).max_restore_bytes == 4_294_967_296


@pytest.mark.parametrize(("rps", "burst"), [(0.5, 1.0), (1.0, 1.0), (20.0, 20.0)])
def test_the_burst_is_the_rate_and_at_least_one(rps: float, burst: float) -> None:
    assert RateConfig(per_principal_rps=rps).burst == burst


def test_the_zero_value_is_the_default_in_code_too() -> None:
    assert ListenerConfig(auth=()).auth == ("none",)
    assert DatabaseConfig(mode="").mode == "rwc"
    assert CORSConfig(origins=(), max_age_s=0.0) == CORSConfig()


@pytest.mark.parametrize(
    ("by_path", "by_host", "expected"),
    [(False, False, True), (True, False, True), (False, True, False), (True, True, True)],
)
def test_by_path_is_on_when_nothing_was_asked_for(
    by_path: bool, by_host: bool, expected: bool
) -> None:
    assert RoutingConfig(by_path=by_path, by_host=by_host).by_path is expected


def test_words_stay_words_where_text_is_wanted(load_yaml: LoadYAML) -> None:
    text = """
    tls:
      on: { mode: self_signed, min_version: 1.3, hosts: [no, 1.10, null.example] }
      off: { mode: self_signed, min_version: "1.3" }
      plain: { mode: self_signed, min_version: "" }
    auth: { principals: [{ name: no, methods: [{ mtls: { subject_cn: 0123 } }] }] }
    databases: [{ name: 5, backend: memory, grants: [{ principal: no, level: admin }] }]
    listeners: [{ name: yes, transport: h2, address: ":1", tls: on, auth: [none] }]
    """
    config = load_yaml(text).config
    assert list(config.tls) == ["on", "off", "plain"]
    assert [profile.min_version for profile in config.tls.values()] == ["1.3", "1.3", "1.2"]
    assert config.tls["on"].hosts == ("no", "1.10", "null.example")
    assert config.auth.principals[0].name == "no"
    mtls = config.auth.principals[0].methods[0].mtls
    assert mtls is not None
    assert mtls.subject_cn == "0123"
    assert config.databases[0].name == "5"
    assert config.listeners[0].name == "yes"


@pytest.mark.parametrize("written", ["0600", '"0600"', "600", "'600'"])
def test_a_socket_mode_is_octal_quoted_or_not(load_yaml: LoadYAML, written: str) -> None:
    text = f"listeners: [{{name: u, transport: unix, address: s, socket_mode: {written}}}]"
    assert load_yaml(text).config.listeners[0].socket_mode == 0o600


@pytest.mark.parametrize("written", ["1000", '"1000"', "1_000"])
def test_a_uid_is_a_number_or_its_text(load_yaml: LoadYAML, written: str) -> None:
    text = f"auth: {{principals: [{{name: a, methods: [{{peercred: {{uid: {written}}}}}]}}]}}"
    peercred = load_yaml(text).config.auth.principals[0].methods[0].peercred
    assert peercred is not None
    assert peercred.uid == 1000


def test_hashes_become_lower_case(load_yaml: LoadYAML) -> None:
    upper = "AB" * 32
    text = f"""
    auth:
      principals:
        - name: a
          methods:
            - bearer: {{ token_hash: "{upper}" }}
            - mtls: {{ spki_sha256: {upper} }}
      enroll: {{ tokens: [{upper}] }}
    """
    auth = load_yaml(text).config.auth
    bearer, mtls = (method.bearer or method.mtls for method in auth.principals[0].methods)
    assert "ab" * 32 in repr(mtls)
    assert bearer == BearerMethod(token_hash="ab" * 32)
    assert auth.enroll.tokens == ("ab" * 32,)


def test_the_recommended_pragmas() -> None:
    database = DatabaseConfig(pragmas_preset="recommended")
    assert database.effective_pragmas == {
        "busy_timeout": 5000,
        "journal_mode": "WAL",
        "foreign_keys": 1,
    }


def test_without_a_preset_no_pragma_is_set() -> None:
    assert DatabaseConfig().effective_pragmas == {}


def test_pragmas_win_over_the_preset_and_the_pool_over_both() -> None:
    database = DatabaseConfig(
        pragmas_preset="recommended",
        pragmas={"Busy_Timeout": 100, "foreign_keys": 0, "mmap_size": 4096, "auto_vacuum": "full"},
        pool=PoolConfig(busy_timeout_s=0.1505),
    )
    assert list(database.effective_pragmas.items()) == [
        ("busy_timeout", 151),
        ("auto_vacuum", "full"),
        ("journal_mode", "WAL"),
        ("foreign_keys", 0),
        ("mmap_size", 4096),
    ]


def test_memdb_has_no_journal() -> None:
    database = DatabaseConfig(backend="memdb", pragmas_preset="recommended")
    assert "journal_mode" not in database.effective_pragmas


def test_pragmas_are_typed(load_yaml: LoadYAML) -> None:
    text = """
    databases:
      - name: d
        backend: memory
        pragmas:
          foreign_keys: on
          synchronous: off
          cache_size: -2_000
          temp_store: 2
          page_size: 0x1000
          secure_delete: true
          case_sensitive_like: "on"
          mmap_size:
    """
    assert load_yaml(text).config.databases[0].pragmas == {
        "foreign_keys": 1,
        "synchronous": "off",
        "cache_size": -2000,
        "temp_store": 2,
        "page_size": 4096,
        "secure_delete": 1,
        "case_sensitive_like": "on",
    }


@pytest.mark.parametrize(
    "value",
    [
        BearerMethod(token_hash="deadbeef"),
        EnrollConfig(tokens=("deadbeef",)),
        MetaStoreConfig(key="deadbeef"),
    ],
)
def test_a_repr_holds_no_secret(value: object) -> None:
    assert "deadbeef" not in repr(value)
    assert "***" in repr(value)


def test_configurations_compare_and_pickle(load_yaml: LoadYAML) -> None:
    text = "databases: [{name: a, backend: memory, pragmas: {cache_size: 5}}]"
    config = load_yaml(text).config
    assert config == load_yaml(text).config
    assert config != load_yaml(text.replace("5", "6")).config
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize("name", ["a", "-x", "a..b", "Query", "5", ".x", "a_b"])
def test_good_database_names(name: str) -> None:
    assert is_valid_database_name(name)


@pytest.mark.parametrize(
    "name", ["", "_x", "_meta", ".", "..", "query", "v2", "changes", "a/b", "a b", "\u00e4", "a\n"]
)
def test_bad_database_names(name: str) -> None:
    assert not is_valid_database_name(name)
